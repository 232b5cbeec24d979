"""Strategies for scenarios and what stands in them, in the words of the files.

What is drawn is small and shrinks to the plainest: one segment, one step, one harm. A failing test prints it as the YAML of a
scenario and of a study, which `Drawn.save` writes to where ``simlab run`` takes them.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from simlab.guardrails.look import Look
from simlab.plan import Plan, load
from simlab.testing.searches import cases
from simlab.testing.shown import Lens, make_looks

Words = dict[str, Any]
"""A mapping as a file holds it."""

_CUSUM: Words = {"watch": "errors", "compare": "difference", "rule": {"cusum": {"k": 0.5, "h": 5}}, "every": "5m"}
_RULES: tuple[Words, ...] = (
    {"cusum": {"k": 0.5, "h": 5}},
    {"repeated_z": {"looks": 100}},
    {"shewhart": {"sigmas": 4}},
    {"normal_mixture": {"alpha": "1%"}},
)


@dataclass(frozen=True, repr=False)
class Drawn:
    """A scenario and the policies that are tried on it.

    Attributes
    ----------
    scenario : mapping
        As in a scenario file.
    policies : tuple of mapping
        As in a study.
    lanes : int
        How many are run.
    seed : int
        Of the study.
    """

    scenario: Words
    policies: tuple[Words, ...] = ()
    lanes: int = 20
    seed: int = 7

    @property
    def study(self) -> Words:
        """The study, as in its file."""
        return {
            "study": "drawn",
            "why": "A case from a property-based test",
            "owner": "tests",
            "scenarios": [f"../{self.scenario['scenario']}.yaml"],
            "lanes": {"start": self.lanes, "cap": self.lanes},
            "seed": self.seed,
            "policies": list(self.policies) or [{"name": "cusum", "guardrails": [_CUSUM]}],
        }

    def save(self, folder: str | Path) -> Path:
        """Write both files under a folder, and return the study's path: what ``simlab run`` takes."""
        root = Path(folder)
        (root / "studies").mkdir(parents=True, exist_ok=True)
        (root / f"{self.scenario['scenario']}.yaml").write_text(_yaml(self.scenario), encoding="utf-8")
        path = root / "studies" / "drawn.yaml"
        path.write_text(_yaml(self.study), encoding="utf-8")
        return path

    def plan(self) -> Plan:
        """Return the plan of the study, for the engine."""
        with tempfile.TemporaryDirectory() as folder:
            return load(self.save(folder))

    def __repr__(self) -> str:
        name = self.scenario["scenario"]
        return (
            f"\n# {name}.yaml\n{_yaml(self.scenario)}\n# studies/drawn.yaml: simlab run studies/drawn.yaml\n{_yaml(self.study)}"
        )

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002
        """Print itself as files where Hypothesis prints what broke a test."""
        printer.text(repr(self))


def _yaml(words: Words) -> str:
    from ruamel.yaml import YAML

    writer, text = YAML(), io.StringIO()
    writer.width = 120
    writer.dump(words, text)
    return text.getvalue()


def _percent(low: int, high: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(lambda number: f"{number}%")


def _minutes(low: int, high: int) -> st.SearchStrategy[str]:
    """Return whole numbers of five minutes, from low to high of them."""
    return st.integers(low, high).map(lambda number: f"{5 * number}m")


@st.composite
def ramps(draw: st.DrawFn) -> list[Words]:
    """Return the steps of a ramp: one to four growing shares, the last for the rest."""
    shares = sorted(draw(st.lists(st.integers(1, 50), min_size=1, max_size=3, unique=True)))
    whole: bool = draw(st.sampled_from([False, True]))
    steps: list[Words] = [{"expose": f"{share}%", "soak": draw(_minutes(2, 24))} for share in shares]
    steps += [{"expose": "100%", "soak": "rest"}] if whole else []
    steps[-1]["soak"] = "rest"
    return steps


@st.composite
def harms(draw: st.DrawFn, *, segments: Sequence[str] = ()) -> Words:
    """Return a harm to the share of errors, some time after the first exposure."""
    harm: Words = {
        "name": "harm",
        "shape": "step",
        "metric": "errors",
        "onset": {"after": "first exposure", "wait": draw(_minutes(1, 12))},
        "add": f"{draw(st.integers(1, 20))}pp",
    }
    if segments and draw(st.sampled_from([False, True])):
        harm["segment"] = draw(st.sampled_from(list(segments)))
    return harm


@st.composite
def guardrails(draw: st.DrawFn) -> Words:
    """Return a guardrail that watches the share of errors."""
    found: Words = {
        "watch": "errors",
        "compare": draw(st.sampled_from(["difference", "ratio"])),
        "rule": draw(st.sampled_from(_RULES)),
        "every": draw(st.sampled_from(["5m", "10m", "1h"])),
        "respond": draw(st.sampled_from(["alert", "pause", "rollback", "hold"])),
    }
    if draw(st.booleans()):
        found["by"] = "segment"
    return found


@st.composite
def policies(draw: st.DrawFn, *, name: str = "drawn") -> Words:
    """Return a policy of one to three guardrails."""
    return {"name": name, "guardrails": draw(st.lists(guardrails(), min_size=1, max_size=3))}


@st.composite
def scenarios(draw: st.DrawFn, *, harmless: bool = False) -> Drawn:
    """Return small scenarios with one or two policies.

    Parameters
    ----------
    harmless : bool
        Without any harm.
    """
    share = draw(st.one_of(st.none(), st.integers(10, 90)))
    segments = {"all": "100%"} if share is None else {"web": f"{100 - share}%", "app": f"{share}%"}
    scenario: Words = {
        "scenario": "drawn-world",
        "starts": "2026-03-02T00:00:00Z",
        "tick": "5m",
        "horizon": draw(st.sampled_from(["4h", "12h"])),
        "users": {"count": draw(st.sampled_from([10_000, 100_000])), "activity": {"gamma": 0.7}, "segments": segments},
        "traffic": {"requests": draw(st.sampled_from(["200/m", "2000/m"]))},
        "metrics": {"errors": {"kind": "proportion", "per": "request", "normal": draw(_percent(1, 10))}},
        "rollout": {"steps": draw(ramps())},
    }
    if not harmless:
        scenario["harms"] = [draw(harms(segments=list(segments)))]
    if draw(st.booleans()):
        scenario["telemetry"] = {"delay": "1m-3m", "lost": draw(_percent(0, 20))}
    if draw(st.booleans()):
        scenario["response"] = {
            "people": {"answer": "5m-30m", "diagnose": "10m", "right": draw(_percent(50, 100))},
            "rollback": {"takes": "2m-5m", "succeeds": "99%"},
        }
    count = draw(st.integers(1, 2))
    return Drawn(scenario, tuple(draw(policies(name=f"policy-{number}")) for number in range(count)))


@st.composite
def looks(draw: st.DrawFn, *, lens: Lens | None = None, lanes: int = 2) -> list[Look]:
    """Return the looks of a few lanes, as a guardrail is given them.

    Parameters
    ----------
    lens : Lens, optional
        What they carry; levels if not given. Its `signal` reads them.
    lanes : int
        How many.
    """
    return make_looks([draw(cases(lanes=lanes)).streams], lens or Lens())
