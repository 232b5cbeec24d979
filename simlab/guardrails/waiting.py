"""Data that wait until there are enough of them: terms of a look added to what waited, and which of them are taken, compiled."""

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


@compiled
def _gather(new: Floats, waiting: Floats, terms: Floats, finite: Bools) -> None:
    each, streams, lanes = new.shape
    for stream in range(streams):
        finite[stream] = True
        for term in range(each):
            for lane in range(lanes):
                # A difference of equal numbers is 0, and of infinities and of what is no number it is none.
                finite[stream, lane] &= new[term, stream, lane] - new[term, stream, lane] == 0.0
        for term in range(each):
            for lane in range(lanes):
                coming = new[term, stream, lane] if finite[stream, lane] else 0.0
                terms[term, stream, lane] = waiting[term, stream, lane] + coming


def gather(new: Floats, waiting: Floats) -> Gathered:
    """Return what has come together with what waited, each float64[terms, streams, lanes]."""
    gathered = Gathered(np.empty(waiting.shape), np.empty(waiting.shape[1:], dtype=np.bool_))
    _gather(new, waiting, *gathered)
    return gathered


@compiled
def _portion(
    terms: Floats, some: Bools, enough: Bools, open_lanes: Bools, begun: bool, waiting: Floats, taken: Bools, thin: Bools
) -> None:
    each, streams, lanes = terms.shape
    for stream in range(streams):
        for lane in range(lanes):
            open_lane = open_lanes[stream, lane]
            taken[stream, lane] = open_lane & enough[stream, lane] & begun
            thin[stream, lane] = open_lane & (not enough[stream, lane]) & some[stream, lane]
        for term in range(each):
            for lane in range(lanes):
                waiting[term, stream, lane] = 0.0 if taken[stream, lane] | (not begun) else terms[term, stream, lane]


def portion(terms: Floats, *, some: Bools, enough: Bools, open_lanes: Bools, begun: bool) -> Portion:
    """Return what is taken: where there is enough in an open lane. A warm-up leaves nothing waiting.

    Parameters
    ----------
    terms : float64[terms, streams, lanes]
        What there is.
    some, enough, open_lanes : bool[streams, lanes]
        Where there is any, and enough of it; where something can be taken at all.
    begun : bool
        Whether the warm-up is over.
    """
    shape = terms.shape[1:]
    found = Portion(np.empty(terms.shape), np.empty(shape, dtype=np.bool_), np.empty(shape, dtype=np.bool_))
    _portion(terms, some, enough, open_lanes, begun, *found)
    return found
