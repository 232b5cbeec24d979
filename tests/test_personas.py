"""Personas are pure functions of seed, lane and user, and identify nobody unless they are asked for."""

from __future__ import annotations

from simlab.commands.recordings import PERSONA_COLUMNS
from simlab.personas import COLUMNS, DEVICES, LOCALES, persona


def test_a_persona_depends_on_seed_lane_and_user_alone() -> None:
    once = [persona(3, lane=1, user=str(user)) for user in range(40)]
    again = [persona(3, lane=1, user=str(user)) for user in reversed(range(40))]
    assert once == again[::-1]
    assert len({each.name for each in once}) > 30
    for seed, lane in ((4, 1), (3, 2)):
        assert sum(one == persona(seed, lane=lane, user=str(user)) for user, one in enumerate(once)) == 0


def test_personas_vary_in_what_they_are_said_to_vary_in() -> None:
    made = [persona(3, lane=0, user=str(user)) for user in range(300)]
    assert {each.locale for each in made} == set(LOCALES)
    assert {each.device for each in made} == set(DEVICES)
    assert all("\n" not in each.address for each in made)
    assert PERSONA_COLUMNS == COLUMNS
