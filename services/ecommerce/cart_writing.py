"""How carts are changed: one draft per transaction, made of the owner's cart and the guest's that joins it."""

import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from beanie import PydanticObjectId

from models.base import now as present
from models.database import DuplicateKeyError, Session, run_transaction, start_again
from models.ecommerce.carts import Cart, CartLine
from services.errors import RuleViolatedError, require_revision
from services.settings import Settings
from services.users.permissions import Viewer

MAX_LINES = 100
MAX_QUANTITY = 10_000  # of one line
MAX_CODES = 10
KEPT_FOR = timedelta(days=30)

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


class CartFullError(RuleViolatedError):
    """As many lines, or as many pieces of one thing, as a cart can hold."""

    code = "cart_full"

    def __init__(self, detail: str = f"A cart holds {MAX_LINES} lines of {MAX_QUANTITY} pieces.") -> None:
        super().__init__(detail)


class CartCurrencyError(RuleViolatedError):
    """Things in another currency than the one the cart began with."""

    code = "cart_currency"

    def __init__(self, wanted: str, currency: str) -> None:
        super().__init__(f"The cart is in {currency}: empty it to buy in {wanted}.")
        self.wanted = wanted
        self.currency = currency


@dataclass(frozen=True, slots=True)
class CartHolder:
    """Whose cart a request is about: the person's who is signed in, else the one that is found by a guest's token.

    When both are there, the guest's cart joins the person's with the next change, and is shown in it until then.
    """

    viewer: Viewer | None
    token: str | None = None

    @property
    def owner(self) -> str | None:
        """None for a guest who has no cart yet."""
        return self.guest if self.viewer is None else user_owner(self.viewer.user_id)

    @property
    def guest(self) -> str | None:
        """The guest's cart that the token stands for; None for a token that cannot be one of ours."""
        return guest_owner(self.token) if self.token is not None and _TOKEN.fullmatch(self.token) else None

    @property
    def owners(self) -> list[str]:
        return [owner for owner in dict.fromkeys((self.owner, self.guest)) if owner is not None]


def user_owner(user_id: PydanticObjectId) -> str:
    return f"user:{user_id}"


def guest_owner(token: str) -> str:
    """By a digest of the token: the token itself is stored nowhere."""
    return f"guest:{hashlib.sha256(token.encode()).hexdigest()}"


@dataclass(slots=True)
class CartDraft:
    """What a cart is to become."""

    currency: str
    lines: list[CartLine] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)

    def line_of(self, variant_id: PydanticObjectId) -> CartLine | None:
        return next((line for line in self.lines if line.variant_id == variant_id), None)

    def put(self, line: CartLine) -> None:
        """The line in the place of the one of its variant, or as the last. Raises CartFullError."""
        if line.quantity > MAX_QUANTITY:
            raise CartFullError
        for at, known in enumerate(self.lines):
            if known.variant_id == line.variant_id:
                self.lines[at] = line
                return
        if len(self.lines) >= MAX_LINES:
            raise CartFullError
        self.lines.append(line)

    def remove(self, variant_id: PydanticObjectId) -> bool:
        """True when there was such a line. An empty cart keeps no codes."""
        left = [line for line in self.lines if line.variant_id != variant_id]
        removed = len(left) < len(self.lines)
        self.lines = left
        if not left:
            self.codes = []
        return removed

    def join(self, guest: Cart) -> None:
        """Take over what lies in a guest's cart: quantities add up, codes come together, each up to its limit.

        An empty cart takes the guest's currency. In a cart of another currency the lines are priced anew when it is read.
        """
        if not self.lines:
            self.currency = guest.currency
        for line in guest.lines:
            own = self.line_of(line.variant_id)
            if own is not None:
                quantity = min(MAX_QUANTITY, own.quantity + line.quantity)
                self.put(own.model_copy(update={"quantity": quantity}))
            elif len(self.lines) < MAX_LINES:
                self.put(line)
        self.codes = list(dict.fromkeys([*self.codes, *guest.coupon_codes]))[:MAX_CODES]


@dataclass(frozen=True, slots=True)
class StoredCarts:
    """The carts of a holder as they are stored: rows of carts whose time is over count as empty."""

    own: Cart | None
    guest: Cart | None  # one that joins the own
    now: datetime

    @property
    def revision(self) -> int:
        """0 while the holder has no cart."""
        return self.own.revision if self.own is not None and self.own.expires_at > self.now else 0

    def draft(self, currency: str) -> CartDraft:
        """What is in the cart, the guest's joined to it. `currency` is that of one nothing was ever put into."""
        draft = CartDraft(currency)
        if self.own is not None and self.revision:
            draft = CartDraft(self.own.currency, list(self.own.lines), list(self.own.coupon_codes))
        if self.guest is not None:
            draft.join(self.guest)
        return draft


def stored_carts(holder: CartHolder, carts: Sequence[Cart], *, now: datetime) -> StoredCarts:
    """Which of the carts found for `holder.owners` is which. A guest's that was merged is none any more."""
    by_owner = {cart.owner: cart for cart in carts if cart.merged_into is None}
    own = by_owner.get(holder.owner or "")
    guest = by_owner.get(holder.guest or "") if holder.viewer is not None else None
    joins = guest is not None and guest.expires_at > now and bool(guest.lines)
    return StoredCarts(own, guest if joins else None, now)


async def load_carts(holder: CartHolder, *, now: datetime, session: Session | None = None) -> StoredCarts:
    """One command."""
    rows = await Cart.find_rows({"owner": {"$in": holder.owners}}, session=session) if holder.owners else []
    return stored_carts(holder, [Cart.from_row(row) for row in rows], now=now)


@dataclass(frozen=True, slots=True)
class CartChange:
    """The cart after a change, None when there is still none, and the token of a guest's new one."""

    cart: Cart | None
    new_token: str | None = None


Edit = Callable[[CartDraft], Awaitable[None]]


async def change_cart(
    holder: CartHolder, edit: Edit, *, now: datetime, settings: Settings, revision: int | None = None
) -> CartChange:
    """Let `edit` change the draft of the holder's cart and store what it became, all in one transaction.

    A guest's cart joins first; a cart is made for the first thing put into it. Three commands besides those of `edit`. Raises
    PreconditionError when `revision` is not the cart's any more, and what `edit` raises; then nothing is changed.
    """
    new_token = secrets.token_urlsafe(32) if holder.viewer is None else None

    async def work(session: Session) -> CartChange:
        stored = await load_carts(holder, now=now, session=session)
        require_revision(revision, stored.revision)
        draft, before = stored.draft(settings.currency), stored.draft(settings.currency)
        await edit(draft)
        if stored.guest is None and draft == before:
            return CartChange(stored.own if stored.revision else None)
        fields = _content(stored, draft)
        if stored.own is not None and (stored.revision or holder.viewer is not None):
            cart, token = await write_cart(stored.own, fields, session=session), None
        else:  # a guest whose cart is over begins with a new token
            cart, token = await _make_cart(holder, fields, token=new_token, session=session), new_token
        if stored.guest is not None:
            await _close(stored.guest, cart.id, session=session)
        return CartChange(cart, token)

    return await run_transaction(work, hot=[f"cart {owner}" for owner in holder.owners])


async def write_cart(cart: Cart, fields: Mapping[str, Any], *, session: Session) -> Cart:
    """The cart after setting these fields, if nobody changed it since it was read; else the transaction starts again."""
    query = {"_id": cart.id, "revision": cart.revision}
    fields = {**fields, "updated_at": present()}
    if not await Cart.change_row(query, {"$set": fields, "$inc": {"revision": 1}}, session=session):
        raise start_again("the cart was changed by another transaction")
    return Cart.from_row({**cart.row(), **fields, "revision": cart.revision + 1})


async def _make_cart(holder: CartHolder, fields: dict[str, Any], *, token: str | None, session: Session) -> Cart:
    owner = holder.owner if token is None else guest_owner(token)
    assert owner is not None
    user_id = None if holder.viewer is None else holder.viewer.user_id
    cart = Cart(owner=owner, user_id=user_id, **fields)
    try:
        return await cart.store(session=session)
    except DuplicateKeyError as error:
        raise start_again("the cart was made by another transaction") from error


async def _close(guest: Cart, cart_id: PydanticObjectId, *, session: Session) -> None:
    """Leave the guest's cart empty, with word where its things went, so that it joins once and a checkout of it finds them."""
    fields: dict[str, Any] = {"lines": [], "coupon_codes": [], "idle_since": None, "abandoned_at": None, "merged_into": cart_id}
    await write_cart(guest, fields, session=session)


def _content(stored: StoredCarts, draft: CartDraft) -> dict[str, Any]:
    """What a change by its owner leaves in a cart: it lives on for 30 days and is idle from now."""
    return {
        "currency": draft.currency,
        "lines": [line.model_dump() for line in draft.lines],
        "coupon_codes": draft.codes,
        "active_at": stored.now,
        "expires_at": stored.now + KEPT_FOR,
        "idle_since": stored.now if draft.lines else None,
        "abandoned_at": None,
        # Bought later, the cart is recovered from its last idle spell; one that began anew has none.
        "abandonment_id": (stored.own.abandonment_id if stored.own is not None and stored.revision else None)
        or (stored.guest.abandonment_id if stored.guest is not None else None),
    }
