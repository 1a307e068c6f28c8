"""The answers of a run on disk: one JSON object a line, written as they come, so that a run can go on where it stopped.

A line counts only if the settings that made it are those of the run. Lines of other settings are not lost: they move to
``answers.earlier.jsonl`` beside the file when the run starts. The last line of a run that was killed may be torn; it is
dropped, and its question asked again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from parametric_memory.errors import UnreadableDocumentError

logger = logging.getLogger(__name__)


class AnswerFile:
    """Answers by dataset, system and question.

    Args:
        path: Made with the first answer, if it is not there.
        signature: Returns the hash of the settings of an answer, given its dataset, system and question's id; None for
            one that this run does not ask for: its line stays in the file as it is.

    Raises:
        UnreadableDocumentError: If the file is there and was written by something else.
    """

    def __init__(self, path: Path, *, signature: Callable[[str, str, str], str | None]) -> None:
        self._path, self._signature = path, signature
        self._rows: dict[tuple[str, str, str], dict[str, Any]] = {}
        if path.exists():
            self._take_up()

    def of(self, dataset: str, system: str) -> dict[str, dict[str, Any]]:
        """Return the answers of a system to a dataset's questions, by the question's id."""
        return {key[2]: row for key, row in self._rows.items() if key[:2] == (dataset, system)}

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write answers; when this returns, they survive the process."""
        signed = [{**row, "settings": self._signature(*_key(row))} for row in rows]
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_lines(signed))
        self._remember(signed)

    def _take_up(self) -> None:
        """Read what is there, and move what this run cannot use out of the way."""
        # Not splitlines: it also splits at characters that may stand in an answer.
        *whole, torn = self._path.read_bytes().split(b"\n")
        rows = [self._parsed(number, line) for number, line in enumerate(whole, 1)]
        kept: list[dict[str, Any]] = []
        stale: list[dict[str, Any]] = []
        for row in rows:
            current = self._signature(*_key(row)) in {None, row["settings"]}
            (kept if current else stale).append(row)
        if stale:
            earlier = self._path.with_name(f"{self._path.stem}.earlier{self._path.suffix}")
            with earlier.open("a", encoding="utf-8") as file:
                file.write(_lines(stale))
            logger.info("evaluating: %d answers made with other settings moved to %s", len(stale), earlier)
        if stale or torn:
            fresh = self._path.with_name(f"{self._path.name}.new")
            fresh.write_text(_lines(kept), encoding="utf-8")
            fresh.replace(self._path)
        self._remember(kept)

    def _parsed(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            row: dict[str, Any] = json.loads(line)
            row["dataset"], row["system"], row["id"], row["settings"]
        except (ValueError, LookupError, TypeError) as error:
            raise UnreadableDocumentError(
                f"going on with the answers of {self._path}, line {number}: it is not an answer of an evaluation "
                f"({error}); remove the file, or choose another folder"
            ) from error
        return row

    def _remember(self, rows: Sequence[dict[str, Any]]) -> None:
        self._rows |= {_key(row): row for row in rows}


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["dataset"], row["system"], row["id"]


def _lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
