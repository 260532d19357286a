"""Cells as values: exact money, weights and measures, texts that were HTML."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.money import Money, decimal_text
from services.imports.values import (
    RefusedRowError,
    cut,
    grams_of,
    markdown_of,
    millimetres_of,
    money_of,
    name_of,
    sku_of,
    split_list,
    stock_of,
    web_link,
    whole_of,
)
from services.markdown import render_post


class TestMoney:
    @pytest.mark.parametrize(
        ("text", "currency", "amount"),
        [
            ("2.55", "GBP", 255),
            ("18", "USD", 1800),
            ("0.10", "EUR", 10),
            (".5", "USD", 50),
            ("2.500", "USD", 250),
            ("1999", "JPY", 1999),
            ("1.234", "KWD", 1234),
            ("-3", "USD", -300),
            ("5.", "USD", 500),
        ],
    )
    def test_decimals_are_exact(self, text: str, currency: str, amount: int) -> None:
        assert money_of(text, currency) == Money(amount=amount, currency=currency)

    @pytest.mark.parametrize(
        ("text", "currency", "reason"),
        [
            ("0.001", "GBP", "the price 0.001 has more digits than GBP"),
            ("1.5", "JPY", "the price 1.5 has more digits than JPY"),
            ("1e3", "USD", "the price 1e3 is no plain number"),
            ("1,50", "USD", "the price 1,50 is no plain number"),
            ("", "USD", "the price is missing"),
            ("NaN", "USD", "the price NaN is no plain number"),
            ("9999999999999999", "USD", "the price 9999999999999999 is no plain number"),
            ("999999999999999", "USD", "the price 999999999999999 is not an amount of USD"),
        ],
    )
    def test_nothing_is_rounded_or_guessed(self, text: str, currency: str, reason: str) -> None:
        with pytest.raises(RefusedRowError) as refused:
            money_of(text, currency)

        assert str(refused.value) == reason

    @given(st.integers(-(10**12), 10**12), st.sampled_from(["USD", "JPY", "KWD"]))
    def test_every_amount_comes_back_from_its_text(self, amount: int, currency: str) -> None:
        assert money_of(decimal_text(amount, currency), currency).amount == amount


class TestMeasures:
    def test_units_become_grams_and_millimetres(self) -> None:
        assert [
            grams_of(text, unit) for text, unit in (("0.5", "kg"), ("1", "lbs"), ("1", "oz"), ("0.0005", "kg"), ("12", "g"))
        ] == [
            500,
            454,
            28,
            1,
            12,
        ]
        assert [millimetres_of(text, unit) for text, unit in (("30", "cm"), ("1.5", "in"), ("2", "m"), ("7.5", "mm"))] == [
            300,
            38,
            2000,
            8,
        ]

    def test_an_empty_cell_and_zero_are_not_known(self) -> None:
        assert (grams_of("", "kg"), grams_of("0", "kg"), millimetres_of("", "cm")) == (None, None, None)

    @pytest.mark.parametrize(("text", "unit"), [("heavy", "kg"), ("-1", "kg"), ("1", "stone")])
    def test_what_is_no_weight_is_refused(self, text: str, unit: str) -> None:
        with pytest.raises(RefusedRowError):
            grams_of(text, unit)

    def test_pieces_are_whole(self) -> None:
        assert (whole_of("6.0", what="quantity"), whole_of("-12", what="quantity")) == (6, -12)
        assert (stock_of("12"), stock_of("-3")) == (12, 0)
        with pytest.raises(RefusedRowError, match="a stock of 1000001 is more than can be entered"):
            stock_of("1000001")
        with pytest.raises(RefusedRowError, match=r"the quantity 1\.5 is no whole number"):
            whole_of("1.5", what="quantity")


class TestTexts:
    def test_html_becomes_markdown(self) -> None:
        html = (
            "<h2>Beans</h2><p>From <strong>Jinotega</strong> &amp; <em>Apaneca</em>.<br>Dark*</p>"
            "<ul><li>1 kg</li><li>2 kg</li></ul>"
            '<p><a href="https://example.com/a">more</a> <a href="javascript:alert(1)">less</a></p>'
        )

        assert markdown_of(html) == (
            "## Beans\n\nFrom **Jinotega** & *Apaneca*.\nDark\\*\n\n- 1 kg\n- 2 kg\n\n[more](<https://example.com/a>) less"
        )

    def test_scripts_leave_nothing_and_nothing_escapes_the_cleaning(self) -> None:
        text = markdown_of('<p>Nice</p><script>alert(1)</script><style>p{}</style><p onclick="x()">hat</p>')

        assert text == "Nice\n\nhat"
        assert render_post(markdown_of("<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>")) == (
            "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n"
        )

    def test_a_text_without_tags_stays_what_it_is(self) -> None:
        assert markdown_of("1 < 2 & **3**\\nnext") == "1 < 2 & **3**\nnext"

    def test_the_apostrophe_that_guards_against_formulas_is_taken_off(self) -> None:
        assert [name_of(text) for text in ("'=1+1", "'-5 %", "'tis", "=1+1")] == ["=1+1", "-5 %", "'tis", "=1+1"]

    def test_lists_and_skus(self) -> None:
        assert split_list(r"Blue, Green\, dark ,,Red") == ["Blue", "Green, dark", "Red"]
        assert [sku_of(text) for text in ("85123A", "AB 12/3", "-x", "ä", "gift_0001_40", "#")] == [
            "85123A",
            "AB-12/3",
            "x",
            "",
            "gift_0001_40",
            "",
        ]
        assert cut("one two three", 9) == "one two…"

    @pytest.mark.parametrize(
        "text", ["test-image.png", "javascript:alert(1)", "https://user:pw@example.com/a.png", "ftp://example.com/a"]
    )
    def test_only_addresses_of_the_web_are_links(self, text: str) -> None:
        assert web_link(text) is None
        assert web_link("https://example.com/a.png") == "https://example.com/a.png"
