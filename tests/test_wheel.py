"""A built wheel carries its scenarios and runs outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def test_a_wheel_runs_outside_the_checkout(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, PROJECT]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("simlab-*.whl")
    unpacked = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
        metadata = next(name for name in archive.namelist() if name.endswith("METADATA"))
        assert "License-Expression: MIT" in archive.read(metadata).decode()
    # The unpacked wheel goes before the checkout, and the working folder is neither.
    environment = os.environ | {"PYTHONPATH": str(unpacked)}
    code = "import simlab, simlab.shipped as s; print(simlab.__file__); print(s.scenarios_folder())"
    where = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert where.stdout.splitlines() == [str(unpacked / "simlab" / "__init__.py"), str(unpacked / "simlab" / "scenarios")]
    arguments = ["run", "studies/checkout-canary", "--set", "lanes.start=20", "--set", "lanes.cap=20", "--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "simlab", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 1, 3}, done.stderr
    assert (tmp_path / "reports" / "checkout-canary" / "latest" / "report.html").exists()
