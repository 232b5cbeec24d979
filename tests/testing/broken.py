"""Rules, guardrails and monitors that are broken on purpose, each in one way that people break them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from simlab.guardrails.guardrail import Guardrail, Judged, Stepped
from simlab.guardrails.look import Code, Decision, Floats, Look
from simlab.guardrails.monitor import Monitor
from simlab.guardrails.rule import Observation, Step, choose
from simlab.guardrails.rules.cusum import Cusum, CusumState
from simlab.guardrails.rules.group_sequential import Pocock
from simlab.guardrails.rules.limits import Above
from simlab.settings import settings

# -- rules: every one is a CUSUM, a limit or Pocock's test but for one thing ---------------------------------------------


@settings
class ResetsItself(Cusum):
    """Begins anew after an alarm, so that harm which stays flickers."""

    def update(self, state: CusumState, seen: Observation) -> Step:
        return super().update(CusumState(np.where(state.upper >= self.h, 0.0, state.upper), state.lower), seen)


@settings
class OneLookLate(Cusum):
    """Answers for the look before."""

    def update(self, state: CusumState, seen: Observation) -> Step:
        step = super().update(state, seen)
        return step._replace(statistic=np.where(np.isnan(step.statistic), np.nan, state.upper))


@settings
class OneLookEarly(Above):
    """Counts the looks of its time one short."""

    def initial(self, streams: int, lanes: int, *, every: int) -> Floats:
        return super().initial(streams, lanes, every=every)[1:]


@settings
class OneSidedByTwo(Pocock):
    """Holds Z against the bound that two sides share, and looks at one."""

    def update(self, state: Any, seen: Observation) -> Step:
        step = super().update(state, seen)
        return step._replace(statistic=np.where(step.worse | np.isnan(step.statistic), step.statistic, -np.inf))


@settings
class TwoSidedByOne(Pocock):
    """Holds |Z| against the bound of one side."""

    def update(self, state: Any, seen: Observation) -> Step:
        step = super().update(state, seen)
        return step._replace(statistic=np.abs(step.statistic))


class Spread(NamedTuple):
    looks: Floats
    total: Floats
    squares: Floats


@settings
class OwnVariance(Cusum):
    """A z-score whose variance is taken from the look that alarms, too."""

    def initial(self, streams: int, lanes: int, *, every: int) -> Any:  # noqa: ARG002
        return Spread(*np.zeros((3, streams, lanes)))

    def update(self, state: Any, seen: Observation) -> Step:
        now = Spread(state.looks + 1, state.total + seen.value, state.squares + seen.value**2)
        mean = now.total / now.looks
        spread = np.sqrt(np.maximum(now.squares / now.looks - mean**2, 0.0) + 1e-6)
        return Step(now, (seen.value - mean) / spread, worse=True)


@settings
class BatchSize(Cusum):
    """Shares its allowance among the lanes that happen to be judged together."""

    def update(self, state: CusumState, seen: Observation) -> Step:
        step = super().update(state, seen)
        return step._replace(statistic=step.statistic / np.sqrt(seen.value.shape[-1]))


@settings
class SharedState(Cusum):
    """One sum for all lanes."""

    def update(self, state: CusumState, seen: Observation) -> Step:
        step = super().update(state, seen)
        together = np.broadcast_to(
            np.max(step.statistic, axis=-1, keepdims=True, initial=0.0, where=seen.valid), step.statistic.shape
        ).copy()
        return Step(CusumState(together, state.lower), together, worse=True)


@settings
class Neighbours(Cusum):
    """Takes the median of the other lanes out, to be robust."""

    def update(self, state: CusumState, seen: Observation) -> Step:
        usual = np.median(np.where(seen.valid, seen.value, 0.0), axis=-1, keepdims=True)
        return super().update(state, replace(seen, value=seen.value - (usual if seen.value.shape[-1] > 2 else 0.0)))


@settings
class BeyondNotAt(Cusum):
    """Alarms above the threshold instead of at it."""

    @property
    def threshold(self) -> float:
        return float(np.nextafter(self.h, np.inf))


@settings
class InPlace(Cusum):
    """Adds to the sums it was given."""

    def update(self, state: CusumState, seen: Observation) -> Step:
        np.maximum(0.0, state.upper + np.where(seen.valid, seen.value, 0.0) - self.k, out=state.upper)
        return Step(state, np.where(np.isnan(seen.value), np.nan, state.upper), worse=True)


@dataclass(frozen=True)
class Memory:
    """Numbers that are not part of the state."""

    held: list[float] = field(default_factory=list)


@settings
class HiddenState(Cusum):
    """Learns its usual level in an attribute of its own, where no copy of the state has it."""

    memory: Memory = Memory()

    def initial(self, streams: int, lanes: int, *, every: int) -> CusumState:
        self.memory.held.clear()
        return super().initial(streams, lanes, every=every)

    def update(self, state: CusumState, seen: Observation) -> Step:
        self.memory.held.append(1.0)
        return super().update(state, replace(seen, value=seen.value - 0.125 * len(self.memory.held)))


@settings
class Throwing(Cusum):
    """Breaks ties by a throw of dice."""

    def update(self, state: CusumState, seen: Observation) -> Step:
        return super().update(state, replace(seen, value=seen.value + 1e-9 * np.random.default_rng().random()))


@settings
class NanIsZero(Cusum):
    """Takes what is not a number for nothing unusual."""

    def update(self, state: CusumState, seen: Observation) -> Step:
        return super().update(state, replace(seen, value=np.nan_to_num(seen.value)))


@settings
class Forgetting(Cusum):
    """Lets evidence fade with the clock, also while nobody looks."""

    def initial(self, streams: int, lanes: int, *, every: int) -> CusumState:  # noqa: ARG002
        return CusumState(*np.zeros((2, streams, lanes)))

    def update(self, state: CusumState, seen: Observation) -> Step:
        # The lower sum, which one side does not use, remembers when it last looked.
        faded = state.upper * 0.9 ** (seen.time - state.lower)
        step = super().update(CusumState(faded, state.lower), seen)
        return step._replace(state=CusumState(step.state.upper, np.full_like(faded, seen.time)))


@settings
class LaneNumber(Cusum):
    """Treats the first hundred lanes as a pilot."""

    def update(self, state: CusumState, seen: Observation) -> Step:
        step = super().update(state, seen)
        return step._replace(statistic=np.where(seen.lanes < 100, step.statistic, 0.5 * step.statistic))


@settings
class Tolerance(Above):
    """Allows for a rounding error of one half, whatever the unit."""

    def update(self, state: Floats, seen: Observation) -> Step:
        return super().update(state, replace(seen, value=seen.value - 0.5))


@settings
class Overflow(Cusum):
    """Takes a sum far beyond its threshold for a mistake in the data."""

    def update(self, state: CusumState, seen: Observation) -> Step:
        step = super().update(state, seen)
        return step._replace(statistic=np.where(step.statistic > 1.5 * self.h, 0.0, step.statistic))


@settings
class NoFloor(Cusum):
    """Forgets to stop at zero, so that a long quiet time hides what comes after."""

    def update(self, state: CusumState, seen: Observation) -> Step:
        total = state.upper + seen.value - self.k
        return Step(CusumState(total, state.lower), total, worse=True)


@settings
class HalfThreshold(Cusum):
    """Takes the threshold of two sums for that of their half."""

    @property
    def threshold(self) -> float:
        return 0.5 * self.h


class Latch:
    """Says True for good once it has seen 4; it lets go after three looks."""

    def __init__(self) -> None:
        self.left = 0

    def update(self, x: float) -> float:
        self.left = 3 if x >= 4 else max(0, self.left - 1)
        return float(self.left > 0)


def whole_series_z(values: Floats) -> Floats:
    """Return z-scores by the mean and spread of the whole series, the future included."""
    spread = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


# -- guardrails and monitors ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ForgetsOnNan(Guardrail):
    """Begins anew after a look that it could not judge."""

    def step(self, state: Any, look: Look) -> Stepped:
        stepped = super().step(state, look)
        anew = self.initial(*stepped.state.observed.shape)._replace(observed=stepped.state.observed)
        return stepped._replace(state=choose(stepped.decision.unknown, anew, stepped.state))


@dataclass(frozen=True)
class Greater(Guardrail):
    """Alarms at > where >= is meant."""

    def decide(self, judged: Judged, look: Look, *, threshold: Floats | None = None) -> Decision:
        beyond = np.nextafter(self.rule.threshold if threshold is None else threshold, np.inf)
        return super().decide(judged, look, threshold=np.broadcast_to(beyond, look.lanes.shape))


@dataclass(frozen=True)
class SilenceIsGreen(Guardrail):
    """Reads a look without data as ok."""

    def decide(self, judged: Judged, look: Look, *, threshold: Floats | None = None) -> Decision:
        decision = super().decide(judged, look, threshold=threshold)
        return replace(decision, code=np.where(decision.code == Code.UNKNOWN, Code.OK, decision.code).astype(np.int8))


class DropsLateData(Monitor):
    """Forgets what came while a look was lost."""

    def look(self, time: int, *arrived: Any, missing: bool = False, **how: Any) -> Any:
        return super().look(time, *(() if missing else arrived), missing=missing, **how)


class LateDataTwice(Monitor):
    """Takes in what came late once when it comes and once more with the next look."""

    late: tuple[Any, ...] = ()

    def look(self, time: int, *arrived: Any, missing: bool = False, **how: Any) -> Any:
        repeated, self.late = (self.late, ()) if not missing else ((), (*self.late, *arrived))
        return super().look(time, *repeated, *arrived, missing=missing, **how)


class KeepsClearedAlarm(Monitor):
    """Goes on from the old sums after people have cleared it."""

    def clear(self) -> None:
        pass


class RestartsAnew(Monitor):
    """Restores the clock, but not what it had seen."""

    def restore(self, saved: str) -> None:
        super().restore(saved)
        self.clear()
