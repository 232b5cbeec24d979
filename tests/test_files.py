from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from simlab.errors import OutputError
from simlab.files import atomic_write


def names_in(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


@pytest.mark.parametrize(("data", "held"), [(b"\x00\xff", b"\x00\xff"), ("ä\r\n\n", b"\xc3\xa4\r\n\n"), ("", b"")])
def test_writes_exactly_what_is_given(tmp_path: Path, data: bytes | str, held: bytes) -> None:
    atomic_write(tmp_path / "f", data)
    assert (tmp_path / "f").read_bytes() == held
    assert names_in(tmp_path) == ["f"]


def test_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a much longer text")
    atomic_write(tmp_path / "f", "new")
    assert (tmp_path / "f").read_text() == "new"


def test_is_readable_as_other_new_files_are(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    atomic_write(tmp_path / "f", "")
    assert (tmp_path / "f").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_name_of_the_greatest_length(tmp_path: Path) -> None:
    atomic_write(tmp_path / ("x" * 255), "new")
    assert names_in(tmp_path) == ["x" * 255]


def test_data_are_on_disk_before_the_name_points_at_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    fsync, rename = os.fsync, os.replace

    def traced_fsync(descriptor: int) -> None:
        steps.append(("fsync", os.fstat(descriptor).st_size))
        fsync(descriptor)

    def traced_rename(source: Path, target: Path) -> None:
        steps.append(("replace", Path(source).stat().st_size))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(os, "replace", traced_rename)
    atomic_write(tmp_path / "f", "12345")
    assert steps == [("fsync", 5), ("replace", 5)]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "there is no space left on the disk"),
        (errno.EACCES, "there is no permission to write there"),
        (errno.EROFS, "the disk is read-only"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "f").write_text("old")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OutputError) as caught:
        atomic_write(tmp_path / "f", "new")
    assert str(caught.value) == f"cannot write {tmp_path / 'f'}: {reason}"
    assert (tmp_path / "f").read_text() == "old"
    assert names_in(tmp_path) == ["f"]


def test_a_write_that_is_cut_short_leaves_all_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(OutputError, match=r"the file would be larger than allowed$"):
            atomic_write(tmp_path / "f", b"x" * 1_001)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "f").read_text() == "old"
    assert names_in(tmp_path) == ["f"]


def test_an_interrupt_leaves_all_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    (tmp_path / "f").write_text("old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "f", "new")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("f", "old")]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nowhere/f: there is no such folder$"):
        atomic_write(tmp_path / "nowhere" / "f", "new")


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(OutputError, match=r"file/f: what should be its folder is a file$"):
        atomic_write(tmp_path / "file" / "f", "new")
    assert (tmp_path / "file").read_text() == "old"


def test_a_file_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(OutputError, match=r"d: it is a folder$"):
        atomic_write(tmp_path / "d", "new")
    assert names_in(tmp_path) == ["d"]


def test_the_message_cannot_drive_a_terminal(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        atomic_write(tmp_path / "\x1b[31m" / "f", "new")
    assert "\x1b" not in str(caught.value)
