"""Prices: what a set of lines comes to, and which rule gave every cent of it.

First the lines, then what is taken off them, then the shipping and what is taken off that, then the tax on what is left. All of
it is whole minor units; a share is rounded half-up, once per line and rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from models.database import Session
from models.ecommerce.coupons import CouponProblem
from models.ecommerce.pricing import Quote
from services.ecommerce.discounts import Discount
from services.ecommerce.pieces import Piece, is_shipped
from services.ecommerce.shipping import NO_SHIPPING, Carriage, default_carriage
from services.ecommerce.taxes import default_taxes
from services.ecommerce.totals import total_up
from services.settings import Settings

__all__ = ["Piece", "Priced", "PricingRequest", "PricingService"]


@dataclass(frozen=True, slots=True)
class PricingRequest:
    """What is to be priced and what is known about the buyer.

    Without `customer_key` no limit per customer is looked at, without `country` taxes and shipping are those of the settings.
    `shipping_method` is a code of `ShippingService.list_methods`; None is the first that is offered.
    """

    pieces: Sequence[Piece]
    currency: str
    coupon_codes: Sequence[str] = ()
    customer_key: str | None = None
    is_first_order: bool = False
    country: str | None = None
    state: str = ""
    shipping_method: str | None = None


@dataclass(frozen=True, slots=True)
class Priced:
    """The quote, and the codes that took no part in it, each with its reason."""

    quote: Quote
    problems: list[CouponProblem]


class PricingService:
    @staticmethod
    async def quote(
        request: PricingRequest,
        *,
        settings: Settings,
        now: datetime | None = None,
        session: Session | None = None,
        strict: bool = False,
    ) -> Priced:
        """What the lines come to."""
        discounts: list[Discount] = []
        carriage: Carriage = NO_SHIPPING
        if is_shipped(request.pieces):
            carriage = default_carriage(request.pieces, currency=request.currency, settings=settings)
        taxes = default_taxes(settings)
        quote = total_up(request.pieces, currency=request.currency, discounts=discounts, carriage=carriage, taxes=taxes)
        return Priced(quote, [])
