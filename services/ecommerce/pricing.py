"""Prices: what a set of lines comes to for somebody somewhere, and which rule gave every cent of it.

First the lines, then what is taken off them, then the shipping and what is taken off that, then the tax on what is left. All of
it is whole minor units; a share is rounded half-up, once per line and rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from models.base import now as present
from models.database import Session
from models.ecommerce.coupons import Coupon, CouponProblem, CouponReason, Promotion
from models.ecommerce.pricing import Quote
from models.ecommerce.shipping import ShippingZone
from models.ecommerce.taxes import TaxZone
from models.events import Event, EventType
from services.ecommerce.couponreasons import error_of, problem_of
from services.ecommerce.coupons import find_coupons, normal_code
from services.ecommerce.discounts import Discount, why_not
from services.ecommerce.pieces import Piece, is_shipped
from services.ecommerce.promotions import PromotionService, forget_promotions, held_promotions
from services.ecommerce.redemptions import RedemptionService
from services.ecommerce.shipping import (
    NO_SHIPPING,
    SHIPPING_ZONES,
    Carriage,
    ShippingMethodNotOfferedError,
    ShippingService,
)
from services.ecommerce.stacking import cheapest
from services.ecommerce.taxes import TAX_ZONES, TaxService
from services.events import Consumer
from services.settings import Settings

__all__ = ["PROMOTION_CONSUMER", "Piece", "Priced", "PricingRequest", "PricingService"]


@dataclass(frozen=True, slots=True)
class PricingRequest:
    """What is to be priced and what is known about the buyer.

    Without `customer_key` no limit per customer is looked at; without `country` only zones of everywhere, and then the settings,
    say what taxes and shipping are. `shipping_method` is a code of `ShippingService.list_shipping_methods`; None is the first.
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
    """The quote, the codes that took no part in it, and the ways in which the parcel can go.

    Where it must be shipped and `carriages` is empty it cannot go there, and the quote holds no shipping.
    """

    quote: Quote
    problems: list[CouponProblem]
    carriages: list[Carriage]
    is_shipped: bool


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
        """What the lines come to, at the least the stacking policy allows.

        A code of no use is left out and told as a problem, and a way of shipping that is not offered becomes the first that is;
        with `strict`, as for a purchase, they raise a CouponNotUsableError (for the first such code) and
        ShippingMethodNotOfferedError. Raises CurrencyMismatchError for lines in another currency.

        Commands: one for the codes, one for the customer's uses of them. Promotions and the tables of taxes and shipping are
        kept, and cost one each when they are not. Within a session, as a checkout has one, one more makes sure that what is kept
        is what is stored: nothing old makes a price that is paid.
        """
        now = now or present()
        if session is not None:
            await _forget_old_rules(session)
        carriages: list[Carriage] = []
        carriage = NO_SHIPPING
        if is_shipped(request.pieces):
            carriages = await ShippingService.find_carriages(
                request.pieces, currency=request.currency, country=request.country, state=request.state, settings=settings
            )
            carriage = _chosen(carriages, request.shipping_method, strict=strict)
        promotions = await PromotionService.list_applicable(now=now)
        usable, problems = await _usable_coupons(request, now=now, session=session)
        stacked = cheapest(
            request.pieces,
            currency=request.currency,
            promotions=[_automatic(promotion) for promotion in promotions if _applies(promotion, request)],
            coupons=[_by_code(coupon) for coupon in usable],
            carriage=carriage,
            taxes=await TaxService.find_taxes(request.country, request.state, settings=settings),
        )
        problems |= {
            coupon.code: problem_of(coupon.code, stacked.left_over[coupon.id])
            for coupon in usable
            if coupon.id in stacked.left_over
        }
        told = [problems[code] for code in _codes(request) if code in problems]
        if strict and told:
            raise error_of(told[0])
        return Priced(stacked.quote, told, carriages, is_shipped(request.pieces))


def _chosen(carriages: Sequence[Carriage], method: str | None, *, strict: bool) -> Carriage:
    """The way of this code, or the first where none is asked for. Raises ShippingMethodNotOfferedError when strict."""
    found = next((carriage for carriage in carriages if method in (None, carriage.code)), None)
    if found is None and strict:
        raise ShippingMethodNotOfferedError(method if carriages else None)
    return found or next(iter(carriages), NO_SHIPPING)


def _codes(request: PricingRequest) -> list[str]:
    """The codes as they are kept, each once, in the order given."""
    return list(dict.fromkeys(normal_code(code) for code in request.coupon_codes))


def _applies(promotion: Promotion, request: PricingRequest) -> bool:
    return why_not(promotion.rule, request.pieces, currency=request.currency, is_first_order=request.is_first_order) is None


def _automatic(promotion: Promotion) -> Discount:
    return Discount(
        name=f"promotion:{promotion.id}",
        label=promotion.name,
        rule=promotion.rule,
        promotion_id=promotion.id,
        stands_alone=promotion.is_exclusive,
    )


def _by_code(coupon: Coupon) -> Discount:
    return Discount(
        name=f"coupon:{coupon.code}",
        label=coupon.name or coupon.code,
        rule=coupon.rule,
        coupon_id=coupon.id,
        stands_alone=not coupon.is_combinable,
    )


async def _usable_coupons(
    request: PricingRequest, *, now: datetime, session: Session | None
) -> tuple[list[Coupon], dict[str, CouponProblem]]:
    """The coupons that could take part, in the order of their codes, and what is wrong with the other codes."""
    codes = _codes(request)
    if not codes:
        return [], {}
    coupons = await find_coupons(codes, session=session)
    problems = {code: problem_of(code, CouponReason.UNKNOWN) for code in codes if code not in coupons}
    for code, coupon in coupons.items():
        problem = _problem_with(coupon, request, now)
        if problem is not None:
            problems[code] = problem
    limited = [
        coupon.id for code, coupon in coupons.items() if code not in problems and coupon.usage_limit_per_customer is not None
    ]
    if limited and request.customer_key is not None:
        uses = await RedemptionService.count_uses(limited, customer_key=request.customer_key, session=session)
        for code, coupon in coupons.items():
            if coupon.usage_limit_per_customer is not None and uses.get(coupon.id, 0) >= coupon.usage_limit_per_customer:
                problems.setdefault(code, problem_of(code, CouponReason.USED_BY_CUSTOMER))
    return [coupons[code] for code in codes if code not in problems], problems


def _problem_with(coupon: Coupon, request: PricingRequest, now: datetime) -> CouponProblem | None:
    reason = coupon.why_invalid(now)
    if reason is not None:
        return problem_of(coupon.code, reason)
    refusal = why_not(coupon.rule, request.pieces, currency=request.currency, is_first_order=request.is_first_order)
    return None if refusal is None else problem_of(coupon.code, *refusal)


async def _forget_old_rules(session: Session) -> None:
    """Have promotions, taxes and shipping read again unless exactly those that are kept are stored, unchanged."""
    active = {"$match": {"is_active": True}}
    mark = {"$project": {"revision": 1}}
    others = [{"$unionWith": {"coll": zone.collection().name, "pipeline": [active, mark]}} for zone in (TaxZone, ShippingZone)]
    stored = await Promotion.aggregate_rows([active, mark, *others], session=session)
    held = (*held_promotions(), *TAX_ZONES.held, *SHIPPING_ZONES.held)
    if {(rule.id, rule.revision) for rule in held} != {(row["_id"], row["revision"]) for row in stored}:
        forget_promotions()
        TAX_ZONES.forget()
        SHIPPING_ZONES.forget()


async def _forget_changed(event: Event) -> None:
    kind = event.subject.partition(":")[0]
    if kind == "promotion":
        forget_promotions()
    elif kind == "tax_zone":
        TAX_ZONES.forget()
    elif kind == "shipping_zone":
        SHIPPING_ZONES.forget()


PROMOTION_CONSUMER = Consumer("promotions", {EventType.PROMOTION_CHANGED}, _forget_changed)
"""Forgets promotions, taxes and shipping tables that another process changed. Coupons are never kept."""
