"""One measurement in a process of its own, so that neither its memory nor its caches are those of another.

A function and its arguments go over as pickles: functions of modules, dataclasses, paths. The surprise: on Linux the
peak is read from ``/proc``, because `resource` reports the parent's peak for a child that has just begun.
"""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Generic, TypeVar

from parametric_memory.errors import ParametricMemoryError

Value = TypeVar("Value")

logger = logging.getLogger(__name__)

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CHILD = "from parametric_memory.evaluation.bench.isolation import main; main()"


@dataclass(frozen=True, slots=True)
class Isolated(Generic[Value]):
    """What a function returned, and what its process cost.

    Attributes:
        value: What it returned.
        seconds: From the start of the process to its end.
        peak_bytes: Most memory it held at once; None where the system does not tell.
        device_peak_bytes: Most memory that torch held on the GPU; None without one.
    """

    value: Value
    seconds: float
    peak_bytes: int | None
    device_peak_bytes: int | None


def in_child(function: Callable[..., Value], *arguments: object) -> Isolated[Value]:
    """Run a function in a fresh interpreter.

    Raises:
        ParametricMemoryError: If the process fails, with the last line that it wrote.
    """
    with TemporaryDirectory(prefix="pmem-bench-") as folder:
        task, result = Path(folder, "task"), Path(folder, "result")
        task.write_bytes(pickle.dumps((function, arguments)))
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, str(task), str(result)], capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
            raise ParametricMemoryError(
                f"measuring {function.__name__} in a process of its own: it ended with code {done.returncode}: {last}"
            )
        value, peak, device_peak = pickle.loads(result.read_bytes())
    return Isolated(value, seconds, peak, device_peak)


def main() -> None:
    """Be the child: run the task that the first argument names, and write what came of it where the second says."""
    task, result = map(Path, sys.argv[1:3])
    function, arguments = pickle.loads(task.read_bytes())
    value = function(*arguments)
    result.write_bytes(pickle.dumps((value, peak_bytes(), _device_peak_bytes())))


def resident_bytes() -> int | None:
    """Return the memory that this process holds now; None where the system does not tell."""
    return _status("VmRSS")


def peak_bytes() -> int | None:
    """Return the most memory that this process has held at once; None where the system does not tell."""
    found = _status("VmHWM")
    if found is not None:
        return found
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


@dataclass(slots=True)
class Extra:
    """The most memory that a block took beyond what was held before it; None where the system does not tell."""

    bytes: int | None = None


@contextmanager
def extra_memory() -> Iterator[Extra]:
    """Measure a block in this process: on the GPU if torch has one, else by the peak that Linux lets one reset."""
    extra = Extra()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        held = int(torch.cuda.memory_allocated())
        yield extra
        extra.bytes = int(torch.cuda.max_memory_allocated()) - held
        return
    try:
        _CLEAR.write_text("5", encoding="ascii")  # the peak is what is held now
    except OSError:
        yield extra
        return
    before = resident_bytes()
    yield extra
    peak = peak_bytes()
    if before is not None and peak is not None:
        extra.bytes = max(0, peak - before)


def _status(name: str) -> int | None:
    if not _STATUS.is_file():
        return None
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    return None


def _device_peak_bytes() -> int | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_allocated())
