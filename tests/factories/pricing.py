"""Lines to price, coupons, promotions and zones."""

from itertools import count
from typing import Any

from beanie import PydanticObjectId

from models.ecommerce.coupons import Coupon, DiscountKind, DiscountRule, Promotion
from models.ecommerce.shipping import ShippingMethod, ShippingZone
from models.ecommerce.taxes import TaxRate, TaxZone
from models.money import Money
from services.ecommerce.pieces import Piece
from services.ecommerce.pricing import PricingRequest

_numbers = count(1)


def usd(text: str) -> Money:
    return Money.of(text, "USD")


def make_piece(price: str = "10.00", quantity: int = 1, *, currency: str = "USD", **over: Any) -> Piece:
    fields: dict[str, Any] = {"product_id": PydanticObjectId(), "variant_id": PydanticObjectId(), "category_ids": (), **over}
    return Piece(unit_price=Money.of(price, currency), quantity=quantity, **fields)


def request_of(*pieces: Piece, **over: Any) -> PricingRequest:
    return PricingRequest(**{"pieces": pieces, "currency": "USD", **over})


def percent_off(rate: int, **over: Any) -> DiscountRule:
    return DiscountRule(kind=DiscountKind.PERCENTAGE, rate=rate, **over)


def amount_off(text: str, **over: Any) -> DiscountRule:
    return DiscountRule(kind=DiscountKind.FIXED_AMOUNT, amount=usd(text), **over)


def free_shipping(**over: Any) -> DiscountRule:
    return DiscountRule(kind=DiscountKind.FREE_SHIPPING, **over)


def buy_get(buy: int, get: int, **over: Any) -> DiscountRule:
    return DiscountRule(kind=DiscountKind.BUY_X_GET_Y, buy_quantity=buy, get_quantity=get, **over)


def make_coupon(**over: Any) -> Coupon:
    return Coupon(**{"code": f"CODE{next(_numbers)}", "rule": percent_off(1000), **over})


async def create_coupon(**over: Any) -> Coupon:
    return await make_coupon(**over).store()


def make_promotion(**over: Any) -> Promotion:
    return Promotion(**{"name": f"Promotion {next(_numbers)}", "rule": percent_off(1000), **over})


async def create_promotion(**over: Any) -> Promotion:
    return await make_promotion(**over).store()


def make_tax_zone(**over: Any) -> TaxZone:
    number = next(_numbers)
    return TaxZone(**{"code": f"T{number}", "name": f"Taxes {number}", "rates": [TaxRate(rate=2000)], **over})


async def create_tax_zone(**over: Any) -> TaxZone:
    return await make_tax_zone(**over).store()


def make_shipping_zone(**over: Any) -> ShippingZone:
    number = next(_numbers)
    methods = [ShippingMethod(code="post", name="Post", rate=usd("5.00"))]
    return ShippingZone(**{"code": f"S{number}", "name": f"Shipping {number}", "methods": methods, **over})


async def create_shipping_zone(**over: Any) -> ShippingZone:
    return await make_shipping_zone(**over).store()
