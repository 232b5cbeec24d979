"""Peak memory of reading an event log of 200 and of 800 MB: ``python -m tests.benchmarks.memory [FOLDER]``.

The two peaks of a format may differ by 10 %. Files are made in FOLDER (a temporary folder if not given) and removed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

_MB = 10**6
_SIZES = (200, 800)
_ROWS = 500_000
_DESCRIBED = """
recording: large
SOURCE
tick: 1m
kind: events
time: {column: at, unit: s}
arms: {treatment: new, control: old, column: variant}
values: {errors: {column: errors}, latency: {column: latency}}
within: 5m
"""
_MEASURE = """
import resource, sys
from simlab.documents import read_document
from simlab.schemas import read_settings
from simlab.world.reading import read_series
from simlab.world.recording import Recording
document = read_document(sys.argv[1])
rows = read_series(read_settings(document, Recording), document).rows["read"]
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _events() -> pd.DataFrame:
    generator = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "at": 1_767_225_600 + generator.integers(0, 7 * 86_400, _ROWS),
            "variant": generator.choice(["new", "old"], _ROWS),
            "errors": generator.integers(0, 2, _ROWS),
            "latency": generator.lognormal(5, 1, _ROWS),
        }
    )


def _write_parquet(path: Path, size: int) -> None:
    table = pa.Table.from_pandas(_events(), preserve_index=False)
    with pq.ParquetWriter(path, table.schema, compression="none") as writer:
        while path.stat().st_size < size:
            writer.write_table(table)


def _write_text(path: Path, size: int, *, head: bytes, body: bytes) -> None:
    with path.open("wb") as file:
        file.write(head)
        while file.tell() < size:
            file.write(body)


def _write_csv(path: Path, size: int) -> None:
    head, body = _events().to_csv(index=False).encode().split(b"\n", 1)
    _write_text(path, size, head=head + b"\n", body=body)


def _write_json_lines(path: Path, size: int) -> None:
    _write_text(path, size, head=b"", body=_events().to_json(orient="records", lines=True).encode())


_WRITERS: dict[str, Callable[[Path, int], None]] = {".parquet": _write_parquet, ".csv": _write_csv, ".jsonl": _write_json_lines}


_SOURCES = {
    "Parquet": (".parquet", "file: FILE"),
    "CSV": (".csv", "file: FILE"),
    "JSON Lines": (".jsonl", "file: FILE"),
    "DuckDB over Parquet": (".parquet", "duckdb: {tables: {log: FILE}, query: SELECT * FROM log}"),
}


def _peak(folder: Path, name: str, size: int) -> int:
    """Return the kilobytes that a fresh process held at most while it read a file of a size."""
    suffix, source = _SOURCES[name]
    path = folder / f"large{suffix}"
    _WRITERS[suffix](path, size)
    (folder / "large.yaml").write_text(_DESCRIBED.replace("SOURCE", source.replace("FILE", path.name)), encoding="utf-8")
    command = [sys.executable, "-c", _MEASURE, str(folder / "large.yaml")]
    rows, peak = map(int, subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())
    print(f"{name}: {path.stat().st_size / _MB:.0f} MB, {rows:,} rows, peak {peak / 1024:.0f} MiB", flush=True)
    path.unlink()
    return peak


def main() -> int:
    """Measure every source; return 1 if peaks differ by more than 10 %."""
    within = True
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        for name in _SOURCES:
            small, large = (_peak(Path(folder), name, size * _MB) for size in _SIZES)
            within &= abs(large / small - 1) <= 0.1
            print(f"{name}: {large / small - 1:+.1%}", flush=True)
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
