"""CSV files as they come: bytes of some encoding, rows with the line they begin on. Knows no format and no database."""

import codecs
import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.errors import UnprocessableError

MAX_CELL = 200_000  # characters; an unclosed quote runs into it instead of into the memory
MAX_ROW = 4_000  # characters that are kept of a row in a dead letter
_CHUNK = 1 << 20
_DELIMITERS = (",", ";", "\t")
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class UnreadableFileError(UnprocessableError):
    """There is no such file, it is no table, or nothing tells its format."""

    code = "unreadable_file"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What can be said of a file without understanding it."""

    name: str
    encoding: str
    checksum: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row below the header: the line it begins on, and its cells by the names of the columns, stripped.

    `problem` says what is wrong with the row as a row; it has no cells to trust then.
    """

    line: int
    raw: Sequence[str]
    cells: dict[str, str] = field(default_factory=dict)
    problem: str | None = None

    def __getitem__(self, column: str) -> str:
        """The cell, stripped; empty where the file has no such column. Columns are named in lower case."""
        return self.cells.get(column, "")

    @property
    def text(self) -> str:
        """The row as CSV, cut at `MAX_ROW` characters."""
        return csv_text(self.raw)


def csv_text(cells: Sequence[str]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow(cells)
    return written.getvalue()[:MAX_ROW]


def examine(path: Path) -> FileFacts:
    """Read the file once: its checksum, and UTF-8 unless some byte says Windows-1252. Raises UnreadableFileError."""
    digest, size = hashlib.sha256(), 0
    decoder = codecs.getincrementaldecoder("utf-8")()
    encoding = ""
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                if not size:
                    encoding = next((name for mark, name in _MARKS if chunk.startswith(mark)), "")
                digest.update(chunk)
                size += len(chunk)
                if not encoding:
                    try:
                        decoder.decode(chunk)
                    except UnicodeDecodeError:
                        encoding = "cp1252"
    except OSError as error:
        raise UnreadableFileError(f"{path} cannot be read: {error.strerror}.") from error
    return FileFacts(path.name, encoding or "utf-8", digest.hexdigest(), size)


def read_lines(path: Path, encoding: str) -> Iterator[str]:
    """The file's lines with their ends; what the encoding does not know becomes U+FFFD."""
    with path.open(encoding=encoding, errors="replace", newline="") as file:
        yield from file


class Table:
    """The rows of a CSV text, one at a time. `columns` are the header's names in lower case, spaces made single."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Raises UnreadableFileError for a text without a header."""
        self._skipped = 0
        self._lines = iter(lines)
        header: list[str] = []
        for line in self._lines:
            self._skipped += 1
            if header or line.strip():
                header.append(line)
            # A header with quoted newlines goes on.
            if header and "".join(header).count('"') % 2 == 0:
                break
        if not header or "\0" in "".join(header):
            raise UnreadableFileError("The file has no header, so it is no table.")
        self._delimiter = max(_DELIMITERS, key="".join(header).count)
        csv.field_size_limit(MAX_CELL)
        try:
            names = next(csv.reader(header, delimiter=self._delimiter))
        except csv.Error as error:
            raise UnreadableFileError(f"The file has no header that could be read: {error}.") from error
        self.columns = [" ".join(name.replace("\ufeff", "").split()).casefold() for name in names]

    def rows(self) -> Iterator[SourceRow]:
        """Each row below the header that is not blank. A broken one is told by its `problem`, and the next one follows."""
        reader = csv.reader(self._lines, delimiter=self._delimiter)
        while True:
            line = self._skipped + reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield SourceRow(line, [], problem=f"this is no row of a table: {error}")
                continue
            if any(cell.strip() for cell in cells):
                yield self._row(line, cells)

    def _row(self, line: int, cells: list[str]) -> SourceRow:
        count = len(self.columns)
        if len(cells) > count and not any(cells[count:]):
            cells = cells[:count]  # spreadsheets leave empty cells behind
        if len(cells) != count:
            return SourceRow(line, cells, problem=f"the row has {len(cells)} cells, the header {count}")
        if any("\0" in cell for cell in cells):
            return SourceRow(line, [cell.replace("\0", "\N{SYMBOL FOR NULL}") for cell in cells], problem="it holds a NUL")
        named: dict[str, str] = {}
        for name, cell in zip(self.columns, cells, strict=True):
            named.setdefault(name, cell.strip())
        return SourceRow(line, cells, named)
