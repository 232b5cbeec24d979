"""The folder of a run: every file whole or not at all, ``latest`` moved last, the log only ever appended to."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from simlab.errors import OutputError
from simlab.files import atomic_write, reason_of
from simlab.replays import ReplayPlan, ReplayResult
from simlab.results import Result
from simlab.tuned import TuneResult

PARTIAL = ".partial"


def run_folder(reports: Path, *, name: str, digest: str) -> Path:
    """Return the folder of one plan under the folder of all reports."""
    return reports / name / digest[:16]


def make_writable(folder: Path) -> None:
    """Make a folder, and see that a file can be written there.

    Raises
    ------
    OutputError
        If it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {reason_of(error)}") from None


def prepare(folder: Path, *, fresh: bool) -> Path:
    """Make a run's folder and the place where finished blocks wait; return that place.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    partial = folder / PARTIAL
    if fresh:
        shutil.rmtree(partial, ignore_errors=True)
    for each in (folder, partial, folder / "figures"):
        make_writable(each)
    return partial


def write_result(result: Result, folder: Path) -> None:
    """Write everything a run leaves behind; ``results.json`` comes last, so that where it stands the rest stands too."""
    from simlab.report.figures import figures
    from simlab.report.html import render_html

    table = BytesIO()
    result.to_pandas().to_parquet(table, index=False)
    drawn = figures(result)
    for name, svg in drawn.items():
        atomic_write(folder / "figures" / f"{name}.svg", svg)
    atomic_write(folder / "outcomes.parquet", table.getvalue())
    atomic_write(folder / "report.html", render_html(result, drawn))
    atomic_write(folder / "plan.json", result.plan.canonical + "\n")
    atomic_write(folder / "results.json", result.to_json())
    shutil.rmtree(folder / PARTIAL, ignore_errors=True)


def write_tuning(result: TuneResult, folder: Path) -> None:
    """Write what a tuning leaves behind: the run of today's and the new settings, the frontier, and ``tune.json`` last."""
    from simlab.report.tuning import frontier_figure

    write_result(result.result, folder)
    if result.frontier:
        atomic_write(folder / "figures" / "frontier.svg", frontier_figure(result))
    atomic_write(folder / "tune.json", result.to_json())


def write_replay(result: ReplayResult, plan: ReplayPlan, folder: Path) -> None:
    """Write what a replay leaves behind."""
    from simlab.report.post_mortem import render_post_mortem

    atomic_write(folder / "report.html", render_post_mortem(result))
    write_json(folder, plan=plan.canonical, result=result.to_json())


def write_json(folder: Path, *, plan: str, result: str) -> None:
    """Write a plan and, last, its result."""
    atomic_write(folder / "plan.json", plan + "\n")
    atomic_write(folder / "results.json", result)
    shutil.rmtree(folder / PARTIAL, ignore_errors=True)


def write_table(folder: Path, name: str, forms: Mapping[str, str]) -> None:
    """Write one table in several forms, by the ending of the file's name; makes the folder."""
    make_writable(folder)
    for ending, text in forms.items():
        atomic_write(folder / f"{name}.{ending}", text)


def write_failure(folder: Path, *, status: str, problem: str, digest: str) -> None:
    """Write that a run did not come to a result, unless an earlier result of the same plan stands there."""
    path = folder / "results.json"
    try:
        finished = json.loads(path.read_text(encoding="utf-8"))["provenance"]["plan"] == digest
    except (OSError, ValueError, LookupError, TypeError):
        finished = False
    if not finished:
        held = {"schema": 1, "status": status, "passed": False, "problem": problem, "plan": digest}
        atomic_write(path, json.dumps(held, indent=1) + "\n")


def point_latest(folder: Path) -> None:
    """Let ``latest`` beside a run's folder point at it, in one step."""
    link, fresh = folder.parent / "latest", folder.parent / f".latest-{os.getpid()}"
    try:
        fresh.symlink_to(folder.name, target_is_directory=True)
        fresh.replace(link)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise OutputError(f"cannot move {link}: {reason_of(error)}") from None


def append_log(reports: Path, *, what: str, name: str, digest: str, status: str, who: str, why: str) -> None:
    """Append one line to the log; each line carries the hash of the one before, so that none can be changed unseen.

    Raises
    ------
    OutputError
        If the log cannot be written.
    """
    path = reports / "log.jsonl"
    try:
        lines = path.read_bytes().splitlines() if path.exists() else []
        before = hashlib.sha256(lines[-1]).hexdigest() if lines else ""
        entry = {
            "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "what": what,
            "name": name,
            "plan": digest,
            "status": status,
            "who": who,
            "why": why,
            "before": before,
        }
        with path.open("ab") as log:
            log.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason_of(error)}") from None
