from __future__ import annotations

import threading
import time

import pytest

from parametric_memory.evaluation.jobs import work_through


def call(method, *given):
    return method, given


@pytest.mark.parametrize("workers", [1, 3])
def test_every_job_is_done_once_also_those_that_jobs_bring_forth(workers):
    done = []

    def job(name, more=()):
        def do(call):
            done.append(call(name))
            return more

        return do

    later = [job("a1", [job("a11")]), job("a2")]
    work_through([call] * workers, [job("a", later), job("b")])
    assert sorted(method for method, _ in done) == ["a", "a1", "a11", "a2", "b"]
    if workers == 1:
        assert [method for method, _ in done] == ["a", "a1", "a11", "a2", "b"]


def test_a_worker_without_a_job_waits_for_what_another_may_bring_forth():
    threads = set()
    both = threading.Barrier(2, timeout=5)

    def meet(_call):
        threads.add(threading.get_ident())
        both.wait()
        return []

    def slow(_call):
        time.sleep(0.05)
        return [meet, meet]

    work_through([call, call], [slow])
    assert len(threads) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_after_a_failure_none_is_begun_and_it_is_raised(workers):
    begun = []

    def fail(_call):
        begun.append("fail")
        raise ValueError("no luck")

    def slow(_call):
        time.sleep(0.1)
        begun.append("slow")
        return [fail, fail]

    with pytest.raises(ValueError, match="no luck"):
        work_through([call] * workers, [fail, slow, slow, slow])
    assert begun.count("slow") <= workers - 1
