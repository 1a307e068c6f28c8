from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parametric_memory.errors import UnreadableDocumentError
from parametric_memory.evaluation.datasets import Question, corpus_documents, dataset_name, read_questions, sample

MANY = [Question("set", f"d{n % 7}", "", "text", f"What is {n}?", (str(n),), True) for n in range(40)]


def test_a_gzipped_file_is_read_row_by_row(tmp_path):
    row = {
        "doc_id": "d1", "title": "T", "document": "Ada wrote it.", "question": " Who wrote it? ", "answers": ["Ada"],
        "answerable": True, "dataset": "another name", "split": "dev", "more": 1,
    }  # fmt: skip
    path = tmp_path / "squad1.1.dev.jsonl.gz"
    path.write_bytes(gzip.compress(f"{json.dumps(row)}\n\n{json.dumps(row | {'question': 'By whom?'})}\n".encode()))
    first = Question("squad1.1.dev", "d1", "T", "Ada wrote it.", "Who wrote it?", ("Ada",), True)
    assert read_questions(path) == [
        first,
        Question("squad1.1.dev", "d1", "T", "Ada wrote it.", "By whom?", ("Ada",), True),
    ]


def test_keys_that_are_missing_are_made_up_for(write_rows):
    question, other = read_questions(
        write_rows([{"document": "A.", "question": "B?"}, {"document": "A.", "question": "C?", "answers": ["A"]}])
    )
    assert (question.title, question.answers, question.answerable) == ("", (), False)
    assert other.answerable
    assert question.doc_id == other.doc_id != ""


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not JSON"),
        ("[1]", "a list where a JSON object is expected"),
        ('{"document": "A."}', "'question' is null, expected a text"),
        ('{"document": " ", "question": "B?"}', "'document' is \" \", expected a text"),
        ('{"document": "A.", "question": "B?", "answers": "A"}', "'answers' is \"A\", expected a list of texts"),
        ('{"document": "A.", "question": "B?", "answers": [1]}', "'answers' is [1], expected a list of texts"),
        ('{"document": "A.", "question": "B?", "answerable": true}', "'answerable' is true, but there are 0 answers"),
        ('{"document": "A.", "question": "B?", "doc_id": 3}', "'doc_id' is 3, expected a text"),
        ('{"document": "A.", "question": "B?", "supports": "A."}', "'supports' is \"A.\", expected a list of texts"),
        ('{"document": "A.", "question": "", "triples": []}', "it has triples and no question"),
    ],
)
def test_a_line_that_is_no_question_is_named(tmp_path, line, problem):
    path = tmp_path / "bad.jsonl"
    path.write_text(f'{{"document": "Good.", "question": "Why?", "doc_id": "d"}}\n\n{line}\n', encoding="utf-8")
    with pytest.raises(UnreadableDocumentError, match="line 3: ") as caught:
        read_questions(path)
    assert problem in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b'{"document": "A."}', mtime=0)[:-12], gzip.compress(b"\xff\xfe\x80", mtime=0)],
)
def test_a_file_that_is_not_gzipped_text_is_refused(tmp_path, content):
    path = tmp_path / "broken.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(UnreadableDocumentError, match=r"broken\.jsonl\.gz: .* expected JSON lines"):
        read_questions(path)


def test_two_texts_of_one_doc_id_are_two_documents(write_rows, caplog):
    rows = [
        {"doc_id": "d", "document": text, "question": "Why?", "answers": ["so"]} for text in ("So.", "And so.", "So.")
    ]
    first, second, third = read_questions(write_rows(rows))
    assert (first.doc_id, third.doc_id) == ("d", "d")
    assert second.doc_id.startswith("d#")
    assert [document.document for document in corpus_documents([first, second, third])] == ["So.", "And so."]
    assert "1 documents have the doc_id of another text" in caplog.text


def test_a_missing_and_an_empty_file_are_refused(tmp_path):
    with pytest.raises(UnreadableDocumentError, match="No such file"):
        read_questions(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(UnreadableDocumentError, match="there are none in it"):
        read_questions(tmp_path / "empty.jsonl")


@pytest.mark.parametrize("file", ["a.b.jsonl.gz", "a.b.jsonl", "a.b", "a.b.json", "a.b.json.gz", "a.b.csv"])
def test_a_dataset_is_called_as_its_file(tmp_path, file):
    assert dataset_name(tmp_path / file) == "a.b"


@settings(max_examples=30)
@given(shuffled=st.permutations(MANY), seed=st.integers(0, 5), limit=st.integers(1, 50))
def test_a_sample_depends_on_the_seed_and_not_on_the_order_of_the_file(shuffled, seed, limit):
    drawn = sample(MANY, limit=limit, seed=seed)
    assert sample(shuffled, limit=limit, seed=seed) == drawn
    assert drawn == sample(MANY, seed=seed)[:limit]
    assert len(drawn) == min(limit, len(MANY))


def test_seeds_draw_different_samples_and_repetitions_count_once():
    assert len({tuple(q.id for q in sample(MANY, limit=10, seed=seed)) for seed in range(20)}) == 20
    assert sorted(sample([*MANY, *MANY]), key=lambda q: q.id) == sorted(MANY, key=lambda q: q.id)
    with pytest.raises(ValueError, match="limit=0"):
        sample(MANY, limit=0)


def test_a_sample_is_the_same_on_every_machine():
    drawn = [question.answers[0] for question in sample(MANY, limit=8, seed=3)]
    assert drawn == ["12", "26", "11", "18", "16", "37", "21", "39"]
