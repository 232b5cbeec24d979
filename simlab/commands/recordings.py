"""Recordings: replay, fit, record."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from simlab.commands.shared import Folder, as_json_option, out_option, override_option, print_with
from simlab.errors import EXIT_INCONCLUSIVE, EXIT_PASSED, printable

PERSONA_COLUMNS = ("locale", "device", "agent", "name", "address")


@click.command()
@click.argument("recording", required=False)
@click.option("--policies", required=True, help="A study, or a file that holds policies.")
@click.option("--data", type=Folder(path_type=Path), help="Folder of the recorded data; beside RECORDING if not given.")
@click.option(
    "--null", type=click.IntRange(50), metavar="LANES", help="Resample healthy time into LANES: how often would they cry wolf?"
)
@click.option("--horizon", default="1d", show_default=True, help="Length of a lane, for --null.")
@click.option(
    "--cycle", type=click.Choice(["day", "week"]), default="day", show_default=True, help="Of which blocks keep the phase."
)
@click.option("--graft", help="A file of harms to graft on the resampled lanes.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draws, for --null.")
@click.option("--nab", is_flag=True, help="Instead of a RECORDING: score the policies by the Numenta anomaly benchmark.")
@out_option
@as_json_option
def replay(
    recording: str | None,
    policies: str,
    data: Path | None,
    null: int | None,
    nab: bool,
    out: Path | None,
    as_json: bool,
    **how: Any,
) -> int:
    """Step policies through a RECORDING: whether and when they would have fired, and how often in healthy time."""
    if (recording is None) != nab:
        raise click.UsageError("give a RECORDING, or --nab")
    if null is None and how["graft"] is not None:
        raise click.UsageError("--graft goes with --null")
    if recording is None:
        return _replay_nab(policies, data=data, out=out, as_json=as_json)
    if null is not None:
        return _replay_null(recording, policies, data=data, out=out, as_json=as_json, lanes=null, **how)
    return _replay_recording(recording, policies, data=data, out=out, as_json=as_json)


def _replay_nab(policies: str, *, data: Path | None, out: Path | None, as_json: bool) -> int:
    from simlab.nab.replay import load_nab, run_nab
    from simlab.output import append_log, point_latest, prepare, run_folder, write_json
    from simlab.report.nab import print_nab

    folder_of_data = data or Path(os.environ.get("SIMLAB_DATA") or Path("..") / "shared" / "data")
    plan = load_nab(policies, data=folder_of_data)
    reports = Path("reports") if out is None else out.parent
    folder = run_folder(reports, name="nab", digest=plan.digest) if out is None else out
    prepare(folder, fresh=False)
    result = run_nab(plan)
    write_json(folder, plan=plan.canonical, result=result.to_json())
    if out is None:
        point_latest(folder)
        append_log(reports, what="replay", name="nab", digest=plan.digest, status="scored", who="", why="")
    if as_json:
        click.echo(result.to_json(), nl=False)
    else:
        print_with(lambda console: print_nab(result, console))
    return EXIT_PASSED


def _replay_null(
    recording: str, policies: str, *, data: Path | None, out: Path | None, as_json: bool, lanes: int, **how: Any
) -> int:
    from simlab.output import append_log, point_latest, prepare, run_folder, write_json
    from simlab.own_traffic import load_null, run_null
    from simlab.report.own_traffic import print_null

    plan = load_null(recording, policies=policies, data=data, lanes=lanes, **how)
    name = f"{plan.settings[0].resampling.series.recording.recording}-null"
    reports = Path("reports") if out is None else out.parent
    folder = run_folder(reports, name=name, digest=plan.digest) if out is None else out
    prepare(folder, fresh=False)
    result = run_null(plan)
    write_json(folder, plan=plan.canonical, result=result.to_json())
    if out is None:
        point_latest(folder)
        append_log(reports, what="replay", name=name, digest=plan.digest, status="resampled", who="", why="")
    if as_json:
        click.echo(result.to_json(), nl=False)
    else:
        print_with(lambda console: print_null(result, console))
    return EXIT_PASSED if result.judged else EXIT_INCONCLUSIVE


def _replay_recording(recording: str, policies: str, *, data: Path | None, out: Path | None, as_json: bool) -> int:
    from simlab.output import append_log, point_latest, prepare, run_folder, write_replay
    from simlab.replays import load_replay, run_replay

    plan = load_replay(recording, policies=policies, data=data)
    name = plan.settings[0].series.recording.recording
    reports = Path("reports") if out is None else out.parent
    folder = run_folder(reports, name=name, digest=plan.digest) if out is None else out
    prepare(folder, fresh=False)
    result = run_replay(plan)
    write_replay(result, plan, folder)
    if out is None:
        point_latest(folder)
        append_log(reports, what="replay", name=name, digest=plan.digest, status="replayed", who="", why="")
    if as_json:
        click.echo(result.to_json(), nl=False)
    else:
        from simlab.report.terminal import print_replay

        print_with(lambda console: print_replay(result, console))
        click.echo(printable(f"Report: {folder / 'report.html'}"))
    return EXIT_PASSED if result.judged else EXIT_INCONCLUSIVE


@click.command()
@click.argument("recording")
@click.option("--data", type=Folder(path_type=Path), help="Folder of the recorded data; beside RECORDING if not given.")
@click.option("--traffic", help="Of a metric series: which metric is the number of requests in each tick.")
@click.option("--share", "shares", multiple=True, help="Of a metric series: a metric that is a share of requests, from 0 to 1.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The scenario file to write.")
def fit(recording: str, data: Path | None, traffic: str | None, shares: tuple[str, ...], out: Path) -> int:
    """Write a scenario like the healthy time of a RECORDING, and tell how well it fits and what does not."""
    from simlab.files import atomic_write
    from simlab.fitting import fit as fitted
    from simlab.report.fitting import print_fit

    found = fitted(recording, data=data, traffic=traffic, shares=shares)
    atomic_write(out, found.text)
    print_with(lambda console: print_fit(found, console))
    click.echo(printable(f"Scenario: {out}"))
    return EXIT_PASSED


@click.command()
@click.argument("scenario")
@click.option("--lane", type=click.IntRange(0), default=0, show_default=True, help="Which lane.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the study that the lane belongs to.")
@click.option("--twin", is_flag=True, help="Record the harmless twin.")
@click.option("--persona", "personas", multiple=True, type=click.Choice(PERSONA_COLUMNS), help="Add a made-up column.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The .parquet to write, with a .yaml that describes it.",
)
@override_option
def record(
    scenario: str, lane: int, seed: int, twin: bool, personas: tuple[str, ...], out: Path, overrides: tuple[str, ...]
) -> int:
    """Write one lane of a SCENARIO with users one by one as an event log, with no guardrail in the way."""
    from simlab.documents import read_document
    from simlab.event_log import check_recordable, event_log, recording_of, write_event_log
    from simlab.files import atomic_write
    from simlab.reading_scenarios import read_scenario
    from simlab.shipped import shipped_path

    if out.suffix != ".parquet":
        raise click.UsageError("--out must end with .parquet; a recording file that describes it goes beside it")
    document = read_document(shipped_path(scenario))
    for override in overrides:
        document = document.with_override(override)
    made = read_scenario(document)
    check_recordable(made, document)
    log = event_log(made, lane=lane, seed=seed, harmed=not twin, personas=personas)
    write_event_log(log, out)
    about = f"Lane {lane} of seed {seed}{', the harmless twin,' if twin else ''} of a generated world, as nobody stopped it"
    described = out.with_suffix(".yaml")
    atomic_write(described, recording_of(made, log, file=out.name, about=about))
    click.echo(printable(f"{out}: {len(log.rows):,} requests of {log.rows['user'].nunique():,} users"))
    click.echo(printable(f"{described}: describes it; simlab replay {described} --policies ..."))
    return EXIT_PASSED
