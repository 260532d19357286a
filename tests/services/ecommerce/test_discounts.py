"""Discounts by hand: each kind, scope, minimum and cap; what is combined and what stands alone."""

import pytest
from beanie import PydanticObjectId

from models.ecommerce.coupons import CouponReason, DiscountRule
from models.money import Money
from services.ecommerce.discounts import Discount, percent, take_off, why_not
from services.ecommerce.pieces import Piece
from services.ecommerce.shipping import Carriage
from services.ecommerce.stacking import Stacked, cheapest
from services.ecommerce.taxes import TaxTable
from tests.factories.pricing import amount_off, buy_get, free_shipping, make_piece, percent_off, usd

BOOKS, NOVELS = PydanticObjectId(), PydanticObjectId()


def taken(rule: DiscountRule, *pieces: Piece, left: list[int] | None = None, shipping: int = 500) -> dict[int | None, int]:
    """Minor units by line; None is the shipping."""
    left = [piece.subtotal for piece in pieces] if left is None else left
    shares = take_off(rule, pieces, currency="USD", left=left, shipping_left=shipping)
    return {share.line: share.amount for share in shares}


class TestKinds:
    def test_percentage_is_rounded_half_up_per_line(self) -> None:
        assert taken(percent_off(1250), make_piece("19.99"), make_piece("0.04")) == {0: 250, 1: 1}  # 2.49875 and 0.005

    def test_percentage_is_capped_over_all_lines(self) -> None:
        rule = percent_off(5000, maximum_discount=usd("10.00"))
        assert taken(rule, make_piece("20.00"), make_piece("10.00")) == {0: 667, 1: 333}

    def test_percentage_at_the_cap_is_left_as_it_is(self) -> None:
        assert taken(percent_off(5000, maximum_discount=usd("15.00")), make_piece("20.00"), make_piece("10.00")) == {
            0: 1000,
            1: 500,
        }

    def test_fixed_amount_is_spread_and_adds_up(self) -> None:
        pieces = [make_piece("10.00"), make_piece("10.00"), make_piece("10.00")]
        assert taken(amount_off("10.00"), *pieces) == {0: 334, 1: 333, 2: 333}

    def test_s14_trap_fixed_amount_never_exceeds_what_is_left(self) -> None:
        assert taken(amount_off("50.00"), make_piece("10.00"), make_piece("2.00")) == {0: 1000, 1: 200}
        assert taken(amount_off("50.00"), make_piece("10.00"), left=[3]) == {0: 3}
        assert taken(amount_off("50.00"), make_piece("10.00"), left=[0]) == {}

    def test_free_shipping(self) -> None:
        assert taken(free_shipping(), make_piece()) == {None: 500}
        assert taken(free_shipping(maximum_discount=usd("3.00")), make_piece()) == {None: 300}
        assert taken(free_shipping(), make_piece(), shipping=0) == {}

    @pytest.mark.parametrize(
        ("quantity", "amount"), [(1, 0), (2, 0), (3, 1000), (4, 1000), (5, 1000), (6, 2000), (7, 2000), (299, 99_000)]
    )
    def test_buy_two_get_one(self, quantity: int, amount: int) -> None:
        assert taken(buy_get(2, 1), make_piece("10.00", quantity)) == ({0: amount} if amount else {})

    def test_buy_x_get_y_gives_the_cheapest_of_each_group(self) -> None:
        """Dear to cheap: 30 30 20 | 20 5 5; of each three the last."""
        assert taken(buy_get(2, 1), make_piece("5.00", 2), make_piece("30.00", 2), make_piece("20.00", 2)) == {0: 500, 2: 2000}

    def test_buy_x_get_y_at_half_price(self) -> None:
        assert taken(buy_get(1, 1, rate=5000), make_piece("9.99", 2)) == {0: 500}  # 4.995

    def test_buy_x_get_y_gives_a_piece_at_the_price_it_has_by_then(self) -> None:
        """Two at 10.00, of which an earlier rule left 12.00: the free one is worth 6.00."""
        assert taken(buy_get(1, 1), make_piece("10.00", 2), left=[1200]) == {0: 600}

    def test_buy_x_get_y_is_capped(self) -> None:
        assert taken(buy_get(1, 1, maximum_discount=usd("4.00")), make_piece("10.00", 2)) == {0: 400}


class TestScope:
    def test_s15_trap_products_and_categories_are_honoured(self) -> None:
        """COM-S15 TRAP: the scope was never read. A category is meant with everything below it."""
        book = make_piece("10.00", category_ids=(NOVELS, BOOKS))
        other = make_piece("10.00", category_ids=(PydanticObjectId(),))
        assert taken(percent_off(1000, category_ids=[BOOKS]), book, other) == {0: 100}
        assert taken(percent_off(1000, product_ids=[other.product_id]), book, other) == {1: 100}
        assert taken(percent_off(1000, product_ids=[other.product_id], category_ids=[BOOKS]), book, other) == {0: 100, 1: 100}
        assert taken(percent_off(1000, category_ids=[PydanticObjectId()]), book, other) == {}

    def test_free_shipping_needs_an_eligible_line(self) -> None:
        assert taken(free_shipping(category_ids=[BOOKS]), make_piece()) == {}
        assert taken(free_shipping(category_ids=[BOOKS]), make_piece(category_ids=(BOOKS,)), make_piece()) == {None: 500}


class TestWhyNot:
    def reason(self, rule: DiscountRule, *pieces: Piece, first: bool = False) -> CouponReason | None:
        found = why_not(rule, pieces, currency="USD", is_first_order=first)
        return found[0] if found else None

    def test_minimums_are_compared_before_discounts_and_include_themselves(self) -> None:
        rule = percent_off(1000, minimum_subtotal=usd("20.00"))
        assert self.reason(rule, make_piece("19.99")) is CouponReason.MINIMUM_NOT_MET
        assert self.reason(rule, make_piece("20.00")) is None
        assert self.reason(rule, make_piece("10.00"), make_piece("10.00")) is None

    def test_minimum_quantity_counts_eligible_pieces(self) -> None:
        rule = percent_off(1000, minimum_quantity=3, category_ids=[BOOKS])
        book = make_piece(quantity=2, category_ids=(BOOKS,))
        assert self.reason(rule, book, make_piece(quantity=5)) is CouponReason.MINIMUM_NOT_MET
        assert self.reason(rule, book, make_piece(category_ids=(BOOKS,))) is None

    def test_first_order_only(self) -> None:
        rule = percent_off(1000, is_first_order_only=True)
        assert self.reason(rule, make_piece()) is CouponReason.FIRST_ORDER_ONLY
        assert self.reason(rule, make_piece(), first=True) is None

    def test_nothing_eligible(self) -> None:
        assert self.reason(percent_off(1000, category_ids=[BOOKS]), make_piece()) is CouponReason.NOT_ELIGIBLE
        assert self.reason(percent_off(1000)) is CouponReason.NOT_ELIGIBLE

    def test_x_09_money_in_another_currency(self) -> None:
        euros = Money.of("5.00", "EUR")
        for rule in (
            percent_off(1000, maximum_discount=euros),
            percent_off(1000, minimum_subtotal=euros),
            free_shipping(maximum_discount=euros),
        ):
            assert self.reason(rule, make_piece()) is CouponReason.WRONG_CURRENCY


def stacked(*offers: Discount, price: str = "100.00", shipping: int = 500) -> Stacked:
    return cheapest(
        [make_piece(price)],
        currency="USD",
        promotions=[offer for offer in offers if offer.promotion_id],
        coupons=[offer for offer in offers if offer.coupon_id],
        carriage=Carriage("post", "Post", shipping),
        taxes=TaxTable("nowhere"),
    )


def promotion(rule: DiscountRule, *, alone: bool = False) -> Discount:
    key = PydanticObjectId()
    return Discount(f"promotion:{key}", "A promotion", rule, promotion_id=key, stands_alone=alone)


def coupon(rule: DiscountRule, *, alone: bool = False) -> Discount:
    return Discount("coupon:SAVE", "A coupon", rule, coupon_id=PydanticObjectId(), stands_alone=alone)


class TestStacking:
    def test_each_is_taken_from_what_the_earlier_left(self) -> None:
        found = stacked(promotion(percent_off(1000)), promotion(percent_off(1000)), coupon(amount_off("1.00")))
        assert [applied.amount for applied in found.quote.discounts] == [usd("10.00"), usd("9.00"), usd("1.00")]
        assert (found.quote.totals.total, found.left_over) == (usd("85.00"), {})

    def test_an_exclusive_promotion_is_taken_alone_where_that_is_cheaper(self) -> None:
        alone = promotion(percent_off(3000), alone=True)
        code = coupon(amount_off("5.00"))
        found = stacked(promotion(percent_off(1000)), alone, code)
        assert [applied.rule for applied in found.quote.discounts] == [alone.name]
        assert found.left_over == {code.coupon_id: CouponReason.NOT_COMBINABLE}

    def test_an_exclusive_promotion_is_left_where_the_others_are_cheaper(self) -> None:
        found = stacked(promotion(percent_off(1000)), promotion(percent_off(1000), alone=True), coupon(amount_off("5.00")))
        assert (found.quote.totals.discount, found.left_over) == (usd("15.00"), {})

    def test_a_coupon_that_does_not_combine_replaces_what_is_dearer(self) -> None:
        code = coupon(percent_off(2000), alone=True)
        found = stacked(promotion(percent_off(1000)), code)
        assert ([applied.rule for applied in found.quote.discounts], found.left_over) == ([code.name], {})

    def test_a_coupon_that_does_not_combine_is_left_where_the_rest_is_as_cheap(self) -> None:
        """Nobody uses a code up for what they get without it."""
        code = coupon(percent_off(1000), alone=True)
        found = stacked(promotion(percent_off(1000)), code)
        assert found.left_over == {code.coupon_id: CouponReason.NOT_COMBINABLE}
        assert [applied.promotion_id is not None for applied in found.quote.discounts] == [True]

    def test_between_equals_the_one_without_a_coupon_is_taken(self) -> None:
        code = coupon(amount_off("10.00"))
        found = stacked(code, promotion(amount_off("10.00"), alone=True))
        assert found.left_over == {code.coupon_id: CouponReason.NOT_COMBINABLE}

    def test_a_coupon_that_takes_nothing_is_not_used(self) -> None:
        code = coupon(free_shipping())
        assert stacked(code, shipping=0).left_over == {code.coupon_id: CouponReason.NOT_ELIGIBLE}
        code = coupon(amount_off("5.00"))
        assert stacked(promotion(percent_off(10_000)), code).left_over == {code.coupon_id: CouponReason.NOT_ELIGIBLE}


@pytest.mark.parametrize(("rate", "text"), [(1000, "10 %"), (1250, "12.5 %"), (10_000, "100 %"), (1, "0.01 %"), (0, "0 %")])
def test_rates_are_shown_without_trailing_zeros(rate: int, text: str) -> None:
    assert percent(rate) == text
