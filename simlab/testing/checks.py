"""One test for each claim of a rule, for ``pytest.mark.parametrize``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from simlab.testing.claims import Claim, Claims, Placed, own_claims
from simlab.testing.machine import live_equals_batch
from simlab.testing.searches import search
from simlab.testing.shown import Lens
from simlab.testing.subjects import Subject, subject


@dataclass(frozen=True)
class Check:
    """One test of one rule; call it.

    Attributes
    ----------
    name : str
        Short, for the name of the test.
    run : callable
        Fails if the claim does not hold.
    """

    name: str
    run: Callable[[], Any]

    @property
    def __name__(self) -> str:
        """What pytest calls the test."""
        return self.name

    def __call__(self) -> None:
        """Run the test."""
        self.run()


def conformance(
    given: Any,
    *,
    claims: Claims | None = None,
    also: Iterable[Claim] = (),
    minimum_looks: int = 1,
    placed: Placed | None = None,
    levels: tuple[float, float] = (1.0, 2.0),
    error_rates: Iterable[Callable[[Subject], Any]] = (),
    lens: Lens | None = None,
    **how: Any,
) -> tuple[Check, ...]:
    """Return one test for each claim of a rule; a few seconds together.

    Parameters
    ----------
    given : Rule, mapping, class, function or detector
        As in `simlab.testing.as_rule`.
    claims : Claims, optional
        Instead of the catalogue's, or of what holds for every rule.
    also : iterable of Claim
        What a rule of one's own claims beyond that.
    minimum_looks, placed, levels
        As in `own_claims`.
    error_rates : iterable of callable
        Assertions that still want the rule, as ``partial(assert_false_alarms, at_most=0.05, horizon=50)``.
    lens, **how
        As in `simlab.testing.subject`.

    Examples
    --------
    >>> for test in conformance({"cusum": {"k": 0.5, "h": 4}}):
    ...     test()
    """
    own = claims is None and (bool(tuple(also := tuple(also))) or minimum_looks > 1 or placed is not None)
    stated = own_claims(also, minimum_looks=minimum_looks, placed=placed, levels=levels) if own else claims
    tried = subject(given, claims=stated, lens=lens, **how)
    held = [Check(_named(tried, claim.value), partial(search, tried, claim)) for claim in Claim if claim in tried.claims.held]
    live = Check(_named(tried, "live equals batch"), partial(live_equals_batch, tried))
    return (*held, live, *(_of_assertion(tried, assertion) for assertion in error_rates))


def _of_assertion(tried: Subject, assertion: Callable[[Subject], Any]) -> Check:
    called = getattr(assertion, "func", assertion)
    return Check(_named(tried, str(getattr(called, "__name__", assertion)).removeprefix("assert_")), partial(assertion, tried))


def _named(tried: Subject, what: str) -> str:
    return f"{tried.name}-{what.replace(' ', '_')}"
