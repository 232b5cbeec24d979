from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simlab.documents import read_document
from simlab.errors import FileErrors

Told = Callable[[str | bytes], str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def told(folder: Path) -> Told:
    """Return the errors of a file ``f.yaml`` with a content."""

    def errors(content: str | bytes) -> str:
        Path("f.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(FileErrors) as caught:
            read_document("f.yaml")
        return str(caught.value)

    return errors


def value_of(text: str) -> object:
    Path("v.yaml").write_text(f"v: {text}\n")
    return read_document("v.yaml").data["v"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("True", True), ("FALSE", False), ("null", None), ("~", None), ("", None), ("NULL", None),
        ("12", 12), ("-3", -3), ("+7", 7), ("010", 10), ("0o17", 15), ("0xfF", 255), ("0", 0),
        ("1.5", 1.5), ("1e5", 1e5), ("-.5", -0.5), ("1.", 1.0), ("6.02E+23", 6.02e23),
        (".inf", math.inf), ("-.Inf", -math.inf), ("+.INF", math.inf),
        ("no", "no"), ("Yes", "Yes"), ("on", "on"), ("off", "off"), ("y", "y"), ("tRUE", "tRUE"),
        ("1:30", "1:30"), ("20:00", "20:00"), ("2026-03-02", "2026-03-02"),
        ("2026-03-02T00:00:00Z", "2026-03-02T00:00:00Z"), ("1_000", "1_000"), ("0b11", "0b11"), ("-0x1", "-0x1"),
        ("1e", "1e"), (".", "."), ("inf", "inf"), ("nan", "nan"), ("=", "="), ("5%", "5%"), ("x3", "x3"), ("٣", "٣"),
        ("'12'", "12"), ('"true"', "true"), ("''", ""), ('"~"', "~"), ("|\n  12\n", "12\n"),
        ("!!str 12", "12"), ("! 12", "12"), ("!!int '12'", 12), ("!!float 1", 1.0), ("!!null ''", None),
        ("!!bool 'true'", True), ("!!seq [1]", [1]), ("!!map {a: 1}", {"a": 1}), ("! [1]", [1]),
        ('"\\ud83d\\ude00"', "\U0001f600"), ('"\\/\\u0007"', "/\x07"), ("{'<<': 1}", {"<<": 1}), ("<<", "<<"),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema_of_yaml_1_2(folder: Path, text: str, value: object) -> None:
    read = value_of(text)
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_not_a_number(folder: Path, text: str) -> None:
    read = value_of(text)
    assert isinstance(read, float)
    assert math.isnan(read)


def test_a_float_tag_makes_a_float(folder: Path) -> None:
    assert type(value_of("!!float 1")) is float


@pytest.mark.parametrize("content", ["\ufeffa: 1\n", "---\na: 1\n...\n", "%YAML 1.2\n---\na: 1\n", "a: 1", "a: 1\r\n"])
def test_marks_around_the_document_are_no_matter(folder: Path, content: str) -> None:
    Path("f.yaml").write_bytes(content.encode())
    document = read_document(Path("f.yaml"))
    assert (document.file, document.data) == ("f.yaml", {"a": 1})


def test_aliases_stand_for_what_they_name(folder: Path) -> None:
    Path("f.yaml").write_text("a: &x {b: 1}\nc: [*x, *x]\n&k d: *k\n")
    document = read_document("f.yaml")
    assert document.data == {"a": {"b": 1}, "c": [{"b": 1}, {"b": 1}], "d": "d"}
    assert document.positions["c", 1].value == (2, 9)
    assert document.positions["c", 1, "b"].value == (1, 11)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_with_any_line_end(told: Told, end: str) -> None:
    assert told(end.join(["a: 1", "b: 2", "b: 3", ""])).splitlines()[:2] == [
        "f.yaml:3:1: error[duplicate-key]: b: the key stands here again; first on line 2, column 1",
        "  b: 3",
    ]


# Control characters are written as escapes by JSON, but for DEL and those from U+0080 on, which YAML wants escaped too.
_characters = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Cn"]) | st.characters(max_codepoint=0x1F)
_strings = st.text(_characters, max_size=20)
_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _strings
_trees = st.recursive(_scalars, lambda inner: st.lists(inner) | st.dictionaries(_strings, inner), max_leaves=20)


@settings(deadline=None)
@given(data=st.dictionaries(_strings, _trees, min_size=1), escape=st.booleans(), indent=st.sampled_from([None, 1, 4]))
def test_json_reads_back_equal(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, object], escape: bool, indent: int | None
) -> None:
    text = json.dumps(data, ensure_ascii=escape, indent=indent)
    file = tmp_path_factory.getbasetemp() / "document.yaml"
    file.write_text(text, encoding="utf-8")
    # Compared as text, in which 1, 1.0 and true differ.
    assert json.dumps(read_document(file).data, ensure_ascii=escape, indent=indent) == text


# --- mistakes of form -------------------------------------------------------------------------------------------

# Content; the first line told, after the file's name; what stands in the line from the caret on.
MISTAKES = {
    "not a mapping: list": ("- 1\n", "1:1: error[not-a-mapping]: must hold keys and values, not a list", "- 1"),
    "not a mapping: scalar": (
        "# x\nhello\n", "2:1: error[not-a-mapping]: must hold keys and values, not one value", "hello",
    ),
    "not a mapping: null": ("null", "1:1: error[not-a-mapping]: must hold keys and values, not one value", "null"),
    "two documents": (
        "a: 1\n---\nb: 2\n", "2:1: error[several-documents]: a second document begins here; a file holds one", "---",
    ),
    "two documents, bare": (
        "a: 1\n...\nb: 2\n", "3:1: error[several-documents]: a second document begins here; a file holds one", "b: 2",
    ),
    "duplicate": (
        "a: 1\nb: {c: 1, 'c': 2}\n",
        "2:11: error[duplicate-key]: b.c: the key stands here again; first on line 2, column 5",
        "'c': 2}",
    ),
    "tag": (
        "a:\n  - !!python/object/apply:os.system [ls]\n",
        "2:5: error[tag]: a[0]: the tag !!python/object/apply:os.system is not allowed here",
        "!!python/object/apply:os.system [ls]",
    ),
    "tag of a mapping": ("!world\na: 1\n", "1:1: error[tag]: the tag !world is not allowed here", "!world"),
    "tag of a key": ("!x a: 1\n", "1:1: error[tag]: a: the tag !x is not allowed here", "!x a: 1"),
    "tag of another kind": ("a: !!str [1]\n", "1:4: error[tag]: a: the tag !!str is not allowed here", "!!str [1]"),
    "tag that does not fit": ("a: !!int x\n", "1:4: error[tag]: a: 'x' is no int, as the tag says", "!!int x"),
    "tag without prefix": ("a: !e!x 1\n", "1:4: error[tag]: the tag's prefix is not defined", "!e!x 1"),
    "tag that is none": ("a: !<b 1\n", "1:4: error[tag]: after '!' a tag must follow", "!<b 1"),
    "timestamp tag": (
        "a: !!timestamp 2026-03-02\n",
        "1:4: error[tag]: a: the tag !!timestamp is not allowed here",
        "!!timestamp 2026-03-02",
    ),
    "recursive alias": (
        "a: &x [1, *x]\n", "1:11: error[alias-bomb]: the alias *x stands inside what it stands for", "*x]",
    ),
    "merge": (
        "a: &x {b: 1}\nc:\n  <<: *x\n", "3:3: error[merge-key]: c.<<: the merge key << is not YAML 1.2", "<<: *x",
    ),
    "number as key": ("a: {1: 2}\n", "1:5: error[key-type]: a.1: a key must be text, and this is a number", "1: 2}"),
    "word as key": (
        "true: 1\n", "1:1: error[key-type]: true: a key must be text, and this is the value true", "true: 1",
    ),
    "empty key": ("a: 1\n: 2\n", "2:1: error[key-type]: a key must be text, and this is empty", ": 2"),
    "list as key": ("? [a]\n: 2\n", "1:3: error[key-type]: a key must be text, not a list", "[a]"),
    "too deep": (
        "a: " + "[" * 50 + "]" * 50,
        "1:53: error[too-deep]: values are nested more than 50 deep here",
        "[" + "]" * 50,
    ),
    "control": (
        "a: 1\nb: x\x1b[31m\x07\n",
        "2:5: error[control]: the control character U+001B cannot stand in a file, and 1 more",
        "\ufffd[31m\ufffd",
    ),
    "control, NEL": (
        "a: \x85\n", "1:4: error[control]: the control character U+0085 cannot stand in a file", "\ufffd",
    ),
    "half a pair": (
        'a: "\\ud83d"\n', "1:4: error[control]: a: half of a surrogate pair is no character", '"\\ud83d"',
    ),
    "float too large": ("a: -1e999\n", "1:4: error[number]: a: the number -1e999 is too large", "-1e999"),
    "other version": ("%YAML 1.1\n---\na: 1\n", "2:1: error[yaml-version]: only YAML 1.2 is read", "---"),
    "unheard version": ("# x\n%YAML 1.9\n---\na: 1\n", "2:1: error[yaml-version]: only YAML 1.2 is read", "%YAML 1.9"),
    "no anchor": ("a: *x\n", "1:4: error[not-yaml]: there is no anchor &x before the alias *x", "*x"),
    "colon": ("a: b: c\n", "1:5: error[not-yaml]: a ':' cannot stand here", ": c"),
    "no colon": ("a: 1\nbcd\ne: 2\n", "2:1: error[not-yaml]: there is no ':' after this key", "bcd"),
    "open bracket": ("a: 1\nb: [1,\n  2\n", "2:4: error[not-yaml]: the bracket that opens here is never closed", "[1,"),
    "open brace": ("a: {b: 1", "1:4: error[not-yaml]: the bracket that opens here is never closed", "{b: 1"),
    "no comma": (
        "a: [{b: 1} 2]\n", "1:12: error[not-yaml]: a comma or the closing bracket is missing before this", "2]",
    ),
    "open quote": ("a: \"x\nb: 1\n", "1:4: error[not-yaml]: the quote that opens here is never closed", '"x'),
    "tab": ("a:\n\tb: 1\n", "2:1: error[not-yaml]: a tab cannot stand here", " b: 1"),
    "character": ("a: @x\n", "1:4: error[not-yaml]: a value cannot begin with this character", "@x"),
    "indent": (
        "a:\n  b: 1\n c: 2\n", "3:2: error[not-yaml]: this does not line up with what stands above", "c: 2",
    ),
    "quote in quotes": ("a: 'it's'\n", "1:8: error[not-yaml]: there is text after the end of a value", "s'"),
    "list in line": ("a: - b\n", "1:4: error[not-yaml]: a '- ' cannot stand here", "- b"),
    "escape": ('a: "\\q"\n', "1:6: error[not-yaml]: there is no such escape in double quotes", 'q"'),
    "escape beyond Unicode": ('a: "\\UFFFFFFFF"\n', "1:5: error[not-yaml]: the escape names no character", '\\UFFFFFFFF"'),
    "comparison": ("a: > 5\n", "1:4: error[not-yaml]: after '|' or '>' the text begins on the next line", "> 5"),
    "no anchor's name": ("a: & b\n", "1:4: error[not-yaml]: after '&' a name must follow", "& b"),
    "no alias's name": ("a: *\n", "1:4: error[not-yaml]: after '*' a name must follow", "*"),
    "stray bracket": ("a: ]\n", "1:4: error[not-yaml]: a value is missing before this", "]"),
    "percent": ("%\n", "1:1: error[not-yaml]: a line cannot begin with '%'", "%"),
    "after the document": (
        "[1]\nb: 2\n", "2:1: error[not-yaml]: here '---' or the end of the file is expected", "b: 2",
    ),
    "not UTF-8": (
        b"a: 1\nb: \xc3\xa9t\xe9\n", "2:6: error[not-utf8]: the byte 0xe9 is not UTF-8", "\ufffd",
    ),
    "UTF-16": (
        b"a\0:\0 \0001\0",
        "1:2: error[control]: the control character U+0000 cannot stand in a file, and 3 more",
        "\ufffd:\ufffd \ufffd1\ufffd",
    ),
    "UTF-16 with its mark": (b"\xff\xfea\0", "1:1: error[not-utf8]: the byte 0xff is not UTF-8", "\ufffd\ufffda\ufffd"),
    "UTF-8 mark, then not": (b"\xef\xbb\xbfa: \xff", "1:4: error[not-utf8]: the byte 0xff is not UTF-8", "\ufffd"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "first", "pointed"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_at_its_place(told: Told, content: str | bytes, first: str, pointed: str) -> None:
    line, source, caret, *hint = told(content).splitlines()
    assert line == f"f.yaml:{first}"
    assert caret.strip(" ") == "^"
    assert source[len(caret) - 1 :] == pointed
    assert len(caret) - 2 == int(first.split(":")[1])
    assert not hint or (len(hint) == 1 and hint[0].startswith("  hint: "))


@pytest.mark.parametrize("content", ["", "\n\n", "# only\n# comments\n", "---\n", "\ufeff"])
def test_an_empty_file(told: Told, content: str) -> None:
    assert told(content) == "f.yaml: error[empty]: holds no data"


def test_all_mistakes_are_told_at_once(told: Told) -> None:
    told_lines = told("b: 1\nb: 2\n7: 3\nc: !x 1\nd: {<<: 1}\ne: 1e999\nb: 4\n---\n").splitlines()
    assert [line.split("]")[0] for line in told_lines if line.startswith("f.yaml")] == [
        "f.yaml:2:1: error[duplicate-key",
        "f.yaml:3:1: error[key-type",
        "f.yaml:4:4: error[tag",
        "f.yaml:5:5: error[merge-key",
        "f.yaml:6:4: error[number",
        "f.yaml:7:1: error[duplicate-key",
        "f.yaml:8:1: error[several-documents",
    ]


def test_every_repeated_key_names_the_first(told: Told) -> None:
    first = "a: the key stands here again; first on line 1, column 1"
    assert [line.split("key]: ")[1] for line in told("a: 1\na: 2\na: 3\n").splitlines() if "error" in line] == [first] * 2


def test_a_mistake_that_an_alias_repeats_is_told_once(told: Told) -> None:
    assert told("a: &x {1: 2}\nb: *x\nc: *x\n").count("error[") == 1


def test_nothing_is_constructed(told: Told, folder: Path) -> None:
    told("a: !!python/object/apply:os.system ['touch made']\nb: !!python/name:os.system\n")
    assert not Path("made").exists()


def test_nested_to_the_limit(folder: Path) -> None:
    assert json.dumps(value_of("[" * 49 + "]" * 49)).count("[") == 49


def test_aliases_cannot_nest_beyond_the_limit(told: Told) -> None:
    chain = "".join(f"a{level}: &a{level} [*a{level - 1}]\n" for level in range(1, 60))
    assert told("a0: &a0 []\n" + chain).startswith("f.yaml:50:12: error[too-deep]: values are nested")


def test_a_billion_laughs_are_refused_quickly(told: Told) -> None:
    levels = "".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 12))
    started = time.perf_counter()
    first = told("a0: &a0 ha\n" + levels).splitlines()[0]
    assert time.perf_counter() - started < 1
    assert first == "f.yaml:5:45: error[alias-bomb]: with the alias *a3 there are more than 10,000 values"


def test_aliases_may_repeat_up_to_the_limit(folder: Path, told: Told) -> None:
    # The mapping, two keys, the text and the list are 5 values; each alias is one more.
    Path("f.yaml").write_text(f"a: &x t\nb: [{'*x, ' * 9_995}]\n")
    assert read_document("f.yaml").data["b"] == ["t"] * 9_995
    assert "f.yaml:2:39985: error[alias-bomb]" in told(f"a: &x t\nb: [{'*x, ' * 9_996}]\n")


def test_too_many_values_are_refused(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simlab.yaml_nodes.MAX_WRITTEN", 1_000)
    # The mapping, the key and the list are the first three.
    first = told("a:\n" + "- 1\n" * 1_000).splitlines()[0]
    assert first == "f.yaml:999:3: error[too-large]: there are more than 1,000 values before this"


@pytest.mark.parametrize("digits", [1_001, 5_000, 100_000])
def test_a_number_of_too_many_digits(told: Told, digits: int) -> None:
    first, source, _ = told(f"a: {'9' * digits}").splitlines()
    assert first == f"f.yaml:1:4: error[number]: a: the number {'9' * 59}… is too large"
    assert len(source) < 600
