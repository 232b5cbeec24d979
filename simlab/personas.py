"""Who a user might be: locale, device, agent, name and address, made up by Faker as a pure function of (seed, lane, user).

Nothing here has any bearing on what users do, and nobody in it exists. A persona is made only when a user is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from simlab.streams import stream_key

if TYPE_CHECKING:
    from faker import Faker

LOCALES = ("de_DE", "en_GB", "en_US", "es_ES", "fr_FR", "it_IT", "ja_JP", "pl_PL", "pt_BR")
DEVICES = ("android", "desktop", "ios", "tablet")
COLUMNS = ("locale", "device", "agent", "name", "address")
IDENTIFYING = frozenset({"name", "address"})
"""Columns that would identify a person, if there were one."""


@dataclass(frozen=True)
class Persona:
    """A made-up person.

    Attributes
    ----------
    locale, device : str
        Language and country, such as ``de_DE``; one of `DEVICES`.
    agent : str
        What the browser says it is.
    name, address : str
        As they are written in the locale; one line.
    """

    locale: str
    device: str
    agent: str
    name: str
    address: str


def persona(seed: int, *, lane: int, user: str) -> Persona:
    """Return who a user of a lane might be; the same for the same arguments and the same version of Faker."""
    drawn = int(stream_key(seed, f"persona/{lane}/{user}"))
    locale = LOCALES[drawn % len(LOCALES)]
    faker = _faker(locale)
    # One generator a locale is seeded anew for each user, so that nobody depends on who was looked at before.
    faker.seed_instance(drawn)
    device = faker.random_element(DEVICES)
    agents = {"android": faker.android_platform_token, "ios": faker.ios_platform_token}
    agent = agents.get(device, faker.linux_platform_token)()
    return Persona(locale, device, f"Mozilla/5.0 ({agent})", faker.name(), " ".join(faker.address().split()))


@cache
def _faker(locale: str) -> Faker:
    from faker import Faker

    return Faker(locale, use_weighting=False)
