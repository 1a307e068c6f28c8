"""RAG and weights side by side, on your own documents: a page in the browser.

    python examples/rag_comparison/app.py                       # begins with the handbook of examples/
    python examples/rag_comparison/app.py my_documents/ --path ./memory

Add documents, ask, and see what LangChain's RAG, LlamaIndex's RAG, the bare base model and the memory answer, what each
answer stands on, and what it cost; or let all of them answer a file of questions, and watch the score.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path, PurePath

from arms import Shown
from comparison import Comparison, Tally, read_questions
from nicegui import events, run, ui

from parametric_memory import ParametricMemory
from parametric_memory.errors import ParametricMemoryError

HANDBOOK = Path(__file__).resolve().parents[1] / "handbook"
#: Longest part of a source that a card shows; the whole of it is in a tooltip.
QUOTED = 220
COLUMNS = {
    "arm": "",
    "answered": "Answered",
    "f1": "F1",
    "contains": "Contains the answer",
    "refused_rightly": "Right refusals",
    "refused_wrongly": "Wrong refusals",
    "tokens": "Tokens read",
    "ms": "ms (median)",
    "bytes": "Stored",
}


class ComparisonPage:
    """What one visitor sees: the documents that all share, and answers and scores of their own."""

    def __init__(self, comparison: Comparison, uploads: Path) -> None:
        self._comparison, self._uploads = comparison, uploads
        self._questions = read_questions((HANDBOOK / "questions.jsonl").read_text(encoding="utf-8"))
        self._asked_from = "the handbook's"
        self._answered, self._answers = "", dict[str, Shown]()
        self._tallies = self._empty()
        self._running = False
        self._build()

    # ---------------------------------------------------------------- what is seen

    def _build(self) -> None:
        ui.colors(primary="#3f51b5")
        with ui.column().classes("w-full max-w-7xl mx-auto p-4 gap-6"):
            with ui.column().classes("gap-0"):
                ui.label("RAG or weights?").classes("text-3xl font-bold")
                ui.label("One base model, the same documents: what is read, what is injected, and what comes of it.")
            with ui.row().classes("w-full gap-6 no-wrap items-start"):
                with ui.column().classes("w-72 shrink-0 gap-2"):
                    self._documents_card()
                with ui.column().classes("grow gap-6 min-w-0"):
                    self._question_card()
                    self._score_card()

    def _documents_card(self) -> None:
        ui.label("Documents").classes("text-xl font-medium")
        ui.upload(label="Add files", multiple=True, auto_upload=True, on_upload=self._upload).classes("w-full").classes(
            "upload"
        )
        self._busy = ui.row().classes("items-center gap-2")
        with self._busy:
            ui.spinner()
            ui.label("compiling and indexing …")
        self._busy.visible = False
        self._documents()

    @ui.refreshable_method
    def _documents(self) -> None:
        held = self._comparison.held()
        ui.label(f"{len(held)} documents, {sum(one.atoms for one in held)} atoms").classes("text-sm text-gray-600")
        with ui.list().props("dense separator").classes("w-full max-h-[32rem] overflow-auto"):
            for one in held:
                with ui.item():
                    with ui.item_section().classes("min-w-0"):
                        ui.item_label(PurePath(one.source).name or one.title).classes("truncate")
                        ui.item_label(f"{one.atoms} atoms, {one.characters:,} characters").props("caption")
                    with ui.item_section().props("side"):
                        ui.button(icon="close", on_click=lambda source=one.source: self._forget(source)).props(
                            f'flat dense round size=sm aria-label="Forget {PurePath(one.source).name}"'
                        )

    def _question_card(self) -> None:
        with ui.row().classes("w-full items-center no-wrap"):
            self._question = ui.input("Your question").classes("grow").props("outlined")
            self._question.on("keydown.enter", self._ask)
            self._ask_button = ui.button("Ask", on_click=self._ask).props("unelevated size=lg")
        self._cards()

    @ui.refreshable_method
    def _cards(self) -> None:
        if self._answered:
            ui.label(self._answered).classes("text-lg asked")
        with ui.grid().classes("w-full gap-4 grid-cols-1 md:grid-cols-2 xl:grid-cols-3"):
            for arm in self._comparison.arms:
                with ui.card().classes("p-4 gap-2 justify-start").props(f'flat bordered data-arm="{arm.name}"'):
                    with ui.column().classes("gap-0"):
                        ui.label(arm.name).classes("text-lg font-medium")
                        ui.label(arm.about).classes("text-xs text-gray-600")
                    if arm.name in self._answers:
                        _show(self._answers[arm.name], stored=arm.stored_bytes())

    def _score_card(self) -> None:
        ui.label("Score").classes("text-xl font-medium")
        with ui.row().classes("w-full items-center"):
            self._about = ui.label()
            ui.upload(label="Your own questions", auto_upload=True, on_upload=self._take_questions).props(
                'accept=".jsonl,.json,.txt"'
            ).classes("w-64 questions")
            self._score_button = ui.button("Ask them all", on_click=self._score).props("unelevated")
            self._stop_button = ui.button("Stop", on_click=self._stop).props("outline")
        self._progress = ui.linear_progress(show_value=False).classes("w-full")
        columns = [
            {"name": key, "label": label, "field": key, "align": "left" if key == "arm" else "right"}
            for key, label in COLUMNS.items()
        ]
        self._table = ui.table(columns=columns, rows=[], row_key="arm").classes("w-full").props("flat bordered dense")
        ui.label(
            "F1 and containment are over the questions that the documents answer; refusals are right where they do not."
        ).classes("text-xs text-gray-600")
        self._refresh_score()

    @property
    def _done(self) -> int:
        """Questions that everybody has answered."""
        return min(len(tally.ms) for tally in self._tallies.values())

    def _refresh_score(self) -> None:
        done = self._done
        self._about.text = f"{done} of {len(self._questions)} of {self._asked_from} questions"
        self._progress.value = done / len(self._questions)
        self._score_button.visible, self._stop_button.visible = not self._running, self._running
        self._table.rows = [
            {"arm": arm.name, "bytes": _bytes(arm.stored_bytes()), **self._tallies[arm.name].row()}
            for arm in self._comparison.arms
        ]

    # ---------------------------------------------------------------- what is done

    async def _upload(self, event: events.UploadEventArguments) -> None:
        file = self._uploads / PurePath(event.file.name).name
        await event.file.save(file)
        self._busy.visible = True
        try:
            for problem in await run.io_bound(self._comparison.add, file):
                ui.notify(problem, type="negative", multi_line=True)
        except ParametricMemoryError as error:
            ui.notify(str(error), type="negative", multi_line=True)
        finally:
            self._busy.visible = False
        self._documents.refresh()
        self._refresh_score()

    async def _forget(self, source: str) -> None:
        await run.io_bound(self._comparison.forget, source)
        self._documents.refresh()

    async def _ask(self) -> None:
        question = self._question.value.strip()
        if not question:
            ui.notify("Write a question first.")
            return
        self._answered, self._answers = "", {}
        self._cards.refresh()
        self._ask_button.props("loading")
        try:
            self._answers = await run.io_bound(self._comparison.ask, question)
            self._answered = question
        except ParametricMemoryError as error:
            ui.notify(str(error), type="negative", multi_line=True)
        finally:
            self._ask_button.props(remove="loading")
        self._cards.refresh()

    async def _take_questions(self, event: events.UploadEventArguments) -> None:
        try:
            self._questions = read_questions(await event.file.text())
        except ValueError as error:
            ui.notify(f"{event.file.name}: {error}", type="negative", multi_line=True)
            return
        self._asked_from, self._tallies = f"{event.file.name}'s", self._empty()
        self._refresh_score()

    async def _score(self) -> None:
        self._running, self._tallies = True, self._empty()
        while self._running and self._done < len(self._questions) and not self._table.is_deleted:
            self._refresh_score()
            # Another file may be taken while this question is answered.
            tallies, asked = self._tallies, self._questions[self._done]
            for name, shown in (await run.io_bound(self._comparison.ask, asked.question)).items():
                tallies[name].note(asked, shown)
        self._running = False
        self._refresh_score()

    def _stop(self) -> None:
        self._running = False

    def _empty(self) -> dict[str, Tally]:
        return {arm.name: Tally() for arm in self._comparison.arms}


def _show(shown: Shown, *, stored: int) -> None:
    """Show an answer, what it cost, and what it stands on."""
    looks = "italic text-gray-500" if shown.abstained else "font-medium"
    ui.label(shown.text or "(no words)").classes(f"text-base {looks} answer")
    with ui.row().classes("gap-3 text-sm text-gray-600"):
        ui.label(f"{shown.prompt_tokens} tokens read").classes("tokens")
        ui.label(f"{shown.ms:.0f} ms")
        ui.label(f"{_bytes(stored)} stored")
    for quote in shown.quotes:
        with ui.column().classes("gap-0 border-l-2 border-indigo-300 pl-2 w-full quote"):
            ui.label(f"{PurePath(quote.source).name}, {quote.start}–{quote.end}").classes("text-xs text-gray-600")
            with ui.label(_shortened(quote.text)).classes("text-sm"):
                ui.tooltip(quote.text).classes("max-w-md")


def _shortened(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= QUOTED else f"{words[:QUOTED].rsplit(' ', 1)[0]} …"


def _bytes(count: int) -> str:
    """Return a number of bytes for people."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1e3:.0f} kB" if count < 1_000_000 else f"{count / 1e6:.1f} MB"


def main() -> None:
    """Open the memory, add what the command line names, serve the page."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("documents", nargs="*", type=Path, help="files and folders; without any, the handbook")
    parser.add_argument("--path", type=Path, help="folder of the memory, to keep it; by default it goes with the page")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rag-comparison-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        with ParametricMemory.from_pretrained(path=chosen.path or folder / "memory") as memory:
            comparison = Comparison(memory, folder)
            for content in chosen.documents or [HANDBOOK / "documents"]:
                print(f"Reading {content} …", flush=True)
                for problem in comparison.add(content):
                    print(f"  {problem}")
            serve(comparison, folder / "uploads", port=chosen.port, show=not chosen.no_browser)


def serve(comparison: Comparison, uploads: Path, *, port: int, show: bool) -> None:
    """Serve the page to this machine until it is interrupted."""
    uploads.mkdir()
    print(f"Open http://localhost:{port} (Ctrl+C ends)", flush=True)
    ui.run(
        lambda: ComparisonPage(comparison, uploads),
        host="127.0.0.1",
        port=port,
        title="RAG or weights?",
        show=show,
        reload=False,
        show_welcome_message=False,
    )


if __name__ == "__main__":
    main()
