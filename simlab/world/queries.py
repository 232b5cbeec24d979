"""Rows that a DuckDB query gives, batch by batch; ``pip install "simlab[duckdb]"``.

The query is text of somebody's file. It must be one SELECT, and the database that runs it can read the named files and nothing
else: no other file, no network, no extension, no change of settings, nothing written. Memory is limited as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from annotated_types import MinLen

from simlab.errors import RecordingError
from simlab.settings import settings
from simlab.ticks import Name
from simlab.world.sources import ROWS, Wanted, refuse_absent, refuse_text, typed

_READERS = {".parquet": "read_parquet", ".csv": "read_csv", ".jsonl": "read_json", ".ndjson": "read_json"}
_LIMITS = (
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET temp_directory = ''",
    "SET memory_limit = '512MB'",
    "SET enable_external_access = false",
    "SET threads = 1",
    "SET lock_configuration = true",
)
_DATABASE = "recorded"


@settings
class Duckdb:
    """A query, and what it can read.

    Parameters
    ----------
    query : str
        One SELECT; of a series, ordered by time.
    tables : dict of str to str
        Files beside the recording by the names that the query has for them.
    database : str, optional
        A DuckDB file, opened read-only; its tables need no names here.
    """

    query: Annotated[str, MinLen(1)]
    tables: dict[Name, Annotated[str, MinLen(1)]] = field(default_factory=dict)
    database: Annotated[str, MinLen(1)] | None = None


def query_batches(source: Duckdb, folder: Path, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """Yield the columns of some rows at a time, arrays of pyarrow by name.

    Raises
    ------
    RecordingError
        If DuckDB is not installed, if the query is not one SELECT, names what it cannot read or fails, or if a column is missing
        or holds no numbers.
    """
    try:
        import duckdb
    except ImportError as error:
        raise RecordingError('a duckdb source needs the library duckdb: pip install "simlab[duckdb]"') from error
    with closing(duckdb.connect(":memory:")) as connection:
        try:
            _let_read(connection, source, folder)
            kinds = [statement.type.name for statement in connection.extract_statements(source.query)]
            if kinds != ["SELECT"]:
                raise RecordingError(f"query: must be one SELECT, not {', '.join(kinds) or 'nothing'}")
            reader: Any = connection.execute(source.query).to_arrow_reader(ROWS)
            refuse_absent("query", wanted, reader.schema.names)
            for name in wanted.numbers:
                refuse_text("query", name, reader.schema.field(name).type, booleans=wanted.booleans)
            for batch in reader:
                yield {name: typed(batch.column(name), name, wanted) for name in wanted.columns}
        except duckdb.Error as error:
            raise RecordingError(f"query: {error}") from None


def _let_read(connection: Any, source: Duckdb, folder: Path) -> None:
    """Name the files of a source, and lock everything else away."""
    paths = {name: folder / file for name, file in source.tables.items()}
    held = [*paths.values(), *([folder / source.database] if source.database else [])]
    for path in held:
        if not path.is_file():
            raise RecordingError(f"{path.name}: there is no such file in {path.parent}")
    connection.execute("SET allowed_paths = ?", [[str(path.resolve()) for path in held]])
    if source.database:
        connection.execute(f"ATTACH {_quoted(folder / source.database)} AS {_DATABASE} (READ_ONLY)")
        connection.execute(f"USE {_DATABASE}")
    for name, path in paths.items():
        reader = _READERS.get(path.suffix.lower())
        if reader is None:
            raise RecordingError(f"{path.name}: its name must end in one of {', '.join(_READERS)}")
        connection.execute(f'CREATE TEMP VIEW "{name}" AS SELECT * FROM {reader}({_quoted(path)})')  # noqa: S608 - both quoted
    for limit in _LIMITS:
        connection.execute(limit)


def _quoted(path: Path) -> str:
    return "'" + str(path.resolve()).replace("'", "''") + "'"
