"""Whether keyed noise is as good as random: TestU01's batteries over it in every order in which the simulator walks it.

Run ``python -m tests.noise_quality`` from the project's root, two minutes with SmallCrush; ``--battery Crush`` takes half an
hour an order. It needs Debian's package ``libtestu01-0`` (non-free), and writes a table to ``reports/gallery/noise.md``.

What is tested are the 52 bits of a uniform as it is drawn, 32 of them at a time. NumPy's Philox stands beside it for what a good
generator shows, and the same keys without their finaliser for what a bad one does: a battery that passes that would say nothing.

L'Ecuyer & Simard, "TestU01: a C library for empirical testing of random number generators", ACM TOMS 33 (2007).
"""

from __future__ import annotations

import argparse
import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from simlab.streams import cell_key, lane_uniform, numbered, stream_key, word_uniform

REPORT = Path("reports") / "gallery" / "noise.md"
LIBRARY = "libtestu01.so.0"
SUSPECT = 1e-3
"""A p-value nearer to 0 or 1 is listed; the manual calls one within 1e-10 a clear failure."""
FAILED = 1e-10
TICKS, CELLS, LANES = 4032, 24, 500
LANES_FIRST, TICKS_FIRST, CELLS_FIRST, LOW_BITS, VISITS, NO_FINALISER = range(6)
ORDERS = {
    "lanes, then cells, then ticks": LANES_FIRST,
    "ticks, then cells, then lanes": TICKS_FIRST,
    "cells, then lanes, then ticks": CELLS_FIRST,
    "lanes first, the lowest 32 bits": LOW_BITS,
    "visits of users one by one": VISITS,
    "control that must fail: keys without their finaliser": NO_FINALISER,
}


class _Generator(ctypes.Structure):
    """TestU01's ``unif01_Gen``."""

    _fields_ = (
        ("state", ctypes.c_void_p),
        ("param", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("get_u01", ctypes.c_void_p),
        ("get_bits", ctypes.c_void_p),
        ("write", ctypes.c_void_p),
    )


class Tested(NamedTuple):
    """What a battery found: p-values by name of the statistic, and the seconds that it took."""

    p_values: dict[str, float]
    seconds: float

    @property
    def suspect(self) -> dict[str, float]:
        """Those near 0 or 1."""
        return {name: p for name, p in self.p_values.items() if min(p, 1 - p) < SUSPECT}

    @property
    def failed(self) -> bool:
        """Whether a statistic leaves no doubt."""
        return any(min(p, 1 - p) < FAILED for p in self.p_values.values())


def keyed(order: int) -> tuple[int, int, list[Any]]:
    """Return addresses of functions for U01 and bits of keyed noise in one order, and what must be kept while they are used."""
    from numba import carray, cfunc, types

    key, other = np.uint64(stream_key(1, "world.requests")), np.uint64(stream_key(1, "visit.who"))
    ticks, cells, lanes, golden = TICKS, CELLS, LANES, np.uint64(0x9E3779B97F4A7C15)
    # So that numba knows of functions that are compiled when called.
    kept: list[Any] = [each.dispatcher for each in (cell_key, lane_uniform, numbered, word_uniform)]
    pointer = types.CPointer(types.uint64)

    @cfunc(types.uint64(pointer, pointer))
    def bits(_param: Any, state: Any) -> Any:
        counter = carray(state, 1)
        number = np.int64(counter[0])
        counter[0] += np.uint64(1)
        if order == NO_FINALISER:
            return (key + np.uint64(number) * golden) >> np.uint64(32)
        if order == VISITS:
            uniform = word_uniform(numbered(numbered(cell_key(key, number // 100_000, 0), 0), number % 100_000), other)
        elif order == TICKS_FIRST:
            rest = number // ticks
            uniform = lane_uniform(cell_key(key, number % ticks, rest % cells), rest // cells)
        elif order == CELLS_FIRST:
            rest = number // cells
            uniform = lane_uniform(cell_key(key, rest // lanes, number % cells), rest % lanes)
        else:
            rest = number // lanes
            uniform = lane_uniform(cell_key(key, rest // cells, rest % cells), number % lanes)
        drawn = np.uint64(uniform * 2.0**52)
        return drawn & np.uint64(0xFFFFFFFF) if order == LOW_BITS else drawn >> np.uint64(20)

    @cfunc(types.float64(pointer, pointer))
    def u01(param: Any, state: Any) -> Any:
        return bits(param, state) * 2.0**-32

    return u01.address, bits.address, [*kept, bits, u01]


def tested(library: ctypes.CDLL, battery: str, order: int | None) -> Tested:
    """Run a battery over keyed noise, or over Philox where `order` is None."""
    counter = np.zeros(1, dtype=np.uint64)
    if order is None:
        philox = np.random.Philox(1)
        interface = philox.ctypes
        first = ctypes.cast(interface.next_double, ctypes.c_void_p).value
        second = ctypes.cast(interface.next_uint32, ctypes.c_void_p).value
        # Its functions take their state first, where TestU01 puts the parameters.
        param, kept = interface.state_address, [philox, interface]
    else:
        first, second, kept = keyed(order)
        param = counter.ctypes.data
    nothing = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _state: None)
    generator = _Generator(counter.ctypes.data, param, b"noise", first, second, ctypes.cast(nothing, ctypes.c_void_p).value)
    begins = time.perf_counter()
    getattr(library, f"bbattery_{battery}")(ctypes.byref(generator))
    seconds = time.perf_counter() - begins
    count = ctypes.c_int.in_dll(library, "bbattery_NTests").value
    p_values = (ctypes.c_double * count).in_dll(library, "bbattery_pVal")
    names = (ctypes.c_char_p * count).in_dll(library, "bbattery_TestNames")
    del kept
    return Tested({f"{index + 1} {names[index].decode()}": p_values[index] for index in range(count)}, seconds)


def quietly(work: Callable[[], Tested]) -> Tested:
    """Do what prints pages from C without showing them."""
    shown, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        return work()
    finally:
        os.dup2(shown, 1)
        os.close(shown)
        os.close(nowhere)


def row(name: str, battery: str, found: Tested) -> str:
    """Return one line of the table."""
    suspect = "; ".join(f"{statistic}: {p:.2g}" for statistic, p in found.suspect.items()) or "none"
    verdict = "fails" if found.failed else "passes"
    return f"| {name} | {battery} | {len(found.p_values)} | {suspect} | {verdict} |"


def main(arguments: list[str] | None = None) -> None:
    """Test and write the table; exit with 1 unless noise passes and the control fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.noise_quality", description=__doc__)
    parser.add_argument("--battery", choices=("SmallCrush", "Crush", "BigCrush"), default="SmallCrush")
    parser.add_argument("--order", choices=tuple(ORDERS), action="append", help="only this order, as rows more")
    options = parser.parse_args(arguments)
    library = ctypes.CDLL(LIBRARY)
    rows, right = [], True
    chosen: list[tuple[str, int | None]] = [(name, ORDERS[name]) for name in options.order or ORDERS]
    for name, order in chosen if options.order else [*chosen, ("NumPy's Philox, for comparison", None)]:
        found = quietly(lambda order=order: tested(library, options.battery, order))  # type: ignore[misc]
        rows.append(row(name, options.battery, found))
        right &= found.failed == (order == NO_FINALISER)
        print(rows[-1], f"{found.seconds:.0f} s", flush=True)
    if options.order:
        REPORT.write_text(REPORT.read_text() + "".join(f"{each}\n" for each in rows))
    else:
        REPORT.write_text(
            "# Keyed noise under TestU01\n\n"
            "Every random number is a hash of (seed, stream, tick, cell, lane). TestU01's battery over 32 of its 52 bits, in the orders in which\n"
            "they are walked. Listed are p-values within 0.001 of 0 or 1, of which one in 500 statistics is expected of a perfect generator; within\n"
            "1e-10 is a failure. Written by `python -m tests.noise_quality`; `--battery Crush` asks 144 statistics of 1,000 times as many numbers.\n\n"
            "| order | battery | statistics | suspect p-values | |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
        )
    raise SystemExit(0 if right else 1)


if __name__ == "__main__":
    main()
