"""What error-rate claims report, and where the pytest plugin collects it; light, since every start of pytest imports it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class ErrorRate:
    """The outcome of one error-rate claim.

    Attributes
    ----------
    rule : str
        Its key.
    quantity : str
        What was measured.
    claim : str
        What was claimed of it.
    value, low, high : float
        Share of lanes, or looks, and its exact 95 % interval.
    unit : str
        Of value, low and high.
    lanes, seed : int
        Lanes used, and the seed they were drawn from.
    flake : float
        Probability, at most, that a rule which keeps the claim fails the assertion.
    caught : float
        The value at which, and beyond which, a rule is caught; in between either verdict is allowed.
    power : float
        Probability, at least, with which that happens.
    holds : bool
        The verdict.
    """

    rule: str
    quantity: str
    claim: str
    value: float
    low: float
    high: float
    unit: str
    lanes: int
    seed: int
    flake: float
    caught: float
    power: float
    holds: bool

    def __str__(self) -> str:
        found = f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}] {self.unit}, 95 % interval"
        return (
            f"{self.rule}: {self.quantity}: claimed {self.claim}, found {found}, {self.lanes:,} lanes, seed {self.seed}. "
            f"A rule that keeps the claim fails here with probability at most {self.flake:.2g}; "
            f"one with {self.caught:.4g} or worse is caught with probability at least {self.power:.4g}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return its fields as plain data."""
        return asdict(self)


@dataclass
class Session:
    """Settings of this run of the tests, and the claims of the test that is running.

    Attributes
    ----------
    lanes : int or None
        Most lanes of one claim.
    seed : int
        For claims that state none.
    claims : list of ErrorRate
        Made by the running test.
    """

    lanes: int | None = None
    seed: int = 0
    claims: list[ErrorRate] = field(default_factory=list)


session = Session()
"""The one session of this process."""
