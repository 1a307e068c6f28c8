"""Work that several workers share: each takes the next job as soon as it is free."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

#: How a job reaches the worker that does it: the name of a method, and what it is given.
Call: TypeAlias = Callable[..., Any]
#: Does its work by calling a worker, and returns the jobs that can be done now that it is done.
Job: TypeAlias = Callable[[Call], "Sequence[Job]"]


class Jobs:
    """Jobs that wait, and how many are being done. What a job brings forth comes next."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._waiting = deque(jobs)
        self._doing = 0
        self._changed = threading.Condition()

    def take(self) -> Job | None:
        """Return the next job; wait while there is none but one may come; None if all are done."""
        with self._changed:
            while not self._waiting and self._doing:
                self._changed.wait()
            if not self._waiting:
                return None
            self._doing += 1
            return self._waiting.popleft()

    def done(self, more: Sequence[Job] = ()) -> None:
        """Note that a job is done."""
        with self._changed:
            self._doing -= 1
            self._waiting.extendleft(reversed(more))
            self._changed.notify_all()

    def drop(self) -> None:
        """Forget what waits."""
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()


def work_through(calls: Sequence[Call], jobs: Sequence[Job]) -> None:
    """Do all jobs and those that they bring forth. After a failure none is begun, and the failure is raised.

    Args:
        calls: One per worker. Each but a single one is used from a thread of its own.
        jobs: In the order in which they are begun.
    """
    waiting = Jobs(jobs)

    def work(call: Call) -> None:
        while job := waiting.take():
            try:
                more = job(call)
            except BaseException:
                waiting.drop()
                waiting.done()
                raise
            waiting.done(more)

    if len(calls) == 1:
        work(calls[0])
        return
    with ThreadPoolExecutor(len(calls)) as pool:
        try:
            for done in [pool.submit(work, call) for call in calls]:
                done.result()
        finally:
            waiting.drop()
