"""How often a z-test of requests cries wolf where users return, against the design effect; beside it, tests whose unit is the user.

Run ``python -m tests.design_effect`` from the project's root: some minutes. It writes a table and a figure.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scipy.stats import norm

from simlab.measures.estimates import Estimate
from simlab.report.figures import COLOURS, INK, MARKERS, draw_svg, new_figure
from simlab.report.words import words
from simlab.runner import Options, run_plan
from tests.worlds import plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPORTS = Path("reports") / "gallery"
USERS, PER_USER, CHANCE, GAMMA = 2000, 50.0, 0.02, 0.7
SPREADS = (0.0, 0.5, 1.0, 1.5, 2.0)
POLICIES = {
    "requests": {"watch": "errors"},
    "users-by-the-delta-method": {"watch": "errors", "unit": "user"},
    "users-counted-once": {"watch": "joined"},
}


def design_effect(spread: float) -> float:
    """Return the variance of an arm's mean over that of as many independent requests.

    A user makes a Poisson number n of requests around `PER_USER` times a gamma activity A of mean 1, each an event with probability
    p B, B of mean 1 and coefficient of variation `spread`. Residuals Y - p n have the variance p (1 - p) E[n] from single requests,
    less what the spread of B takes, and p^2 cv^2 E[n (n - 1)] from users: E[n (n - 1)] = PER_USER^2 (1 + 1 / gamma).
    """
    return 1 + CHANCE / (1 - CHANCE) * spread**2 * PER_USER * (1 + 1 / GAMMA)


def world(spread: float) -> dict[str, Any]:
    """Return the scenario: half of the users in treatment from the first moment on, no harm."""
    return {
        "scenario": f"spread-{spread:g}",
        "starts": "2026-03-02T00:00:00Z",
        "tick": "1h",
        "horizon": "12h",
        "users": {"count": USERS, "detail": "individual", "activity": {"gamma": GAMMA}, "segments": {"all": "100%"}},
        "traffic": {"requests": f"{USERS * PER_USER / 12:g}/h"},
        "metrics": {
            "errors": {"kind": "proportion", "per": "request", "normal": CHANCE, "personal_cv": spread},
            "joined": {"kind": "proportion", "per": "user", "normal": "20%", "worse": "down"},
        },
        "rollout": {"steps": [{"expose": "50%", "soak": "rest"}]},
    }


def measured(lanes: int, *, workers: int = 1) -> dict[float, dict[str, Estimate]]:
    """Return the false-alarm rate of a test at 5 % after all the data, by spread of personal effects and policy."""
    rule = {"compare": "difference", "rule": {"repeated_z": {"alpha": "5%", "looks": 1}}, "every": "12h"}
    policies = [{"name": name, "guardrails": [rule | watch]} for name, watch in POLICIES.items()]
    made = plan(scenarios=[world(spread) for spread in SPREADS], policies=policies, start=lanes, cap=lanes)
    found = run_plan(made, Options(workers=workers), command="design effect")
    return {
        spread: {each.policy: each.estimates["false_alarms"] for each in scenario.performances if each.policy in POLICIES}
        for spread, scenario in zip(SPREADS, found.scenarios, strict=True)
    }


def expected(spread: float) -> float:
    """Return what a z-test of requests at 5 % comes to: 2 Phi(-1.96 / sqrt(design effect))."""
    return float(2 * norm.sf(norm.isf(0.025) / math.sqrt(design_effect(spread))))


def draw(found: dict[float, dict[str, Estimate]]) -> Figure:
    """Draw the rates against the design effect, and the curve that requests should follow."""
    figure = new_figure(3.6)
    axes = figure.subplots()
    most = design_effect(SPREADS[-1])
    effects = [1 + (most - 1) * step / 200 for step in range(201)]
    curve = [200 * norm.sf(norm.isf(0.025) / math.sqrt(effect)) for effect in effects]
    axes.plot(effects, curve, color=INK, linewidth=1, linestyle="--", label="2 Phi(-1.96 / sqrt(design effect))")
    for name, colour, marker in zip(POLICIES, COLOURS, MARKERS, strict=False):
        rates = [each[name] for each in found.values()]
        at = [design_effect(spread) for spread in found]
        ends = [[100 * (rate.value - rate.low) for rate in rates], [100 * (rate.high - rate.value) for rate in rates]]
        values = [100 * rate.value for rate in rates]
        axes.errorbar(
            at, values, yerr=ends, color=colour, marker=marker, linestyle="none", label=f"z of {name.replace(chr(45), chr(32))}"
        )
    axes.axhline(5, color=INK, linewidth=0.6)
    axes.set_xscale("log")
    ticks = (1, 2, 5, 10, 20)
    axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_ylim(0)
    axes.set_xlabel("design effect: variance over that of as many independent requests")
    axes.set_ylabel("false alarms at 5 %, %, with 95 % interval")
    axes.legend(loc="upper left")
    return figure


def main() -> None:
    """Write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lanes", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    found = measured(given.lanes, workers=given.workers)
    heads = [
        "spread of users (cv)",
        "design effect",
        "expected of requests",
        *(f"z of {name.replace(chr(45), chr(32))}" for name in POLICIES),
    ]
    rows = [
        [f"{spread:g}", f"{design_effect(spread):.2f}", f"{expected(spread):.1%}", *(str(words(each[name])) for name in POLICIES)]
        for spread, each in found.items()
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))
    text = (
        "# Where users return: false alarms against the design effect\n\n"
        f"{USERS:,} users make {PER_USER:g} requests each on average, half of them in treatment, nobody is harmed; a two-sided z-test at "
        "5 % looks once, at the end. Users differ in how prone to errors they are, so that a user's requests are alike and count for "
        f"less than as many of strangers. Each rate with its 95 % interval.\n\n{table}\n\n![Rates against the design effect]"
        "(design-effect.svg)\n\nRequests follow 2 Phi(-1.96 / sqrt(design effect)); tests whose unit is the user hold 5 %. Written by "
        "`python -m tests.design_effect`.\n"
    )
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / "design-effect.md").write_text(text, encoding="utf-8")
    (REPORTS / "design-effect.svg").write_text(draw_svg("design-effect", lambda: draw(found)), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
