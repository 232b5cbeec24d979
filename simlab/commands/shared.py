"""What several commands share: options, and how a console is printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console


class Folder(click.Path):
    """A folder; one without a name would be the current one, which nobody means."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the folder, unless its name is empty."""
        if not str(value):
            self.fail("the name of the folder is empty", param, ctx)
        return super().convert(value, param, ctx)


override_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Override a field, e.g. lanes.cap=4000 or scenarios.NAME.tick=1m.",
)
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)
out_option = click.option("--out", type=Folder(path_type=Path), help="Write to this folder instead of reports/NAME/HASH.")


def print_with(show: Callable[[Console], None]) -> None:
    """Print what is shown on a console; by click, because the console would leave with exit code 1 where a pipe is closed."""
    from rich.console import Console

    console = Console()
    with console.capture() as shown:
        show(console)
    click.echo(shown.get(), nl=False)
