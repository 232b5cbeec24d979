"""Own traffic as the null, on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from simlab.errors import printable
from simlab.own_traffic import NullResult
from simlab.report.terminal import estimates_table
from simlab.report.words import measure
from simlab.ticks import format_count, format_duration


def print_null(result: NullResult, console: Console) -> None:
    """Print how the lanes were made, how much the recording is worth, and each policy's estimates."""
    console.print(
        Text(printable(f"RESAMPLED  {result.recording}  plan {result.provenance.plan[:12]}"), style="bold"), soft_wrap=True
    )
    horizon, block = format_duration(result.horizon * result.tick), format_duration(result.block * result.tick)
    console.print(
        f"{format_count(result.lanes, 'lane')} of {horizon} from healthy blocks of {block}, each from the same phase of the "
        f"{result.cycle}. The healthy time makes {result.blocks:,.1f} such blocks and is worth {result.worth:,.1f} "
        f"independent lanes: no probability below {100 / result.worth:.2g} % is claimed."
    )
    names = dict.fromkeys(name for found in result.policies.values() for name in found)
    minutes = result.limit * result.tick / 60_000
    groups = {
        measure(name, limit_minutes=minutes): {policy: found[name] for policy, found in result.policies.items()} for name in names
    }
    console.print(estimates_table(groups))
    for policy, looks in result.unknown_looks.items():
        if looks:
            console.print(Text(printable(f"{policy}: {format_count(looks, 'look')} unknown")))
    console.print(Text(result.limits, style="dim"))
