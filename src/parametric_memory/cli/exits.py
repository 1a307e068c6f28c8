"""The exit codes of `pmem`."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What a command ended with; 2 is a mistake in its arguments, and comes from the parser."""

    FAILED = 1
    USAGE = 2
    ABSTAINED = 3
    UNREADABLE = 4
    INTERRUPTED = 130
