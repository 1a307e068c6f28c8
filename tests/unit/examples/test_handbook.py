"""The handbook of the demo: its documents say what its questions expect."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from pypdf import PdfReader

HANDBOOK = Path(__file__).parents[3] / "examples" / "handbook"
DOCUMENTS = sorted((HANDBOOK / "documents").iterdir())
QUESTIONS = [json.loads(line) for line in (HANDBOOK / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
ANSWERABLE = [question for question in QUESTIONS if question["kind"] != "unanswerable"]
by_question = pytest.mark.parametrize("question", ANSWERABLE, ids=lambda question: question["question"])


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def stripped(markup: str) -> str:
    return squeezed(html.unescape(re.sub(r"<(style|title)>.*?</\1>|<[^>]+>", " ", markup, flags=re.DOTALL)))


@cache
def raw(name: str) -> str:
    return (HANDBOOK / "documents" / name).read_text(encoding="utf-8")


@cache
def text_of(name: str) -> str:
    match Path(name).suffix:
        case ".pdf":
            pages = PdfReader(HANDBOOK / "documents" / name).pages
            return squeezed(" ".join(page.extract_text() for page in pages))
        case ".html":
            return stripped(raw(name))
        case ".jsonl":
            return squeezed(" ".join(json.loads(line)["text"] for line in raw(name).splitlines()))
        case _:
            return squeezed(raw(name))


@cache
def table_rows(name: str) -> tuple[frozenset[str], ...]:
    match Path(name).suffix:
        case ".html":
            rows = re.findall(r"<tr>(.*?)</tr>", raw(name), flags=re.DOTALL)
            return tuple(frozenset(map(stripped, re.findall(r"<td>(.*?)</td>", row))) for row in rows)
        case ".md":
            lines = [line for line in raw(name).splitlines() if line.startswith("|")]
            return tuple(frozenset(cell.strip() for cell in line.strip("|").split("|")) for line in lines)
        case _:
            return ()


def stands_in(evidence: str, name: str) -> bool:
    cells = set(evidence.split(" | "))
    if len(cells) > 1:
        return any(cells <= row for row in table_rows(name))
    return evidence in text_of(name)


def sentences(text: str) -> list[str]:
    return [piece for piece in re.split(r"(?<=[.!?])\s+", text) if piece.endswith(".") and len(piece.split()) >= 5]


def test_the_handbook_is_large_and_mixed_enough():
    assert len(DOCUMENTS) >= 14
    assert {path.suffix for path in DOCUMENTS} == {".txt", ".md", ".html", ".pdf", ".jsonl"}
    assert sum(len(sentences(text_of(path.name))) for path in DOCUMENTS) >= 220


def test_there_are_enough_questions_of_every_kind():
    kinds = Counter(question["kind"] for question in QUESTIONS)
    assert len(QUESTIONS) >= 60
    assert kinds.keys() == {"single", "two_document", "unanswerable", "changed"}
    assert kinds["two_document"] >= 4
    assert kinds["unanswerable"] >= 8
    assert kinds["changed"] >= 4


def test_no_question_is_asked_twice():
    counts = Counter(question["question"].casefold() for question in QUESTIONS)
    assert counts.most_common(1)[0][1] == 1


def test_unanswerable_questions_name_no_answer():
    for question in QUESTIONS:
        if question["kind"] == "unanswerable":
            assert not question["answers"] and not question["source"] and not question["evidence"], question


def test_every_document_is_asked_about():
    assert {name for question in QUESTIONS for name in question["source"]} == {path.name for path in DOCUMENTS}


@by_question
def test_every_answer_occurs_in_its_evidence(question):
    assert question["answers"]
    for answer in question["answers"]:
        assert 1 <= len(answer.split()) <= 5
        assert any(re.search(rf"\b{re.escape(answer)}\b", evidence) for evidence in question["evidence"]), answer


@by_question
def test_every_evidence_stands_in_a_named_source_and_every_source_holds_one(question):
    sources, evidences = question["source"], question["evidence"]
    for evidence in evidences:
        assert any(stands_in(evidence, name) for name in sources), evidence
    for name in sources:
        assert any(stands_in(evidence, name) for evidence in evidences), name


@by_question
def test_only_a_two_document_question_needs_two_documents(question):
    assert len(question["source"]) == len(question["evidence"]) == (2 if question["kind"] == "two_document" else 1)


@pytest.mark.parametrize("question", [q for q in QUESTIONS if q["kind"] == "changed"], ids=lambda q: q["question"])
def test_a_changed_fact_has_an_outdated_value_that_a_document_still_states(question):
    assert question["outdated"]
    for answer in question["outdated"]:
        assert answer not in question["answers"]
        assert any(answer in text_of(path.name) for path in DOCUMENTS), answer


def test_messages_carry_text_title_source_and_a_date():
    for path in DOCUMENTS:
        if path.suffix == ".jsonl":
            for message in map(json.loads, raw(path.name).splitlines()):
                assert message.keys() == {"text", "title", "source", "metadata"}
                assert re.fullmatch(r"20\d\d-\d\d-\d\d", message["metadata"]["date"])


def test_the_first_questions_show_every_kind_and_four_formats():
    first = QUESTIONS[:8]
    assert {question["kind"] for question in first} == {"single", "two_document", "unanswerable", "changed"}
    assert len({Path(name).suffix for question in first for name in question["source"]}) >= 4


def test_the_pdf_script_writes_the_committed_text(tmp_path):
    subprocess.run([sys.executable, str(HANDBOOK / "make_pdfs.py"), str(tmp_path)], check=True)
    written = sorted(tmp_path.iterdir())
    assert [path.name for path in written] == [path.name for path in DOCUMENTS if path.suffix == ".pdf"]
    for path in written:
        assert squeezed(" ".join(page.extract_text() for page in PdfReader(path).pages)) == text_of(path.name)


def test_the_readme_lists_every_document():
    readme = (HANDBOOK / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in DOCUMENTS if f"`{path.name}`" not in readme] == []
