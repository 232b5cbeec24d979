"""Data that wait until there are enough of them: terms of a look added to what waited, and which of them are taken, compiled.

Mostly nothing waits, and then there is no array to be read and written at each look.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simlab.compiled import compiled
from simlab.guardrails.look import Bools, Floats


class Gathered(NamedTuple):
    """What has come and what waited, together.

    Attributes
    ----------
    terms : float64[terms, streams, lanes]
        Their sum, without what is new where not all of it is a number.
    finite : bool[streams, lanes]
        Where all that is new is a number.
    """

    terms: Floats
    finite: Bools


class Portion(NamedTuple):
    """What is taken of it, and what goes on waiting.

    Attributes
    ----------
    waiting : float64[terms, streams, lanes]
        For the next look.
    taken, thin : bool[streams, lanes]
        Where data are taken, and where there are some but too few.
    """

    waiting: Floats
    taken: Bools
    thin: Bools


def nothing(shape: tuple[int, ...]) -> Floats:
    """Return no data that wait, float64[terms, streams, lanes]: a single zero for all places, not to be written to."""
    return np.broadcast_to(0.0, shape)


def _is_nothing(waiting: Floats) -> bool:
    return not any(waiting.strides)


@compiled
def _keep_finite(new: Floats, finite: Bools) -> None:
    """Fill `finite` [streams, lanes], and let nothing be new where not all of it is a number."""
    each, streams, lanes = new.shape
    for stream in range(streams):
        finite[stream] = True
        for term in range(each):
            for lane in range(lanes):
                # A difference of equal numbers is 0, and of infinities and of what is no number it is none.
                finite[stream, lane] &= new[term, stream, lane] - new[term, stream, lane] == 0.0
        whole = True
        for lane in range(lanes):
            whole &= finite[stream, lane]
        if not whole:
            for term in range(each):
                for lane in range(lanes):
                    new[term, stream, lane] = new[term, stream, lane] if finite[stream, lane] else 0.0


def gather(new: Floats, waiting: Floats) -> Gathered:
    """Return what has come together with what waited, each float64[terms, streams, lanes]; `new` is overwritten."""
    finite = np.empty(new.shape[1:], dtype=np.bool_)
    _keep_finite(new, finite)
    return Gathered(new if _is_nothing(waiting) else np.add(new, waiting, out=new), finite)


@compiled
def _portion(terms: Floats, some: Bools, enough: Bools, open_lanes: Bools, begun: bool, taken: Bools, thin: Bools) -> bool:
    """Fill `taken` and `thin` [streams, lanes], and return whether anything is left."""
    each, streams, lanes = terms.shape
    left = False
    for stream in range(streams):
        all_taken = True
        for lane in range(lanes):
            open_lane = open_lanes[stream, lane]
            taken[stream, lane] = open_lane & enough[stream, lane] & begun
            thin[stream, lane] = open_lane & (not enough[stream, lane]) & some[stream, lane]
            all_taken &= taken[stream, lane]
        if begun and not all_taken:
            for term in range(each):
                for lane in range(lanes):
                    left |= (not taken[stream, lane]) & (terms[term, stream, lane] != 0.0)
    return left


@compiled
def _leave(terms: Floats, taken: Bools, waiting: Floats) -> None:
    each, streams, lanes = terms.shape
    for term in range(each):
        for stream in range(streams):
            for lane in range(lanes):
                waiting[term, stream, lane] = 0.0 if taken[stream, lane] else terms[term, stream, lane]


def portion(terms: Floats, waited: Floats, *, some: Bools, enough: Bools, open_lanes: Bools, begun: bool) -> Portion:
    """Return what is taken: where there is enough in an open lane. A warm-up leaves nothing waiting.

    Parameters
    ----------
    terms : float64[terms, streams, lanes]
        What there is.
    waited : float64[terms, streams, lanes]
        What of it has waited.
    some, enough, open_lanes : bool[streams, lanes]
        Where there is any, and enough of it; where something can be taken at all.
    begun : bool
        Whether the warm-up is over.
    """
    taken, thin = np.empty(some.shape, dtype=np.bool_), np.empty(some.shape, dtype=np.bool_)
    if not _portion(terms, some, enough, open_lanes, begun, taken, thin):
        return Portion(waited if _is_nothing(waited) else nothing(terms.shape), taken, thin)
    waiting = np.empty(terms.shape)
    _leave(terms, taken, waiting)
    return Portion(waiting, taken, thin)
