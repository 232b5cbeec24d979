"""Where the shipped scenarios stand: beside the package in a checkout, inside it when installed from a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def scenarios_folder() -> Path:
    """Return the folder of the shipped scenarios."""
    inside = _PACKAGE / "scenarios"
    return inside if inside.is_dir() else _PACKAGE.parent / "scenarios"


def shipped_path(path: str | Path) -> Path:
    """Return `path` itself where it exists, else the shipped file of that name, else `path`.

    A shipped file may be named from the scenarios folder on, with or without ``scenarios/`` and ``.yaml``.
    """
    given = Path(path)
    if given.exists() or given.is_absolute():
        return given
    inside = Path(*given.parts[1:]) if given.parts[:1] == ("scenarios",) else given
    for name in (inside, inside.with_name(inside.name + ".yaml")):
        if name.parts and ".." not in name.parts and (scenarios_folder() / name).is_file():
            return scenarios_folder() / name
    return given


def shipped() -> dict[str, list[Path]]:
    """Return the shipped files by kind: scenarios, studies, incidents, recordings and their policies, grafts."""
    folder = scenarios_folder()
    found = {"scenarios": sorted(folder.glob("*.yaml"))}
    return found | {kind: sorted((folder / kind).glob("*.yaml")) for kind in ("studies", "incidents", "recordings", "grafts")}
