"""Rows that belong together, brought together: on disk, so that neither the file's order nor its size matters."""

import json
import sqlite3
import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from services.imports.files import SourceRow

MAX_GROUP = 5_000  # rows of one product or invoice; a retailer's longest known invoice has 1,114


@dataclass(frozen=True, slots=True)
class RowGroup:
    """All rows of one key, in the order of the file. `is_cut` when there were more than `MAX_GROUP`."""

    key: str
    rows: list[SourceRow]
    is_cut: bool = False


class Spool(AbstractContextManager["Spool"]):
    """A temporary file of rows by key, gone with the block. Used by one thread at a time."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="agora-import-")
        # Off the loop each call may come from another thread of the pool.
        self._file = sqlite3.connect(Path(self._folder.name) / "rows", check_same_thread=False, isolation_level=None)
        # A lost file is lost with the run: nothing of it need survive anything.
        self._file.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -4000;"
            "CREATE TABLE keys (id INTEGER PRIMARY KEY, key TEXT UNIQUE);"
            "CREATE TABLE rows (key_id INTEGER, line INTEGER, raw TEXT, PRIMARY KEY (key_id, line)) WITHOUT ROWID; BEGIN"
        )
        self._columns: list[str] = []

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def keep_columns(self, columns: list[str]) -> None:
        """The names of the cells of the rows to come."""
        self._columns = columns

    def add(self, key: str, row: SourceRow) -> None:
        self._file.execute("INSERT INTO keys (key) VALUES (?) ON CONFLICT DO NOTHING", (key,))
        raw = json.dumps(row.raw, ensure_ascii=False)
        self._file.execute(
            "INSERT INTO rows SELECT id, ?, ? FROM keys WHERE key = ?",
            (row.line, raw, key),
        )

    @property
    def groups_count(self) -> int:
        [(count,)] = self._file.execute("SELECT count(*) FROM keys")
        return int(count)

    def groups(self, after: int, limit: int) -> list[RowGroup]:
        """The groups in the order in which their keys first appeared, `limit` of them after the first `after`."""
        keys = self._file.execute("SELECT id, key FROM keys WHERE id > ? ORDER BY id LIMIT ?", (after, limit)).fetchall()
        return [RowGroup(key, *self._rows(id)) for id, key in keys]

    def _rows(self, id: int) -> tuple[list[SourceRow], bool]:
        query = "SELECT line, raw FROM rows WHERE key_id = ? ORDER BY line LIMIT ?"
        found = self._file.execute(query, (id, MAX_GROUP + 1)).fetchall()
        return [self._row(line, json.loads(raw)) for line, raw in found[:MAX_GROUP]], len(found) > MAX_GROUP

    def _row(self, line: int, raw: list[str]) -> SourceRow:
        cells: dict[str, str] = {}
        for name, cell in zip(self._columns, raw, strict=True):
            cells.setdefault(name, cell.strip())
        return SourceRow(line, raw, cells)
