"""Wordings: how a system that reads asks the base model; question and passages in, chat turns out.

A small base model's answers depend on how it is asked more than on what it reads. So the wordings that opponents get
are not ours: `CANDIDATES` and few-shot variants of them were tried on training questions, and what scored best is in
``wordings/``, one file per base model with every candidate's scores (written by ``runs/choose_prompts.py``). A base
model without a file gets the prompt of the library.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from parametric_memory.config import PromptConfig
from parametric_memory.errors import ConfigError
from parametric_memory.types import Message

logger = logging.getLogger(__name__)

FORMAT = 1
#: Choices that come with the package, by the name of their base model.
SHIPPED = Path(__file__).parent / "wordings"


@dataclass(frozen=True, slots=True)
class Shot:
    """An example to show before the question: a passage, a question about it, and the right answer."""

    passage: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """How a question about passages is asked.

    Attributes:
        name: What tables call it.
        system: System message; None leaves the turn out (chat templates may then put their own).
        user: The user's turn; ``{passages}`` and ``{question}`` are filled in.
        prefix: Opens the assistant's turn and is not part of the answer; empty: the turn is the model's.
        joint: What stands between passages.
        shots: Examples, in order.
        inline: Examples and question share one user's turn; otherwise every example is two turns of its own.

    Raises:
        ValueError: If ``user`` lacks one of its places, or names another.
    """

    name: str
    system: str | None = None
    user: str = "Passage: {passages}\nQuestion: {question}"
    prefix: str = "Answer:"
    joint: str = " "
    shots: tuple[Shot, ...] = ()
    inline: bool = False

    def __post_init__(self) -> None:
        try:
            filled = self.user.format(passages="\0p", question="\0q")
        except (LookupError, ValueError) as error:
            raise ValueError(f"wording {self.name!r}: its user's turn cannot be filled in ({error!r})") from error
        if "\0p" not in filled or "\0q" not in filled:
            raise ValueError(f"wording {self.name!r}: its user's turn needs {{passages}} and {{question}}")

    @classmethod
    def of(cls, prompt: PromptConfig) -> Wording:
        """Return the library's own wording, the one that a compiler's checkpoint names."""
        return cls(name="library", system=prompt.reading, prefix=prompt.prefix)

    def conversation(self, question: str, passages: Sequence[str] = ()) -> list[Message]:
        """Return the turns around a question, ending in the opened assistant's turn, or in the user's."""
        asked = self.user.format(passages=self.joint.join(passages), question=question)
        turns: list[Message] = [] if self.system is None else [{"role": "system", "content": self.system}]
        examples = [(self.user.format(passages=s.passage, question=s.question), self._answered(s)) for s in self.shots]
        if self.inline:
            shown = [f"{user}\n{answer}" for user, answer in examples]
            turns.append({"role": "user", "content": "\n\n".join([*shown, asked])})
        else:
            for user, answer in examples:
                turns += [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
            turns.append({"role": "user", "content": asked})
        return [*turns, {"role": "assistant", "content": self.prefix}] if self.prefix else turns

    def with_shots(self, shots: Sequence[Shot], *, inline: bool = False) -> Wording:
        """Return this wording with examples before the question."""
        kind = "inline" if inline else "turns"
        return replace(self, name=f"{self.name}+{len(shots)} {kind}", shots=tuple(shots), inline=inline)

    def _answered(self, shot: Shot) -> str:
        return f"{self.prefix} {shot.answer}" if self.prefix else shot.answer


@dataclass(frozen=True, slots=True)
class RagChoice:
    """How a RAG app retrieves and asks: ``passages`` chunks of at most ``chunk_chars`` characters."""

    wording: Wording
    passages: int
    chunk_chars: int


@dataclass(frozen=True, slots=True)
class ReadingChoice:
    """What systems that read use with one base model.

    Attributes:
        zero_shot: The best wording without examples.
        few_shot: The best wording with examples.
        bm25: RAG by words.
        dense: RAG by keys.
        reader: RAG by keys, read by the base model's reader.
    """

    zero_shot: Wording
    few_shot: Wording
    bm25: RagChoice
    dense: RagChoice
    reader: RagChoice


def reading_choice(fingerprint: str, prompt: PromptConfig) -> ReadingChoice:
    """Return what was chosen for a base model, or the library's prompt, four chunks of 400, if nothing was.

    Raises:
        ConfigError: If the choice that comes with the package cannot be read.
    """
    path = shipped_choice(fingerprint)
    if path is not None:
        return load_choice(path)
    logger.info(
        "reading: no wordings were chosen for the base model %s; systems that read use the library's prompt "
        "(runs/choose_prompts.py chooses)",
        fingerprint,
    )
    library = Wording.of(prompt)
    rag = RagChoice(library, passages=4, chunk_chars=400)
    return ReadingChoice(zero_shot=library, few_shot=library, bm25=rag, dense=rag, reader=rag)


def shipped_choice(fingerprint: str) -> Path | None:
    """Return the file of the choice that comes with the package for this base model, if there is one."""
    for path in sorted(SHIPPED.glob("*.json")):
        if json.loads(path.read_text(encoding="utf-8"))["base_fingerprint"] == fingerprint:
            return path
    return None


def load_choice(path: Path) -> ReadingChoice:
    """Read what ``runs/choose_prompts.py`` wrote.

    Raises:
        ConfigError: If the file is missing, of a newer format, or names a wording that it does not hold.
    """
    try:
        file = json.loads(path.read_text(encoding="utf-8"))
        if file["format"] > FORMAT:
            raise ConfigError(
                f"reading the wordings {path}: its format is {file['format']}, this version reads {FORMAT}"
            )
        wordings = {row["name"]: wording_from(row) for row in file["wordings"]}
        chosen = file["chosen"]

        def rag(kind: str) -> RagChoice:
            return RagChoice(wordings[chosen[kind]["wording"]], chosen[kind]["passages"], chosen[kind]["chunk_chars"])

        return ReadingChoice(
            zero_shot=wordings[chosen["zero_shot"]["wording"]],
            few_shot=wordings[chosen["few_shot"]["wording"]],
            bm25=rag("bm25"),
            dense=rag("dense"),
            # A choice that was made without a reader: it reads what the base model does.
            reader=rag("reader" if "reader" in chosen else "dense"),
        )
    except (OSError, ValueError, LookupError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"reading the wordings {path}: {error!r}; write them anew with runs/choose_prompts.py"
        ) from error


def wording_row(wording: Wording) -> dict[str, Any]:
    """Return a wording as JSON."""
    return asdict(wording)


def wording_from(row: Mapping[str, Any]) -> Wording:
    """Return the wording that `wording_row` made a row of.

    Raises:
        TypeError: If a key is unknown or missing.
        ValueError: If its user's turn cannot be filled in.
    """
    return Wording(**{**row, "shots": tuple(Shot(**shot) for shot in row.get("shots", ()))})


#: Wordings without examples that are tried, beside the library's own (`Wording.of`).
CANDIDATES: tuple[Wording, ...] = (
    # What LangChain's stuff chain asked, for years.
    Wording(
        name="stuff",
        user=(
            "Use the following pieces of context to answer the question at the end.\n\n{passages}\n\n"
            "Question: {question}\nHelpful Answer:"
        ),
        prefix="",
        joint="\n\n",
    ),
    # LangChain's hub, rlm/rag-prompt, without the advice not to know.
    Wording(
        name="rag",
        user=(
            "You are an assistant for question-answering tasks. Use the following pieces of retrieved context to "
            "answer the question. Keep the answer concise.\nQuestion: {question}\nContext: {passages}\nAnswer:"
        ),
        prefix="",
        joint="\n\n",
    ),
    Wording(
        name="rag, opened",
        user="Context: {passages}\n\nQuestion: {question}",
        system="Use the context to answer the question. Keep the answer concise.",
    ),
    Wording(name="bare", user="{passages}\n\n{question}"),
    Wording(name="squad", user="question: {question} context: {passages}", prefix="answer:"),
    Wording(
        name="exact words",
        system="You find answers in texts.",
        user=(
            "Text: {passages}\n\nQuestion: {question}\n\n"
            "Reply with the exact words of the text that answer the question, and nothing else."
        ),
        prefix="",
    ),
    Wording(
        name="exact words, opened",
        system="You find answers in texts.",
        user=(
            "Text: {passages}\n\nQuestion: {question}\n\n"
            "Reply with the exact words of the text that answer the question, and nothing else."
        ),
    ),
    Wording(
        name="few words",
        system="Answer with at most five words.",
        user="Passage: {passages}\n\nQuestion: {question}\n\nAnswer with at most five words from the passage.",
    ),
    Wording(
        name="question twice",
        system="Answer the question with a short span copied from the passage.",
        user="Question: {question}\nPassage: {passages}\nQuestion: {question}",
    ),
    Wording(
        name="short answer is",
        system="Answer the question with a short span copied from the passage.",
        prefix="Short answer:",
    ),
    Wording(
        name="quoted",
        system="Answer the question with a short quotation from the passage.",
        prefix='The passage says: "',
    ),
    Wording(
        name="entity",
        system=(
            "You are an extractive question answering system. Output only the name, number, date or phrase that "
            "answers the question."
        ),
        user="Context: {passages}\nQuestion: {question}",
    ),
)
