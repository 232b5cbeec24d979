"""Processes that run blocks, each on a pipe of its own.

The processes share nothing, neither a queue nor a lock, so that one that dies keeps no other from going on, and all of them can
be ended at any moment. They end with the process that started them, however it ends.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from simlab.engine import Block, BlockResult, simulate
from simlab.errors import WorkerDiedError
from simlab.plan import Plan

_DIED = "a worker process was ended from outside; run the same command again to go on"


@dataclass(frozen=True)
class _Worker:
    process: BaseProcess
    pipe: Connection


class Workers:
    """At most `most` processes for the blocks of one plan, started when there is work for them."""

    def __init__(self, plan: Plan, most: int) -> None:
        self._plan = plan
        self._most = most
        self._started: list[_Worker] = []

    def simulate(self, blocks: Iterable[Block]) -> Iterator[BlockResult]:
        """Yield the results of blocks as they are done, in no order.

        Raises
        ------
        RuleError
            If a rule fails.
        WorkerDiedError
            If a process is ended from outside.
        """
        waiting = deque(blocks)
        self._start(min(self._most, len(waiting)))
        busy: dict[Any, _Worker] = {}
        for worker in self._started[: len(waiting)]:
            _give(worker, waiting.popleft())
            busy[worker.pipe] = worker
        while busy:
            for pipe in wait(list(busy)):
                worker = busy.pop(pipe)
                result = _answer_of(worker)
                if waiting:
                    _give(worker, waiting.popleft())
                    busy[pipe] = worker
                yield result

    def end(self) -> None:
        """End the processes at once, whatever they are doing: only this process writes anything."""
        for worker in self._started:
            worker.process.kill()
        for worker in self._started:
            worker.process.join()
            worker.pipe.close()
        self._started.clear()

    def _start(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        for _ in range(count - len(self._started)):
            # Between a process and its place in the list there must be no room for an interruption: nobody would end it.
            with _interrupts_held():
                pipe, far_end = context.Pipe()
                process = context.Process(target=_work, args=(far_end, self._plan), daemon=True)
                process.start()
                self._started.append(_Worker(process, pipe))
                far_end.close()


@contextmanager
def workers(plan: Plan, most: int) -> Iterator[Workers]:
    """Give processes that end with the context."""
    held = Workers(plan, most)
    try:
        yield held
    finally:
        held.end()


def _give(worker: _Worker, block: Block) -> None:
    try:
        worker.pipe.send(block)
    except OSError as error:
        raise WorkerDiedError(_DIED) from error


def _answer_of(worker: _Worker) -> BlockResult:
    try:
        answer = worker.pipe.recv()
    except (EOFError, OSError) as error:
        raise WorkerDiedError(_DIED) from error
    if isinstance(answer, BlockResult):
        return answer
    raise answer


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back until the end; processes started meanwhile never see one, it is their parent's to handle."""
    before = signal.getsignal(signal.SIGINT)
    if before in {signal.SIG_IGN, None} or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        with _interrupts_blocked():
            yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(signal.SIGINT)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C in this thread: a new process inherits that, and so is not interrupted while it imports its modules."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # The first process of all starts this tracker, which would lift the block.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, plan: Plan) -> None:
    """Run the blocks that come through the pipe, until nobody is left at its other end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(_simulated(plan, pipe.recv()))


def _simulated(plan: Plan, block: Block) -> BlockResult | Exception:
    """Return the result of a block, or the error to be raised by the parent, with what it looked like here."""
    try:
        return simulate(plan, block)
    except Exception as error:
        error.add_note(traceback.format_exc())
        return error


def _end_with_parent() -> None:
    """End this process when its parent has ended; one that was killed can no longer end anybody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
