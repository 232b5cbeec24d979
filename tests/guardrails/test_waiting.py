"""Terms that wait until there are enough of them."""

from __future__ import annotations

import numpy as np

from simlab.guardrails.waiting import gather, nothing, portion

STREAMS, LANES = 2, 3


def test_what_is_new_joins_what_waited_unless_a_part_of_it_is_no_number() -> None:
    new, waiting = np.ones((2, STREAMS, LANES)), np.full((2, STREAMS, LANES), 5.0)
    new[1, 0, 1], new[0, 1, 2], new[0, 1, 0] = np.nan, np.inf, -np.inf
    terms, finite = gather(new, waiting)
    np.testing.assert_array_equal(finite, [[True, False, True], [False, True, False]])
    np.testing.assert_array_equal(terms, np.broadcast_to(np.where(finite, 6.0, 5.0), terms.shape))


def test_every_case_of_some_enough_open_and_begun() -> None:
    grid = np.array([(some, enough, opened) for some in (0, 1) for enough in (0, 1) for opened in (0, 1)], dtype=bool).T
    some, enough, opened = (each.reshape(2, 4) for each in grid)
    terms = np.arange(1.0, 9.0).reshape(1, 2, 4)
    for begun in (False, True):
        waiting, taken, thin = portion(terms, nothing(terms.shape), some=some, enough=enough, open_lanes=opened, begun=begun)
        np.testing.assert_array_equal(taken, opened & enough & begun)
        np.testing.assert_array_equal(thin, opened & ~enough & some)
        np.testing.assert_array_equal(waiting[0], np.where(taken | (not begun), 0.0, terms[0]))


def test_what_waits_is_the_same_whether_or_not_it_takes_memory() -> None:
    everywhere, new = np.ones((STREAMS, LANES), dtype=bool), np.arange(12.0).reshape(2, STREAMS, LANES)
    for waited in (nothing(new.shape), np.zeros(new.shape)):
        terms, _ = gather(new.copy(), waited)
        np.testing.assert_array_equal(terms, new)
        answers = {"some": everywhere, "open_lanes": everywhere, "begun": True}
        assert not any(portion(terms, waited, enough=everywhere, **answers).waiting.strides)
        left = portion(terms, waited, enough=~everywhere, **answers).waiting
        np.testing.assert_array_equal(left, new)
        np.testing.assert_array_equal(gather(new.copy(), left).terms, 2 * new)
