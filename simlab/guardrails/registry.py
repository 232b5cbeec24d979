"""The catalogue of rules by their names in files; other packages add theirs by entry point.

An installed package offers rules under the entry-point group ``simlab.rules``, the entry's name being the rule's key and its
value a class that follows `simlab.guardrails.rule.Rule`.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from simlab.errors import RuleError
from simlab.guardrails.rule import Rule
from simlab.guardrails.rules.baselines import Never, Random
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.rules.limits import Above, Below
from simlab.guardrails.rules.repeated_z import RepeatedZ
from simlab.guardrails.rules.sample_ratio import SampleRatio
from simlab.settings import readable

_OWN: tuple[type[Rule], ...] = (Never, Random, RepeatedZ, Cusum, Above, Below, SampleRatio)
GROUP = "simlab.rules"


@cache
def rules() -> dict[str, type[Rule]]:
    """Return every rule by its key, our own first.

    Raises
    ------
    RuleError
        If an installed package's rule cannot be loaded, or takes a name that is taken.
    """
    found = {rule.key: rule for rule in _OWN}
    for entry in entry_points(group=GROUP):
        if entry.name in found:
            raise RuleError(f"two rules are called {entry.name!r}; the second is {entry.value}")
        try:
            found[entry.name] = readable(entry.load())
        except Exception as error:
            raise RuleError(f"the rule {entry.name!r} ({entry.value}) cannot be loaded: {error}") from error
    return found
