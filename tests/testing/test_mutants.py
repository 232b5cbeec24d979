"""Every mutant is caught by the check that is meant for it, and right rules pass them all."""

from __future__ import annotations

import pytest

from tests.testing.kill_table import COLUMNS, table, verdicts
from tests.testing.mutants import MUTANTS, RIGHT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_caught_by_the_check_meant_for_it(mutant: Mutant) -> None:
    assert verdicts(mutant)[mutant.meant]


@pytest.mark.parametrize("right", RIGHT, ids=lambda right: right.name)
def test_a_right_rule_passes(right: Mutant) -> None:
    assert not any(verdicts(right).values())


def test_there_is_a_mutant_for_every_check() -> None:
    assert {mutant.meant for mutant in MUTANTS} == set(COLUMNS)
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 18


def test_the_table_says_what_is_caught_and_what_is_not_claimed() -> None:
    found = table({"one": {COLUMNS[0]: True, COLUMNS[1]: False}}).splitlines()
    assert len(found) == 3
    assert found[2].startswith("| one | X | · |  |")
