"""Every kind of bad input gets a clear message at its place, and the exit code of a file error."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from simlab.errors import EXIT_USAGE, FileErrors
from simlab.guardrails.rule import Takes
from simlab.plan import load
from simlab.shipped import scenarios_folder

STUDY = (scenarios_folder() / "studies" / "checkout-canary.yaml").read_text()
SCENARIO = (scenarios_folder() / "checkout-app-errors.yaml").read_text()


def tree(folder: Path, *, study: str = STUDY, scenario: str = SCENARIO) -> Path:
    """Write a study beside its scenarios and return its path."""
    (folder / "studies").mkdir(exist_ok=True)
    (folder / "studies" / "study.yaml").write_text(study)
    (folder / "checkout-app-errors.yaml").write_text(scenario)
    (folder / "checkout-flapping.yaml").write_text(scenario.replace("scenario: checkout-app-errors", "scenario: other"))
    return folder / "studies" / "study.yaml"


def told(path: Path) -> str:
    with pytest.raises(FileErrors) as caught:
        load(path)
    assert caught.value.exit_code == EXIT_USAGE
    return str(caught.value)


SCENARIO_MISTAKES = {
    "unknown key": ("horizon: 3d", "horizn: 3d", "error[unknown-key]: horizn: unknown key", "did you mean 'horizon'?"),
    "missing key": ("tick: 5m\n", "", "error[missing-key]: tick: is required", ""),
    "wrong unit": ("tick: 5m", "tick: 5 bananas", "error[unit]: tick: '5 bananas' is not a duration", ""),
    "unit of another kind": ("add: 2pp", "add: 20ms", "error[unit]: harms[0].add: does not fit a proportion", ""),
    "negative rate": ("12000/m", "-12000/m", "error[unit]: traffic.requests: '-12000/m' is not a rate", ""),
    "zero rate": ("12000/m", "0/m", "error[bound]: traffic.requests: must be greater than 0", ""),
    "probability over 1": ("normal: 0.5%", "normal: 150%", "error[bound]: metrics.errors.normal: must be", ""),
    "probability over 1 by the harm": ("add: 2pp", "add: 99.9pp", "error[probability]: harms[0].add: makes the probability 1.004", ""),
    "shares that do not add up": ("web: 70%", "web: 60%", "error[shares]: users.segments: must add up to 100 %, not 90 %", ""),
    "a ramp that goes down": ("expose: 50%", "expose: 5%", "error[ramp]: rollout.steps[2].expose: the ramp goes down", ""),
    "rest in the middle": ("soak: 4h", "soak: rest", "error[ramp]: rollout.steps[1].soak: only the last step", ""),
    "onset after the horizon": ("wait: 30m", "wait: 9d", "error[time]: harms[0].onset: the onset is after the horizon", ""),
    "onset at an unknown step": ("step 10%", "step 11%", "error[unknown-step]: harms[0].onset.after", "known here: step 1%"),
    "harm to an unknown metric": ("metric: errors", "metric: erors", "error[unknown-metric]: harms[0].metric", "did you mean 'errors'?"),
    "harm in an unknown segment": ("segment: app", "segment: ap", "error[unknown-segment]: harms[0].segment", "did you mean 'app'?"),
    "zone-naive start": ("00:00:00Z", "00:00:00", "error[unit]: starts: '2026-03-02T00:00:00' does not say its zone", ""),
    "infinite number": ("gamma: 0.7", "gamma: .inf", "error[", ""),
    "not a number": ("gamma: 0.7", "gamma: .nan", "error[", ""),
    "YAML 1.1 truth": ("worse: up, personal_cv", "worse: no, personal_cv", "error[not-a-choice]: metrics.errors.worse", ""),
    "text for a number": ("count: 2000000", 'count: "2000000"', "error[type]: users.count", ""),
    "a name with markup": ("scenario: checkout-app-errors", "scenario: <b>x</b>", "error[name]: scenario: ", ""),
    "a name with a terminal escape": ("name: app-errors", 'name: "a\\e[31m"', "error[name]: harms[0].name: ", ""),
    "a duplicate key": ("tick: 5m", "tick: 5m\ntick: 1m", "error[duplicate-key]: tick: ", ""),
    "unknown shape": ("shape: step", "shape: stp", "error[not-a-choice]: harms[0]: ", "did you mean 'step'?"),
    "more requests than can be drawn": ("12000/m", "10000000000/m", "error[bound]: traffic.requests: makes ", ""),
    "a stratum without users": ("count: 2000000", "count: 20", "error[users]: users.count: leaves a part of ", "write at least"),
    "users too unequal to count": ("gamma: 0.7", "gamma: 0.000001", "error[bound]: users.activity.gamma: must be", ""),
    "more ticks than can be run": ("tick: 5m", "tick: 1ms", "error[time]: tick: a horizon of 3d has 259,200,000 such ticks; at most 100,000", ""),
    "horizon in half ticks": ("horizon: 3d", "horizon: 62m", "error[time]: horizon: must be a whole number of ticks", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENARIO_MISTAKES)
def test_mistakes_in_a_scenario(tmp_path: Path, name: str) -> None:
    right, wrong, expected, hint = SCENARIO_MISTAKES[name]
    assert right in SCENARIO
    text = told(tree(tmp_path, scenario=SCENARIO.replace(right, wrong, 1)))
    assert expected in text
    assert hint in text
    assert "checkout-app-errors.yaml:" in text
    assert "\x1b" not in text


STUDY_MISTAKES = {
    "a metric that does not exist": ("watch: errors, compare", "watch: erors, compare", "error[unknown-metric]: policies[0].guardrails[0].watch"),
    "two rules": ("{cusum: {k: 0.5, h: 9}}", "{cusum: {}, never: {}}", "error[rule]: policies[0].guardrails[0].rule: must say exactly one"),
    "a rule that is null": ("{cusum: {k: 0.5, h: 9}}", "{cusum: }", "hint: one with nothing but its defaults is written as NAME: {}"),
    "an unknown rule": ("cusum:", "cusm:", "did you mean 'cusum'?"),
    "a level for a rule that standardises": ("compare: difference, by", "of: everyone, by", "takes standardised, and a level does not give that"),
    "a budget for a rule without error": ("- name: errors-cusum", "- name: errors-cusum\n    budget: 5%", "error[budget]"),
    "a cadence between ticks": ("every: 5m, respond: rollback", "every: 7m, respond: rollback", "must be a whole number of ticks"),
    "a cadence beyond the horizon": ("every: 5m, respond: rollback", "every: 9d, respond: rollback", "guardrails[0].every: never looks"),
    "a warmup beyond the horizon": ("every: 5m, respond: rollback", "every: 5m, warmup: 9d, respond: rollback", "guardrails[0].warmup: never looks"),
    "a warmup between looks": ("every: 5m, respond: rollback", "every: 5m, warmup: 90s, respond: rollback", "guardrails[0].warmup: must be a whole number of looks"),
    "a gate without a limit": ("- {false_alarms: {max: 5%}}", "- {confidence: 90%}", "must say exactly one of false_alarms"),
    "a gate over 1": ("{max: 5%}", "{max: 500%}", "error[bound]: gates[0].false_alarms.max"),
    "a gate between ticks": ("within: 1h", "within: 7m", "error[time]: gates[1].within: must be a whole number of ticks"),
    "a window between looks": ("by: segment, rule: {cusum", "over: 7m, rule: {cusum", "over: must be a whole number of looks"),
    "an unknown metric among several": ("watch: errors, compare: difference, by: segment, rule: {cusum: {k: 0.5, h: 9}}", "watch: [latency, erors], compare: difference, rule: {hotelling: {}}", "error[unknown-metric]: policies[0].guardrails[0].watch[1]: scenario checkout-app-errors has no metric 'erors'"),
    "segments of several metrics": ("watch: errors, compare: difference, by: segment, rule: {cusum: {k: 0.5, h: 9}}", "watch: [latency, errors], compare: difference, by: segment, rule: {mewma: {}}", "error[signal]: policies[0].guardrails[0].by: mewma takes its metrics as streams"),
    "several metrics for a rule of one": ("watch: errors, compare", "watch: [errors, latency], compare", "error[signal]: policies[0].guardrails[0].watch: cusum takes one metric; write a guardrail for each"),
    "a level of several metrics without a baseline": ("watch: errors, compare: difference, by: segment, rule: {cusum: {k: 0.5, h: 9}}", "watch: [latency, errors], of: everyone, rule: {mewma: {}}", "rule: mewma takes several metrics, standardised, and a level does not give that"),
    "too few looks for an F limit": ("watch: errors, compare: difference, by: segment, rule: {cusum: {k: 0.5, h: 9}}", "watch: [latency, errors], compare: difference, rule: {hotelling: {learnt_from: 2}}", "rule: hotelling: learnt_from 2 must be above the number of metrics, 2"),
    "events of a duration": ("watch: errors, compare: difference, by: segment, rule: {cusum: {k: 0.5, h: 9}}", "watch: latency, compare: ratio, rule: {canary_counts: {}}", "error[signal]: policies[0].guardrails[0].watch: canary_counts counts events, and 'latency' of scenario checkout-app-errors is not a proportion"),
    "a burn rate of a duration": ("watch: errors, of: everyone, rule: {above: {limit: 1%, for: 15m}}", "watch: latency, of: everyone, rule: {burn_rate: {}}", "watch: burn_rate counts events, and 'latency'"),
    "a burn rate of a comparison": ("rule: {cusum: {k: 0.5, h: 9}}", "rule: {burn_rate: {}}", "rule: burn_rate takes events of observations, and a comparison does not give that"),
    "a burn window in half looks": ("rule: {above: {limit: 1%, for: 15m}}", "rule: {burn_rate: {long: 1h, short: 7m}}", "error[rule]: policies[1].guardrails[0].rule: burn_rate: short 7m must be a whole number of looks, each of 5m"),
    "shares for a rule that standardises": ("watch: errors, compare: difference, by: segment, rule", "compare: shares, rule", "hint: shares are judged by srm_chi2, srm; to compare a metric write difference or ratio"),
    "a comparison for a rule of shares": ("rule: {cusum: {k: 0.5, h: 9}}", "rule: {srm: {}}", "hint: write compare: shares"),
    "a window inside a rule": ("{limit: 1%, for: 15m}", "{limit: 1%, for: 15m, over: 15m}", "hint: it belongs beside 'rule', not inside"),
    "a window of events": ("by: segment, rule: {cusum: {k: 0.5, h: 9}}", "over: 10m, rule: {canary_counts: {}}", "error[signal]: policies[0].guardrails[0].over: canary_counts counts each event once, as it comes: it adds up all events itself"),
    "a minimum of events": ("by: segment, rule: {cusum: {k: 0.5, h: 9}}", "min_count: 9, rule: {canary_counts: {}}", "error[signal]: policies[0].guardrails[0].min_count: canary_counts counts each event once"),
    "a harmless difference of events": ("by: segment, rule: {cusum: {k: 0.5, h: 9}}", "'null': 0.1%, rule: {canary_counts: {}}", "error[signal]: policies[0].guardrails[0].null: canary_counts counts events, of which only a ratio can be harmless"),
    "a level for an e-detector that standardises": ("of: everyone, rule: {above: {limit: 1%, for: 15m}}", "of: everyone, rule: {e_sr: {}}", "rule: e_sr takes standardised, and a level does not give that"),
    "a comparison for a heartbeat": ("rule: {cusum: {k: 0.5, h: 9}}", "rule: {heartbeat: {}}", "rule: heartbeat takes arrivals, and a comparison does not give that"),
    "a period of half phases": ("rule: {above: {limit: 1%, for: 15m}}", "rule: {seasonal: {phase: 7h}}", "rule.seasonal: period 1d must be a whole number of phases, 7h each"),
    "a gate after the horizon": ("within: 1h", "within: 9d", "error[time]: gates[1].within: is after the horizon"),
    "a quantile of nothing": (", at: p90", "", "needs at, a quantile"),
    "a cap below the start": ("cap: 16000", "cap: 16", "error[order]: lanes.cap: must be at least start"),
    "a missing scenario": ("../checkout-flapping.yaml", "../missing.yaml", "error[not-found]: scenarios[1]: there is no file"),
    "a scenario outside the tree": ("../checkout-flapping.yaml", "../../outside.yaml", "error[outside]: scenarios[1]"),
    "two policies of one name": ("what-we-run-today", "errors-cusum", "error[name]: policies[1].name"),
}  # fmt: skip


@pytest.mark.parametrize("name", STUDY_MISTAKES)
def test_mistakes_in_a_study(tmp_path: Path, name: str) -> None:
    right, wrong, expected = STUDY_MISTAKES[name]
    assert right in STUDY
    assert expected in told(tree(tmp_path, study=STUDY.replace(right, wrong, 1)))


def test_what_an_e_detector_takes_follows_its_likelihood(tmp_path: Path) -> None:
    levels = STUDY.replace("rule: {above: {limit: 1%, for: 15m}}", "rule: {e_sr: {p0: 0.5%, p1: 2%}}")
    assert load(tree(tmp_path, study=levels)).settings[0].policies[1].guardrails[0].rule.takes is Takes.LEVEL


def test_a_link_that_leaves_the_tree_is_outside(tmp_path: Path) -> None:
    path = tree(tmp_path / "in" if (tmp_path / "in").mkdir() is None else tmp_path)
    outside = tmp_path / "outside.yaml"
    outside.write_text(SCENARIO)
    link = tmp_path / "in" / "checkout-flapping.yaml"
    link.unlink()
    link.symlink_to(outside)
    assert "error[outside]: scenarios[1]" in told(path)


def test_all_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    scenario = SCENARIO.replace("tick: 5m", "tick: 5 bananas").replace("add: 2pp", "ad: 2pp").replace("12000/m", "fast")
    text = told(tree(tmp_path, scenario=scenario))
    for part in ("tick: '5 bananas'", "ad: unknown key", "traffic.requests: 'fast'", "checkout-flapping.yaml:"):
        assert part in text


def test_a_wrong_entry_does_not_empty_its_list(tmp_path: Path) -> None:
    text = told(tree(tmp_path, study=STUDY.replace("every: 5m", "every: often", 1)))
    assert "guardrails[0].every: 'often' is not a duration" in text
    assert text.count("error[") == 1
    assert "policies: must not be empty" in told(tree(tmp_path, study=re.sub(r"policies:\n(  .*\n)+", "policies: []\n", STUDY)))


def test_the_place_is_exact(tmp_path: Path) -> None:
    lines = told(tree(tmp_path, scenario=SCENARIO.replace("tick: 5m", "tick: 5 bananas"))).splitlines()
    at = next(index for index, line in enumerate(lines) if "5 bananas" in line)
    line = 1 + SCENARIO.splitlines().index("tick: 5m")
    assert f"checkout-app-errors.yaml:{line}:7: error[unit]" in lines[at]
    assert lines[at + 1] == "  tick: 5 bananas"
    assert lines[at + 2] == "        ^"


FILES = {
    "empty": (b"", "error[empty]"),
    "only comments": (b"# nothing\n", "error[empty]"),
    "not YAML": (b"study: [\n", "error[not-yaml]"),
    "not text": (b"\xff\xfe\x00", "error[not-utf8]"),
    "a list": (b"- a\n", "error[not-a-mapping]"),
    "a tag that would run code": (b"study: !!python/object/apply:os.system ['true']\n", "error[tag]"),
    "several documents": (b"study: a\n---\nstudy: b\n", "error[several-documents]"),
    "100 MB": (b"a: b\n" * 20_000_000, "error[too-large]"),
    "aliases that explode": (
        b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(12)),
        "error[alias-bomb]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files_that_hold_no_document(tmp_path: Path, name: str) -> None:
    content, expected = FILES[name]
    path = tmp_path / "study.yaml"
    path.write_bytes(content)
    began = time.monotonic()
    assert expected in told(path)
    # Not a benchmark: a bomb or a file read whole would take minutes.
    assert time.monotonic() - began < 20


def test_a_harm_on_top_of_a_drift_keeps_probabilities(tmp_path: Path) -> None:
    drift = "drift:\n  - {name: worse-and-worse, shape: trend, metric: errors, times: x190, over: 1d}\n"
    text = told(tree(tmp_path, scenario=SCENARIO.replace("add: 2pp", "add: 10pp").split("drift:")[0] + drift))
    assert "error[probability]: harms[0].add: makes the probability 1.0" in text
