from __future__ import annotations

import math
import mmap
import os
import sys

import pytest

from parametric_memory.errors import ParametricMemoryError
from parametric_memory.evaluation.bench.isolation import in_child, peak_bytes, resident_bytes

LARGE = 600 * 2**20


def test_a_child_is_another_process_and_its_peak_is_its_own():
    ballast = bytearray(LARGE)
    child = in_child(os.getpid)
    assert child.value != os.getpid() and child.seconds > 0
    if sys.platform == "linux":
        assert child.peak_bytes is not None and 0 < child.peak_bytes < LARGE
        assert peak_bytes() > len(ballast)


def test_what_fails_in_a_child_is_told_with_its_last_line():
    with pytest.raises(ParametricMemoryError, match=r"sqrt.*(expected a nonnegative|math domain)"):
        in_child(math.sqrt, -1.0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_memory_that_is_held_now_is_at_most_the_peak():
    before = resident_bytes()
    # Pages of its own: a large object may be given some that an earlier one has left behind.
    ballast = mmap.mmap(-1, 64 * 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(0, len(ballast), mmap.PAGESIZE):
        ballast[page] = 1
    assert before + len(ballast) // 2 < resident_bytes() <= peak_bytes()
