"""Carts: what is put into them and taken out, by whom, and how a guest's becomes a person's."""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from beanie import PydanticObjectId

from models.base import now as present
from models.database import Session, start_again
from models.ecommerce.carts import Cart, CartAbandonment, CartLine
from models.events import EventType
from services.errors import RuleViolatedError
from services.events import EventService
from services.users.permissions import Viewer


class CartEmptyError(RuleViolatedError):
    """There is nothing in the cart that could be ordered."""

    code = "cart_empty"

    def __init__(self) -> None:
        super().__init__("The cart is empty.")


def new_cart_token() -> str:
    """What a guest's cart is found by; only its digest is stored."""
    return secrets.token_urlsafe(32)


def user_owner(user_id: PydanticObjectId) -> str:
    return f"user:{user_id}"


def guest_owner(token: str) -> str:
    return f"guest:{hashlib.sha256(token.encode()).hexdigest()}"


def cart_owner(viewer: Viewer | None, token: str | None) -> str | None:
    """Whose cart a request is about: the person's who is signed in, else the token's; None when there can be none yet."""
    if viewer is not None:
        return user_owner(viewer.user_id)
    return None if token is None else guest_owner(token)


class CartService:
    @staticmethod
    async def find_for_checkout(owner: str, *, session: Session | None = None, now: datetime | None = None) -> Cart:
        """The cart as it is stored, with something in it. One command. Raises CartEmptyError, also when there is no cart."""
        row = await Cart.find_row({"owner": owner}, session=session)
        if row is None or not row["lines"] or row["expires_at"] <= (now or present()):
            raise CartEmptyError
        return Cart.from_row(row)

    @staticmethod
    async def take_out(cart: Cart, *, session: Session, now: datetime) -> None:
        """Remove what was ordered, the lines and quantities of `cart` as it was read, within the order's transaction.

        What its owner put in since stays, also when the cart was merged into another one meanwhile. A cart that was called
        abandoned counts as recovered. Two commands; raises the error that starts the transaction again when somebody changes
        the cart at this very moment.
        """
        current = await _present_cart(cart, session=session)
        if current is None:
            return
        ordered = {line.variant_id: line.quantity for line in cart.lines}
        lines = [
            line.model_copy(update={"quantity": left})
            for line in current.lines
            if (left := line.quantity - ordered.get(line.variant_id, 0)) > 0
        ]
        fields = {
            **cart_content(lines, [code for code in current.coupon_codes if lines and code not in cart.coupon_codes]),
            "active_at": now,
            "idle_since": now if lines else None,
            "abandoned_at": None,
            "abandonment_id": None,
        }
        await write_cart(current, fields, session=session)
        if current.abandonment_id is not None:
            await _recover(current, current.abandonment_id, session=session, now=now)


async def _present_cart(cart: Cart, *, session: Session) -> Cart | None:
    """The cart as it now is, or the one it was merged into; None when it is gone."""
    row = await Cart.find_row({"_id": cart.id}, session=session)
    if row is not None and row["merged_into"] is not None:
        row = await Cart.find_row({"_id": row["merged_into"]}, session=session)
    return None if row is None else Cart.from_row(row)


def cart_content(lines: list[CartLine], codes: list[str]) -> dict[str, Any]:
    return {"lines": [line.model_dump() for line in lines], "coupon_codes": codes}


async def write_cart(cart: Cart, fields: Mapping[str, Any], *, session: Session) -> Cart:
    """The cart after setting these fields, if nobody changed it since it was read; else the transaction starts again."""
    query = {"_id": cart.id, "revision": cart.revision}
    changed = await Cart.change(query, {"$set": fields, "$inc": {"revision": 1}}, session=session)
    if changed is None:
        raise start_again("the cart was changed by another transaction")
    return changed


async def _recover(cart: Cart, abandonment_id: PydanticObjectId, *, session: Session, now: datetime) -> None:
    recovered = await CartAbandonment.change(
        {"_id": abandonment_id, "recovered_at": None}, {"$set": {"recovered_at": now}}, session=session
    )
    if recovered is not None:
        payload = {"abandonment_id": str(abandonment_id), "user_id": str(cart.user_id) if cart.user_id else None}
        await EventService.record(session, EventType.CART_RECOVERED, f"cart:{cart.id}", actor_id=cart.user_id, payload=payload)
