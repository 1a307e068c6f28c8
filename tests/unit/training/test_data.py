import gzip
import json

import pytest

from parametric_memory.errors import TrainingError
from parametric_memory.training.data import VALIDATION_SHARE, Source, align, held_out, read_corpus, read_rows

ROW = {"document": "Ada lives in Delft. Bob lives in Ghent.", "question": "Where does Bob live?", "answers": ["Ghent"]}


def write(folder, rows, name="mine.jsonl.gz"):
    with gzip.open(folder / name, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder / name


def test_an_answer_is_aligned_to_the_sentence_that_shares_most_words_with_the_question():
    texts = ["Delft has canals.", "Ada lives in Delft.", "Bob does not."]
    assert align("Where does Ada live?", "Delft", texts) == (1, 13)
    assert align("Where?", "Paris", texts) is None
    assert align("Where?", "elft", texts) is None, "inside a word is no answer"


def test_a_corpus_holds_documents_sentence_by_sentence(tmp_path):
    write(tmp_path, [ROW, {**ROW, "question": "Where does Ada live?", "answers": ["Delft"]}])
    corpus = read_corpus(tmp_path, {"mine": Source(10)})
    assert corpus.texts == ["Ada lives in Delft.", "Bob lives in Ghent."]
    golds = {example.question: corpus.texts[example.anchor] for example in [*corpus.train, *corpus.validation]}
    assert golds == {"Where does Bob live?": corpus.texts[1], "Where does Ada live?": corpus.texts[0]}
    assert corpus.siblings(0) == [1]


def test_alone_takes_the_sentence_out_of_its_document(tmp_path):
    write(tmp_path, [ROW])
    assert read_corpus(tmp_path, {"mine": Source(10, alone=True)}).texts == ["Bob lives in Ghent."]


def test_validation_holds_out_whole_documents(tmp_path):
    rows = [
        {**ROW, "document": f"Bob lives in Ghent. It is {n}.", "question": f"Where {m}?"}
        for n in range(300)
        for m in "ab"
    ]
    write(tmp_path, rows)
    corpus = read_corpus(tmp_path, {"mine": Source(1000)})
    held_out = {corpus.document_of[example.anchor] for example in corpus.validation}
    assert held_out and not held_out & {corpus.document_of[example.anchor] for example in corpus.train}


def test_what_is_held_out_depends_on_the_title_or_else_on_the_text(tmp_path):
    rows = [
        {**ROW, "document": f"Bob lives in Ghent. It is {n}.", "title": f"T{n // 2}" if n % 4 < 2 else ""}
        for n in range(400)
    ]
    write(tmp_path, rows)
    corpus = read_corpus(tmp_path, {"mine": Source(1000)})
    found = {corpus.texts[example.anchor + 1] for example in corpus.validation}
    told = {row["document"].partition(". ")[2] for row in rows if held_out(row["document"], title=row["title"])}
    assert found == told != set()
    assert held_out("one text", title="T") == held_out("another", title="T")
    assert sum(held_out(str(n)) for n in range(10_000)) / 10_000 == pytest.approx(VALIDATION_SHARE, rel=0.2)


def test_unanswerable_and_unaligned_rows_are_left_out(tmp_path):
    write(tmp_path, [ROW, {**ROW, "answers": []}, {**ROW, "answers": ["Paris"]}])
    corpus = read_corpus(tmp_path, {"mine": Source(10)})
    assert len(corpus.train) + len(corpus.validation) == 1


def test_a_broken_line_is_named(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"document": "x"}\nnot json\n')
    with pytest.raises(TrainingError, match="line 2"):
        list(read_rows(tmp_path / "mine.jsonl"))


def test_a_folder_without_data_is_a_clear_error(tmp_path):
    with pytest.raises(TrainingError, match=r"no \*\.jsonl"):
        read_corpus(tmp_path)


def test_a_folder_of_ones_own_files_is_read_whole(tmp_path):
    write(tmp_path, [ROW], "mine.jsonl.gz")
    write(tmp_path, [{**ROW, "document": "Cid lives in Bonn.", "answers": ["Bonn"]}], "yours.jsonl.gz")
    assert len(read_corpus(tmp_path).texts) == 3
