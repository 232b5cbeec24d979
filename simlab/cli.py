"""The command line: parse, call, print. Heavy modules are imported by the commands that need them."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from simlab import __version__
from simlab.errors import (
    EXIT_CLOSED_PIPE,
    EXIT_FAILED,
    EXIT_INCONCLUSIVE,
    EXIT_INTERRUPTED,
    EXIT_PASSED,
    EXIT_UNEXPECTED,
    EXIT_USAGE,
    FileErrors,
    Mistake,
    SimlabError,
    printable,
)

if TYPE_CHECKING:
    from rich.console import Console

    from simlab.plan import Plan
    from simlab.results import Result

PERSONA_COLUMNS = ("locale", "device", "agent", "name", "address")
KINDS = ("scenario", "study", "policies", "recording", "graft")
_SECONDS_OF_ONE_INTERRUPTION = 1.0


class _ReaderGoneError(Exception):
    """Whoever read the output has closed it, as `head` does."""


class _Commands(click.Group):
    """A group that keeps a closed pipe from click, which would leave with exit code 1: here that means a failed gate."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Read the command line; this is where help is printed."""
        with _closed_pipe_told():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _closed_pipe_told():
            return super().invoke(ctx)


@contextmanager
def _closed_pipe_told() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _ReaderGoneError from error


class _Folder(click.Path):
    """A folder; one without a name would be the current one, which nobody means."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the folder, unless its name is empty."""
        if not str(value):
            self.fail("the name of the folder is empty", param, ctx)
        return super().convert(value, param, ctx)


_override = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Override a field, e.g. lanes.cap=4000 or scenarios.NAME.tick=1m.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
_SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)
_out = click.option("--out", type=_Folder(path_type=Path), help="Write to this folder instead of reports/NAME/HASH.")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Measure a guardrail before people depend on it: how soon it stops a harm, how many are hurt, how often it cries wolf.

    Exit codes: 0 all gates pass, 1 a gate failed, 2 usage or file error, 3 inconclusive or no data, 4 a rule failed,
    70 an error that simlab did not expect, 130 interrupted (run the same command again to go on), 141 the output was closed.
    """


@cli.command()
@click.argument("study")
@click.option("--workers", type=click.IntRange(1, 256), default=lambda: min(os.cpu_count() or 1, 8), help="Processes.")
@click.option("--block", type=click.IntRange(1, 100_000), default=500, show_default=True, help="Lanes in a block.")
@click.option("--precision", metavar="SHARE", help="More lanes until rates are known this well, e.g. 0.5%; as lanes.precision.")
@click.option("--fresh", is_flag=True, help="Start over instead of going on with an interrupted run.")
@_out
@_override
@_as_json
def run(study: str, workers: int, block: int, precision: str | None, fresh: bool, out: Path | None,
        overrides: tuple[str, ...], as_json: bool) -> int:  # fmt: skip
    """Run a STUDY file (or a plan.json of an earlier run) to its verdict."""
    from simlab.output import append_log, point_latest, prepare, run_folder, write_result
    from simlab.plan import load
    from simlab.progress import shown_progress
    from simlab.runner import Options, run_plan

    wanted = () if precision is None else (f"lanes.precision={precision}",)
    plan = load(study, overrides=(*overrides, *wanted))
    reports = Path("reports") if out is None else out.parent
    folder = run_folder(reports, name=plan.study.study, digest=plan.digest) if out is None else out
    kept = prepare(folder, fresh=fresh)
    with _failures_written(folder, plan), shown_progress() as progress:
        result = run_plan(plan, Options(workers=workers, block_lanes=block, kept=kept, progress=progress))
        write_result(result, folder)
    if out is None:
        point_latest(folder)
        study_file = plan.study
        append_log(reports, what="run", name=study_file.study, digest=plan.digest, status=result.status,
                   who=study_file.owner, why=study_file.why)  # fmt: skip
    _print_result(result, folder, as_json=as_json)
    return result.exit_code


@cli.command()
@click.argument("study")
@click.option(
    "--budget", type=_SHARE, help="Largest share of harmless rollouts with an alarm, as 0.05; by the gate if not given."
)
@click.option("--confidence", type=_SHARE, default=0.95, show_default=True, help="With which the budget is kept everywhere.")
@click.option("--lanes", type=click.IntRange(10, 10_000_000), help="Lanes to choose on, and as many to calibrate on.")
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="Tune this policy; all but references if not given.")
@click.option("--try", "tries", multiple=True, metavar="PATH=[VALUE, ...]",
              help="Choose a setting, e.g. policies.NAME.guardrails.0.rule.cusum.k=[0.25, 0.5, 1].")  # fmt: skip
@click.option("--apply", "apply", is_flag=True, help="Write the new settings to the STUDY file; comments stay.")
@click.option("--workers", type=click.IntRange(1, 256), default=lambda: min(os.cpu_count() or 1, 8), help="Processes.")
@_out
@_override
@_as_json
def tune(study: str, budget: float | None, confidence: float, lanes: int | None, policies: tuple[str, ...],
         tries: tuple[str, ...], apply: bool, workers: int, out: Path | None, overrides: tuple[str, ...],
         as_json: bool) -> int:  # fmt: skip
    """Find for each policy of a STUDY the laxest thresholds that keep its false-alarm budget, and show what they change."""
    from simlab.files import atomic_write
    from simlab.output import append_log, point_latest, prepare, run_folder, write_tuning
    from simlab.plan import load
    from simlab.progress import shown_progress
    from simlab.report.tuning import print_tuning
    from simlab.runner import Options
    from simlab.shipped import shipped_path
    from simlab.tuning import TuneOptions, tune_plan
    from simlab.yaml_edit import with_values

    plan = load(study, overrides=overrides)
    unknown = sorted(set(policies) - {each.name for each in plan.study.policies})
    if unknown:
        raise SimlabError(f"the study has no policy {unknown[0]!r}")
    with shown_progress() as progress:
        options = TuneOptions(budget, confidence, lanes, policies, tries, Options(workers=workers, progress=progress))
        result = tune_plan(plan, options)
    tuned = result.result.plan
    name = f"{plan.study.study}-tune"
    reports = Path("reports") if out is None else out.parent
    folder = run_folder(reports, name=name, digest=tuned.digest) if out is None else out
    prepare(folder, fresh=True)
    write_tuning(result, folder)
    if apply and result.values:
        path = Path(shipped_path(study))
        atomic_write(path, with_values(path.read_text(encoding="utf-8"), result.values))
    if out is None:
        point_latest(folder)
        append_log(reports, what="applied" if apply and result.values else "tune", name=plan.study.study, digest=tuned.digest,
                   status=result.result.status, who=plan.study.owner, why=plan.study.why)  # fmt: skip
    if as_json:
        click.echo(result.to_json(), nl=False)
    else:
        _print_with(lambda console: print_tuning(result, console))
        click.echo(printable(f"Report: {folder / 'report.html'}, {folder / 'figures' / 'frontier.svg'}"))
    return result.exit_code


@cli.command()
@click.argument("before", type=_Folder(path_type=Path))
@click.argument("after", type=_Folder(path_type=Path))
@click.option("--fail-on", type=click.Choice(["regression"]), help="Exit with 1 if something is worse for certain.")
@_as_json
def compare(before: Path, after: Path, fail_on: str | None, as_json: bool) -> int:
    """Compare the run in the folder AFTER with that in BEFORE, lane by lane on the same noise."""
    from simlab.comparisons import compare_runs
    from simlab.report.comparison import print_comparison

    found = compare_runs(before, after)
    if as_json:
        click.echo(found.to_json(), nl=False)
    else:
        _print_with(lambda console: print_comparison(found, console))
    if not found.differences:
        return EXIT_INCONCLUSIVE
    return EXIT_FAILED if fail_on and found.regressions else EXIT_PASSED


@contextmanager
def _failures_written(folder: Path, plan: Plan) -> Iterator[None]:
    """Leave a ``results.json`` with the status behind, whatever goes wrong."""
    from simlab.output import write_failure

    try:
        yield
    except (KeyboardInterrupt, BrokenPipeError):
        write_failure(folder, status="interrupted", problem="interrupted; run the same plan again", digest=plan.digest)
        raise
    except Exception as error:
        problem = str(error) if isinstance(error, SimlabError) else f"not expected: {error!r}"
        write_failure(folder, status="error", problem=problem, digest=plan.digest)
        raise


def _print_result(result: Result, folder: Path, *, as_json: bool) -> None:
    if as_json:
        click.echo(result.to_json(), nl=False)
        return
    from simlab.report.terminal import print_result

    _print_with(lambda console: print_result(result, console))
    click.echo(printable(f"Report: {folder / 'report.html'}"))


def _print_with(show: Callable[[Console], None]) -> None:
    """Print what is shown on a console; by click, because the console would leave with exit code 1 where a pipe is closed."""
    from rich.console import Console

    console = Console()
    with console.capture() as shown:
        show(console)
    click.echo(shown.get(), nl=False)


@cli.command()
@click.argument("recording", required=False)
@click.option("--policies", required=True, help="A study, or a file that holds policies.")
@click.option("--data", type=_Folder(path_type=Path), help="Folder of the recorded data; beside RECORDING if not given.")
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
@_out
@_as_json
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
        _print_with(lambda console: print_nab(result, console))
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
        _print_with(lambda console: print_null(result, console))
    return EXIT_PASSED


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

        _print_with(lambda console: print_replay(result, console))
        click.echo(printable(f"Report: {folder / 'report.html'}"))
    return EXIT_PASSED if result.judged else EXIT_INCONCLUSIVE


@cli.command()
@click.argument("recording")
@click.option("--data", type=_Folder(path_type=Path), help="Folder of the recorded data; beside RECORDING if not given.")
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
    _print_with(lambda console: print_fit(found, console))
    click.echo(printable(f"Scenario: {out}"))
    return EXIT_PASSED


@cli.command()
@click.argument("files", nargs=-1, required=True)
@_override
def validate(files: tuple[str, ...], overrides: tuple[str, ...]) -> int:
    """Check FILES and tell every mistake at once; nothing is run."""
    from simlab.checking import check_file

    found: list[tuple[str, Mistake]] = []
    for file in files:
        try:
            click.echo(printable(f"{file}: {check_file(file, overrides=overrides)}"))
        except FileErrors as error:
            found.extend(error.found)
    if found:
        raise FileErrors(dict.fromkeys(found))
    return EXIT_PASSED


@cli.command()
@click.argument("kind", type=click.Choice(KINDS))
def schema(kind: str) -> int:
    """Print the JSON Schema of a KIND of file, for editors."""
    import json

    from simlab.checking import schema_of

    click.echo(json.dumps(schema_of(kind), indent=1, ensure_ascii=False))
    return EXIT_PASSED


@cli.command()
@click.argument("key", required=False)
@click.option("--false-alarms", is_flag=True, help="Measure every rule at its defaults on two weeks of harmless streams.")
@click.option("--lanes", type=click.IntRange(1, 100_000), default=400, show_default=True, help="Streams, for --false-alarms.")
@click.option(
    "--out", type=_Folder(path_type=Path), default=Path("reports"), show_default=True, help="Folder, for --false-alarms."
)
def rules(key: str | None, false_alarms: bool, lanes: int, out: Path) -> int:
    """List the catalogue of rules, print the page of the rule KEY, or measure the false alarms of the defaults."""
    from simlab.catalogue import list_of_rules, page_of

    if false_alarms:
        _write_default_rates(lanes, out)
        return EXIT_PASSED
    click.echo(list_of_rules() if key is None else page_of(key))
    return EXIT_PASSED


def _write_default_rates(lanes: int, out: Path) -> None:
    from simlab.default_rates import default_rates
    from simlab.output import write_table

    found = default_rates(lanes=lanes, told=lambda rule: click.echo(printable(rule), err=True))
    write_table(out, "default-false-alarms", {"md": found.to_markdown(), "json": found.to_json()})
    click.echo(found.to_markdown(), nl=False)


@cli.command()
@click.argument("scenario")
@click.option("--lane", type=click.IntRange(0), default=0, show_default=True, help="Which lane.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the study that the lane belongs to.")
@click.option("--twin", is_flag=True, help="Record the harmless twin.")
@click.option("--persona", "personas", multiple=True, type=click.Choice(PERSONA_COLUMNS), help="Add a made-up column.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The Parquet file to write.")
@_override
def record(
    scenario: str, lane: int, seed: int, twin: bool, personas: tuple[str, ...], out: Path, overrides: tuple[str, ...]
) -> int:
    """Write one lane of a SCENARIO with users one by one as an event log, with no guardrail in the way."""
    from simlab.documents import read_document
    from simlab.event_log import check_recordable, event_log, write_event_log
    from simlab.scenario import read_scenario
    from simlab.shipped import shipped_path

    document = read_document(shipped_path(scenario))
    for override in overrides:
        document = document.with_override(override)
    made = read_scenario(document)
    check_recordable(made, document)
    log = event_log(made, lane=lane, seed=seed, harmed=not twin, personas=personas)
    write_event_log(log, out)
    click.echo(printable(f"{out}: {len(log):,} requests of {log['user'].nunique():,} users"))
    return EXIT_PASSED


@cli.command()
def scenarios() -> int:
    """List the shipped files that `run`, `replay` and `validate` take by name."""
    from simlab.shipped import scenarios_folder, shipped

    for kind, paths in shipped().items():
        for path in paths:
            click.echo(f"{kind}\t{path.relative_to(scenarios_folder())}")
    return EXIT_PASSED


def main() -> None:
    """Run the command line; the exit code says how it ended."""
    interruption = _Interruption()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interruption)
    # A job that is ended from outside can go on as after Ctrl-C.
    signal.signal(signal.SIGTERM, interruption)
    try:
        code = _exit_code()
        sys.stdout.flush()
    except (BrokenPipeError, _ReaderGoneError):
        code = EXIT_CLOSED_PIPE
        _silence(sys.stdout, sys.stderr)
    except OSError as error:
        click.echo(printable(f"error: {error}"), err=True)
        code = EXIT_USAGE
        _silence(sys.stdout)
    sys.exit(code)


def _silence(*streams: TextIO) -> None:
    """Send what is still held back for a reader nowhere, so that nothing is said about it at the end of the process."""
    for stream in streams:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Interruption:
    """Ctrl-C that may come several times over: once is enough, so that what then has to be cleared up is not cut off."""

    def __init__(self) -> None:
        self._came = -_SECONDS_OF_ONE_INTERRUPTION

    def __call__(self, *_: object) -> None:
        """Interrupt what is being done, unless that has just been done."""
        if time.monotonic() - self._came >= _SECONDS_OF_ONE_INTERRUPTION:
            self._came = time.monotonic()
            raise KeyboardInterrupt


def _exit_code() -> int:
    """Run the command line and return its exit code; of errors, say what went wrong."""
    try:
        return int(cli.main(standalone_mode=False))
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; run the same command again to go on", err=True)
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except SimlabError as error:
        click.echo(error.render() if isinstance(error, FileErrors) else f"error: {printable_lines(error)}", err=True)
        return error.exit_code
    except (_ReaderGoneError, OSError):
        raise
    except MemoryError:
        click.echo("error: the memory is used up; try fewer --workers, a smaller --block or fewer lanes", err=True)
        return EXIT_UNEXPECTED
    except Exception as error:
        traceback.print_exc()
        problem = printable(f"error: simlab did not expect this; it is no verdict: {error!r}")
        click.echo(f"{problem}\nPlease report it with the lines above.", err=True)
        return EXIT_UNEXPECTED


def printable_lines(error: Exception) -> str:
    """Return an error's text, its lines kept and all else that could drive a terminal escaped."""
    return "\n".join(printable(line) for line in str(error).splitlines())
