"""`pmem ask` and `pmem explain`: questions to the memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from parametric_memory.cli.exits import Exit
from parametric_memory.cli.memory import open_memory
from parametric_memory.cli.options import (
    AsJson,
    Base,
    CheckpointFolder,
    ConfigFile,
    Filter,
    Folder,
    UserId,
    filters_of,
)
from parametric_memory.cli.printing import hint, show_answer, show_json, show_route
from parametric_memory.cli.records import answer_record, route_record


def _words(question: str) -> str:
    if not question.strip():
        raise typer.BadParameter("it is empty; ask in plain words")
    return question


AbstainAt = Annotated[
    float | None,
    typer.Option(metavar="RATE", help="Of the questions that a calibrated memory cannot answer, at most this share."),
]
Question = Annotated[
    str, typer.Argument(callback=_words, metavar="QUESTION", help="In plain words.", show_default=False)
]


def ask(  # noqa: PLR0913, PLR0917 - one option each
    question: Question,
    mode: Annotated[
        Literal["atoms", "hybrid", "hybrid_unsure", "in_context", "closed_book"],
        typer.Option(
            help="From weights; from weights and a snippet; with the snippet only if unsure; from a prompt, as RAG "
            "does; from nothing."
        ),
    ] = "atoms",
    memory: Folder = Path("memory"),
    base: Base = None,
    checkpoint: CheckpointFolder = None,
    config: ConfigFile = None,
    user_id: UserId = None,
    filters: Filter = None,
    abstain_at: AbstainAt = None,
    fallback: Annotated[
        Literal["unknown", "base"] | None,
        typer.Option(help="If nothing answers: say so, or let the bare base model answer.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Answer a question from the memory, and say where the answer stands."""
    scope = filters_of(filters, user_id=user_id)
    with open_memory(memory, base=base, checkpoint=checkpoint, config=config) as opened:
        answer = opened.ask(question, mode=mode, filters=scope, abstain_at=abstain_at, fallback=fallback)
    if as_json:
        show_json(answer_record(answer))
    else:
        show_answer(answer)
    if answer.abstained:
        confidence = f"confidence {answer.route.confidence:.2f} is below {answer.route.threshold:.2f}"
        hint(f"nothing in the memory answers this ({confidence}); `pmem explain` shows what was considered")
        raise typer.Exit(Exit.ABSTAINED)


def explain(
    question: Question,
    memory: Folder = Path("memory"),
    base: Base = None,
    checkpoint: CheckpointFolder = None,
    config: ConfigFile = None,
    user_id: UserId = None,
    filters: Filter = None,
    abstain_at: AbstainAt = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Takes a page that shows it all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show which atoms a question finds, which are taken, and why; nothing is generated."""
    scope = filters_of(filters, user_id=user_id)
    with open_memory(memory, base=base, checkpoint=checkpoint, config=config) as opened:
        route = opened.explain(question, filters=scope, abstain_at=abstain_at)
    if html:
        from parametric_memory.memory import route_page

        html.write_text(route_page(route), encoding="utf-8")
    if as_json:
        show_json(route_record(route))
    else:
        show_route(route)
