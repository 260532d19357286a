"""A retailer's lines as invoices and credit notes."""

from datetime import UTC, datetime

import pytest

from services.imports.retail import RetailDocument, is_goods, key_of, read_document
from services.imports.values import RefusedRowError
from tests.services.imports.tables import POUNDS, groups_of, retail_file


def read(*lines: str) -> RetailDocument:
    [group] = groups_of(retail_file(*lines), key_of).values()
    return read_document(group, POUNDS)


class TestReadDocument:
    def test_an_invoice_of_goods_postage_and_a_discount(self) -> None:
        document = read(
            "536365,85123a,WHITE  LANTERN,6,12/1/2010 8:26,2.55,17850.0,United Kingdom",
            "536365,POST,POSTAGE,3,12/1/2010 8:26,18,17850,United Kingdom",
            "536365,M,Manual,1,12/1/2010 8:26,1.25,17850,United Kingdom",
            "536365,D,Discount,-1,12/1/2010 8:26,5.30,17850,United Kingdom",
            "536365,22139,,56,12/1/2010 8:26,0,17850,United Kingdom",
            "536365,21777,RECIPE BOX,-10,12/1/2010 8:26,7.95,17850,United Kingdom",
        )

        assert (document.number, document.is_credit, document.customer, document.country) == ("536365", False, "17850", "GB")
        assert document.placed_at == datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
        assert [(line.code, line.name, line.quantity, line.amount.amount) for line in document.goods] == [
            ("85123A", "WHITE LANTERN", 6, 1530)
        ]
        assert [(line.code, line.amount.amount) for line in document.charges] == [("POST", 5400), ("M", 125)]
        assert [line.amount.amount for line in document.discounts] == [530]
        assert [trouble.row.line for trouble in document.adjustments] == [6, 7]
        assert (document.total, document.is_empty) == (1530 + 5400 + 125 - 530, False)

    def test_a_credit_note_gives_back(self) -> None:
        document = read(
            "C536379,D,Discount,-1,12/1/2010 9:41,27.5,,EIRE",
            "C536379,22556,PLASTERS,-12,12/1/2010 9:41,1.65,,EIRE",
        )

        assert (document.is_credit, document.customer, document.country, document.total) == (True, None, "IE", 2750 + 1980)
        assert [(line.quantity, line.amount.amount) for line in document.goods] == [(12, 1980)]

    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("7/1/2011 8:26", datetime(2011, 7, 1, 7, 26, tzinfo=UTC)),  # summer time
            ("2011-07-01 08:26:30", datetime(2011, 7, 1, 7, 26, 30, tzinfo=UTC)),
            ("12/31/2010 23:59", datetime(2010, 12, 31, 23, 59, tzinfo=UTC)),
            ("10/30/2011 1:30", datetime(2011, 10, 30, 0, 30, tzinfo=UTC)),  # came twice: the first
        ],
    )
    def test_local_times_become_utc(self, text: str, moment: datetime) -> None:
        assert read(f"1,85123A,LANTERN,1,{text},2,,France").placed_at == moment

    @pytest.mark.parametrize(
        ("name", "code"), [("Norway", "NO"), ("USA", "US"), ("RSA", "ZA"), ("Unspecified", None), ("European Community", None)]
    )
    def test_countries_are_told_as_far_as_they_are_known(self, name: str, code: str | None) -> None:
        assert read(f"1,85123A,LANTERN,1,12/1/2010 8:26,2,,{name}").country == code

    def test_corrections_of_stock_alone_are_no_invoice(self) -> None:
        document = read("536589,21777,,-10,12/1/2010 16:50,0,,United Kingdom")

        assert (document.is_empty, len(document.adjustments)) == (True, 1)

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("1,85123A,LANTERN,1,12/1/2010 8:26,0.001,1,France", "line 3: the price 0.001 has more digits than GBP"),
            ("1,85123A,LANTERN,0,12/1/2010 8:26,1,1,France", "line 3: the quantity 0 is none that can be sold"),
            ("1,85123A,LANTERN,x,12/1/2010 8:26,1,1,France", "line 3: the quantity x is no plain number"),
            ("1,,LANTERN,1,12/1/2010 8:26,1,1,France", "line 3: it has no stock code"),
            ("1,B,Adjust bad debt,1,12/1/2010 8:26,-11062.06,1,France", "line 3: B at -11062.06 is bookkeeping and no sale"),
            ("1,85123A,LANTERN,1,12/1/2010 8:26,1,2,France", "line 3 is for another customer"),
            (
                "1,85123A,LANTERN,1000000,12/1/2010 8:26,1000.01,1,France",
                "line 3: 1000000 at 1000.01 GBP are more than a line can come to",
            ),
            ("1,D,Discount,-1,12/1/2010 8:26,2.01,1,France", "more is taken off than its goods cost"),
        ],
    )
    def test_one_broken_line_refuses_the_whole_invoice(self, line: str, reason: str) -> None:
        """Else its total would be another one than the retailer's, for good."""
        with pytest.raises(RefusedRowError) as refused:
            read("1,85048,GLASS,1,12/1/2010 8:26,2,1,France", line)

        assert str(refused.value) == reason

    def test_times_that_are_none_and_pieces_in_a_credit_note_are_refused(self) -> None:
        with pytest.raises(RefusedRowError, match="the time 13/13/2010 8:26 is not one like"):
            read("1,85048,GLASS,1,13/13/2010 8:26,2,1,France")
        for moment in ("1/1/1900 0:00", "11/22/2026 8:26"):
            with pytest.raises(RefusedRowError, match="none at which something was sold"):
                read(f"1,85048,GLASS,1,{moment},2,1,France")
        with pytest.raises(RefusedRowError, match="its quantities are below zero"):
            read("C1,85048,GLASS,1,12/1/2010 8:26,2,1,France")

    @pytest.mark.parametrize("number", ["", "a b"])
    def test_a_line_without_the_number_of_an_invoice_belongs_nowhere(self, number: str) -> None:
        with pytest.raises(RefusedRowError):
            groups_of(retail_file(f"{number},85048,GLASS,1,12/1/2010 8:26,2,1,France"), key_of)


def test_what_is_no_product() -> None:
    codes = (
        "POST",
        "D",
        "M",
        "C2",
        "DOT",
        "BANK CHARGES",
        "AMAZONFEE",
        "B",
        "S",
        "GIFT_0001_40",
        "DCGS0072",
        "85123A",
        "PADS",
        "21137",
    )

    assert [code for code in codes if is_goods(code)] == ["DCGS0072", "85123A", "PADS", "21137"]
