"""Coupons: which there are, how often they were used, and taking one out of use."""

from enum import StrEnum

from api.schemas.pricing import CouponUpdate
from api.web import formats
from api.web.admin.desk import ADMIN, Desk, Form, filled
from api.web.admin.layout import Action, Badge, Field, Page, Row, Table, Text, Value
from api.web.admin.views import Act, Group, Move, View
from models.base import now
from models.ecommerce.coupons import CouponRead, DiscountKind, DiscountRule
from models.money import Money
from services.ecommerce.coupons import CouponService
from services.users.permissions import Permission

_PATH = f"{ADMIN}/coupons"


class _Use(StrEnum):
    IN_USE = "in_use"
    OFF = "off"


async def _list(desk: Desk) -> Page:
    use, code = desk.choice("use", _Use), desk.asked("search", max_length=40)
    is_active = None if use is None else use is _Use.IN_USE
    found = await CouponService.list_coupons(desk.page, viewer=desk.viewer, code=code, is_active=is_active)
    columns = ["Code", "Name", "Gives", "Used", "At most", "From", "Until", "State", "Made"]
    return Page(
        title="Coupons",
        tabs=desk.tabs("use", _Use, use),
        path=desk.path,
        search=[Field("search", "Code", "search", code or "", max_length=40)],
        tables=[Table(_counted(found.total_count), columns, [_row(one) for one in found.items], "No such coupon.")],
        paging=desk.numbered(found.page, found.total_pages, use=use, search=code),
        note="Coupons are made by the API, alone or as a batch.",
    )


def _counted(count: int) -> str:
    return "1 coupon" if count == 1 else f"{count:,} coupons, newest first"


def _row(coupon: CouponRead) -> Row:
    cells: list[Value] = [
        coupon.code,
        Text(coupon.name) if coupon.name else None,
        _gift(coupon.rule),
        coupon.usage_count,
        coupon.usage_limit,
        coupon.starts_at,
        coupon.expires_at,
        _state(coupon),
        coupon.created_at,
    ]
    move, label = ("off", "Switch off") if coupon.is_active else ("on", "Switch on")
    read = {"revision": str(coupon.revision)}
    action = Action(f"{_PATH}/{coupon.id}/{move}", label, hidden=read, about=f"the code {coupon.code}")
    return Row(cells, [action])


def _state(coupon: CouponRead) -> Badge:
    if not coupon.is_active:
        return Badge("off", "bad")
    if coupon.expires_at is not None and coupon.expires_at <= now():
        return Badge("expired", "bad")
    if coupon.usage_limit is not None and coupon.usage_count >= coupon.usage_limit:
        return Badge("used up", "wait")
    return Badge("in use", "good")


def _gift(rule: DiscountRule) -> str:
    if rule.kind is DiscountKind.FREE_SHIPPING:
        gift = "free shipping"
    elif rule.kind is DiscountKind.BUY_X_GET_Y:
        pieces = (rule.buy_quantity or 0) + (rule.get_quantity or 0)
        gift = f"{formats.share(rule.share)} off {rule.get_quantity} of {pieces} pieces"
    elif rule.kind is DiscountKind.PERCENTAGE:
        gift = f"{formats.share(rule.share)} off"
    else:
        gift = f"{_money(rule.amount)} off"
    return f"{gift}, from {_money(rule.minimum_subtotal)}" if rule.minimum_subtotal else gift


def _money(amount: Money | None) -> str:
    return formats.MISSING if amount is None else formats.money(amount)


def _switch(*, is_active: bool) -> Act:
    async def act(desk: Desk, form: Form) -> None:
        changes = filled(CouponUpdate, {"is_active": is_active})
        await CouponService.update_coupon(desk.id(), changes, viewer=desk.viewer, revision=form.number("revision"))

    return act


COUPONS = View(
    "coupons",
    "Coupons",
    "codes that make things cheaper",
    Group.SHOP,
    Permission.MANAGE_PROMOTIONS,
    pages={"": _list},
    moves={
        "/{id}/off": Move(_switch(is_active=False), _list, "Nobody can use the code from now on; what was ordered stays."),
        "/{id}/on": Move(_switch(is_active=True), _list, "The code can be used again."),
    },
)
