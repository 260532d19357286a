"""Stacking as plain computation: which of the discounts that apply are combined, and which codes are left over.

The policy is written down in `services/ecommerce/discounts.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from beanie import PydanticObjectId

from models.ecommerce.coupons import CouponReason
from models.ecommerce.pricing import Quote
from services.ecommerce.discounts import Discount
from services.ecommerce.pieces import Piece
from services.ecommerce.shipping import Carriage
from services.ecommerce.taxes import TaxTable
from services.ecommerce.totals import total_up


@dataclass(frozen=True, slots=True)
class Stacked:
    """The cheapest of the quotes, and the coupons that have no part in it."""

    quote: Quote
    left_over: dict[PydanticObjectId, CouponReason]


def cheapest(
    pieces: Sequence[Piece],
    *,
    currency: str,
    promotions: Sequence[Discount],
    coupons: Sequence[Discount],
    carriage: Carriage,
    taxes: TaxTable,
) -> Stacked:
    """The lines priced in every way the policy allows, the cheapest for the buyer taken."""
    offers = [*promotions, *coupons]
    plans = [[offer for offer in offers if not offer.stands_alone], *([offer] for offer in offers if offer.stands_alone)]
    quotes = [total_up(pieces, currency=currency, discounts=plan, carriage=carriage, taxes=taxes) for plan in plans]
    best = min(range(len(plans)), key=lambda at: (quotes[at].totals.total.amount, len(_coupons_of(quotes[at])), at))
    used = _coupons_of(quotes[best])
    effective = {coupon_id for quote in quotes for coupon_id in _coupons_of(quote)}
    left_over = {
        coupon.coupon_id: CouponReason.NOT_ELIGIBLE if coupon.coupon_id not in effective else CouponReason.NOT_COMBINABLE
        for coupon in coupons
        if coupon.coupon_id is not None and coupon.coupon_id not in used
    }
    return Stacked(quotes[best], left_over)


def _coupons_of(quote: Quote) -> set[PydanticObjectId]:
    """Those that took something off."""
    return {discount.coupon_id for discount in quote.discounts if discount.coupon_id is not None}
