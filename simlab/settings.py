"""Settings: frozen standard-library dataclasses from which the file schemas derive."""

from __future__ import annotations

from dataclasses import dataclass
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
