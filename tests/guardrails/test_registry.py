"""The catalogue of rules, our own and those of installed packages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import pytest

from simlab.errors import RuleError
from simlab.guardrails import registry
from simlab.guardrails.rule import Rule, Takes
from simlab.guardrails.rules.baselines import Never
from simlab.settings import FILE_CONFIG, settings


@settings
class Elsewhere(Never):
    """A rule of another package."""

    key: ClassVar[str] = "elsewhere"


@pytest.fixture(autouse=True)
def forget_the_catalogue() -> Iterator[None]:
    registry.rules.cache_clear()
    yield
    registry.rules.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, *, name: str, value: str) -> None:
    def entry_points(*, group: str) -> tuple[EntryPoint, ...]:
        assert group == "simlab.rules"
        return (EntryPoint(name, value, group),)

    monkeypatch.setattr(registry, "entry_points", entry_points)


def test_our_own_rules_by_their_names_in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda **_: ())
    assert {"never", "random", "repeated_z", "cusum", "above", "below", "srm"} <= registry.rules().keys()


def test_every_rule_keeps_the_contract() -> None:
    for key, rule in registry.rules().items():
        made = with_required(rule)
        assert isinstance(made, Rule)
        assert made.key == key
        assert isinstance(made.takes, Takes)
        assert isinstance(made.threshold, float)
        assert made.paper
        assert made.ladder
        assert made.guarantee is None or made.guarantee.claim
        assert rule.__pydantic_config__ == FILE_CONFIG  # type: ignore[attr-defined]


def with_required(rule: Any) -> Rule:
    """Return a rule with its defaults, and 4 looks or 0.1 for each setting that has none."""
    required = {field.name: 4 if field.name == "looks" else 0.1 for field in fields(rule) if field.default is MISSING}
    made: Rule = rule(**required)
    return made


def test_another_package_adds_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, name="elsewhere", value=f"{__name__}:Elsewhere")
    assert registry.rules()["elsewhere"] is Elsewhere
    assert registry.rules()["never"] is Never


def test_a_name_that_is_taken_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, name="cusum", value=f"{__name__}:Elsewhere")
    with pytest.raises(RuleError, match=r"two rules are called 'cusum'; the second is .*:Elsewhere"):
        registry.rules()


@pytest.mark.parametrize("value", ["no_such_package:Rule", f"{__name__}:NoSuchRule"])
def test_a_rule_that_cannot_be_loaded_is_an_error(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    install(monkeypatch, name="broken", value=value)
    with pytest.raises(RuleError, match=r"the rule 'broken' .* cannot be loaded: .*") as raised:
        registry.rules()
    assert isinstance(raised.value.__cause__, ImportError | AttributeError)
