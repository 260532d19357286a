"""Discounts as plain computation: what one rule takes off which line, and why it would not apply.

The policy, for everything that can be combined:

* Promotions and coupons are taken one after the other: promotions first, those of a higher priority before others, then the
  older; coupons in the order in which their codes were given. Each is computed on what the earlier ones left of a line, so no
  line falls below zero and percentages never add up.
* An exclusive promotion, and a coupon that is not combinable, stand alone. The lines are priced once with everything that can be
  combined and once with each that stands alone, and the buyer gets the cheapest; between equals, the one that needs no coupon,
  and then the one with the higher priority.
* Minimums are compared with the lines as they are before any discount; digital goods count like others.
* A coupon that would take nothing off is refused: nobody uses a code up for nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from beanie import PydanticObjectId

from models.ecommerce.coupons import CouponReason, DiscountKind, DiscountRule
from models.money import BASIS_POINTS, allocate, decimal_text, half_up
from services.ecommerce.pieces import Piece, subtotal_of


@dataclass(frozen=True, slots=True)
class Discount:
    """A rule at work: whose it is and what people call it."""

    name: str  # `coupon:SAVE10`, `promotion:<id>`
    label: str
    rule: DiscountRule
    coupon_id: PydanticObjectId | None = None
    promotion_id: PydanticObjectId | None = None
    stands_alone: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """What a discount takes off one line, or off the shipping (None); minor units, above zero."""

    line: int | None
    amount: int
    detail: str


def is_eligible(rule: DiscountRule, piece: Piece) -> bool:
    """Whether the rule is about this line: about its product, a category it lies in or below, or about everything."""
    if not rule.product_ids and not rule.category_ids:
        return True
    return piece.product_id in rule.product_ids or not set(rule.category_ids).isdisjoint(piece.category_ids)


def why_not(
    rule: DiscountRule, pieces: Sequence[Piece], *, currency: str, is_first_order: bool
) -> tuple[CouponReason, str] | None:
    """Why the rule does not apply to these lines, with a sentence for the buyer; None when it does."""
    if rule.currency not in (None, currency):
        return CouponReason.WRONG_CURRENCY, f"This is for purchases in {rule.currency}."
    if rule.is_first_order_only and not is_first_order:
        return CouponReason.FIRST_ORDER_ONLY, "This is for a first order."
    eligible = [piece for piece in pieces if is_eligible(rule, piece)]
    if not eligible:
        return CouponReason.NOT_ELIGIBLE, "Nothing here is part of this offer."
    if rule.minimum_subtotal is not None and subtotal_of(pieces) < rule.minimum_subtotal.amount:
        return CouponReason.MINIMUM_NOT_MET, f"This is for purchases of {rule.minimum_subtotal} or more."
    if rule.minimum_quantity is not None and sum(piece.quantity for piece in eligible) < rule.minimum_quantity:
        return CouponReason.MINIMUM_NOT_MET, f"This is for {rule.minimum_quantity} pieces or more."
    return None


def take_off(
    rule: DiscountRule, pieces: Sequence[Piece], *, currency: str, left: Sequence[int], shipping_left: int
) -> list[Share]:
    """What the rule takes off what is left of the lines and of the shipping, in the order of the lines; nothing of zero."""
    eligible = [line for line, piece in enumerate(pieces) if is_eligible(rule, piece)]
    if rule.kind is DiscountKind.FREE_SHIPPING:
        shares = _free_shipping(rule, shipping_left) if eligible else []
    elif not sum(left[line] for line in eligible):
        shares = []
    elif rule.kind is DiscountKind.FIXED_AMOUNT:
        shares = _fixed_amount(rule, eligible, left, currency)
    elif rule.kind is DiscountKind.PERCENTAGE:
        shares = _capped(rule, [_percentage(rule, line, left[line], currency) for line in eligible])
    else:
        shares = _capped(rule, _buy_x_get_y(rule, eligible, pieces, left))
    return [share for share in shares if share.amount]


def percent(rate: int) -> str:
    """Basis points for people to read: `10 %`, `12.5 %`."""
    return f"{plain(Decimal(rate) / 100)} %"


def plain(value: Decimal) -> str:
    """A decimal without trailing zeros or an exponent."""
    return f"{value.normalize():f}"


def _free_shipping(rule: DiscountRule, shipping_left: int) -> list[Share]:
    if rule.maximum_discount is not None and rule.maximum_discount.amount < shipping_left:
        return [Share(None, rule.maximum_discount.amount, f"shipping up to {rule.maximum_discount}")]
    return [Share(None, shipping_left, "free shipping")]


def _percentage(rule: DiscountRule, line: int, base: int, currency: str) -> Share:
    amount = half_up(base * rule.share, BASIS_POINTS)
    exact = Decimal(decimal_text(base, currency)) * rule.share / BASIS_POINTS
    detail = f"{percent(rule.share)} of {decimal_text(base, currency)} = {plain(exact)}, half-up {decimal_text(amount, currency)}"
    return Share(line, amount, detail)


def _fixed_amount(rule: DiscountRule, eligible: Sequence[int], left: Sequence[int], currency: str) -> list[Share]:
    """The amount, or all that is left where that is less, in proportion to what is left of each line."""
    assert rule.amount is not None
    whole = min(rule.amount.amount, sum(left[line] for line in eligible))
    detail = f"part of {decimal_text(whole, currency)} in proportion to the lines"
    parts = allocate(whole, [left[line] for line in eligible])
    return [Share(line, part, detail) for line, part in zip(eligible, parts, strict=True)]


def _buy_x_get_y(rule: DiscountRule, eligible: Sequence[int], pieces: Sequence[Piece], left: Sequence[int]) -> list[Share]:
    """Of the pieces from dear to cheap, the last `get_quantity` of every full group of `buy_quantity + get_quantity`."""
    assert rule.buy_quantity is not None
    assert rule.get_quantity is not None
    group = rule.buy_quantity + rule.get_quantity
    full = sum(pieces[line].quantity for line in eligible) // group * group
    found: dict[int, Share] = {}
    begin = 0
    for line in sorted(eligible, key=lambda at: (-pieces[at].unit_price.amount, at)):
        quantity = pieces[line].quantity
        end = min(begin + quantity, full)
        count = _given(end, rule.buy_quantity, group) - _given(min(begin, full), rule.buy_quantity, group)
        # In proportion to what is left, so that a piece that an earlier rule made cheaper is not given back at its old price.
        amount = half_up(left[line] * count * rule.share, quantity * BASIS_POINTS)
        detail = f"{count} of {quantity} at {percent(rule.share)} off: buy {rule.buy_quantity}, get {rule.get_quantity}"
        found[line] = Share(line, amount, detail)
        begin += quantity
    return [found[line] for line in eligible]


def _given(pieces: int, bought: int, group: int) -> int:
    """How many of the first `pieces` in the row of all pieces are given."""
    return pieces // group * (group - bought) + max(0, pieces % group - bought)


def _capped(rule: DiscountRule, shares: list[Share]) -> list[Share]:
    """The shares, or their parts of `maximum_discount` where they come to more."""
    whole = sum(share.amount for share in shares)
    if rule.maximum_discount is None or whole <= rule.maximum_discount.amount:
        return shares
    parts = allocate(rule.maximum_discount.amount, [share.amount for share in shares])
    return [
        Share(share.line, part, f"{share.detail}; part of {rule.maximum_discount} at most")
        for share, part in zip(shares, parts, strict=True)
    ]
