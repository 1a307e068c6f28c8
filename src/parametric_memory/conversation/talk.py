"""`Talk`: how a base model is talked to, with a memory or without one, whatever framework the messages come from.

The last question is routed to atoms, their adapter is to be injected for the length of this call, and the base model
reads the conversation as it was given, nothing about the documents in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from parametric_memory.config import Fallback, GenerationConfig, Mode
from parametric_memory.conversation.task import Task
from parametric_memory.conversation.tool_calls import Toolbox
from parametric_memory.conversation.turns import joined, last_asked
from parametric_memory.protocols import Backend
from parametric_memory.types import Answer, Conversation, Route, Usage

if TYPE_CHECKING:
    from parametric_memory.memory import ParametricMemory

#: Fewest tokens that are given to an answer by the bare base model, and to a call of a tool.
_LONG = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """What the calls of one chat model have in common.

    Attributes:
        backend: Runs the base model.
        memory: Where knowledge comes from; None for the bare base model.
        mode: As `ParametricMemory.ask` has it.
        fallback: What happens if the memory holds nothing that answers: ``unknown``: the words that the memory has for
            it ("I don't know."); ``base``: the bare base model answers; ``raise``: an `AbstainedError`. None for what
            the memory is configured for.
        history: Whether the base model reads the conversation as it is; else it reads the question alone.
    """

    backend: Backend
    memory: ParametricMemory | None = None
    mode: Mode = "atoms"
    fallback: Fallback | None = None
    history: bool = True

    def task(
        self,
        turns: Conversation,
        asked: str,
        *,
        filters: Mapping[str, Any] | None = None,
        tools: Toolbox | None = None,
        settings: Mapping[str, Any] | None = None,
        verbatim: bool = False,
    ) -> Task:
        """Route the question and write the prompt.

        Args:
            turns: The conversation, in any order of roles.
            asked: The question it ends in, in words that can be looked up alone; if empty, nothing is looked up.
            filters: Only atoms with this metadata.
            tools: What the base model may call.
            settings: Of the generation, by the names of `GenerationConfig`; the memory's apply where these are silent.
            verbatim: Leave the last user turn as it is, because it holds more than the question (text to read, say). It
                is put into the memory's own wording otherwise, which is what adapters are made for.
        """
        mode: Mode = self.mode
        if verbatim:
            # There is text in the prompt already: no sentence of the memory's own is put beside it.
            mode = "closed_book" if mode == "in_context" else mode if mode == "closed_book" else "atoms"
        if self.memory is None or not asked.strip() or mode == "closed_book" or self.memory.is_disabled:
            answer = Answer("", Route(asked, ()), Usage(0, 0), mode="closed_book")
            return self._bare(turns, answer, tools, settings or {})
        asked = asked.strip()
        prepared = self.memory.prepare(asked, mode=mode, filters=filters, fallback=self.fallback)
        if prepared.answer.abstained and prepared.said is None:
            return self._bare(turns, prepared.answer, tools, settings or {})
        said = None if tools else prepared.said
        system, question = (turn["content"] for turn in prepared.conversation[:2])
        if self.history and (last := last_asked(turns)) is not None:
            # What is looked up may be said in other words than the turn: the base model reads the turn.
            question = question.removesuffix(asked) + turns[last]["content"].strip()
        instructions = tools.instructions if tools else ""
        written = joined(turns, asked=None if verbatim else question, history=self.history, instructions=instructions)
        if written[0]["role"] != "system":
            written.insert(0, {"role": "system", "content": system})
        if not tools and written[-1]["role"] == "user":
            written += prepared.conversation[2:]
        config = self._generation(settings or {}, long=tools is not None)
        return Task(prepared.answer, written, prepared.adapter, config, tools, said)

    def _bare(self, turns: Conversation, answer: Answer, tools: Toolbox | None, settings: Mapping[str, Any]) -> Task:
        """Let the bare base model read the turns as they are."""
        written = joined(turns, instructions=tools.instructions if tools else "")
        return Task(answer, written, None, self._generation(settings, long=True), tools)

    def _generation(self, settings: Mapping[str, Any], *, long: bool) -> GenerationConfig:
        config = GenerationConfig() if self.memory is None else self.memory.config.generation
        if long:
            # Weights answer briefly; the bare base model and calls of tools take more words.
            config = replace(config, max_new_tokens=max(_LONG, config.max_new_tokens))
        return replace(config, **settings)
