"""The examples in the rules' docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest

from simlab.guardrails.registry import rules

MODULES = sorted({rule.__module__ for rule in rules().values()})


@pytest.mark.parametrize("module", MODULES)
def test_examples(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0
