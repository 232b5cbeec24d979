"""Files and the catalogue: validate, schema, rules, scenarios."""

from __future__ import annotations

from pathlib import Path

import click

from simlab.commands.shared import Folder, override_option
from simlab.errors import EXIT_FAILED, EXIT_PASSED, FileErrors, Mistake, printable

KINDS = ("scenario", "study", "policies", "recording", "graft")


@click.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--isolation", is_flag=True, help="Of scenarios, studies, recordings: do their experiments disturb each other?")
@click.option("--data", type=Folder(path_type=Path), help="Folder of recorded data, for --isolation.")
@override_option
def validate(files: tuple[str, ...], overrides: tuple[str, ...], isolation: bool, data: Path | None) -> int:
    """Check FILES and tell every mistake at once; nothing is run."""
    from simlab.checking import check_file

    if data is not None and not isolation:
        raise click.UsageError("--data goes with --isolation")
    found: list[tuple[str, Mistake]] = []
    for file in files:
        try:
            click.echo(printable(f"{file}: {check_file(file, overrides=overrides)}"))
        except FileErrors as error:
            found.extend(error.found)
    if found:
        raise FileErrors(dict.fromkeys(found))
    return _check_isolation(files, data) if isolation else EXIT_PASSED


def _check_isolation(files: tuple[str, ...], data: Path | None) -> int:
    from simlab.isolation import is_isolated, isolation_of
    from simlab.report.isolation import told

    every = [(name, found) for file in files for name, found in isolation_of(file, data=data).items()]
    for name, found in every:
        click.echo(printable(f"{name}: {'isolated' if is_isolated(found) else 'NOT ISOLATED'}"))
        for line in told(found):
            click.echo(printable(f"  {line}"))
    return EXIT_PASSED if all(is_isolated(found) for _, found in every) else EXIT_FAILED


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
def schema(kind: str) -> int:
    """Print the JSON Schema of a KIND of file, for editors."""
    import json

    from simlab.checking import schema_of

    click.echo(json.dumps(schema_of(kind), indent=1, ensure_ascii=False))
    return EXIT_PASSED


@click.command()
@click.argument("key", required=False)
@click.option("--false-alarms", is_flag=True, help="Measure every rule at its defaults on two weeks of harmless streams.")
@click.option("--lanes", type=click.IntRange(1, 100_000), default=400, show_default=True, help="Streams, for --false-alarms.")
@click.option(
    "--out", type=Folder(path_type=Path), default=Path("reports"), show_default=True, help="Folder, for --false-alarms."
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


@click.command()
def scenarios() -> int:
    """List the shipped files that `run`, `replay` and `validate` take by name."""
    from simlab.shipped import scenarios_folder, shipped

    for kind, paths in shipped().items():
        for path in paths:
            click.echo(f"{kind}\t{path.relative_to(scenarios_folder())}")
    return EXIT_PASSED
