"""Kept blocks come back to the bit, or not at all, and nothing in their files is ever executed."""

from __future__ import annotations

import hashlib
import os
import pickle
from dataclasses import fields, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from simlab.engine import Block, BlockResult, Trace, simulate
from simlab.errors import OutputError
from simlab.kept import keep, read_kept
from simlab.runner import Options, run_plan
from tests.worlds import CUSUM, plan

BLOCK = Block(0, 2, 3)
LEVEL = {"watch": "errors", "of": "everyone", "rule": {"above": {"limit": "3%"}}, "every": "10m", "respond": "alert"}
# Two policies, one of them with two guardrails of different cadences; the baseline, with none, is in every plan.
PLAN = plan(policies=[{"name": "both", "guardrails": [CUSUM, LEVEL]}, {"name": "other", "guardrails": [LEVEL]}], start=5, cap=5)


@pytest.fixture(scope="module")
def simulated() -> BlockResult:
    result = simulate(replace(PLAN, traced=4), BLOCK)
    assert [len(trace.times) for trace in result.traces] == [2, 2, 1, 1, 0, 0]
    return result


def kept_file(folder: Path, result: BlockResult) -> Path:
    """Keep a block in a folder and return its only file."""
    keep(folder, result)
    (path,) = folder.iterdir()
    return path


def assert_same_bits(one: np.ndarray, other: np.ndarray) -> None:
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    if one.dtype == object:
        assert one.tolist() == other.tolist()
    else:
        assert one.tobytes() == other.tobytes()


def assert_same_result(one: BlockResult, other: BlockResult | None) -> None:
    """Fail unless two results agree in every type, shape and bit."""
    assert other is not None
    assert one.block == other.block
    assert list(one.rows) == list(other.rows)
    for name, values in one.rows.items():
        assert_same_bits(values, other.rows[name])
    assert len(one.traces) == len(other.traces)
    for mine, theirs in zip(one.traces, other.traces, strict=True):
        assert (mine.policy, mine.harmed) == (theirs.policy, theirs.harmed)
        assert type(theirs.policy) is str
        assert_same_bits(mine.lanes, theirs.lanes)
        assert_same_bits(mine.exposed, theirs.exposed)
        for field in fields(Trace)[4:]:
            ours, other_arrays = getattr(mine, field.name), getattr(theirs, field.name)
            assert len(ours) == len(other_arrays)
            for array, same in zip(ours, other_arrays, strict=True):
                assert_same_bits(array, same)


def test_a_kept_block_comes_back_to_the_bit(tmp_path: Path, simulated: BlockResult) -> None:
    keep(tmp_path, simulated)
    assert_same_result(simulated, read_kept(tmp_path, BLOCK))


def test_a_block_without_traces_comes_back(tmp_path: Path) -> None:
    result = simulate(replace(PLAN, traced=0), BLOCK)
    keep(tmp_path, result)
    assert result.traces == ()
    assert_same_result(result, read_kept(tmp_path, BLOCK))


def test_numbers_that_are_none_come_back_to_the_bit(tmp_path: Path, simulated: BlockResult) -> None:
    odd = np.resize([np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324], len(simulated.rows["lane"]))
    result = replace(simulated, rows=simulated.rows | {"users_harmed": odd})
    keep(tmp_path, result)
    assert_same_result(result, read_kept(tmp_path, BLOCK))


def test_a_block_is_found_under_its_own_lanes_only(tmp_path: Path, simulated: BlockResult) -> None:
    keep(tmp_path, simulated)
    for other in (Block(1, 2, 3), Block(0, 0, 3), Block(0, 2, 4)):
        assert read_kept(tmp_path, other) is None


def test_without_a_folder_nothing_is_kept(simulated: BlockResult) -> None:
    keep(None, simulated)
    assert read_kept(None, BLOCK) is None


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, simulated: BlockResult) -> None:
    with pytest.raises(OutputError):
        keep(tmp_path / "nowhere", simulated)
    assert read_kept(tmp_path / "nowhere", BLOCK) is None


def test_keeping_again_replaces_what_was_kept(tmp_path: Path, simulated: BlockResult) -> None:
    path = kept_file(tmp_path, simulated)
    path.write_bytes(b"something else")
    assert kept_file(tmp_path, simulated) == path
    assert_same_result(simulated, read_kept(tmp_path, BLOCK))


# -- damage ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 1e-4, 0.3, 0.999])
def test_a_file_that_was_cut_off_is_no_kept_block(tmp_path: Path, simulated: BlockResult, share: float) -> None:
    path = kept_file(tmp_path, simulated)
    held = path.read_bytes()
    path.write_bytes(held[: int(share * len(held))])
    assert read_kept(tmp_path, BLOCK) is None


@pytest.mark.parametrize("end", [1, 4, 22, 60])
def test_a_file_that_lacks_its_last_bytes_is_no_kept_block(tmp_path: Path, simulated: BlockResult, end: int) -> None:
    path = kept_file(tmp_path, simulated)
    path.write_bytes(path.read_bytes()[:-end])
    assert read_kept(tmp_path, BLOCK) is None


def test_a_file_with_one_damaged_byte_is_no_kept_block(tmp_path: Path, simulated: BlockResult) -> None:
    path = kept_file(tmp_path, simulated)
    held = path.read_bytes()
    places = np.random.default_rng(1).integers(0, len(held), size=400).tolist()
    for place in [*range(64), *places, *range(len(held) - 64, len(held))]:
        damaged = bytearray(held)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert read_kept(tmp_path, BLOCK) is None, f"byte {place} of {len(held)}"


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"PK\x03\x04", b"text", b"\x93NUMPY\x01\x00", b"PK\x05\x06" + b"\0" * 18])
def test_a_file_of_something_else_is_no_kept_block(tmp_path: Path, simulated: BlockResult, content: bytes) -> None:
    kept_file(tmp_path, simulated).write_bytes(content)
    assert read_kept(tmp_path, BLOCK) is None


def test_a_folder_in_the_place_of_the_file_is_no_kept_block(tmp_path: Path, simulated: BlockResult) -> None:
    path = kept_file(tmp_path, simulated)
    path.unlink()
    path.mkdir()
    assert read_kept(tmp_path, BLOCK) is None


def test_a_damaged_block_is_simulated_again(tmp_path: Path) -> None:
    def run(folder: Path | None) -> str:
        return run_plan(PLAN, Options(block_lanes=2, kept=folder), command="test").to_pandas().to_csv()

    unbroken = run(None)
    assert run(tmp_path) == unbroken
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == 3
    kept[1].write_bytes(kept[1].read_bytes()[:-40])
    kept[2].unlink()
    assert run(tmp_path) == unbroken
    assert all(read_kept(tmp_path, Block(0, first, lanes)) is not None for first, lanes in ((0, 2), (2, 2), (4, 1)))


# -- nothing is executed ---------------------------------------------------------------------------------------------------


def test_nothing_is_pickled(tmp_path: Path, simulated: BlockResult) -> None:
    with np.load(kept_file(tmp_path, simulated), allow_pickle=False) as held:
        assert all(held[name].dtype != object for name in held.files)
    objects = np.array([object()] * len(simulated.rows["lane"]))
    with pytest.raises(ValueError, match="allow_pickle"):
        keep(tmp_path, replace(simulated, rows=simulated.rows | {"users_harmed": objects}))


class Bomb:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def bombs(folder: Path) -> dict[str, bytes]:
    """Return files that would execute something if they were unpickled: a pickle, an array, an archive."""
    held = np.array([Bomb(folder)] * 18, dtype=object)
    array, archive = BytesIO(), BytesIO()
    np.save(array, held, allow_pickle=True)
    np.savez(archive, allow_pickle=True, **{"row.policy": held, "meta": np.array("[]")})
    return {"pickle": pickle.dumps(Bomb(folder)), "array": array.getvalue(), "archive": archive.getvalue()}


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("kind", ["pickle", "array", "archive"])
def test_a_file_that_would_execute_something_is_not_read(tmp_path: Path, simulated: BlockResult, kind: str, sealed: bool) -> None:
    (tmp_path / "kept").mkdir()
    path = kept_file(tmp_path / "kept", simulated)
    content = bombs(tmp_path / "executed")[kind]
    # Whoever can write the file can also write the digest that ends it.
    path.write_bytes(content + hashlib.sha256(content).digest() if sealed else content)
    assert read_kept(tmp_path / "kept", BLOCK) is None
    assert not (tmp_path / "executed").exists()
