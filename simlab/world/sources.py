"""Recorded tables, read batch by batch: Parquet, CSV and JSON Lines. Only named columns are read, and memory holds one batch.

Numbers come as float64, times as float64 where they are numbers and otherwise as text or time stamps. What cannot be read is an
error with the file's line and column, or its row where a file has no lines.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from simlab.errors import RecordingError

ROWS = 65_536
_SUFFIXES = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


class Wanted(NamedTuple):
    """Which columns are read.

    Attributes
    ----------
    numbers : tuple of str
        As float64, missing ones as NaN.
    others : tuple of str
        As they are; in CSV as text.
    booleans : bool
        Whether true and false are numbers.
    """

    numbers: tuple[str, ...]
    others: tuple[str, ...]
    booleans: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column once."""
        return tuple(dict.fromkeys((*self.numbers, *self.others)))


class Batch(NamedTuple):
    """Consecutive rows.

    Attributes
    ----------
    first : int
        Number of the first row, counted from 0.
    columns : dict of str to pyarrow.Array
        By name.
    """

    first: int
    columns: dict[str, Any]


def batches(path: Path, wanted: Wanted) -> Iterator[Batch]:
    """Yield the rows of a file.

    Raises
    ------
    RecordingError
        If there is no such file, if its kind is not known, if a column is missing, or where a row cannot be read.
    """
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise RecordingError(f"{path.name}: its name must end in one of {', '.join(_SUFFIXES)}")
    if not path.is_file():
        raise RecordingError(f"{path.name}: there is no such file in {path.parent}")
    read = {"parquet": _parquet, "csv": _csv, "jsonl": _json_lines}[kind]
    first = 0
    for columns in read(path, wanted):
        yield Batch(first, columns)
        first += len(next(iter(columns.values())))
    if first == 0:
        raise RecordingError(f"{path.name}: holds no row")


def refuse_absent(what: str, wanted: Wanted, held: Collection[str]) -> None:
    """Raise unless every wanted column is there."""
    absent = sorted(set(wanted.columns) - set(held))
    if absent:
        raise RecordingError(f"{what}: no column {', '.join(map(repr, absent))}; there is: {', '.join(held)}")


def _parquet(path: Path, wanted: Wanted) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, buffer_size=1 << 20) as file:
            refuse_absent(path.name, wanted, file.schema_arrow.names)
            for name in wanted.numbers:
                refuse_text(path.name, name, file.schema_arrow.field(name).type, booleans=wanted.booleans)
            # One row group after the other: read together, what is done with is only given back at the end.
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(ROWS, row_groups=[group], columns=list(wanted.columns), use_threads=False):
                    yield {name: typed(batch.column(name), name, wanted) for name in wanted.columns}
    except (pa.ArrowException, OSError) as error:
        raise RecordingError(f"{path.name}: cannot be read as Parquet, perhaps cut short: {error}") from None


def typed(column: Any, name: str, wanted: Wanted) -> Any:
    """Return a column as it is wanted."""
    import pyarrow as pa

    return column.cast(pa.float64(), safe=False) if name in wanted.numbers else column


def refuse_text(what: str, name: str, kind: Any, *, booleans: bool) -> None:
    """Raise unless a column holds numbers: text is refused even where it reads as numbers, so that nothing is guessed."""
    import pyarrow as pa

    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    if not any(is_kind(kind) for is_kind in kinds) and not (booleans and pa.types.is_boolean(kind)):
        raise RecordingError(f"{what}: column {name!r} does not hold numbers, but {kind}")


def _csv(path: Path, wanted: Wanted) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    types = dict.fromkeys(wanted.others, pa.string()) | dict.fromkeys(wanted.numbers, pa.float64())
    with path.open(encoding="utf-8-sig", newline="") as text:
        refuse_absent(path.name, wanted, next(csv.reader(text), []))
    try:
        with arrow_csv.open_csv(
            path,
            read_options=arrow_csv.ReadOptions(use_threads=False),
            convert_options=arrow_csv.ConvertOptions(include_columns=list(wanted.columns), column_types=types),
        ) as reader:
            for batch in reader:
                if batch.num_rows:
                    yield {name: batch.column(name) for name in wanted.columns}
    except (pa.ArrowException, OSError) as error:
        raise RecordingError(_place_in_csv(path, wanted) or f"{path.name}: cannot be read as CSV: {error}") from None


def _place_in_csv(path: Path, wanted: Wanted) -> str | None:
    """Return what is wrong with the first bad row, with its line and column; None if none is found."""
    with path.open(encoding="utf-8", errors="replace", newline="") as text:
        rows = csv.reader(text)
        header = next(rows, [])
        places = {name: header.index(name) for name in wanted.numbers}
        for row in rows:
            if row and len(row) != len(header):
                fields = f"{len(row)} fields where the first line names {len(header)}, perhaps cut short"
                return f"{path.name}:{rows.line_num}:{sum(map(len, row)) + len(row)}: {fields}"
            for name, place in places.items():
                if row and not _is_number(row[place]):
                    column = sum(len(cell) + 1 for cell in row[:place]) + 1
                    return f"{path.name}:{rows.line_num}:{column}: {name}: {row[place]!r} is not a number"
    return None


def _is_number(text: str) -> bool:
    """Whether the reader takes a cell as a number, or as a missing one."""
    if text.strip() in {"", "NULL", "null", "NA", "N/A", "n/a", "NaN", "nan", "#N/A", "-NaN", "-nan"}:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _json_lines(path: Path, wanted: Wanted) -> Iterator[dict[str, Any]]:
    import pyarrow as pa

    held: dict[str, list[Any]] = {name: [] for name in wanted.columns}

    def taken() -> dict[str, Any]:
        arrays = {name: pa.array(held[name], pa.float64() if name in wanted.numbers else None) for name in held}
        for values in held.values():
            values.clear()
        return arrays

    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                row = _json_row(path, number, line, wanted)
                for name, values in held.items():
                    values.append(row.get(name))
                if len(held[wanted.columns[0]]) == ROWS:
                    yield taken()
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise RecordingError(f"{path.name}: cannot be read as JSON Lines: {error}") from None
    if held[wanted.columns[0]]:
        yield taken()


def _json_row(path: Path, number: int, line: str, wanted: Wanted) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        column = getattr(error, "colno", 1)
        raise RecordingError(f"{path.name}:{number}:{column}: no JSON, perhaps cut short: {error}") from None
    if not isinstance(row, dict):
        raise RecordingError(f"{path.name}:{number}:1: a line must hold one object")
    for name in wanted.columns:
        if name not in row:
            raise RecordingError(f"{path.name}:{number}:1: no {name!r}; there is: {', '.join(row)}")
    for name in wanted.numbers:
        value = row[name]
        number_like = isinstance(value, int | float) and (wanted.booleans or not isinstance(value, bool))
        if value is not None and not (number_like and math.isfinite(value)):
            column = max(line.find(json.dumps(name)), 0) + 1
            raise RecordingError(f"{path.name}:{number}:{column}: {name}: {value!r} is not a number")
    return row
