"""A rule of another package, installed by pip and found by its entry point: in a study, in a replay and live."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ruamel.yaml

from tests.test_replay import POLICIES, write
from tests.worlds import CUSUM, SCENARIO

PACKAGE = Path(__file__).parent / "outside_rule"

LIVE = """
import simlab
from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.signal import Signal

signal = Signal(watch="errors", of="everyone", target=1.0, spread=1.0)
guardrail = Guardrail(signal, simlab.rule({"streak": {"level": 1, "length": 2}}), every=60_000)
monitor = simlab.Monitor(guardrail)
for time, value in enumerate([1, 3, 4, 5, 1], start=1):
    kept, monitor = monitor.save(), simlab.Monitor(guardrail)
    monitor.restore(kept)
    print(monitor.look(time, simlab.Arrived({"errors": simlab.Counts(1, value)})).answer)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that pip has installed the package into."""
    target = tmp_path_factory.mktemp("site")
    # Without the network where the backend is at hand.
    offline = ["--no-index", "--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    source = tmp_path_factory.mktemp("source")
    for file in ("pyproject.toml", "outside_rule.py"):
        (source / file).write_bytes((PACKAGE / file).read_bytes())
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *offline, "--target", target, source]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return target


def python(installed: Path, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


def run_study(installed: Path, folder: Path, rule: str) -> subprocess.CompletedProcess[str]:
    """Run a study of one policy with that rule, in two processes."""
    yaml = ruamel.yaml.YAML(typ="safe")
    (folder / "studies").mkdir(exist_ok=True)
    study = {
        "study": "outside",
        "why": "a test",
        "owner": "tests",
        "scenarios": ["../small.yaml"],
        "policies": [{"name": "theirs", "guardrails": [{**CUSUM, "rule": {rule: {"level": 1.5, "length": 3}}}]}],
        "lanes": {"start": 40, "cap": 40},
    }
    for file, held in ((folder / "small.yaml", SCENARIO), (folder / "studies" / "outside.yaml", study)):
        with file.open("w") as stream:
            yaml.dump(held, stream)
    arguments = ["run", folder / "studies" / "outside.yaml", "--workers", 2, "--block", 20, "--out", folder / "out"]
    return python(installed, "-m", "simlab", *arguments, cwd=folder)


def test_it_is_in_the_catalogue(installed: Path, tmp_path: Path) -> None:
    listed = python(installed, "-m", "simlab", "rules", cwd=tmp_path)
    assert "streak" in listed.stdout
    assert "streak" not in python(tmp_path, "-m", "simlab", "rules", cwd=tmp_path).stdout
    page = python(installed, "-m", "simlab", "rules", "streak", cwd=tmp_path)
    assert "So many looks in a row at or above a level" in page.stdout
    assert "Western Electric" in page.stdout


def test_it_runs_in_a_study(installed: Path, tmp_path: Path) -> None:
    done = run_study(installed, tmp_path, "streak")
    assert done.returncode == 3, done.stderr  # without gates nothing is decided
    performance = json.loads((tmp_path / "out" / "results.json").read_text())["scenarios"][0]["performances"][0]
    assert performance["policy"] == "theirs"
    assert performance["estimates"]["detected"]["value"] > 0.5


def test_a_rule_that_fails_is_told_and_ends_with_4(installed: Path, tmp_path: Path) -> None:
    done = run_study(installed, tmp_path, "fragile")
    assert done.returncode == 4
    assert "policy 'theirs': the rule 'fragile' failed at tick 1: ArithmeticError('no rule at all')" in done.stderr
    assert json.loads((tmp_path / "out" / "results.json").read_text())["status"] == "error"


def test_without_the_package_its_rule_is_a_mistake(installed: Path, tmp_path: Path) -> None:
    done = run_study(tmp_path, tmp_path, "streak")
    assert done.returncode == 2
    assert "policies[0].guardrails[0].rule.streak: unknown key" in done.stderr


def test_it_runs_in_a_replay_and_live(installed: Path, tmp_path: Path) -> None:
    rule = "watch: errors, of: everyone, target: 1, spread: 1, rule: {streak: {level: 3, length: 1}}"
    write(tmp_path, policies=POLICIES.replace("watch: errors, of: everyone, rule: {above: {limit: 3}}", rule))
    arguments = ["replay", "recording.yaml", "--policies", "policies.yaml", "--json", "--out", "out"]
    replay = python(installed, "-m", "simlab", *arguments, cwd=tmp_path)
    assert json.loads(replay.stdout)["policies"][0]["alarms"] == ["2026-01-01T00:12:00Z"], replay.stderr
    live = python(installed, "-c", LIVE, cwd=tmp_path)
    assert live.stdout.split() == ["ok", "ok", "alarm", "alarm", "ok"], live.stderr
