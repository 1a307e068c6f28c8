import gzip
import json
import logging

import pytest

from parametric_memory.errors import TrainingError
from parametric_memory.training.data import (
    DEFAULT_MIXTURE,
    VALIDATION_SHARE,
    Source,
    held_out,
    read_corpus,
    read_rows,
)
from parametric_memory.training.kinds import multi_hop, triples

ROW = {"document": "Ada lives in Delft. Bob lives in Ghent.", "question": "Where does Bob live?", "answers": ["Ghent"]}


def write(folder, rows, name="mine.jsonl.gz"):
    with gzip.open(folder / name, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder / name


def test_a_corpus_holds_documents_sentence_by_sentence(tmp_path):
    write(tmp_path, [ROW, {**ROW, "question": "Where does Ada live?", "answers": ["Delft"]}])
    corpus = read_corpus(tmp_path, {"mine": Source(10)})
    assert corpus.texts == ["Ada lives in Delft.", "Bob lives in Ghent."]
    golds = {example.question: corpus.texts[example.anchor] for example in [*corpus.train, *corpus.validation]}
    assert golds == {"Where does Bob live?": corpus.texts[1], "Where does Ada live?": corpus.texts[0]}
    assert corpus.siblings(0) == [1]


def test_a_scale_takes_more_of_every_file_and_document(tmp_path):
    rows = [{**ROW, "question": f"Where does Bob live, {n}?"} for n in range(8)]
    write(tmp_path, rows)

    def taken(scale):
        corpus = read_corpus(tmp_path, {"mine": Source(4, each=2)}, scale=scale)
        return len(corpus.train) + len(corpus.validation)

    assert (taken(0.1), taken(1), taken(2)) == (1, 2, 4)


def test_alone_takes_the_sentence_out_of_its_document(tmp_path):
    write(tmp_path, [ROW])
    assert read_corpus(tmp_path, {"mine": Source(10, alone=True)}).texts == ["Bob lives in Ghent."]


def test_validation_holds_out_whole_documents(tmp_path):
    rows = [
        {**ROW, "document": f"Bob {n} lives in Ghent. It is {n}.", "question": f"Where {m}?"}
        for n in range(300)
        for m in "ab"
    ]
    write(tmp_path, rows)
    corpus = read_corpus(tmp_path, {"mine": Source(1000)})
    held_out = {corpus.document_of[example.anchor] for example in corpus.validation}
    assert held_out and not held_out & {corpus.document_of[example.anchor] for example in corpus.train}


def test_what_is_held_out_depends_on_the_title_or_else_on_the_text(tmp_path):
    rows = [
        {**ROW, "document": f"Bob {n} lives in Ghent. It is {n}.", "title": f"T{n // 2}" if n % 4 < 2 else ""}
        for n in range(400)
    ]
    write(tmp_path, rows)
    corpus = read_corpus(tmp_path, {"mine": Source(1000)})
    found = {corpus.texts[example.anchor + 1] for example in corpus.validation}
    told = {row["document"].partition(". ")[2] for row in rows if held_out(row["document"], title=row["title"])}
    assert found == told != set()
    assert held_out("one text", title="T") == held_out("another", title="T")
    assert sum(held_out(str(n)) for n in range(10_000)) / 10_000 == pytest.approx(VALIDATION_SHARE, rel=0.2)


def questions(corpus):
    return [*corpus.train, *corpus.validation]


def test_what_cannot_be_used_is_counted_and_logged_by_reason(tmp_path, caplog):
    rows = [
        ROW, {**ROW, "question": "Where does Eve live?", "answers": []}, {**ROW, "answers": ["Paris"]},
        ROW, {**ROW, "document": " "}, {"question": "Who?"}, {**ROW, "document": "x" * 30_000},
    ]  # fmt: skip
    write(tmp_path, rows)
    with caplog.at_level(logging.INFO):
        corpus = read_corpus(tmp_path, {"mine": Source(10)})
    assert sorted(example.answer for example in questions(corpus)) == ["", "Ghent"]
    line = next(message for message in caplog.messages if "mine" in message)
    assert "2 questions of 7 rows" in line
    for reason in ("1: it was asked before", "2: it has no document", "1: its document is longer"):
        assert reason in line


def test_at_most_so_many_questions_are_taken_of_a_file_and_of_a_document(tmp_path):
    rows = [
        {**ROW, "document": f"Bob {n} lives in Ghent. It is {n}.", "question": f"Where {m}?"}
        for n in range(30)
        for m in "abc"
    ]
    write(tmp_path, rows)
    assert len(questions(read_corpus(tmp_path, {"mine": Source(10)}))) == 10
    corpus = read_corpus(tmp_path, {"mine": Source(1000, each=2)})
    of_document = [corpus.document_of[example.anchor] for example in questions(corpus)]
    assert len(of_document) == 60 and len(set(of_document)) == 30


def test_what_a_cap_takes_is_not_what_is_held_out(tmp_path):
    write(tmp_path, [{**ROW, "document": f"Bob {n} lives in Ghent. It is {n}."} for n in range(4000)])
    corpus = read_corpus(tmp_path, {"mine": Source(1000)})
    assert len(corpus.validation) == pytest.approx(1000 * VALIDATION_SHARE, rel=0.5)


def test_a_file_is_read_the_same_way_whatever_the_order_of_its_rows(tmp_path):
    rows = [
        {**ROW, "document": f"Bob {n} lives in Ghent. It is {n}.", "question": f"Where {m}?"}
        for n in range(20)
        for m in "ab"
    ]
    made = []
    for number, ordered in enumerate((rows, rows[::-1])):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder, ordered)
        made.append(read_corpus(folder, {"mine": Source(25)}))
    assert made[0].texts == made[1].texts and made[0].train == made[1].train


def test_paragraphs_of_a_multi_hop_question_are_documents_of_their_own(tmp_path):
    row = {
        "document": "Skerry\nAda Byron bought it.\n\nAda Byron\nShe wrote. She was born in London.\n\nBob\nHe sang.",
        "title": "Skerry; Ada Byron", "question": "Where was the buyer of Skerry born?", "answers": ["London"],
    }  # fmt: skip
    write(tmp_path, [row])
    corpus = read_corpus(tmp_path, {"mine": Source(1, multi_hop)})
    (example,) = questions(corpus)
    told = [(corpus.contexts[corpus.document_of[gold]], corpus.texts[gold]) for gold in example.golds]
    assert told == [("Skerry", "Ada Byron bought it."), ("Ada Byron", "She was born in London.")]
    assert corpus.texts[example.places[0].atom][example.places[0].begin : example.places[0].end] == "London"
    assert [corpus.texts[atom] for atom in example.look_alikes] == ["He sang."]


def quoting_rows():
    """Return rows of two files: articles, and single sentences of theirs, spaced and cut differently."""
    articles, single = [], []
    for number in range(400):
        title, keeper = f"Hall {number}", f"Keeper{number * 7919 % 1000}"
        first = f"{title} was built by the sea in the year {1500 + number}, when much else was built there"
        second = f"The keeper of {title} is {keeper}."
        articles.append(
            {"document": f"{first}. {second}", "title": title, "question": f"Keeper of {title}?", "answers": [keeper]}
        )
        single.append({"document": second.replace(" is", "  is"), "question": "Who keeps it?", "answers": [keeper]})
        single.append({"document": f"Once {first} .", "question": "When?", "answers": [str(1500 + number)]})
        single.append({"document": second, "question": "Who is mayor?", "answers": []})
    return articles, single


def test_no_sentence_of_a_held_out_document_is_trained_on_in_any_file(tmp_path):
    articles, single = quoting_rows()
    write(tmp_path, articles, "a.jsonl.gz")
    write(tmp_path, single, "b.jsonl.gz")
    corpus = read_corpus(tmp_path)
    numbers = {row["title"].split()[1] for row in articles if held_out(row["document"], title=row["title"])}
    assert numbers
    used = [corpus.texts[atom] for e in corpus.train for atom in (*e.golds, *e.look_alikes)]
    told = {text.partition("Hall ")[2].split()[0] for text in used}
    assert not told & numbers and len(told) > 300
    validated = {corpus.document_of[example.anchor] for example in corpus.validation}
    forbidden = {corpus.texts[atom] for document in validated for atom in corpus.documents[document]}
    assert not forbidden & set(used)


def test_what_every_document_says_is_no_quotation(tmp_path):
    rows = [
        {
            **ROW,
            "document": f"Bob {n} lives in Ghent. All rights are reserved.",
            "question": f"Where does Bob {n} live?",
        }
        for n in range(300)
    ]
    write(tmp_path, rows)
    corpus = read_corpus(tmp_path)
    assert corpus.validation and len(corpus.train) + len(corpus.validation) == 300


def test_facts_are_held_out_by_subject(tmp_path):
    rows = [
        {
            "document": f"In {year}, Person {n} lived in Town {n}.",
            "triples": [[f"Person {n}", "RESIDENCE", f"Town {n}"]],
        }
        for n in range(300)
        for year in (1950, 1960)
    ]
    write(tmp_path, rows)
    corpus = read_corpus(tmp_path, {"mine": Source(1000, triples)})

    def subjects(examples):
        return {corpus.texts[example.anchor].partition("Person ")[2].split()[0] for example in examples}

    out = {str(n) for n in range(300) if held_out("", title=f"Person {n}")}
    assert out and out <= subjects(corpus.validation) and not out & subjects(corpus.train)


def test_the_default_mixture_is_mostly_squad():
    squad = sum(source.questions for name, source in DEFAULT_MIXTURE.items() if name.startswith("squad"))
    assert squad > sum(source.questions for source in DEFAULT_MIXTURE.values()) / 2


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
