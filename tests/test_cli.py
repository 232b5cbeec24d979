"""The command line as people use it: verdicts, files, interruption, and what an error leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from simlab.cli import main
from simlab.output import write_failure
from simlab.shipped import scenarios_folder

STUDIES = scenarios_folder() / "studies"
QUICK = ("--set", "lanes.start=60", "--set", "lanes.cap=60", "--set", "scenarios.*.horizon=9h")


def simlab(*arguments: object, cwd: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "simlab", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)


def quick_run(cwd: Path, *more: object, study: str = "checkout-canary") -> subprocess.CompletedProcess[str]:
    return simlab("run", STUDIES / f"{study}.yaml", *QUICK, "--workers", 1, *more, cwd=cwd)


def numbers(folder: Path) -> dict[str, Any]:
    """Return a run's results without what is not a number of it."""
    held = json.loads((folder / "results.json").read_text())
    held.pop("provenance")
    return held


def only_run(cwd: Path, study: str = "checkout-canary") -> Path:
    (found,) = (path for path in (cwd / "reports" / study).iterdir() if not path.is_symlink())
    return found


@pytest.mark.parametrize(
    ("study", "code", "word"), [("checkout-canary", 0, "PASSED"), ("peeking", 1, "FAILED"), ("close-call", 3, "INCONCLUSIVE")]
)
def test_shipped_studies_exit_with_their_verdict(tmp_path: Path, study: str, code: int, word: str) -> None:
    done = simlab("run", STUDIES / f"{study}.yaml", cwd=tmp_path, timeout=300)
    assert done.returncode == code, done.stderr
    assert word in done.stdout.splitlines()[0]
    held = numbers(tmp_path / "reports" / study / "latest")
    assert held["passed"] is (code == 0)
    if study == "checkout-canary":
        assert {scenario["lanes"] for scenario in held["scenarios"]} == {2000}, "the first look settles every gate"


def test_a_run_leaves_its_whole_folder_and_a_line_in_the_log(tmp_path: Path) -> None:
    done = quick_run(tmp_path)
    folder = only_run(tmp_path)
    assert {path.name for path in folder.iterdir()} == {"results.json", "outcomes.parquet", "report.html", "figures", "plan.json"}
    assert (tmp_path / "reports" / "checkout-canary" / "latest").resolve() == folder
    assert done.returncode in {0, 1, 3}
    table = pd.read_parquet(folder / "outcomes.parquet")
    assert len(table) == 2 * 3 * 2 * 60
    quick_run(tmp_path)
    lines = (tmp_path / "reports" / "log.jsonl").read_bytes().splitlines()
    first, second = (json.loads(line) for line in lines)
    assert first["before"] == ""
    assert second["before"] == __import__("hashlib").sha256(lines[0]).hexdigest()
    assert (first["who"], first["why"]) == ("payments-sre", "Replace today's error alert before launch")


def test_a_written_plan_makes_the_same_numbers(tmp_path: Path) -> None:
    quick_run(tmp_path)
    folder = only_run(tmp_path)
    done = simlab("run", folder / "plan.json", "--out", tmp_path / "again", "--workers", 2, "--block", 17, cwd=tmp_path)
    assert done.returncode in {0, 1, 3}, done.stderr
    again = tmp_path / "again"
    assert numbers(folder) == numbers(again)
    files = ["outcomes.parquet", *(f"figures/{path.name}" for path in (folder / "figures").iterdir())]
    assert len(files) == 6
    for name in files:
        assert (folder / name).read_bytes() == (again / name).read_bytes(), name


def test_json_goes_to_standard_output_alone(tmp_path: Path) -> None:
    done = quick_run(tmp_path, "--json")
    assert json.loads(done.stdout)["study"] == "checkout-canary"


SMALL_RUN = (
    "run", STUDIES / "checkout-canary.yaml", "--workers", 2, "--block", 40,
    "--set", "lanes.start=400", "--set", "lanes.cap=400", "--set", "scenarios.*.horizon=9h",
)  # fmt: skip


def start_run(cwd: Path, *, kept: int = 4) -> subprocess.Popen[bytes]:
    """Start a run of many small blocks, and wait until some of them are kept."""
    command = [sys.executable, "-m", "simlab", *map(str, SMALL_RUN)]
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    limit = time.monotonic() + 60
    while time.monotonic() < limit and len(list(cwd.glob("reports/*/*/.partial/*.npz"))) < kept:
        time.sleep(0.02)
    return process


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the numbers of a run that nobody interrupts."""
    folder = tmp_path_factory.mktemp("unbroken")
    simlab(*SMALL_RUN, cwd=folder)
    return numbers(only_run(folder))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_run_resumes_to_the_same_numbers(tmp_path: Path, how: signal.Signals, unbroken: Any) -> None:
    process = start_run(tmp_path)
    # Ctrl-C reaches the whole group, as a terminal sends it; so does kill -9 here. A scheduler ends the one process it knows.
    (os.kill if how is signal.SIGTERM else os.killpg)(process.pid, how)
    _, errors = process.communicate(timeout=60)
    folder = only_run(tmp_path)
    kept = {path.name: path.stat().st_mtime_ns for path in (folder / ".partial").glob("*.npz")}
    assert kept
    if how is not signal.SIGKILL:
        assert process.returncode == 130
        assert b"run the same command again" in errors
        assert json.loads((folder / "results.json").read_text())["status"] == "interrupted"
    simlab(*SMALL_RUN, cwd=tmp_path)
    assert numbers(folder) == unbroken
    assert not (folder / ".partial").exists()


# From the moment the run has its folder: while workers start and import their modules, while they work.
@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.7, 1.3, 2.2])
def test_an_interruption_ends_a_run_at_once_whenever_it_comes(tmp_path: Path, seconds: float) -> None:
    process = start_run(tmp_path, kept=0)
    limit = time.monotonic() + 60
    while time.monotonic() < limit and not list(tmp_path.glob("reports/*/*/figures")):
        time.sleep(0.02)
    time.sleep(seconds)
    # Once to the process and once more to its group, as `timeout` sends it.
    process.send_signal(signal.SIGINT)
    os.killpg(process.pid, signal.SIGINT)
    began = time.monotonic()
    output, errors = process.communicate(timeout=30)
    # A tenth of a second where nothing else runs; a block would take longer than this, and the rest of the run much longer.
    assert time.monotonic() - began < 5
    assert process.returncode == 130
    assert output == b""
    assert b"run the same command again" in errors
    assert b"Traceback" not in errors


def test_workers_end_with_a_process_that_was_killed(tmp_path: Path) -> None:
    process = start_run(tmp_path, kept=1)
    process.kill()
    # The workers hold its output open, so that this waits for them too.
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("arguments", [["--help"], ["rules"], ["run", STUDIES / "checkout-canary.yaml", *QUICK]])
def test_a_closed_output_is_no_failed_gate(tmp_path: Path, arguments: list[object]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "simlab", *map(str, arguments)]
    done = subprocess.run(command, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    os.close(writing)
    assert done.returncode == 141
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr
    if arguments[0] == "run":
        assert numbers(only_run(tmp_path))["status"] in {"passed", "failed", "inconclusive"}


@pytest.fixture
def interruptible() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("problem", [RuntimeError("a fault\x1b[31m"), MemoryError(), KeyError("x")])
def test_an_error_that_nobody_expected_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], problem: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr("simlab.runner.run_plan", fail)
    monkeypatch.setattr(sys, "argv", ["simlab", "run", str(STUDIES / "peeking.yaml"), "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 70
    last = capsys.readouterr().err.splitlines()[-2:]
    assert any(line.startswith("error: ") for line in last)
    assert not any("\x1b" in line for line in last)
    held = json.loads((tmp_path / "results.json").read_text())
    assert (held["status"], held["passed"]) == ("error", False)


def test_an_output_folder_without_a_name_is_refused(tmp_path: Path) -> None:
    done = quick_run(tmp_path, "--out", "")
    assert done.returncode == 2
    assert "'--out': the name of the folder is empty" in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_error_leaves_earlier_results_untouched(tmp_path: Path) -> None:
    quick_run(tmp_path)
    folder = only_run(tmp_path)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert quick_run(tmp_path, "--set", "seed=-1").returncode == 2
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_failure_leaves_a_result_of_the_same_plan_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"status": "passed", "provenance": {"plan": "a"}}))
    write_failure(tmp_path, status="interrupted", problem="", digest="a")
    assert json.loads(path.read_text())["status"] == "passed"
    write_failure(tmp_path, status="interrupted", problem="", digest="b")
    assert json.loads(path.read_text())["status"] == "interrupted"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("in the way")
    done = quick_run(tmp_path)
    assert done.returncode == 2
    assert "cannot write to reports" in done.stderr
    assert (tmp_path / "reports").read_text() == "in the way"


def test_a_full_disk(tmp_path: Path) -> None:
    """A file-size limit of the process stands in for a full disk: writes fail in the middle."""
    quick_run(tmp_path)
    folder = only_run(tmp_path)
    before = (folder / "results.json").read_bytes()
    command = f"ulimit -f 16; exec {sys.executable} -m simlab run {folder / 'plan.json'} --out {folder} --workers 1"
    ignore = (
        "import signal, os, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); os.execvp('bash', ['bash', '-c', sys.argv[1]])"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "0"}
    done = subprocess.run(
        [sys.executable, "-c", ignore, command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )
    assert done.returncode == 2, done.stderr
    assert "cannot write" in done.stderr
    assert (folder / "results.json").read_bytes() == before
    assert not list(folder.glob(".*results*"))


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "simlab", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "click" in imported
    assert not imported & {"numpy", "pandas", "scipy", "matplotlib", "numba", "pydantic"}
    assert "Exit codes" in done.stdout


def test_validate_tells_all_mistakes_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("scenario: a\nstarts: 2026-01-01\n")
    (tmp_path / "b.yaml").write_text("policies: 3\n")
    done = simlab("validate", "a.yaml", "b.yaml", STUDIES / "peeking.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "peeking.yaml: ok, study peeking: 1 scenario, 2 policies, 2 gates, 1,000 to 4,000 lanes, " in done.stdout
    assert "a.yaml:2:9: error[unit]: starts: " in done.stderr
    assert "b.yaml:1:11: error[type]: policies: " in done.stderr


def test_schema_is_json_schema(tmp_path: Path) -> None:
    for kind in ("scenario", "study", "policies", "recording"):
        held = json.loads(simlab("schema", kind, cwd=tmp_path).stdout)
        assert held["type"] == "object"
        assert held["additionalProperties"] is False


def test_shipped_files_are_found_by_name(tmp_path: Path) -> None:
    listed = simlab("scenarios", cwd=tmp_path).stdout.split()
    assert "studies/checkout-canary.yaml" in listed
    for name in ("scenarios/studies/checkout-canary.yaml", "studies/checkout-canary"):
        assert simlab("validate", name, cwd=tmp_path).returncode == 0


def test_replay_from_the_command_line(tmp_path: Path, shared_data: Path) -> None:
    folder = scenarios_folder() / "recordings"
    arguments = ["replay", folder / "nezha-frontend.yaml", "--policies", folder / "frontend-policies.yaml", "--data", shared_data]
    done = simlab(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "70.83 %" in done.stdout, "17 of 24 onsets"
    assert "one factual path" in " ".join(done.stdout.split())
    held = json.loads((tmp_path / "reports" / "nezha-frontend" / "latest" / "results.json").read_text())
    assert held["policies"][0]["estimates"]["detected"]["n"] == 24


def test_a_replay_as_json_is_what_its_folder_holds(tmp_path: Path) -> None:
    done = simlab(
        "replay", "incidents/cloudflare-2019-07-02", "--policies", "recordings/traffic-policies", "--json", cwd=tmp_path
    )
    (folder,) = (path for path in (tmp_path / "reports").glob("cloudflare*/*") if path.name != "latest")
    assert json.loads(done.stdout)["policies"] == json.loads((folder / "results.json").read_text())["policies"]


def test_usage_errors_are_exit_2(tmp_path: Path) -> None:
    assert simlab("run", cwd=tmp_path).returncode == 2
    assert simlab("frobnicate", cwd=tmp_path).returncode == 2
    missing = simlab("run", "nowhere.yaml", cwd=tmp_path)
    assert missing.returncode == 2
    assert "nowhere.yaml: error[not-found]: there is no such file" in missing.stderr
