"""A project of its own, with nothing but the built wheel, finds the mistake in its own rule."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SUITE = PROJECT / "tests" / "outside_suite"


def test_an_outside_project_finds_its_planted_mistake(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip"]
    command = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, PROJECT]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("simlab-*.whl")
    site = tmp_path / "site"
    subprocess.run(
        [*pip, "install", "--quiet", "--no-deps", "--target", site, wheel], check=True, capture_output=True, timeout=300
    )
    suite = tmp_path / "suite"
    shutil.copytree(SUITE, suite, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "HYPOTHESIS"))}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-rf",
            "--tb=line",
            "--simlab-seed=5",
            "--rootdir",
            suite,
            suite,
        ],
        cwd=suite,
        env=environment | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    failed = set(re.findall(r"^FAILED test_streak\.py::(\S+)", done.stdout, flags=re.MULTILINE))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "test_streak[Streak-lanes_do_not_interact]" in failed
    assert "test_streak[Streak-deterministic]" in failed
    assert not any("mended" in name.lower() for name in failed)
    # Four in a row at 16 % each come in about 2.5 % of all lanes of 50 looks: that is the second thing it finds.
    assert "test_hardly_ever" in failed
    assert "test_false_alarms" not in failed
    claims = done.stdout.partition("error-rate claims")[2]
    assert re.search(r"Mended: false alarms within 50 looks: claimed at most 0\.05, found 0\.\d+ \[.*seed 5", claims)
    assert re.search(r"FAILED Mended: false alarms within 50 looks: claimed at most 0\.005", claims)


def test_the_rule_is_as_short_as_it_should_be() -> None:
    text = (SUITE / "streak.py").read_text()
    planted = text[: text.index("class Mended")]
    assert len([line for line in planted.splitlines() if line.strip()]) <= 15
