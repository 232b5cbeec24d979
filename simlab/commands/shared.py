"""What several commands share: options, and how a console is printed."""

from __future__ import annotations

import math
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


class Share(click.FloatRange):
    """A share strictly between 0 and 1, as ``0.05`` or ``5%``."""

    name = "share"

    def __init__(self) -> None:
        super().__init__(0, 1, min_open=True, max_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return it as a fraction."""
        if isinstance(value, str) and value.endswith("%"):
            value = click.FLOAT(value.removesuffix("%"), param, ctx) / 100
        share = super().convert(value, param, ctx)
        if math.isnan(share):
            self.fail(f"{value!r} is no number", param, ctx)
        return share


out_option = click.option("--out", type=Folder(path_type=Path), help="Write to this folder instead of reports/NAME/HASH.")


def print_with(show: Callable[[Console], None]) -> None:
    """Print what is shown on a console; by click, because the console would leave with exit code 1 where a pipe is closed."""
    from rich.console import Console

    console = Console()
    with console.capture() as shown:
        show(console)
    click.echo(shown.get(), nl=False)
