"""How far a run is: a bar on a terminal, plain lines elsewhere; both say what is simulated and how long remains."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from simlab.errors import printable
from simlab.runner import Progress
from simlab.ticks import format_count

_SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Give a progress that shows on standard error."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TextColumn("lanes"))
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("preparing", total=None)

        def show(*, done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=printable(what))

        yield show


class _Lines:
    """One line every few seconds."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()

    def __call__(self, *, done: int, total: int, what: str) -> None:
        now = time.monotonic()
        if now - self._told < _SECONDS_BETWEEN_LINES and done < total:
            return
        self._told = now
        left = (now - self._began) * (total - done) / max(done, 1)
        text = f"{printable(what)}: {done:,} of {format_count(total, 'lane')}, about {left:.0f} s left"
        print(text, file=sys.stderr, flush=True)  # noqa: T201
