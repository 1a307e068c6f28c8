"""A process that has a desk in another one and never ends by itself."""

from __future__ import annotations

import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from tiny_parts import tiny_memory

from parametric_memory.evaluation.desk import desk_in_process
from parametric_memory.memory import ParametricMemory


def ask_for_ever(told: Connection, root: Path) -> None:
    """Open a desk; its process tells when it is there."""
    with desk_in_process(partial(_open_and_tell, told), root, [], threads=1) as call:
        call("close")
        time.sleep(600)


def _open_and_tell(told: Connection, path: Path) -> ParametricMemory:
    told.send("open")
    return tiny_memory(path)
