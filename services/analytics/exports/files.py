"""Tables as files for spreadsheets, written row by row into a temporary file.

Text that people typed is never a formula, whatever it begins with: in CSV, which has no types, by an apostrophe in front of it
(OWASP, CSV Injection), in XLSX by being stored as text.
"""

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import IO, Protocol

from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from services.analytics.exports.tables import Cell

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four: full width
MAX_SHEET_ROWS = 1_048_576
MAX_CELL_TEXT = 32_767
_COLUMN_WIDTH = 18


class ExportFormat(StrEnum):
    CSV = "csv"
    XLSX = "xlsx"


MEDIA_TYPES = {
    ExportFormat.CSV: "text/csv; charset=utf-8",
    ExportFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class TableWriter(Protocol):
    """Writes a table to the file it was made for. Not to be called on the event loop: it works and waits for the disk."""

    def write(self, rows: Sequence[Sequence[Cell]]) -> None: ...

    def close(self) -> None:
        """Finish what was written; the file stays open."""
        ...


def writer_of(format: ExportFormat, file: IO[bytes], *, name: str, head: Sequence[str]) -> TableWriter:
    """A writer that has written the head."""
    return CsvWriter(file, head) if format is ExportFormat.CSV else XlsxWriter(file, name, head)


def harmless(text: str) -> str:
    """The text, with an apostrophe before what a spreadsheet would compute."""
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA_STARTS) else text


class CsvWriter:
    """RFC 4180 in UTF-8. Text is quoted, so that no separator within it, of whatever locale, begins another cell."""

    def __init__(self, file: IO[bytes], head: Sequence[str]) -> None:
        self._text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        self._csv = csv.writer(self._text, quoting=csv.QUOTE_NONNUMERIC)
        self.write([head])

    def write(self, rows: Sequence[Sequence[Cell]]) -> None:
        self._csv.writerows([_csv_cell(cell) for cell in row] for row in rows)

    def close(self) -> None:
        self._text.detach()  # flushes


class XlsxWriter:
    """Office Open XML, one row in memory at a time. What does not fit on a sheet goes on to the next."""

    def __init__(self, file: IO[bytes], name: str, head: Sequence[str], *, sheet_rows: int = MAX_SHEET_ROWS) -> None:
        options = {
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
        }
        self._book = Workbook(file, options)
        self._bold = self._book.add_format({"bold": True})
        self._numbers: dict[int, Format] = {}
        self._name, self._head, self._sheet_rows = name, head, sheet_rows
        self._sheets = 0
        self._sheet: Worksheet = self._new_sheet()

    def write(self, rows: Sequence[Sequence[Cell]]) -> None:
        for row in rows:
            if self._row == self._sheet_rows:
                self._sheet = self._new_sheet()
            for column, cell in enumerate(row):
                self._write_cell(column, cell)
            self._row += 1

    def close(self) -> None:
        self._book.close()

    def _new_sheet(self) -> Worksheet:
        self._sheets += 1
        sheet = self._book.add_worksheet(self._name if self._sheets == 1 else f"{self._name} {self._sheets}")
        sheet.freeze_panes(1, 0)
        sheet.set_column(0, len(self._head) - 1, _COLUMN_WIDTH)
        for column, title in enumerate(self._head):
            sheet.write_string(0, column, title, self._bold)
        self._row = 1
        return sheet

    def _write_cell(self, column: int, cell: Cell) -> None:
        if isinstance(cell, Decimal):
            self._sheet.write_number(self._row, column, float(cell), self._number(cell))
        elif isinstance(cell, int):
            self._sheet.write_number(self._row, column, cell)
        elif cell is not None:
            text = cell.isoformat() if isinstance(cell, datetime) else cell
            self._sheet.write_string(self._row, column, text[:MAX_CELL_TEXT])

    def _number(self, value: Decimal) -> Format:
        """With as many decimal digits as the value has."""
        digits = max(0, -int(value.as_tuple().exponent))
        if digits not in self._numbers:
            self._numbers[digits] = self._book.add_format({"num_format": "0." + "0" * digits if digits else "0"})
        return self._numbers[digits]


def _csv_cell(cell: Cell) -> str | int | Decimal | None:
    if isinstance(cell, datetime):
        return cell.isoformat()
    return harmless(cell) if isinstance(cell, str) else cell
