from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simlab.documents import Document, did_you_mean, read_document
from simlab.errors import FileErrors

TEXT = """\
# a world
scenario: checkout
users: {count: 2000, segments: {web: 70%, app: 30%}}
empty:
harms:
  - name: app-errors
    metric: errors
    onset:
      at: 1h
  - name: errors.v2
    add: 2pp
steps: [1, 2, [3, 4]]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def document(folder: Path) -> Document:
    Path("f.yaml").write_text(TEXT)
    return read_document("f.yaml")


# --- what a file holds ------------------------------------------------------------------------------------------


def test_reads_plain_data_and_keeps_the_file_as_written(document: Document, folder: Path) -> None:
    assert document.file == "f.yaml"
    assert document.path == (folder / "f.yaml").resolve()
    assert document.lines == tuple(TEXT.splitlines())
    assert document.data == {
        "scenario": "checkout",
        "users": {"count": 2000, "segments": {"web": "70%", "app": "30%"}},
        "empty": None,
        "harms": [
            {"name": "app-errors", "metric": "errors", "onset": {"at": "1h"}},
            {"name": "errors.v2", "add": "2pp"},
        ],
        "steps": [1, 2, [3, 4]],
    }


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ((), (2, 1), (2, 1)),
        (("scenario",), (2, 11), (2, 1)),
        (("users", "segments", "app"), (3, 48), (3, 43)),
        (("empty",), (4, 1), (4, 1)),
        (("harms",), (6, 3), (5, 1)),
        (("harms", 0), (6, 5), (6, 5)),
        (("harms", 0, "onset", "at"), (9, 11), (9, 7)),
        (("steps", 2, 1), (12, 19), (12, 19)),
    ],
)
def test_knows_where_values_and_keys_stand(
    document: Document, path: tuple[str | int, ...], value: tuple[int, int], key: tuple[int, int]
) -> None:
    assert (document.positions[path].value, document.positions[path].key) == (value, key)


def test_every_value_has_a_position(document: Document) -> None:
    def paths(data: object, path: tuple[str | int, ...]) -> set[tuple[str | int, ...]]:
        items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
        return {path}.union(*(paths(value, (*path, key)) for key, value in items))

    assert set(document.positions) == paths(document.data, ())


# --- files that cannot be read ----------------------------------------------------------------------------------


def error_of(file: str) -> str:
    with pytest.raises(FileErrors) as caught:
        read_document(file)
    return str(caught.value)


def test_no_such_file(folder: Path) -> None:
    Path("checkout.yaml").write_text("a: 1")
    assert error_of("chekout.yaml") == (
        "chekout.yaml: error[not-found]: there is no such file\n  hint: did you mean 'checkout.yaml'?"
    )
    assert error_of("nowhere/x.yaml") == "nowhere/x.yaml: error[not-found]: there is no such file"
    assert error_of("checkout.yaml/x") == "checkout.yaml/x: error[not-found]: there is no such file"


def test_a_folder(folder: Path) -> None:
    Path("d").mkdir()
    assert error_of("d") == "d: error[not-readable]: is a folder"


def test_what_would_block_or_never_end_is_not_opened(folder: Path) -> None:
    os.mkfifo("pipe")
    assert error_of("pipe") == "pipe: error[not-readable]: is not a regular file"
    assert error_of("/dev/zero") == "/dev/zero: error[not-readable]: is not a regular file"


def test_no_permission(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("f.yaml").write_text("a: 1")

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert error_of("f.yaml") == "f.yaml: error[not-readable]: there is no permission to read it"


def test_links_that_go_round(folder: Path) -> None:
    Path("a").symlink_to("b")
    Path("b").symlink_to("a")
    assert error_of("a").startswith("a: error[not-readable]: cannot be read: ")


def test_a_name_that_is_none() -> None:
    assert error_of("a\0b") == "a\\x00b: error[not-readable]: cannot be read: is not the name of a file"


def test_a_large_file_is_refused_unread(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("f.yaml").open("wb") as stream:
        stream.truncate(100_000_000)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read"))
    assert error_of("f.yaml") == "f.yaml: error[too-large]: has 100,000,000 bytes; at most 1,048,576 are read"


def test_a_file_of_the_largest_size_is_read(folder: Path) -> None:
    Path("f.yaml").write_text("a: 1\n#" + "x" * (2**20 - 6))
    assert read_document("f.yaml").data == {"a": 1}


# --- mistakes of sense, told by others --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "at_key", "first", "pointed"),
    [
        (("harms", 0, "metric"), False, "7:13: error[c]: harms[0].metric: p", "errors"),
        (("harms", 0, "metric"), True, "7:5: error[c]: harms[0].metric: p", "metric: errors"),
        (("harms", 0, "add"), False, "6:5: error[c]: harms[0].add: p", "name: app-errors"),
        (("harms", 0, "add"), True, "6:5: error[c]: harms[0].add: p", "name: app-errors"),
        (("harms", 7, "add"), False, "6:3: error[c]: harms[7].add: p", "- name: app-errors"),
        (("tick",), False, "2:1: error[c]: tick: p", "scenario: checkout"),
        (("users", "nobody"), True, "3:8: error[c]: users.nobody: p", TEXT.splitlines()[2][7:]),
        ((), False, "2:1: error[c]: p", "scenario: checkout"),
        (("steps", 2, 0), False, "12:16: error[c]: steps[2][0]: p", "3, 4]]"),
    ],
)
def test_a_mistake_points_at_the_nearest_place(
    document: Document, path: tuple[str | int, ...], at_key: bool, first: str, pointed: str
) -> None:
    line, source, caret = document.mistake(path, "c", "p", at_key=at_key).render(document.file).splitlines()
    assert line == f"f.yaml:{first}"
    assert (source[len(caret) - 1 :], caret.strip(" ")) == (pointed, "^")


def test_a_mistake_without_any_position() -> None:
    document = Document("f.json", Path("f.json"), {"a": 1})
    assert document.mistake(("a",), "c", "p", "h").render("f.json") == "f.json: error[c]: a: p\n  hint: h"


def test_a_very_long_line_is_cut(folder: Path) -> None:
    Path("f.yaml").write_text(f"a: {{b: 1, c: {'x' * 700}, d: 2}}\n")
    document = read_document("f.yaml")
    near, far = document.mistake(("a", "b"), "c", "p"), document.mistake(("a", "d"), "c", "p")
    assert (near.column, near.source[-1], len(near.source)) == (8, "…", 501)
    assert (far.column, far.source) == (719, "")


def test_tabs_do_not_move_the_caret(folder: Path) -> None:
    Path("f.yaml").write_text("{a: 'x\ty', b: 1}\n")
    mistake = read_document("f.yaml").mistake(("b",), "c", "p")
    assert mistake.render("f.yaml").splitlines()[1:] == ["  {a: 'x y', b: 1}", "                ^"]


# --- --set ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("scenario=other", ("scenario",), "other"),
        ("users.count=5", ("users", "count"), 5),
        ("users.segments.app=1:30", ("users", "segments", "app"), "1:30"),
        ("harms[0].metric=latency", ("harms", 0, "metric"), "latency"),
        ("harms.0.metric=latency", ("harms", 0, "metric"), "latency"),
        ("harms.app-errors.onset.at=no", ("harms", 0, "onset", "at"), "no"),
        ("harms.errors.v2.add=3pp", ("harms", 1, "add"), "3pp"),
        ("harms.app-errors.add=3pp", ("harms", 0, "add"), "3pp"),
        ("harms[1]={name: x, add: [1, 2]}", ("harms", 1), {"name": "x", "add": [1, 2]}),
        ("steps[2][1]=1e5", ("steps", 2, 1), 1e5),
        ("new=", ("new",), None),
        ("new='a=b # c'", ("new",), "a=b # c"),
        ("new=a=b", ("new",), "a=b"),
    ],
)
def test_set_replaces_or_adds_one_value(document: Document, assignment: str, path: tuple[str | int, ...], value: object) -> None:
    before = copy.deepcopy(document)
    expected: dict[str, object] = copy.deepcopy(document.data)
    parent: object = expected
    for part in path[:-1]:
        parent = parent[part]  # type: ignore[index]
    parent[path[-1]] = value  # type: ignore[index]
    assert document.with_override(assignment).data == expected
    assert document == before


def test_set_takes_the_longest_name_and_the_first_of_two(folder: Path) -> None:
    Path("f.yaml").write_text("list: [{name: a}, {name: a.b}, {name: a.b}]\nmap: {a: {}, a.b: {}}\n")
    changed = read_document("f.yaml").with_override("list.a.b.x=1").with_override("map.a.b.x=1")
    assert changed.data == {
        "list": [{"name": "a"}, {"name": "a.b", "x": 1}, {"name": "a.b"}],
        "map": {"a": {}, "a.b": {"x": 1}},
    }


def test_set_changes_one_alias_and_not_the_other(folder: Path) -> None:
    Path("f.yaml").write_text("a: &x {b: 1}\nc: *x\n")
    assert read_document("f.yaml").with_override("c.b=2").data == {"a": {"b": 1}, "c": {"b": 2}}


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        (
            "harms.app-error.add=3pp",
            (
                "--set: error[unknown-key]: there is no entry 'app-error'\n"
                "  --set harms.app-error.add=3pp\n"
                "              ^\n"
                "  hint: did you mean 'app-errors'?"
            ),
        ),
        (
            "user.count=5",
            "--set: error[unknown-key]: there is no key 'user'\n  --set user.count=5\n        ^\n  hint: did you mean 'users'?",
        ),
        (
            "telemetry.lost=1%",
            (
                "--set: error[unknown-key]: there is no key 'telemetry'\n"
                "  --set telemetry.lost=1%\n"
                "        ^\n"
                "  hint: known here: scenario, users, empty, harms, steps"
            ),
        ),
        (
            "harms[2].add=1",
            (
                "--set: error[unknown-key]: there is no entry '[2]'\n"
                "  --set harms[2].add=1\n"
                "             ^\n"
                "  hint: did you mean '[1]'?"
            ),
        ),
        (
            "users.count.x=1",
            "--set: error[unknown-key]: there is nothing below 'users.count'\n  --set users.count.x=1\n                    ^",
        ),
        (
            "empty.x=1",
            "--set: error[unknown-key]: there is nothing below 'empty'\n  --set empty.x=1\n              ^",
        ),
        ("scenario", "--set: error[assignment]: 'scenario' is not path=value\n  --set scenario\n        ^"),
        ("=1", "--set: error[assignment]: '=1' is not path=value\n  --set =1\n        ^"),
        (
            "users.count=[1",
            "--set: error[not-yaml]: the bracket that opens here is never closed\n  --set users.count=[1\n                    ^",
        ),
        (
            "users.count=b: 1",
            (
                "--set: error[assignment]: a value on the command line must stand in brackets\n"
                "  --set users.count=b: 1\n"
                "                    ^\n"
                "  hint: write {key: value} for a mapping and [a, b] for a list, or put text in quotes"
            ),
        ),
        (
            "users={a: !x 1, a: 2}",
            (
                "--set: error[tag]: a: the tag !x is not allowed here\n"
                "  --set users={a: !x 1, a: 2}\n"
                "                  ^\n"
                "  hint: remove the tag\n"
                "--set: error[duplicate-key]: a: the key stands here again; first on line 1, column 2\n"
                "  --set users={a: !x 1, a: 2}\n"
                "                        ^"
            ),
        ),
    ],
)
def test_set_says_what_is_wrong(document: Document, assignment: str, told: str) -> None:
    with pytest.raises(FileErrors) as caught:
        document.with_override(assignment)
    assert str(caught.value) == told


@pytest.mark.parametrize("assignment", ["users.=1", "users..count=1", ".users=1", "users[count]=1", "users.count]=1"])
def test_set_refuses_a_malformed_path(document: Document, assignment: str) -> None:
    with pytest.raises(FileErrors, match=r"^--set: error\[unknown-key\]"):
        document.with_override(assignment)


def test_a_mistake_in_what_was_set_shows_the_assignment(document: Document) -> None:
    changed = document.with_override("harms.app-errors.onset={at: soon}")
    assert changed.mistake(("harms", 0, "onset", "at"), "unit", "is no time").render(changed.file) == (
        "f.yaml: error[unit]: harms[0].onset.at: is no time\n"
        "  --set harms.app-errors.onset={at: soon}\n"
        "                               ^"
    )
    assert changed.mistake(("harms", 0, "metric"), "c", "p").line == 7


def test_the_last_assignment_is_shown(document: Document) -> None:
    changed = document.with_override("users.count=1").with_override("users={count: 2}")
    assert changed.mistake(("users", "count"), "c", "p").source == "--set users={count: 2}"
    changed = changed.with_override("users.count=3")
    assert changed.data["users"] == {"count": 3}
    assert changed.mistake(("users", "count"), "c", "p").source == "--set users.count=3"
    assert changed.mistake(("users",), "c", "p").source == "--set users={count: 2}"


# --- small things -----------------------------------------------------------------------------------------------


def test_did_you_mean() -> None:
    assert did_you_mean("metrik", ["metric", "segment"]) == "did you mean 'metric'?"
    assert did_you_mean("zebra", iter(["metric", "segment"])) == ""
    assert did_you_mean("x", []) == ""


def test_importing_is_cheap() -> None:
    code = "import sys, simlab.documents; print([m for m in ('ruamel.yaml', 'pydantic', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
