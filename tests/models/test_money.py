"""Money: exact, in one currency, rounded half-up in one place."""

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from models.money import (
    MAX_AMOUNT,
    Currency,
    CurrencyMismatchError,
    Money,
    MoneyInput,
    allocate,
    decimal_text,
    digits_of,
    half_up,
    money_row,
)

AMOUNTS = st.integers(-MAX_AMOUNT, MAX_AMOUNT)
CURRENCIES = st.sampled_from(["USD", "EUR", "JPY", "KWD", "CLF"])  # 2, 2, 0, 3 and 4 digits


def usd(text: str) -> Money:
    return Money.of(text, "USD")


class TestText:
    @pytest.mark.parametrize(
        ("text", "currency", "amount"),
        [
            ("19.99", "USD", 1999),
            ("19.9", "USD", 1990),
            ("19", "USD", 1900),
            ("-0.05", "USD", -5),
            ("+1.50", "USD", 150),
            ("1500", "JPY", 1500),
            ("1.234", "KWD", 1234),
            ("0.0001", "CLF", 1),
            ("19.9000", "USD", 1990),  # no digit is lost
            (Decimal("10.00"), "JPY", 10),
            (Decimal("1E+3"), "USD", 100_000),
        ],
    )
    def test_x_09_a_decimal_is_read_exactly(self, text: str | Decimal, currency: str, amount: int) -> None:
        assert Money.of(text, currency) == Money(amount=amount, currency=currency)

    @pytest.mark.parametrize(
        ("text", "currency"),
        [
            ("19.999", "USD"),
            ("0.5", "JPY"),
            ("1.0000000000000000001", "USD"),  # more digits than a decimal context keeps
            (Decimal("1.00000000000000000000000000000001"), "USD"),
            ("", "USD"),
            (".5", "USD"),
            ("5.", "USD"),
            ("1e3", "USD"),
            ("1_000", "USD"),
            ("1,000", "USD"),
            (" 1", "USD"),
            ("1\n", "USD"),
            ("\u0661", "USD"),  # an Arabic one
            ("NaN", "USD"),
            ("Infinity", "USD"),
            (Decimal("NaN"), "USD"),
            (Decimal("Infinity"), "USD"),
            (Decimal("1E+999999"), "USD"),
            (Decimal("1E-999999"), "USD"),
            ("99999999999999999999", "USD"),
            ("1" * 5000, "USD"),
        ],
    )
    def test_what_is_no_amount_is_refused(self, text: str | Decimal, currency: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            Money.of(text, currency)

    def test_x_09_no_float_becomes_money(self) -> None:
        """X-09: a float is refused even where it looks whole."""
        value: Any = 19.99
        with pytest.raises(TypeError):
            Money.of(value, "USD")
        for amount in (19.99, 19.0, "1999", True, Decimal(5)):
            with pytest.raises(ValidationError):
                Money.model_validate({"amount": amount, "currency": "USD"})
        with pytest.raises(ValidationError):
            usd("10.00") * 1.5  # type: ignore[operator]  # what is refused

    @given(amount=AMOUNTS, currency=CURRENCIES)
    def test_text_reads_back_as_it_was(self, amount: int, currency: str) -> None:
        text = decimal_text(amount, currency)
        assert Money.of(text, currency).amount == amount
        assert len(text.partition(".")[2]) == digits_of(currency)
        assert Decimal(text) == Decimal(amount).scaleb(-digits_of(currency))

    def test_json_holds_text_and_documents_hold_integers(self) -> None:
        money = usd("19.90")
        assert money.model_dump_json() == '{"amount":"19.90","currency":"USD"}'
        assert money.model_dump() == money_row(1990, "USD") == {"amount": 1990, "currency": "USD"}
        assert Money.model_validate({"amount": 1990, "currency": "USD"}) == money

    def test_digits_are_those_of_iso_4217(self) -> None:
        """CLDR writes some currencies without the hundredths that they have, and that gateways count in."""
        assert {code: digits_of(code) for code in ("USD", "JPY", "KRW", "ISK", "KWD", "TND", "CLF", "RSD", "LBP", "MGA")} == {
            **dict.fromkeys(("USD", "RSD", "LBP", "MGA"), 2),
            **dict.fromkeys(("JPY", "KRW", "ISK"), 0),
            **dict.fromkeys(("KWD", "TND"), 3),
            "CLF": 4,
        }

    @pytest.mark.parametrize("code", ["usd", "US", "ABC", "XXX", "XTS", "XAU", "XDR", "", "US$"])
    def test_only_what_can_be_paid_with_is_a_currency(self, code: str) -> None:
        with pytest.raises(ValidationError):
            TypeAdapter(Currency).validate_python(code)
        with pytest.raises(ValidationError):
            Money(amount=1, currency=code)

    def test_shown_with_the_digits_of_the_currency(self) -> None:
        shown = [Money.of(text, code).formatted() for text, code in (("1234.5", "USD"), ("1234", "JPY"), ("1.5", "KWD"))]
        assert shown == ["$1,234.50", "\u00a51,234", "KWD1.500"]
        assert Money.of("1234.50", "EUR").formatted("de_DE") == "1.234,50\u00a0\u20ac"
        assert Money.of("-10.55", "RSD").formatted() == "-RSD10.55"


class TestInput:
    def parse(self, value: object) -> Money:
        class Body(BaseModel):
            price: MoneyInput

        return Body.model_validate({"price": value}).price

    def test_is_a_decimal_string_and_a_currency(self) -> None:
        assert self.parse({"amount": "19.99", "currency": "USD"}) == usd("19.99")
        assert self.parse(usd("1.00")) == usd("1.00")

    @pytest.mark.parametrize(
        "value",
        [
            {"amount": 1999, "currency": "USD"},  # cents or dollars?
            {"amount": 19.99, "currency": "USD"},
            {"amount": "19.999", "currency": "USD"},
            {"amount": "19.990", "currency": "USD"},  # malformed, not something to round
            {"amount": "19.9", "currency": "JPY"},
            {"amount": "1e3", "currency": "USD"},
            {"amount": "19.99", "currency": "XXX"},
            {"amount": "19.99", "currency": 1},
            {"amount": "19.99"},
            {"amount": "19.99", "currency": "USD", "more": 1},
            {"amount": "999999999999999", "currency": "USD"},  # beyond what sums can bear
            {"amount": {"$gt": ""}, "currency": "USD"},
            "19.99",
            19.99,
            None,
        ],
    )
    def test_anything_else_is_malformed(self, value: object) -> None:
        with pytest.raises(ValidationError):
            self.parse(value)


class TestArithmetic:
    def test_reg_000_add_and_multiply(self) -> None:
        """REG-000: Money.add and Money.multiply are `+` and `*`."""
        assert usd("999.99") + usd("29.99") * 2 == usd("1059.97")
        assert usd("10.00") - usd("0.01") == usd("9.99")
        assert -usd("1.00") == usd("-1.00")
        assert Money.total([usd("0.10"), usd("0.20")], "USD") == usd("0.30")
        assert Money.total([], "JPY") == Money(amount=0, currency="JPY") == Money.zero("JPY")

    def test_compares_by_amount(self) -> None:
        one, two = usd("1.00"), usd("2.00")
        assert one < two <= two
        assert two > one >= one
        assert max(one, two) is two
        assert [bool(usd("0.00")), bool(one)] == [False, True]
        assert str(two) == "2.00 USD"

    def test_x_09_currencies_never_mix(self) -> None:
        dollars, yen = usd("1.00"), Money.of("1", "JPY")
        for meet in (
            lambda: dollars + yen,
            lambda: dollars - yen,
            lambda: dollars < yen,
            lambda: dollars <= yen,
            lambda: dollars > yen,
            lambda: dollars >= yen,
            lambda: Money.total([dollars, yen], "USD"),
        ):
            with pytest.raises(CurrencyMismatchError) as caught:
                meet()
            assert (caught.value.left, caught.value.right) == ("USD", "JPY")
        assert dollars != Money(amount=100, currency="JPY")

    def test_never_changes(self) -> None:
        money = usd("1.00")
        with pytest.raises(ValidationError):
            money.amount = 2  # type: ignore[misc]  # what is refused
        assert {money: "as a key"}[usd("1.00")] == "as a key"

    def test_is_bounded(self) -> None:
        with pytest.raises(ValidationError):
            Money(amount=MAX_AMOUNT, currency="USD") + usd("0.01")


class TestHalfUp:
    @pytest.mark.parametrize(
        ("numerator", "denominator", "rounded"),
        [
            (5, 10, 1),
            (4, 10, 0),
            (15, 10, 2),
            (25, 10, 3),
            (-5, 10, -1),
            (-25, 10, -3),
            (-4, 10, 0),
            (0, 7, 0),
            (1, 3, 0),
            (2, 3, 1),
        ],
    )
    def test_halves_go_away_from_zero(self, numerator: int, denominator: int, rounded: int) -> None:
        assert half_up(numerator, denominator) == rounded

    @given(numerator=st.integers(-(10**18), 10**18), denominator=st.integers(1, 10**6))
    def test_is_the_nearest_integer(self, numerator: int, denominator: int) -> None:
        exact = Fraction(numerator, denominator)
        distance = abs(half_up(numerator, denominator) - exact)
        assert distance <= Fraction(1, 2)
        if distance == Fraction(1, 2):
            assert abs(half_up(numerator, denominator)) > abs(exact)

    @given(amount=st.integers(-(10**12), 10**12), rate=st.integers(0, 10_000))
    def test_a_share_is_what_decimals_say(self, amount: int, rate: int) -> None:
        expected = (Decimal(amount) * rate / 10_000).quantize(Decimal(1), ROUND_HALF_UP)
        assert Money(amount=amount, currency="USD").share(rate).amount == int(expected)

    def test_x_09_a_share_of_money(self) -> None:
        assert usd("19.99").share(1000) == usd("2.00")  # 1.999
        assert usd("0.05").share(1000) == usd("0.01")  # 0.005


class TestAllocate:
    @given(amount=AMOUNTS, weights=st.lists(st.integers(0, 10**9), min_size=1, max_size=30))
    def test_parts_add_up_and_are_near_their_share(self, amount: int, weights: list[int]) -> None:
        parts = allocate(amount, weights)
        assert sum(parts) == amount
        assert len(parts) == len(weights)
        total = sum(weights)
        if total:
            for part, weight in zip(parts, weights, strict=True):
                assert abs(part - Fraction(amount * weight, total)) < 1
                assert weight or not part

    @given(amount=st.integers(0, 10**12), weights=st.lists(st.integers(0, 10**9), min_size=1, max_size=30))
    def test_no_part_is_larger_than_its_weight_where_the_whole_is_not(self, amount: int, weights: list[int]) -> None:
        """A discount spread over lines takes no line below zero."""
        whole = min(amount, sum(weights))
        assert all(part <= weight for part, weight in zip(allocate(whole, weights), weights, strict=True))

    @pytest.mark.parametrize(
        ("amount", "weights", "parts"),
        [
            (100, [1, 1, 1], [34, 33, 33]),  # the first among equals
            (-100, [1, 1, 1], [-34, -33, -33]),
            (10, [999, 2], [10, 0]),
            (5, [0, 0], [5, 0]),
            (1, [1, 2], [0, 1]),  # to whom lost most
            (0, [3, 4], [0, 0]),
        ],
    )
    def test_by_hand(self, amount: int, weights: list[int], parts: list[int]) -> None:
        assert allocate(amount, weights) == parts
        assert [part.amount for part in Money(amount=amount, currency="USD").allocate(weights)] == parts

    @pytest.mark.parametrize("weights", [[], [1, -1]])
    def test_impossible_weights_are_refused(self, weights: list[int]) -> None:
        with pytest.raises(ValueError, match="non-negative"):
            allocate(1, weights)
