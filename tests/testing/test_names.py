"""Few names, each loaded when it is used, each documented; and the doctests run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import simlab.testing

MODULES = [name for _, name, _ in pkgutil.iter_modules(simlab.testing.__path__)]


@pytest.mark.parametrize("name", simlab.testing.__all__)
def test_a_name_is_there_and_documented(name: str) -> None:
    found = getattr(simlab.testing, name)
    # A module of the same name would take its place once it is imported.
    assert name not in MODULES
    assert found.__doc__


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'conformence'"):
        simlab.testing.conformence  # noqa: B018


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_the_text(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"simlab.testing.{module}"))
    assert not found.failed
