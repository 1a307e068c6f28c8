"""Rows of one batch, answered in one forward pass although LangChain asks for them one by one.

LangChain's batch runs every row as a call of its own, with its own callbacks and cache look-up. `together` says, before
they start, which rows are coming; the first call that needs an answer computes all of them, the others find theirs.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult

Row: TypeAlias = list[BaseMessage]
#: A row that fails carries its own error: the others are answered all the same.
AnswerAll: TypeAlias = Callable[[Sequence[Row]], list[ChatResult | Exception]]


class Batch:
    """The rows of one batch and, once one of them was asked for, their results."""

    def __init__(self, owner: object, rows: Sequence[Row]) -> None:
        self.owner = owner
        self._rows = rows
        self._lock = threading.Lock()
        self._results: dict[str, list[ChatResult | Exception]] | None = None

    def take(self, row: Row, answer_all: AnswerAll) -> ChatResult:
        """Return a row's result, computing all rows if this is the first that is asked for.

        Raises:
            Exception: What went wrong with this row.
        """
        with self._lock:
            if self._results is None:
                self._results = defaultdict(list)
                for one, result in zip(self._rows, answer_all(self._rows), strict=True):
                    self._results[_name(one)].append(result)
            waiting = self._results.get(_name(row))
            taken = waiting.pop(0) if waiting else None
        if taken is None:  # a retry, or a call that somebody's callback makes
            [taken] = answer_all([row])
        if isinstance(taken, Exception):
            raise taken
        return taken


_batch: ContextVar[Batch | None] = ContextVar("langchain_parametric_memory_batch", default=None)


def current_batch(owner: object) -> Batch | None:
    """Return the batch of this model that the caller runs in, if it does."""
    batch = _batch.get()
    return batch if batch is not None and batch.owner is owner else None


@contextmanager
def together(owner: object, rows: Sequence[Row]) -> Iterator[None]:
    """Answer these rows of a model together, whatever calls them inside the block. One row needs no batch."""
    if len(rows) < 2 or current_batch(owner) is not None:
        yield
        return
    token = _batch.set(Batch(owner, rows))
    try:
        yield
    finally:
        _batch.reset(token)


def _name(row: Row) -> str:
    return "\x1f".join(f"{message.type}:{message.content!r}:{getattr(message, 'tool_calls', '')!r}" for message in row)
