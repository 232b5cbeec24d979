"""Finished blocks that wait for the rest of a run: plain arrays, written whole and read without executing anything.

A file ends with the SHA-256 of what stands before it, so that damage of any kind is seen before the arrays are looked at.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np

from simlab.engine import Block, BlockResult, Trace
from simlab.files import atomic_write

_DIGEST_BYTES = hashlib.sha256().digest_size


def _path(folder: Path, block: Block) -> Path:
    return folder / f"{block.scenario}-{block.first}-{block.lanes}.npz"


def keep(folder: Path | None, result: BlockResult) -> None:
    """Write a block's result, whole or not at all; nothing is written where `folder` is None.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    if folder is None:
        return
    arrays = {f"row.{name}": values for name, values in result.rows.items()}
    arrays["row.policy"] = arrays["row.policy"].astype(np.str_)
    meta = []
    for number, trace in enumerate(result.traces):
        meta.append({"policy": trace.policy, "harmed": trace.harmed, "guardrails": len(trace.times)})
        for name, value in asdict(trace).items():
            if name not in {"policy", "harmed"}:
                held = value if isinstance(value, tuple) else (value,)
                arrays |= {f"trace.{number}.{name}.{index}": array for index, array in enumerate(held)}
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, meta=np.array(json.dumps(meta)), **arrays)
    content = buffer.getvalue()
    atomic_write(_path(folder, result.block), content + _digest(content))


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def read_kept(folder: Path | None, block: Block) -> BlockResult | None:
    """Return a kept block; None if there is none that can be read."""
    if folder is None:
        return None
    try:
        data = _path(folder, block).read_bytes()
        content, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
        if digest != _digest(content):
            return None
        with np.load(BytesIO(content), allow_pickle=False) as held:
            rows = {name.removeprefix("row."): held[name] for name in held.files if name.startswith("row.")}
            rows["policy"] = rows["policy"].astype(object)
            traces = [_read_trace(held, number, meta) for number, meta in enumerate(json.loads(str(held["meta"])))]
    except (OSError, ValueError, KeyError):
        return None
    return BlockResult(block, rows, tuple(traces))


def _read_trace(held: np.lib.npyio.NpzFile, number: int, meta: dict[str, object]) -> Trace:
    def one(name: str) -> np.ndarray:
        return np.asarray(held[f"trace.{number}.{name}.0"])

    def several(name: str) -> tuple[np.ndarray, ...]:
        return tuple(held[f"trace.{number}.{name}.{index}"] for index in range(int(str(meta["guardrails"]))))

    return Trace(
        policy=str(meta["policy"]),
        harmed=bool(meta["harmed"]),
        lanes=one("lanes"),
        exposed=one("exposed"),
        times=several("times"),
        codes=several("codes"),
        statistics=several("statistics"),
        unknown=several("unknown"),
        skipped=several("skipped"),
        retired=several("retired"),
    )
