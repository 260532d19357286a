"""Totals: golden sums by hand, and properties against an independent computation in plain decimals and fractions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from beanie import PydanticObjectId
from hypothesis import given
from hypothesis import strategies as st

from models.ecommerce.coupons import DiscountKind, DiscountRule
from models.ecommerce.pricing import Quote, StepKind
from models.money import CurrencyMismatchError, Money
from services.ecommerce.discounts import Discount
from services.ecommerce.pieces import Piece, is_shipped
from services.ecommerce.shipping import NO_SHIPPING, Carriage, default_carriage
from services.ecommerce.taxes import TaxTable, default_taxes
from services.ecommerce.totals import PurchaseTooLargeError, total_up
from services.settings import Settings
from tests.factories.pricing import amount_off, buy_get, free_shipping, make_piece, percent_off, usd

SETTINGS = Settings(_env_file=None, secret_key="-" * 32, mongodb_uri="mongodb://127.0.0.1")
UNTAXED = TaxTable("nowhere")


def discount(rule: DiscountRule, name: str = "promotion:1") -> Discount:
    return Discount(name=name, label=name, rule=rule)


def priced(*pieces: Piece, rules: Sequence[DiscountRule] = (), taxes: TaxTable | None = None) -> Quote:
    """With the shipping of the settings, and their taxes unless others are given."""
    carriage = default_carriage(pieces, currency="USD", settings=SETTINGS) if is_shipped(pieces) else NO_SHIPPING
    discounts = [discount(rule, f"promotion:{number}") for number, rule in enumerate(rules)]
    return total_up(pieces, currency="USD", discounts=discounts, carriage=carriage, taxes=taxes or default_taxes(SETTINGS))


def shown(quote: Quote) -> tuple[str, str, str, str, str]:
    """Subtotal, discount, shipping, tax, total."""
    totals = quote.totals
    parts = (totals.subtotal, totals.discount, totals.shipping, totals.tax, totals.total)
    texts = [str(money).removesuffix(" USD") for money in parts]
    return texts[0], texts[1], texts[2], texts[3], texts[4]


class TestGoldenTotals:
    def test_n_16_the_demo_of_001(self) -> None:
        """N-16: 999.99 + 2 x 29.99 = 1059.97; with 10 % tax half-up per line (100.00 + 6.00), shipped free."""
        assert shown(priced(make_piece("999.99"), make_piece("29.99", 2))) == ("1059.97", "0.00", "0.00", "106.00", "1165.97")

    def test_n_16_the_example_of_004(self) -> None:
        """N-16: 999.99 + 2 x 25.50 = 1050.99; with 10 % tax half-up per line (100.00 + 5.10), shipped free."""
        assert shown(priced(make_piece("999.99"), make_piece("25.50", 2))) == ("1050.99", "0.00", "0.00", "105.10", "1156.09")

    def test_n_08_shipping_costs_ten_below_a_hundred(self) -> None:
        assert shown(priced(make_piece("99.99"))) == ("99.99", "0.00", "10.00", "10.00", "119.99")
        assert shown(priced(make_piece("100.00"))) == ("100.00", "0.00", "0.00", "10.00", "110.00")

    def test_n_08_a_discount_does_not_take_free_shipping_away(self) -> None:
        quote = priced(make_piece("100.00"), rules=[percent_off(5000)])
        assert shown(quote) == ("100.00", "50.00", "0.00", "5.00", "55.00")

    def test_s14_downloads_alone_are_not_shipped(self) -> None:
        """COM-S14: no shipping for all-digital orders, and the method says so."""
        quote = priced(make_piece("30.00", is_digital=True))
        assert shown(quote) == ("30.00", "0.00", "0.00", "3.00", "33.00")
        assert quote.shipping_method == "none"
        mixed = priced(make_piece("30.00", is_digital=True), make_piece("1.00"))
        assert (shown(mixed), mixed.shipping_method) == (("31.00", "0.00", "10.00", "3.10", "44.10"), "standard")

    def test_s14_nothing_comes_to_nothing(self) -> None:
        quote = priced()
        assert (shown(quote), quote.lines, quote.steps) == (("0.00", "0.00", "0.00", "0.00", "0.00"), [], [])

    def test_s14_tax_is_rounded_half_up_once_per_line(self) -> None:
        """COM-S14: 0.05 at 10 % is 0.005, so 0.01 for each of three lines, not 0.02 for all."""
        assert shown(priced(*(make_piece("0.05", is_digital=True) for _ in range(3)))) == ("0.15", "0.00", "0.00", "0.03", "0.18")

    def test_s14_trap_no_discount_takes_a_total_below_zero(self) -> None:
        """COM-S14 TRAP: a fixed coupon above the subtotal takes the subtotal; COM-M7 TRAP: a total of zero is allowed."""
        quote = priced(make_piece("30.00", is_digital=True), rules=[amount_off("50.00"), percent_off(10_000), amount_off("1.00")])
        assert shown(quote) == ("30.00", "30.00", "0.00", "0.00", "0.00")
        assert [applied.amount for applied in quote.discounts] == [usd("30.00")]

    def test_s14_tax_is_on_the_discounted_base(self) -> None:
        quote = priced(make_piece("100.00"), make_piece("50.00"), rules=[amount_off("15.00")])
        assert [(line.discount, line.tax, line.total) for line in quote.lines] == [
            (usd("10.00"), usd("9.00"), usd("99.00")),
            (usd("5.00"), usd("4.50"), usd("49.50")),
        ]
        assert shown(quote) == ("150.00", "15.00", "0.00", "13.50", "148.50")


class TestExplain:
    def test_every_cent_is_told_by_a_step(self) -> None:
        quote = priced(make_piece("19.99", 2), make_piece("5.00"), rules=[percent_off(1000), free_shipping()])
        assert [(step.kind, step.rule, step.line, str(step.amount), step.detail) for step in quote.steps] == [
            (StepKind.LINE, "price", 0, "39.98 USD", "2 x 19.99"),
            (StepKind.LINE, "price", 1, "5.00 USD", "1 x 5.00"),
            (StepKind.SHIPPING, "shipping:standard", None, "10.00 USD", "10.00 below a subtotal of 100.00"),
            (StepKind.DISCOUNT, "promotion:0", 0, "-4.00 USD", "10 % of 39.98 = 3.998, half-up 4.00"),
            (StepKind.DISCOUNT, "promotion:0", 1, "-0.50 USD", "10 % of 5.00 = 0.5, half-up 0.50"),
            (StepKind.DISCOUNT, "promotion:1", None, "-10.00 USD", "free shipping"),
            (StepKind.TAX, "tax:default:standard", 0, "3.60 USD", "10 % of 35.98 = 3.598, half-up 3.60"),
            (StepKind.TAX, "tax:default:standard", 1, "0.45 USD", "10 % of 4.50 = 0.45, half-up 0.45"),
        ]
        assert shown(quote) == ("44.98", "4.50", "0.00", "4.05", "44.53")

    def test_a_tax_within_prices_adds_nothing_and_is_told(self) -> None:
        """119.00 at 19 % holds 19.00."""
        taxes = TaxTable("DE", {"standard": 1900}, prices_include_tax=True)
        quote = priced(make_piece("119.00"), taxes=taxes)
        assert shown(quote) == ("119.00", "0.00", "0.00", "19.00", "119.00")
        assert quote.totals.prices_include_tax
        (step,) = [step for step in quote.steps if step.kind is StepKind.TAX]
        assert (step.amount, step.included, step.detail) == (usd("0.00"), usd("19.00"), "19 % within 119.00, half-up 19.00")

    def test_shipping_is_taxed_where_its_zone_says_so(self) -> None:
        taxes = TaxTable("X", {"standard": 1000, "reduced": 500}, shipping_rate=500)
        quote = priced(make_piece("20.00", tax_class="reduced"), taxes=taxes)
        assert shown(quote) == ("20.00", "0.00", "10.00", "1.50", "31.50")
        assert [step.rule for step in quote.steps if step.kind is StepKind.TAX] == ["tax:X:reduced", "tax:X:shipping"]

    def test_a_class_without_a_rate_is_taxed_as_standard(self) -> None:
        assert shown(priced(make_piece("20.00", tax_class="books")))[3] == "2.00"
        assert shown(priced(make_piece("20.00", tax_class="books"), taxes=UNTAXED))[3] == "0.00"

    def test_lines_in_another_currency_are_refused(self) -> None:
        with pytest.raises(CurrencyMismatchError):
            priced(make_piece("20.00"), make_piece("20.00", currency="EUR"))

    def test_more_than_money_can_be_is_refused(self) -> None:
        with pytest.raises(PurchaseTooLargeError):
            priced(*(make_piece("999999999999.99", 3) for _ in range(2)))

    def test_a_quote_reads_back_as_it_was_written(self) -> None:
        quote = priced(make_piece("19.99", 2), make_piece("5.00"), rules=[percent_off(1000), free_shipping()])
        assert Quote.model_validate(quote.model_dump()) == quote


# The independent computation: decimals and fractions, no function of the shop's.

CATEGORY = PydanticObjectId()


@dataclass(frozen=True)
class Expected:
    subtotal: Decimal
    discount: Decimal
    tax: Decimal
    total: Decimal


def cents(value: Decimal | Fraction) -> Decimal:
    exact = value if isinstance(value, Decimal) else Decimal(value.numerator) / Decimal(value.denominator)
    return exact.quantize(Decimal("0.01"), ROUND_HALF_UP)


def spread(amount: Decimal, over: list[Decimal]) -> list[Decimal]:
    """By largest remainders, in whole cents."""
    whole = sum(over)
    exact = [Fraction(amount) * 100 * Fraction(part) / Fraction(whole) for part in over]
    floors = [math.floor(part) for part in exact]
    missing = int(amount * 100) - sum(floors)
    for at in sorted(range(len(over)), key=lambda at: (floors[at] - exact[at], at))[:missing]:
        floors[at] += 1
    return [Decimal(part) / 100 for part in floors]


def expected(pieces: Sequence[Piece], rules: Sequence[DiscountRule], *, shipping: Decimal, tax_rate: int) -> Expected:
    prices = [Decimal(str(piece.unit_price).removesuffix(" USD")) for piece in pieces]
    left = [price * piece.quantity for price, piece in zip(prices, pieces, strict=True)]
    subtotal = sum(left, Decimal(0))
    for rule in rules:
        if rule.kind is DiscountKind.FREE_SHIPPING:
            shipping = Decimal(0) if pieces else shipping
            continue
        eligible = [at for at, piece in enumerate(pieces) if not rule.category_ids or CATEGORY in piece.category_ids]
        if not sum(left[at] for at in eligible):
            continue
        if rule.kind is DiscountKind.PERCENTAGE:
            assert rule.rate is not None
            taken = [cents(left[at] * rule.rate / 10_000) for at in eligible]
            if rule.maximum_discount is not None:
                cap = Decimal(rule.maximum_discount.amount) / 100
                if sum(taken) > cap:
                    taken = spread(cap, taken)
        elif rule.kind is DiscountKind.FIXED_AMOUNT:
            assert rule.amount is not None
            open_sum = sum((left[at] for at in eligible), Decimal(0))
            taken = spread(min(Decimal(rule.amount.amount) / 100, open_sum), [left[at] for at in eligible])
        else:
            assert rule.buy_quantity is not None
            assert rule.get_quantity is not None
            row = [at for at in sorted(eligible, key=lambda at: (-prices[at], at)) for _ in range(pieces[at].quantity)]
            size = rule.buy_quantity + rule.get_quantity
            groups = [row[begin : begin + size] for begin in range(0, len(row) - size + 1, size)]
            given_away = [at for group in groups for at in group[rule.buy_quantity :]]
            taken = [cents(Fraction(left[at]) * given_away.count(at) / pieces[at].quantity) for at in eligible]
        for at, amount in zip(eligible, taken, strict=True):
            left[at] -= amount
    tax = sum((cents(amount * tax_rate / 10_000) for amount in left), Decimal(0))
    goods = sum(left, Decimal(0))
    return Expected(subtotal, subtotal - goods, tax, goods + tax + shipping)


money = st.integers(1, 50_000).map(lambda amount: Money(amount=amount, currency="USD"))
pieces_drawn = st.lists(
    st.builds(
        lambda amount, quantity, is_inside: make_piece(
            str(Decimal(amount) / 100), quantity, category_ids=(CATEGORY,) if is_inside else ()
        ),
        st.integers(0, 20_000),
        st.integers(1, 7),
        st.booleans(),
    ),
    max_size=6,
)
scope = st.sampled_from([[], [CATEGORY]])
rules_drawn = st.lists(
    st.one_of(
        st.builds(
            lambda rate, cap, inside: percent_off(rate, maximum_discount=cap, category_ids=inside),
            st.integers(1, 10_000),
            st.none() | money,
            scope,
        ),
        st.builds(
            lambda amount, inside: DiscountRule(kind=DiscountKind.FIXED_AMOUNT, amount=amount, category_ids=inside), money, scope
        ),
        st.builds(lambda buy, get, inside: buy_get(buy, get, category_ids=inside), st.integers(1, 4), st.integers(1, 3), scope),
        st.just(free_shipping()),
    ),
    max_size=4,
)


class TestProperties:
    @given(pieces=pieces_drawn, rules=rules_drawn, tax_rate=st.integers(0, 3000))
    def test_com_p1_totals_are_what_an_independent_computation_says(
        self, pieces: list[Piece], rules: list[DiscountRule], tax_rate: int
    ) -> None:
        """COM-P1: total = sum(quantity x unit_price) less discounts, with tax and shipping, to the cent."""
        carriage = Carriage("post", "Post", 700) if pieces else NO_SHIPPING
        taxes = TaxTable("X", {"standard": tax_rate})
        quote = total_up(pieces, currency="USD", discounts=[discount(rule) for rule in rules], carriage=carriage, taxes=taxes)
        wanted = expected(pieces, rules, shipping=Decimal(carriage.amount) / 100, tax_rate=tax_rate)
        totals = quote.totals
        assert [Decimal(part.amount) / 100 for part in (totals.subtotal, totals.discount, totals.tax, totals.total)] == [
            wanted.subtotal,
            wanted.discount,
            wanted.tax,
            wanted.total,
        ]

    @given(pieces=pieces_drawn, rules=rules_drawn, tax_rate=st.integers(0, 10_000), inclusive=st.booleans(), taxed=st.booleans())
    def test_com_p1_steps_and_lines_add_up_and_nothing_is_negative(
        self, pieces: list[Piece], rules: list[DiscountRule], tax_rate: int, inclusive: bool, taxed: bool
    ) -> None:
        """COM-P1, COM-S14: the sum of the steps is the total, always."""
        taxes = TaxTable("X", {"standard": tax_rate}, tax_rate if taxed else None, inclusive)
        carriage = Carriage("post", "Post", 700) if pieces else NO_SHIPPING
        quote = total_up(pieces, currency="USD", discounts=[discount(rule) for rule in rules], carriage=carriage, taxes=taxes)
        totals, steps = quote.totals, quote.steps
        assert sum(step.amount.amount for step in steps) == totals.total.amount
        taxes_told = [step.included if step.included is not None else step.amount for step in steps if step.kind is StepKind.TAX]
        assert sum(tax.amount for tax in taxes_told) == totals.tax.amount
        for at, line in enumerate(quote.lines):
            assert sum(step.amount.amount for step in steps if step.line == at) == line.total.amount
            assert 0 <= line.discount.amount <= line.subtotal.amount
            assert line.total.amount >= 0
        assert sum(line.discount.amount for line in quote.lines) == totals.discount.amount <= totals.subtotal.amount
        assert sum(line.subtotal.amount for line in quote.lines) == totals.subtotal.amount
        assert 0 <= totals.shipping.amount <= carriage.amount
        assert totals.total.amount >= 0
        assert all(applied.amount.amount > 0 for applied in quote.discounts)
        given_away = sum(applied.amount.amount for applied in quote.discounts)
        assert given_away == totals.discount.amount + carriage.amount - totals.shipping.amount
