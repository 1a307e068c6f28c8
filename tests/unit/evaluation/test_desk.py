from __future__ import annotations

from multiprocessing import get_context

import pytest
from asking_for_ever import ask_for_ever


def test_a_desk_ends_with_the_process_that_opened_it_even_if_that_one_is_killed(tmp_path):
    spawn = get_context("spawn")
    hears, told = spawn.Pipe(duplex=False)
    asking = spawn.Process(target=ask_for_ever, args=(told, tmp_path))
    asking.start()
    told.close()
    assert hears.poll(120)
    assert hears.recv() == "open"
    asking.kill()
    assert hears.poll(60)  # A pipe ends when nobody is left who could write to it.
    with pytest.raises(EOFError):
        hears.recv()
