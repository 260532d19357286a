"""CSV files as they come: encodings, line numbers, broken rows, and rows brought together on disk."""

import csv
import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.imports import ImportFormat
from services.imports.files import MAX_CELL, MAX_ROW, SourceRow, Table, UnreadableFileError, csv_text, examine, read_lines
from services.imports.formats import format_of
from services.imports.spool import MAX_GROUP, Spool
from tests.services.imports.tables import MEDUSA, RETAIL, SHOPIFY, WOO, rows_of, table


class TestExamine:
    def test_utf_8_with_and_without_its_mark_and_windows_1252_are_told_apart(self, tmp_path: Path) -> None:
        expected = {"plain": "utf-8", "mark": "utf-8-sig", "windows": "cp1252", "wide": "utf-16"}
        text = "name\r\ncafé £5\r\n"
        written = dict(zip(expected, ("utf-8", "utf-8-sig", "cp1252", "utf-16"), strict=True))
        for name, encoding in written.items():
            (tmp_path / name).write_bytes(text.encode(encoding))

        facts = {name: examine(tmp_path / name) for name in expected}

        assert {name: fact.encoding for name, fact in facts.items()} == expected
        for name in expected:
            [row] = Table(read_lines(tmp_path / name, facts[name].encoding)).rows()
            assert row["name"] == "café £5"
        assert facts["plain"].checksum == hashlib.sha256(text.encode()).hexdigest()
        assert facts["plain"].size_bytes == len(text.encode())

    def test_a_sign_cut_by_the_end_of_a_block_is_still_utf_8(self, tmp_path: Path) -> None:
        path = tmp_path / "long"
        path.write_bytes(b"a" * ((1 << 20) - 1) + "é".encode() + b"\n")

        assert examine(path).encoding == "utf-8"

    def test_a_file_that_is_not_there_is_said_so(self, tmp_path: Path) -> None:
        with pytest.raises(UnreadableFileError, match="cannot be read"):
            examine(tmp_path / "nowhere.csv")


class TestTable:
    def test_lines_are_counted_where_rows_begin(self) -> None:
        """Also behind quoted newlines, blank rows, and blank lines before the header."""
        text = '\n\nA,B\nx,"one\ntwo\nthree"\n\n,\ny,2\n'

        assert [(row.line, row["a"], row["b"]) for row in rows_of(text)] == [(4, "x", "one\ntwo\nthree"), (9, "y", "2")]

    def test_names_of_columns_are_compared_without_case_marks_and_spaces(self) -> None:
        assert table("\ufeffInvoice No , UNIT  Price\n").columns == ["invoice no", "unit price"]

    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    def test_the_header_tells_the_separator(self, separator: str) -> None:
        [row] = rows_of(separator.join(["a", "b", "c"]) + "\n" + separator.join(["1", "2", "3"]) + "\n")

        assert (row["a"], row["b"], row["c"]) == ("1", "2", "3")

    def test_a_quoted_header_may_hold_newlines(self) -> None:
        found = table('"first\nname",b\n1,2\n')
        [row] = found.rows()

        assert (found.columns, row.line, row["first name"]) == (["first name", "b"], 3, "1")

    def test_a_broken_row_is_told_and_the_next_one_follows(self) -> None:
        text = f"a,b\n1\n1,2,3\n1,2,,\n1,\0\n1,{'x' * (MAX_CELL + 1)}\n3,4\n"

        rows = rows_of(text)

        assert [(row.line, row.problem) for row in rows] == [
            (2, "the row has 1 cells, the header 2"),
            (3, "the row has 3 cells, the header 2"),
            (4, None),
            (5, "it holds a NUL"),
            (6, f"this is no row of a table: field larger than field limit ({MAX_CELL})"),
            (7, None),
        ]
        assert "\0" not in rows[3].text
        assert (rows[-1]["a"], rows[-1]["no such column"]) == ("3", "")

    @pytest.mark.parametrize("text", ["", "\n\n", "\0,\n"])
    def test_a_text_without_a_header_is_no_table(self, text: str) -> None:
        with pytest.raises(UnreadableFileError, match="no header"):
            table(text)

    def test_what_is_kept_of_a_row_is_bounded(self) -> None:
        assert len(csv_text(["x" * 100_000])) == MAX_ROW

    @given(
        st.lists(
            st.lists(
                st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=8),
                min_size=3,
                max_size=3,
            ),
            max_size=6,
        )
    )
    def test_whatever_was_written_reads_back(self, cells: list[list[str]]) -> None:
        written = io.StringIO()
        csv.writer(written).writerows([["a", "b", "c"], *cells])

        read = list(Table(io.StringIO(written.getvalue(), newline="")).rows())

        expected = [[cell.strip() for cell in row] for row in cells if any(cell.strip() for cell in row)]
        assert [[row["a"], row["b"], row["c"]] for row in read] == expected
        assert [list(row.raw) for row in read] == [row for row in cells if any(cell.strip() for cell in row)]


class TestFormatOf:
    @pytest.mark.parametrize(
        ("columns", "format"),
        [
            (WOO, ImportFormat.WOOCOMMERCE),
            (SHOPIFY, ImportFormat.SHOPIFY),
            (MEDUSA, ImportFormat.MEDUSA),
            (RETAIL, ImportFormat.RETAIL),
            (["Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID"], ImportFormat.RETAIL),
        ],
        ids=["woocommerce", "shopify", "medusa", "retail", "retail, second edition"],
    )
    def test_the_header_tells_the_format(self, columns: list[str], format: ImportFormat) -> None:
        found = table(",".join(columns) + "\n").columns

        assert format_of(found) is format
        assert format_of(found, format) is format

    def test_an_unknown_header_and_one_of_another_format_are_refused(self) -> None:
        with pytest.raises(UnreadableFileError, match="no format known here"):
            format_of(["a", "b"])
        with pytest.raises(UnreadableFileError, match="no shopify file: it has no column handle"):
            format_of(table(",".join(WOO) + "\n").columns, ImportFormat.SHOPIFY)


class TestSpool:
    def test_rows_of_a_key_come_together_in_the_order_of_the_file(self) -> None:
        with Spool() as spool:
            spool.keep_columns(["a", "b"])
            for line, key in enumerate(["x", "y", "x", "z", "y"], start=2):
                spool.add(key, SourceRow(line, [key, f" {line} "]))
            assert spool.groups_count == 3
            groups = [*spool.groups(0, 2), *spool.groups(2, 2)]

        assert [(group.key, [row.line for row in group.rows], group.is_cut) for group in groups] == [
            ("x", [2, 4], False),
            ("y", [3, 6], False),
            ("z", [5], False),
        ]
        assert groups[0].rows[1].cells == {"a": "x", "b": "4"}

    def test_a_group_has_an_end(self) -> None:
        with Spool() as spool:
            spool.keep_columns(["a"])
            for line in range(MAX_GROUP + 1):
                spool.add("x", SourceRow(line, ["1"]))
            [group] = spool.groups(0, 10)

        assert (len(group.rows), group.is_cut) == (MAX_GROUP, True)
