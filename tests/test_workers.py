"""Processes end when they should, whoever ends, and what goes wrong in one is told by the one that started it."""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest

from simlab.engine import Block, simulate
from simlab.errors import WorkerDiedError
from simlab.workers import _interrupts_held, workers
from tests.worlds import plan

PLAN = plan()


def test_blocks_come_back_as_from_this_process() -> None:
    blocks = [Block(0, 0, 3), Block(0, 3, 2), Block(0, 5, 1)]
    with workers(PLAN, 2) as pool:
        found = {result.block: result for result in pool.simulate(blocks)}
        again = {result.block for result in pool.simulate(blocks[:1])}
    assert set(found) == set(blocks)
    assert again == set(blocks[:1])
    for block in blocks:
        for name, values in simulate(PLAN, block).rows.items():
            np.testing.assert_array_equal(found[block].rows[name], values)


def test_no_more_processes_than_blocks_and_none_is_left() -> None:
    with workers(PLAN, 5) as pool:
        assert not pool._started
        list(pool.simulate([Block(0, 0, 1)]))
        processes = [worker.process for worker in pool._started]
        assert len(processes) == 1
        assert processes[0].is_alive()
    assert not processes[0].is_alive()


def test_a_process_that_is_ended_from_outside_is_told() -> None:
    with workers(PLAN, 2) as pool:
        results = pool.simulate([Block(0, lane, 1) for lane in range(40)])
        next(results)
        pool._started[0].process.kill()
        with pytest.raises(WorkerDiedError, match="run the same command again"):
            list(results)


def test_an_error_in_a_process_is_raised_here_with_what_it_looked_like_there() -> None:
    with workers(PLAN, 1) as pool, pytest.raises(IndexError) as caught:
        list(pool.simulate([Block(9, 0, 1)]))
    assert any("in simulate" in note for note in caught.value.__notes__)


def test_an_interruption_waits_until_processes_are_started() -> None:
    reached = []

    def start() -> None:
        with _interrupts_held():
            signal.raise_signal(signal.SIGINT)
            reached.append("the end")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            start()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert reached == ["the end"]


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="only POSIX blocks signals")
def test_processes_started_meanwhile_are_never_interrupted() -> None:
    code = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    with _interrupts_held():
        inside = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    outside = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (inside.stdout.strip(), outside.stdout.strip()) == ("True", "False")
