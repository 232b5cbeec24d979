"""Which check catches which mutant; as a command it writes the table to ``reports/testing/kill-table.md``.

Run from the project's root: ``python -m tests.testing.kill_table``.
"""

from __future__ import annotations

from pathlib import Path

from simlab.testing import Claim
from simlab.testing.machine import live_equals_batch
from simlab.testing.searches import first_broken
from tests.testing.mutants import ARL0, DETECTION, FALSE_ALARMS, LIVE, MUTANTS, RIGHT, Mutant

COLUMNS = (*(claim.value for claim in Claim), LIVE, FALSE_ALARMS, ARL0, DETECTION)
REPORT = Path("reports") / "testing" / "kill-table.md"


def verdicts(mutant: Mutant) -> dict[str, bool]:
    """Return whether each check that the mutant claims to pass catches it."""
    found = {claim.value: first_broken(mutant.tried, claim) is not None for claim in Claim if claim in mutant.tried.claims.held}
    found[LIVE] = _fails(lambda: live_equals_batch(mutant.tried, monitor=mutant.monitor))
    for name, assertion in mutant.rates.items():
        found[name] = _fails(lambda assertion=assertion: assertion(mutant.tried))
    return found


def _fails(run) -> bool:
    try:
        run()
    except AssertionError:
        return True
    return False


def table(found: dict[str, dict[str, bool]]) -> str:
    """Return the table in Markdown: X catches it, · does not, and nothing where it is not claimed."""
    rows = ["| mutant | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, caught in found.items():
        cells = [("X" if caught[column] else "·") if column in caught else "" for column in COLUMNS]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    """Write the table."""
    mutants = {mutant.name: verdicts(mutant) for mutant in MUTANTS}
    right = {mutant.name: verdicts(mutant) for mutant in RIGHT}
    caught = sum(any(each.values()) for each in mutants.values())
    passed = sum(not any(each.values()) for each in right.values())
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    text = (
        f"# Mutants caught\n\n{caught} of {len(mutants)} mutants are caught, {passed} of {len(right)} right rules pass.\n"
        f"X catches it, · does not, nothing where the check is not claimed.\n\n{table(mutants)}\n\n## Right rules\n\n{table(right)}\n"
    )
    REPORT.write_text(text, encoding="utf-8")
    print(f"{caught} of {len(mutants)} mutants caught, {passed} of {len(right)} right rules pass: {REPORT}")


if __name__ == "__main__":
    main()
