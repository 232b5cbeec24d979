"""A comparison of two runs as people read it on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from simlab.comparisons import Comparison
from simlab.errors import printable
from simlab.report.words import confidence, words

_LABELS = {
    "false_alarms": "false alarms",
    "delay_restricted_mean": "delay, restricted mean",
    "users_harmed": "users harmed, mean",
}


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the differences, the later run's minus the earlier one's, and mark what is worse for certain."""
    table = Table(box=None, pad_edge=False)
    table.add_column("after minus before, paired by lane", overflow="fold", ratio=1)
    for title in ("difference", "95 % interval", "n", ""):
        table.add_column(title, justify="right", no_wrap=True)
    for difference in comparison.differences:
        table.add_row(Text(printable(f"{difference.scenario} / {difference.first}"), style="bold"))
        for name, estimate in difference.estimates.items():
            worse = (difference.scenario, difference.first, name) in comparison.regressions
            said = words(estimate, signed=True)
            table.add_row(
                Text(f"  {_LABELS[name]}"), Text(said.value), Text(said.interval), Text(said.n), "worse" if worse else ""
            )
    console.print(table)
    for note in (*comparison.missing, *comparison.notes):
        console.print(Text(printable(note)))
    if not comparison.differences:
        console.print("nothing could be compared")
        return
    console.print(Text("Delay and users harmed: in lanes whose harm began before any action, in both runs.", style="dim"))
    if comparison.regressions:
        above = f"worse: above 0 at {confidence(comparison.confidence)}, so that all of these together are at 95 %."
        console.print(Text(above, style="dim"))
    else:
        console.print("nothing that was compared is worse for certain")
