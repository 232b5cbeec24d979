"""Studies: run, tune, compare."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from simlab.commands.shared import Folder, Share, as_json_option, out_option, override_option, print_with
from simlab.errors import EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_PASSED, SimlabError, printable

if TYPE_CHECKING:
    from simlab.documents import Document
    from simlab.plan import Plan
    from simlab.results import Result
    from simlab.tuned import Values


@click.command()
@click.argument("study")
@click.option("--workers", type=click.IntRange(1, 256), default=lambda: min(os.cpu_count() or 1, 8), help="Processes.")
@click.option("--block", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Lanes in a block.")
@click.option("--precision", metavar="SHARE", help="More lanes until rates are known this well, e.g. 0.5%; as lanes.precision.")
@click.option("--fresh", is_flag=True, help="Start over instead of going on with an interrupted run.")
@out_option
@override_option
@as_json_option
def run(study: str, workers: int, block: int, precision: str | None, fresh: bool, out: Path | None,
        overrides: tuple[str, ...], as_json: bool) -> int:  # fmt: skip
    """Run a STUDY file (or a plan.json of an earlier run) to its verdict."""
    from simlab.output import append_log, point_latest, prepare, run_folder, write_result
    from simlab.plan import load
    from simlab.progress import shown_progress
    from simlab.runner import Options, run_plan

    if precision is not None and not precision.strip():
        raise click.UsageError("--precision is empty; write a share such as 0.5%")
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


@click.command()
@click.argument("study")
@click.option("--budget", type=Share(), help="Largest share of harmless rollouts with an alarm, as 5%; by the gate if not given.")
@click.option("--confidence", type=Share(), default=0.95, show_default=True, help="With which the budget is kept everywhere.")
@click.option("--lanes", type=click.IntRange(10, 10_000_000), help="Lanes to choose on, and as many to calibrate on.")
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="Tune this policy; all but references if not given.")
@click.option("--references", is_flag=True, help="Tune references too.")
@click.option("--try", "tries", multiple=True, metavar="PATH=[VALUE, ...]",
              help="Choose a setting, e.g. policies.NAME.guardrails.0.rule.cusum.k=[0.25, 0.5, 1].")  # fmt: skip
@click.option("--likely", multiple=True, metavar="SCENARIO=WEIGHT", help="Compare mean harm by how likely it is, not the worst.")
@click.option("--prices", type=float, nargs=3, metavar="USER STOP HARMFUL",
              help="Of a harmed user, of a false stop; harmful share of rollouts: choose the cheapest budget.")  # fmt: skip
@click.option("--apply", "apply", is_flag=True, help="Write the new settings to the STUDY file; comments stay.")
@click.option("--workers", type=click.IntRange(1, 256), default=lambda: min(os.cpu_count() or 1, 8), help="Processes.")
@out_option
@override_option
@as_json_option
def tune(study: str, budget: float | None, confidence: float, lanes: int | None, policies: tuple[str, ...],
         references: bool, tries: tuple[str, ...], likely: tuple[str, ...], prices: tuple[float, float, float] | None,
         apply: bool, workers: int, out: Path | None, overrides: tuple[str, ...], as_json: bool) -> int:  # fmt: skip
    """Find for each policy of a STUDY the laxest thresholds that keep its false-alarm budget, and show what they change."""
    from simlab.documents import read_document
    from simlab.output import append_log, make_writable, point_latest, prepare, run_folder, write_tuning
    from simlab.plan import load
    from simlab.progress import shown_progress
    from simlab.report.tuning import print_tuning
    from simlab.runner import BLOCK_LANES, Options
    from simlab.shipped import shipped_path
    from simlab.tuned import Prices, TuneOptions
    from simlab.tuning import changeable, tune_plan
    from simlab.yaml_edit import edited

    if apply and overrides:
        raise click.UsageError("--apply does not go with --set: the thresholds would be for another study than the file")
    if references and policies:
        raise click.UsageError("--references does not go with --policy: name the references by --policy too")
    document = read_document(shipped_path(study))
    plan = load(document, overrides=overrides)
    if references:
        policies = tuple(each.name for each in plan.study.policies)
    priced = None if prices is None else Prices(*prices)
    options = TuneOptions(budget, confidence, lanes, policies, tries, likely=_weights(likely), prices=priced)
    if apply:
        if "plan" in document.data or not Path(study).exists():
            raise click.UsageError("--apply writes to a study file of yours; copy the shipped or the planned one first")
        # Before anything is run: a place that cannot be written to must not cost the run.
        edited(document, changeable(plan, options))
    name = f"{plan.study.study}-tune"
    reports = Path("reports") if out is None else out.parent
    make_writable(reports / name if out is None else out)
    with shown_progress() as progress:
        # A few lanes are work for every process too.
        block = min(BLOCK_LANES, -(-(lanes or plan.study.lanes.start) // workers))
        result = tune_plan(plan, replace(options, run=Options(workers=workers, block_lanes=block, progress=progress)))
    tuned = result.result.plan
    folder = run_folder(reports, name=name, digest=tuned.digest) if out is None else out
    prepare(folder, fresh=True)
    write_tuning(result, folder)
    if as_json:
        click.echo(result.to_json(), nl=False)
    else:
        print_with(lambda console: print_tuning(result, console))
        click.echo(printable(f"Report: {folder / 'report.html'}, {folder / 'figures' / 'frontier.svg'}"))
    if apply:
        _apply(document, result.values)
    if out is None:
        point_latest(folder)
        append_log(reports, what="applied" if apply and result.values else "tune", name=plan.study.study, digest=tuned.digest,
                   status=result.result.status, who=plan.study.owner, why=plan.study.why)  # fmt: skip
    return result.exit_code


def _apply(document: Document, values: Values) -> None:
    """Write new settings to the file they were found for, and say so on standard error, where a result as JSON is not."""
    from simlab.files import atomic_write
    from simlab.ticks import format_count
    from simlab.yaml_edit import edited

    if not values:
        click.echo(printable(f"{document.file}: nothing to write"), err=True)
        return
    content = edited(document, values)
    if not document.path.is_file() or document.path.read_bytes() != document.content:
        raise SimlabError(f"{document.file} was changed while it was tuned, so nothing is written to it; tune it again")
    atomic_write(document.path, content)
    click.echo(printable(f"{document.file}: {format_count(len(values), 'setting')} written"), err=True)


@click.command()
@click.argument("before", type=Folder(path_type=Path))
@click.argument("after", type=Folder(path_type=Path))
@click.option("--fail-on", type=click.Choice(["regression"]),
              help="Exit with 1 if something is worse for certain, with 3 if something was not compared.")  # fmt: skip
@as_json_option
def compare(before: Path, after: Path, fail_on: str | None, as_json: bool) -> int:
    """Compare the run in the folder AFTER with that in BEFORE, lane by lane on the same noise."""
    from simlab.comparisons import compare_runs
    from simlab.report.comparison import print_comparison

    found = compare_runs(before, after)
    if as_json:
        click.echo(found.to_json(), nl=False)
    else:
        print_with(lambda console: print_comparison(found, console))
    if fail_on and found.regressions:
        return EXIT_FAILED
    return EXIT_INCONCLUSIVE if not found.differences or (fail_on and found.missing) else EXIT_PASSED


def _weights(given: tuple[str, ...]) -> dict[str, float]:
    """Return weights by scenario, from ``SCENARIO=WEIGHT`` each."""
    weights: dict[str, float] = {}
    for each in given:
        name, _, weight = each.partition("=")
        if name in weights:
            raise click.UsageError(f"--likely {each!r}: {name} has a weight already")
        try:
            weights[name] = float(weight)
        except ValueError:
            raise click.UsageError(f"--likely {each!r}: write SCENARIO=WEIGHT") from None
    return weights


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

    print_with(lambda console: print_result(result, console))
    click.echo(printable(f"Report: {folder / 'report.html'}"))
