"""The formats that people have questions in; small files of each are written here."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest
from fpdf import FPDF

from parametric_memory.errors import UnreadableDocumentError
from parametric_memory.evaluation.datasets import CorpusDocument, corpus_documents, read_questions

NORMANS = "The Normans gave their name to Normandy. Rollo led them."
SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Norman_people",
            "paragraphs": [
                {
                    "context": NORMANS,
                    "qas": [
                        {
                            "id": "1", "question": "Who led them?", "is_impossible": False,
                            "answers": [{"text": "Rollo", "answer_start": 41}, {"text": "Rollo", "answer_start": 41}],
                        },
                        {
                            "id": "2", "question": "Who led the Danes?", "is_impossible": True,
                            "answers": [], "plausible_answers": [{"text": "Rollo", "answer_start": 41}],
                        },
                    ],
                },
                {"context": "Nobody asks about this.", "qas": []},
            ],
        }
    ],
}  # fmt: skip
HOTPOT = {
    "_id": "5a8",
    "question": "In which country was the director of Tern born?",
    "answer": "Norway",
    "type": "bridge",
    "supporting_facts": [["Tern (film)", 0], ["Mara Lind", 1], ["Mara Lind", 7]],
    "context": [
        ["Skerry", ["Skerry is an island.", " It is small."]],
        ["Tern (film)", ["Tern was directed by Mara Lind.", " It is long."]],
        ["Mara Lind", ["Mara Lind is a director.", " She was born in Norway."]],
    ],
}
LONGBENCH = {"input": "Who is it?", "context": "It is Ada.", "answers": ["Ada"], "length": 3, "_id": "a1"}


def write(path: Path, content: Any, *, indent: int | None = None) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=indent), encoding="utf-8")
    return path


@pytest.mark.parametrize("indent", [None, 2])
def test_squads_official_file_is_read_on_one_line_or_many(tmp_path, indent):
    answerable, impossible = read_questions(write(tmp_path / "dev-v2.0.json", SQUAD, indent=indent))
    assert (answerable.dataset, answerable.title, answerable.document) == ("dev-v2.0", "Norman people", NORMANS)
    assert (answerable.question, answerable.answers, answerable.answerable) == ("Who led them?", ("Rollo",), True)
    assert (impossible.question, impossible.answers, impossible.answerable) == ("Who led the Danes?", (), False)
    assert answerable.doc_id == impossible.doc_id


def test_the_corpus_of_a_file_has_documents_that_no_question_is_about(tmp_path):
    path = write(tmp_path / "squad.json", SQUAD)
    assert [document.document for document in corpus_documents(path)] == [NORMANS, "Nobody asks about this."]
    [asked] = corpus_documents(read_questions(path))
    assert asked == CorpusDocument(read_questions(path)[0].doc_id, "Norman people", NORMANS)


def test_rows_of_squad_are_read_one_by_one(tmp_path):
    row = {"id": "1", "title": "N", "context": NORMANS, "question": "Who?", "answers": {"text": ["Rollo"]}}
    assert read_questions(write(tmp_path / "rows.jsonl", row))[0].answers == ("Rollo",)
    assert read_questions(write(tmp_path / "rows.json", [row]))[0].document == NORMANS


@pytest.mark.parametrize("indent", [None, 2])
def test_hotpotqa_keeps_the_supporting_sentences(tmp_path, indent):
    [question] = read_questions(write(tmp_path / "hotpot.json", [HOTPOT], indent=indent))
    assert question.doc_id == "5a8" and question.title == "" and question.answers == ("Norway",)
    assert question.supports == ("Tern was directed by Mara Lind.", "She was born in Norway.")
    assert all(support in question.document for support in question.supports)
    assert question.document.startswith("Skerry\nSkerry is an island. It is small.\n\nTern (film)\n")


def test_multihop_rows_with_columns_are_the_same_question(tmp_path):
    titles, sentences = zip(*HOTPOT["context"], strict=True)
    facts, numbers = zip(*HOTPOT["supporting_facts"], strict=True)
    columns = HOTPOT | {
        "context": {"title": titles, "sentences": sentences}, "supporting_facts": {"title": facts, "sent_id": numbers},
    }  # fmt: skip
    assert read_questions(write(tmp_path / "a.jsonl", columns)) == read_questions(write(tmp_path / "a.json", [HOTPOT]))


def test_longbench_is_read_line_by_line(tmp_path):
    lines = [LONGBENCH, LONGBENCH | {"input": "Since when?", "answers": ["unanswerable"]}]
    first, second = read_questions(write(tmp_path / "qasper.jsonl", "\n".join(map(json.dumps, lines))))
    assert (first.question, first.document, first.answers) == ("Who is it?", "It is Ada.", ("Ada",))
    assert (second.answers, second.answerable) == ((), False)
    assert first.doc_id == second.doc_id


def test_every_format_may_be_gzipped_whatever_its_name(tmp_path):
    plain, packed = tmp_path / "squad.json", tmp_path / "packed" / "squad.json"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(write(plain, SQUAD).read_bytes()))
    assert read_questions(packed) == read_questions(plain)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"data": [{"title": "A", "paragraphs": [{"qas": []}]}]}, "article 1, paragraph 1: 'context' is null"),
        ({"data": [{"title": "A"}]}, "article 1: 'paragraphs' is null, expected a list"),
        ({"data": [3]}, "article 1: a int where a JSON object is expected"),
        (
            {"data": [{"paragraphs": [{"context": "A.", "qas": [{"question": "B?", "answers": "C"}]}]}]},
            "article 1, paragraph 1, question 1: 'answers' is \"C\", expected a list",
        ),
        ([HOTPOT, HOTPOT | {"context": [["Tern", "One text."]]}], "item 2: 'context' has [\"Tern\", \"One text.\"]"),
        ([HOTPOT | {"supporting_facts": [["Tern", "0"]]}], "item 1: 'supporting_facts' has [\"Tern\", \"0\"]"),
        ([{key: HOTPOT[key] for key in ("context", "question")}], "item 1: 'answer' is null, expected a text"),
        (LONGBENCH | {"input": ""}, "line 1: 'input' is empty: this task has no questions"),
        ('[\n{"document": "A."},\n{"document" "B."}]', "line 3: not JSON (Expecting ':' delimiter, column 13)"),
        ("Once upon a time\nthere was a file", "line 1: 'Once upon a time', expected JSON lines"),
    ],
)  # fmt: skip
def test_what_is_no_question_is_named_by_its_place(tmp_path, content, problem):
    path = write(tmp_path / "bad.json", content)
    with pytest.raises(UnreadableDocumentError) as caught:
        read_questions(path)
    assert str(caught.value).startswith(f"reading the questions of {path}, ")
    assert problem in str(caught.value)


# ---------------------------------------------------------------- a table beside a folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder ``documents`` with a file of each kind."""
    folder = tmp_path / "documents"
    (folder / "sub").mkdir(parents=True)
    write(folder / "port.txt", "The harbour of Lorn opened in 1894.")
    write(folder / "bakery.md", "# The bakery\n\nIts owner is Maud Ferris.")
    write(folder / "sub" / "river.html", "<h1>The Ebble</h1><p>The Ebble is nineteen kilometres long.</p>")
    page = FPDF()
    page.add_page()
    page.set_font("helvetica", size=12)
    page.cell(text="The lighthouse is green.")
    page.output(str(folder / "light.pdf"))
    return folder


def test_a_table_names_documents_of_every_kind(folder):
    path = write(
        folder.parent / "mine.csv",
        "Question,Answers,Document\n"
        "When did the harbour open?,1894 | in 1894,port.txt\n"
        "Who owns the bakery?,Maud Ferris,bakery.md\n"
        '"How long, in kilometres?",nineteen,sub/river.html\n'
        "Which colour is the lighthouse?,green,light.pdf\n"
        "Who is the king?,,port.txt\n",
    )
    questions = read_questions(path)
    assert [question.answers for question in questions] == [
        ("1894", "in 1894"), ("Maud Ferris",), ("nineteen",), ("green",), (),
    ]  # fmt: skip
    assert [question.doc_id for question in questions][2:] == ["sub/river.html", "light.pdf", "port.txt"]
    assert all(question.answers[0] in question.document for question in questions[:4])
    assert questions[2].title == "The Ebble" and questions[2].question == "How long, in kilometres?"
    assert not questions[4].answerable and questions[4].dataset == "mine"


def test_a_table_without_documents_asks_of_any_and_finds_where_the_answers_stand(folder):
    path = write(
        folder.parent / "mine.csv",
        "question;answer\nWho owns the bakery?;Maud Ferris\nWhich colour?;green\nHow long is the king of the Ebble?;\n",
    )
    questions = read_questions(path)
    assert [question.doc_id for question in questions] == ["bakery.md", "light.pdf", "sub/river.html"]
    assert all(question.anywhere for question in questions)
    assert all(question.answers[0] in question.document for question in questions[:2])
    titles = {document.doc_id: document.title for document in corpus_documents(path)}
    assert list(titles) == ["bakery.md", "light.pdf", "port.txt", "sub/river.html"]
    assert titles["bakery.md"] == "The bakery" and titles["sub/river.html"] == "The Ebble"


def test_of_several_documents_with_the_answer_the_one_nearest_in_words_is_meant(folder):
    write(folder / "all.jsonl", '{"text": "Hall 4 is green."}\n{"text": "The lighthouse of Skerry is green."}\n')
    path = write(folder.parent / "mine.csv", "question,answer\nWhich colour is the lighthouse of Skerry?,Green\n")
    [question] = read_questions(path)
    assert (question.doc_id, question.document) == ("all.jsonl#2", "The lighthouse of Skerry is green.")


def test_files_beside_a_table_that_cannot_be_read_are_in_the_log(folder, caplog):
    (folder / "photo.bin").write_bytes(b"\0\1\2")
    (folder / "empty.txt").touch()
    read_questions(write(folder.parent / "mine.csv", "question,answer\nWhich colour?,green\n"))
    assert "photo.bin: it is binary" in caplog.text and "empty.txt: it is empty" in caplog.text


def test_the_corpus_of_a_table_is_its_folder(folder):
    path = write(folder.parent / "mine.csv", "question,answer,document\nWhen?,1894,port.txt\n")
    names = [document.doc_id for document in corpus_documents(path)]
    assert names == ["port.txt", "bakery.md", "light.pdf", "sub/river.html"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("question,reply\nWho?,Ada\n", "row 1: the columns are [\"question\", \"reply\"], expected question, answer"),
        ("question,answer\nWho, then?,Ada\n", "row 2: 3 cells for 2 columns; put quotes around"),
        ('question,answer\nWho?,Ada\n"Who,Ada\n', "row 3: not CSV"),
        ("question,answer,document\nWho?,Ada,none.txt\n", "row 2: its document is 'none.txt', a path inside"),
        ("question,answer,document\nWho?,Ada,port.txt\nWho?,Eve,\n", "row 3: it names no document, but other rows do"),
        ("question,answer,document\n,Ada,port.txt\n", "row 2: 'question' is \"\", expected a text"),
    ],
)  # fmt: skip
def test_a_row_of_a_table_that_cannot_be_used_is_named(folder, text, problem):
    path = write(folder.parent / "bad.csv", text)
    with pytest.raises(UnreadableDocumentError) as caught:
        read_questions(path)
    assert f"{path}, {problem}" in str(caught.value)


def test_a_table_without_a_folder_says_where_documents_belong(tmp_path):
    path = write(tmp_path / "mine.csv", "question,answer\nWho?,Ada\n")
    with pytest.raises(UnreadableDocumentError, match="no folder of documents beside it; put the documents into"):
        read_questions(path)
    (tmp_path / "mine").mkdir()
    write(tmp_path / "mine" / "a.txt", "Ada.")
    assert read_questions(path)[0].document == "Ada."


def test_many_questions_about_a_long_document_take_time_in_proportion(tmp_path):
    def seconds(count):
        rows = (json.dumps(LONGBENCH | {"input": f"Who is {n}?", "context": "word " * 10_000}) for n in range(count))
        path = write(tmp_path / f"{count}.jsonl", "\n".join(rows))
        began = time.perf_counter()
        questions = read_questions(path)
        corpus_documents(questions)
        # Rows of one document share its text, so that memory does not grow with questions either.
        assert len({id(question.document) for question in questions}) == 1
        return time.perf_counter() - began

    seconds(10)
    assert seconds(400) < 20 * seconds(100)
