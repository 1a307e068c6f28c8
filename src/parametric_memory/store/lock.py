"""A lock between processes that can say who holds it.

The operating system frees it when its holder dies, however it dies. The name beside it (``NAME.holder``) is only for
messages: it may be stale, it never decides.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from parametric_memory.errors import StoreLockedError

logger = logging.getLogger(__name__)


class Lock:
    """One holder at a time, among all threads of all processes on this machine."""

    def __init__(self, path: Path, *, purpose: str) -> None:
        self._path = path
        self._purpose = purpose
        self._file = FileLock(path, thread_local=False)
        self._thread = threading.Lock()

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._file.is_locked

    def acquire(self, timeout_s: float) -> None:
        """Take it.

        Raises:
            StoreLockedError: If it is not free within ``timeout_s`` seconds, naming the holder.
        """
        if not self._thread.acquire(timeout=timeout_s):
            raise self._locked(timeout_s)
        try:
            self._file.acquire(timeout=timeout_s, poll_interval=0.01)
        except Timeout as error:
            self._thread.release()
            raise self._locked(timeout_s) from error
        except BaseException:
            self._thread.release()
            raise
        self._sign()

    def release(self) -> None:
        """Give it back."""
        with suppress(OSError):
            self._holder_path.unlink(missing_ok=True)
        self._file.release()
        self._thread.release()

    @contextmanager
    def hold(self, timeout_s: float) -> Iterator[None]:
        """Hold it for the length of a block; raises as `acquire` does."""
        self.acquire(timeout_s)
        try:
            yield
        finally:
            self.release()

    @property
    def _holder_path(self) -> Path:
        return self._path.with_name(self._path.name + ".holder")

    def _sign(self) -> None:
        name = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        try:
            self._holder_path.write_text(json.dumps(name), encoding="utf-8")
        except OSError as error:
            logger.warning("writing who holds %s: %s", self._path, error)

    def _locked(self, timeout_s: float) -> StoreLockedError:
        holder = "unknown"
        with suppress(OSError, ValueError, KeyError, TypeError):
            name = json.loads(self._holder_path.read_text(encoding="utf-8"))
            holder = f"process {name['pid']} on {name['host']} since {name['since']}"
        return StoreLockedError(
            f"{self._purpose}: {self._path.parent} is held by {holder}, still after {timeout_s:g} s; "
            "let it finish or end it, or raise lock_timeout_s",
            holder=holder,
        )
