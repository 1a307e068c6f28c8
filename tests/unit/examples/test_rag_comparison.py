"""The page that compares RAG and weights: its arms on a tiny base model, and the whole in a real browser.

The pictures of the how-to page are taken by the browser's test: ``SCREENSHOTS=docs/how-to/images pytest <this file>``.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "rag_comparison"
HANDBOOK = ROOT / "examples" / "handbook" / "documents"
TINY_PMEM = ROOT / "tests" / "unit" / "cli" / "tiny_pmem.py"
ARMS = ["Weights", "Weights + text", "RAG · LangChain", "RAG · LlamaIndex", "Closed-book"]
FERRIES = "The ferry Tern was launched in Skarvik in 2019. Her captain is Ines Holm."
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


# ---------------------------------------------------------------- the arms, on a tiny base model


@pytest.fixture(scope="module")
def example():
    """The example's modules, found as a script finds those beside it."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        import arms
        import comparison

        yield comparison
    finally:
        sys.path.remove(str(EXAMPLE))
        for name in ("arms", "comparison"):
            sys.modules.pop(name, None)
        del arms


@pytest.fixture
def compared(example, tmp_path):
    tiny = runpy.run_path(str(TINY_PMEM))["tiny_memory"]
    with tiny(path=tmp_path / "memory") as memory:
        # Its tokens are bytes: prompts with text in them are longer than its usual window.
        memory.backend.model.config.max_position_embeddings = memory.backend._window = 16384
        yield example.Comparison(memory, tmp_path)


@pytest.fixture
def ferries(tmp_path):
    file = tmp_path / "ferries.txt"
    file.write_text(FERRIES, encoding="utf-8")
    return file


def test_every_arm_answers_every_question(compared, ferries):
    assert compared.add(ferries) == []
    answers = compared.ask("Who is the captain of the Tern?")
    assert list(answers) == ARMS
    assert all(one.ms > 0 for one in answers.values())


def test_rag_reads_the_documents_and_the_closed_book_does_not(compared, ferries):
    compared.add(ferries)
    answers = compared.ask("Who is the captain of the Tern?")
    bare = answers["Closed-book"].prompt_tokens
    assert answers["RAG · LangChain"].prompt_tokens > bare + len(FERRIES) // 2  # the tiny base reads bytes
    assert answers["RAG · LlamaIndex"].prompt_tokens > bare + len(FERRIES) // 2
    assert answers["Closed-book"].quotes == ()


def test_quotes_are_the_characters_of_the_document_that_they_name(compared, ferries):
    compared.add(ferries)
    for name in ("RAG · LangChain", "RAG · LlamaIndex"):
        quotes = compared.ask("Who is the captain of the Tern?")[name].quotes
        assert quotes
        assert all(FERRIES[quote.start : quote.end] == quote.text for quote in quotes)
        assert {Path(quote.source).name for quote in quotes} == {"ferries.txt"}


def test_a_file_that_changed_replaces_what_was_held_of_it(compared, ferries):
    compared.add(ferries)
    ferries.write_text("The ferry Tern was sold in 2033.", encoding="utf-8")
    compared.add(ferries)
    answers = compared.ask("What happened to the Tern?")
    quoted = [quote.text for name in ARMS[2:4] for quote in answers[name].quotes]
    assert quoted == ["The ferry Tern was sold in 2033."] * 2


def test_what_is_forgotten_is_quoted_by_nobody(compared, ferries):
    compared.add(ferries)
    [held] = compared.held()
    compared.forget(held.source)
    assert compared.held() == []
    assert not any(one.quotes for one in compared.ask("Who is the captain of the Tern?").values())


def test_documents_of_an_earlier_run_are_indexed_for_rag_too(example, compared, ferries, tmp_path):
    compared.add(ferries)
    again = example.Comparison(compared._memory, tmp_path / "again")
    assert all(again.ask("Who is the captain?")[name].quotes for name in ARMS[2:4])


def test_everybody_but_the_closed_book_stores_something(compared, ferries):
    compared.add(ferries)
    assert {arm.name: arm.stored_bytes() > 0 for arm in compared.arms} == {name: name != ARMS[4] for name in ARMS}


def test_a_tally_scores_answers_and_counts_refusals(example):
    from dataclasses import replace

    shown = sys.modules["arms"].Shown("Ines Holm.", (), prompt_tokens=10, ms=20.0)
    tally = example.Tally()
    tally.note(example.Asked("Who is the captain?", ("Ines Holm",)), shown)
    tally.note(example.Asked("Who is the captain?", ("Ines Holm",)), replace(shown, text="Nobody", prompt_tokens=30))
    tally.note(example.Asked("Who was the last captain?", ()), replace(shown, abstained=True))
    assert tally.row() == {
        "answered": "3", "f1": "0.50", "contains": "0.50", "refused_rightly": "1 of 1", "refused_wrongly": "0 of 2",
        "tokens": "17", "ms": "20",
    }  # fmt: skip


@pytest.mark.parametrize("line", ["What is it?", '{"answers": ["42"]}', '["question"]', '{"question": 1}'])
def test_a_line_that_asks_nothing_is_named(example, line):
    with pytest.raises(ValueError, match=r"line 2 is .*expected"):
        example.read_questions('{"question": "Who?", "answers": ["She"]}\n' + line)


def test_a_file_without_questions_is_refused(example):
    with pytest.raises(ValueError, match="no question"):
        example.read_questions("\n\n")


# ---------------------------------------------------------------- the page, in a browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The example as people start it, on two files of the handbook."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    files = [str(HANDBOOK / name) for name in ("catering.md", "buildings.txt")]
    log = tmp_path_factory.mktemp("page") / "log.txt"
    with log.open("w") as out:
        command = [sys.executable, str(EXAMPLE / "app.py"), *files, "--port", str(port), "--no-browser"]
        # NiceGUI would take itself for a part of the test.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        server = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            _wait_for(f"http://127.0.0.1:{port}", server, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(30)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        assert server.poll() is None, log.read_text()
        with suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.5)
    raise AssertionError(f"the page did not come up: {log.read_text()}")


@pytest.fixture(scope="module")
def page(address):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=BROWSER, args=quiet)
        page = browser.new_page(viewport={"width": 1360, "height": 1100})
        page.set_default_timeout(60_000)
        page.goto(address)
        yield page
        browser.close()


def card(page, arm: str):
    return page.locator(f'[data-arm="{arm}"]')


def ask(page, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.locator(".asked", has_text=question).wait_for()
    assert page.locator("[data-arm] .tokens").count() == len(ARMS)


def tokens(page, arm: str) -> int:
    return int(card(page, arm).locator(".tokens").inner_text().split()[0])


def picture(page, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=ROOT / folder / name, full_page=True)


@pytest.mark.model
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome")
class TestThePage:
    def test_it_shows_the_documents(self, page):
        page.get_by_text("2 documents, ").wait_for()
        for name in ("catering.md", "buildings.txt"):
            page.get_by_text(name, exact=True).wait_for()

    def test_it_shows_what_every_arm_answers_from_what_and_at_what_cost(self, page):
        ask(page, "Who is the keeper of Hall 4B?")
        assert card(page, "Weights").locator(".answer").inner_text() == "Bastian Orme"
        for arm in ARMS[:4]:
            assert "buildings.txt" in card(page, arm).locator(".quote").first.inner_text()
        assert card(page, "Closed-book").locator(".quote").count() == 0
        assert tokens(page, "Weights") == tokens(page, "Closed-book") < tokens(page, "Weights + text")
        assert tokens(page, "Weights + text") < tokens(page, "RAG · LangChain")
        picture(page, "rag-comparison.png")

    def test_a_document_that_is_added_is_answered_from_and_forgotten_again(self, page):
        upload = page.locator(".upload input[type=file]")
        upload.set_input_files({"name": "ferries.txt", "mimeType": "text/plain", "buffer": FERRIES.encode()})
        page.get_by_text("3 documents, ").wait_for()
        ask(page, "Where was the ferry Tern launched?")
        page.locator('[data-arm="Weights"] .quote', has_text="ferries.txt").first.wait_for()
        page.get_by_role("button", name="Forget ferries.txt").click()
        page.get_by_text("2 documents, ").wait_for()
        ask(page, "Who is the captain of the ferry Tern?")
        assert page.locator(".quote", has_text="ferries.txt").count() == 0

    def test_it_scores_a_file_of_questions_while_they_are_answered(self, page):
        questions = [
            {"question": "What is the staff canteen on the quay of Port Velden called?", "answers": ["Café Fathom"]},
            {"question": "Who is the keeper of Hall 4B?", "answers": ["Bastian Orme"]},
        ]
        lines = "\n".join(map(json.dumps, questions)).encode()
        upload = page.locator(".questions input[type=file]")
        upload.set_input_files({"name": "own.jsonl", "mimeType": "application/json", "buffer": lines})
        page.get_by_text("0 of 2 of own.jsonl's questions").wait_for()
        page.get_by_role("button", name="Ask them all").click()
        page.get_by_text("2 of 2 of own.jsonl's questions").wait_for()
        rows = [row.inner_text().split("\t") for row in page.locator("tbody tr").all()]
        assert [row[0] for row in rows] == ARMS
        assert [row[1] for row in rows] == ["2"] * len(ARMS)
        assert float(rows[0][2]) > float(rows[4][2])  # weights know more than the bare base model
        picture(page, "rag-comparison-score.png")

    def test_a_file_that_holds_no_questions_is_explained(self, page):
        upload = page.locator(".questions input[type=file]")
        upload.set_input_files({"name": "wrong.jsonl", "mimeType": "application/json", "buffer": b"hello"})
        page.get_by_text("wrong.jsonl: line 1 is 'hello'").wait_for()
        page.get_by_text("of own.jsonl's questions").wait_for()

    def test_an_empty_question_is_not_asked(self, page):
        page.get_by_label("Your question").fill("  ")
        page.get_by_role("button", name="Ask", exact=True).click()
        page.get_by_text("Write a question first.").wait_for()
