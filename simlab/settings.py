"""Settings: frozen standard-library dataclasses from which the file schemas derive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import partial
from typing import Any, TypeVar, dataclass_transform

Class = TypeVar("Class")


def file_name(field: str) -> str:
    """Return a field's name in files: ``for_`` is written ``for``."""
    return field.rstrip("_")


# Keys of pydantic's configuration, as plain data: an unknown key is a mistake, and nothing is converted in silence.
FILE_CONFIG: dict[str, Any] = {"extra": "forbid", "strict": True, "allow_inf_nan": False, "alias_generator": file_name}


@dataclass_transform(frozen_default=True, kw_only_default=True)
def settings(cls: type[Class]) -> type[Class]:
    """Make a class frozen settings that a file may hold."""
    return readable(dataclass(frozen=True, kw_only=True)(cls))


def readable(cls: type[Class]) -> type[Class]:
    """Let a dataclass be read strictly from a file."""
    cls.__pydantic_config__ = FILE_CONFIG  # type: ignore[attr-defined]
    return cls


def described(value: object) -> Any:
    """Return settings as plain mappings, lists, text and numbers; code by its name. What differs in them is another setting."""
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: described(getattr(value, field.name)) for field in fields(value)}
        return {"is": _name(type(value)), **own}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): described(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [described(held) for held in value]
    if callable(value):
        return _code(value)
    return value if isinstance(value, bool | int | float | str | None) else repr(value)


def _code(value: Callable[..., Any]) -> Any:
    if isinstance(value, partial):
        return {"is": _name(value.func), "given": described(value.args), **described(value.keywords)}
    return _name(value)


def _name(code: Callable[..., Any]) -> str:
    return f"{getattr(code, '__module__', '')}:{getattr(code, '__qualname__', type(code).__qualname__)}"
