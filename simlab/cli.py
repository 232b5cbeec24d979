"""The command line: parse, call, print. Heavy modules are imported by the commands that need them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from simlab import __version__
from simlab.errors import (
    EXIT_INCONCLUSIVE,
    EXIT_INTERRUPTED,
    EXIT_PASSED,
    EXIT_USAGE,
    FileErrors,
    Mistake,
    SimlabError,
    printable,
)

if TYPE_CHECKING:
    from simlab.plan import Plan
    from simlab.results import Result

KINDS = ("scenario", "study", "policies", "recording")
_override = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Override a field, e.g. lanes.cap=4000 or scenarios.NAME.tick=1m.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
_out = click.option("--out", type=click.Path(path_type=Path), help="Write to this folder instead of reports/NAME/HASH.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Measure a guardrail before people depend on it: how soon it stops a harm, how many are hurt, how often it cries wolf.

    Exit codes: 0 all gates pass, 1 a gate failed, 2 usage or file error, 3 inconclusive or no data, 4 a rule failed,
    130 interrupted (run the same command again to go on).
    """


@cli.command()
@click.argument("study")
@click.option("--workers", type=click.IntRange(1, 256), default=lambda: min(os.cpu_count() or 1, 8), help="Processes.")
@click.option("--block", type=click.IntRange(1, 100_000), default=500, show_default=True, help="Lanes in a block.")
@click.option("--fresh", is_flag=True, help="Start over instead of going on with an interrupted run.")
@_out
@_override
@_as_json
def run(study: str, workers: int, block: int, fresh: bool, out: Path | None, overrides: tuple[str, ...], as_json: bool) -> int:
    """Run a STUDY file (or a plan.json of an earlier run) to its verdict."""
    from simlab.output import append_log, point_latest, prepare, run_folder, write_result
    from simlab.plan import load
    from simlab.progress import shown_progress
    from simlab.runner import Options, run_plan

    plan = load(study, overrides=overrides)
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


@contextmanager
def _failures_written(folder: Path, plan: Plan) -> Iterator[None]:
    """Leave a ``results.json`` with the status behind, whatever goes wrong."""
    from simlab.output import write_failure

    try:
        yield
    except KeyboardInterrupt:
        write_failure(folder, status="interrupted", problem="interrupted; run the same plan again", digest=plan.digest)
        raise
    except SimlabError as error:
        write_failure(folder, status="error", problem=str(error), digest=plan.digest)
        raise


def _print_result(result: Result, folder: Path, *, as_json: bool) -> None:
    if as_json:
        click.echo(result.to_json(), nl=False)
        return
    from rich.console import Console

    from simlab.report.terminal import print_result

    print_result(result, Console())
    click.echo(printable(f"Report: {folder / 'report.html'}"))


@cli.command()
@click.argument("recording")
@click.option("--policies", required=True, help="A study, or a file that holds policies.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the recorded data; beside RECORDING if not given.")
@_out
@_as_json
def replay(recording: str, policies: str, data: Path | None, out: Path | None, as_json: bool) -> int:
    """Step policies through a RECORDING: whether and when they would have fired, and how often in healthy time."""
    from simlab.output import append_log, point_latest, prepare, run_folder, write_replay
    from simlab.replay import load_replay, run_replay

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
        from rich.console import Console

        from simlab.report.terminal import print_replay

        print_replay(result, Console())
    return EXIT_PASSED if result.judged else EXIT_INCONCLUSIVE


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
def rules(key: str | None) -> int:
    """List the catalogue of rules, or print the page of the rule KEY."""
    from simlab.catalogue import list_of_rules, page_of

    click.echo(list_of_rules() if key is None else page_of(key))
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
    try:
        code = cli.main(standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; run the same command again to go on", err=True)
        code = EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = EXIT_USAGE
    except SimlabError as error:
        click.echo(error.render() if isinstance(error, FileErrors) else f"error: {printable_lines(error)}", err=True)
        code = error.exit_code
    except BrokenPipeError:
        code = EXIT_PASSED
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def printable_lines(error: Exception) -> str:
    """Return an error's text, its lines kept and all else that could drive a terminal escaped."""
    return "\n".join(printable(line) for line in str(error).splitlines())
