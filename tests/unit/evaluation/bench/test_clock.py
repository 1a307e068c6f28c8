from __future__ import annotations

import time

from parametric_memory.evaluation.bench.clock import Clock, Laps


class Device:
    """Does in the background what is asked of it, as a GPU does: a caller who does not wait sees no time pass."""

    def __init__(self):
        self.owed, self.waits = 0.0, 0

    def launch(self, seconds):
        self.owed += seconds

    def synchronise(self):
        self.waits += 1
        time.sleep(self.owed)
        self.owed = 0.0


def test_work_of_the_device_counts_where_it_was_asked_for_and_nowhere_else():
    device = Device()
    laps = Laps(Clock(synchronise=device.synchronise))
    device.launch(0.05)
    with laps("idle"):
        pass
    with laps("busy"):
        device.launch(0.05)
    assert laps.ms["busy"] >= 50
    assert laps.ms["idle"] < 25


def test_every_stage_waits_for_the_device_at_both_ends():
    device = Device()
    laps = Laps(Clock(synchronise=device.synchronise))
    for stage in ("one", "two", "three"):
        with laps(stage):
            pass
    assert device.waits == 6


def test_a_stage_that_is_entered_twice_adds_up_and_order_is_kept():
    laps = Laps(Clock())
    for stage, seconds in (("a", 0.01), ("b", 0.0), ("a", 0.01)):
        with laps(stage):
            time.sleep(seconds)
    assert list(laps.ms) == ["a", "b"] and laps.ms["a"] >= 20


def test_time_of_a_cpu_runs_forward():
    clock = Clock("cpu")
    assert clock.now() < clock.now()
