"""Carts: what is put into them and taken out, and how a guest's becomes a person's."""

from dataclasses import dataclass
from datetime import datetime

from beanie import PydanticObjectId

from models.base import now as present
from models.database import Session, in_transaction, run_transaction, start_again
from models.ecommerce.cart_reads import CartRead
from models.ecommerce.carts import Cart, CartAbandonment, CartLine
from models.ecommerce.customers import Customer
from models.events import EventType
from models.money import MAX_AMOUNT
from services.ecommerce.cart_reading import Preview, buyer_of, pricing_request, read_cart
from services.ecommerce.cart_writing import (
    MAX_CODES,
    MAX_LINES,
    CartCurrencyError,
    CartDraft,
    CartFullError,
    CartHolder,
    Edit,
    change_cart,
    guest_owner,
    load_carts,
    user_owner,
)
from services.ecommerce.catalog.purchasable import Purchasable, PurchasableService
from services.ecommerce.couponreasons import COUPON_ERRORS
from services.ecommerce.pricing import PricingService
from services.errors import NotFoundError, RuleViolatedError
from services.events import EventService
from services.inventory.stock import StockService
from services.ratelimits import RateLimitService, RatePolicy
from services.settings import Settings

__all__ = [
    "CartHolder",
    "CartService",
    "Preview",
    "guest_owner",
    "user_owner",
]


class CartEmptyError(RuleViolatedError):
    """There is nothing in the cart that this could be done with."""

    code = "cart_empty"

    def __init__(self) -> None:
        super().__init__("The cart is empty.")


class CartLineNotFoundError(NotFoundError):
    """The cart holds no such thing."""

    code = "cart_line_not_found"

    def __init__(self, variant_id: PydanticObjectId) -> None:
        super().__init__("line in the cart", variant_id)


class CartCouponNotFoundError(NotFoundError):
    """The cart holds no such code."""

    code = "cart_coupon_not_found"

    def __init__(self, code: str) -> None:
        super().__init__("code in the cart", code)


class NotForSaleError(RuleViolatedError):
    """No such variant, one that is hidden or discontinued, or one without a price in the cart's currency."""

    code = "not_for_sale"

    def __init__(self, variant_id: PydanticObjectId, currency: str) -> None:
        super().__init__(f"This is not for sale, at least not in {currency}.")
        self.variant_id = variant_id
        self.currency = currency


class CartStockError(RuleViolatedError):
    """More than there is, with what lies in the cart already."""

    code = "cart_stock"

    def __init__(self, sku: str, wanted: int, available: int) -> None:
        super().__init__(f"Only {available} of {sku} are available, not {wanted}.")
        self.sku = sku
        self.wanted = wanted
        self.available = available


@dataclass(frozen=True, slots=True)
class CartItem:
    """What is put into a cart. The currency decides what an empty cart will be in; None is the customer's own."""

    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    quantity: int = 1
    currency: str | None = None


class CartService:
    @staticmethod
    async def get(
        holder: CartHolder, *, settings: Settings, preview: Preview | None = None, now: datetime | None = None
    ) -> CartRead:
        """The cart at present prices; the empty one when there is none. Writes nothing, not even a cart."""
        return await read_cart(holder, settings=settings, preview=preview or Preview(), now=now or present())

    @staticmethod
    async def add(
        holder: CartHolder, item: CartItem, *, settings: Settings, revision: int | None = None, now: datetime | None = None
    ) -> CartRead:
        """Put so many pieces into the cart, on top of what lies there of the same variant.

        A guest's first thing makes a cart whose token is told once, in the answer. Raises NotForSaleError, CartStockError,
        CartCurrencyError, CartFullError and PreconditionError.
        """
        now = now or present()

        async def edit(draft: CartDraft) -> None:
            await _choose_currency(holder, draft, item.currency, settings=settings)
            line = draft.line_of(item.variant_id)
            quantity = item.quantity + (line.quantity if line else 0)
            thing = await _purchasable(item.product_id, item.variant_id, currency=draft.currency)
            await _require_stock(thing, quantity)
            draft.put(_line(thing, quantity, now if line is None else line.added_at))

        return await _changed(holder, edit, settings=settings, revision=revision, now=now)

    @staticmethod
    async def update(
        holder: CartHolder,
        variant_id: PydanticObjectId,
        *,
        quantity: int,
        settings: Settings,
        revision: int | None = None,
        now: datetime | None = None,
    ) -> CartRead:
        """Set how many pieces of a variant the cart holds, at its present price; none or fewer remove it.

        Raises CartLineNotFoundError, NotForSaleError, CartStockError, CartFullError and PreconditionError.
        """

        async def edit(draft: CartDraft) -> None:
            line = draft.line_of(variant_id)
            if line is None:
                raise CartLineNotFoundError(variant_id)
            if quantity <= 0:
                draft.remove(variant_id)
                return
            thing = await _purchasable(line.product_id, variant_id, currency=draft.currency)
            await _require_stock(thing, quantity)
            draft.put(_line(thing, quantity, line.added_at))

        return await _changed(holder, edit, settings=settings, revision=revision, now=now or present())

    @staticmethod
    async def remove(
        holder: CartHolder,
        variant_id: PydanticObjectId,
        *,
        settings: Settings,
        revision: int | None = None,
        now: datetime | None = None,
    ) -> None:
        """Take a line out of the cart. Raises CartLineNotFoundError and PreconditionError."""

        async def edit(draft: CartDraft) -> None:
            if not draft.remove(variant_id):
                raise CartLineNotFoundError(variant_id)

        await change_cart(holder, edit, now=now or present(), settings=settings, revision=revision)

    @staticmethod
    async def clear(holder: CartHolder, *, settings: Settings, revision: int | None = None, now: datetime | None = None) -> None:
        """Take everything out, codes too; nothing happens to an empty cart. Raises PreconditionError."""

        async def edit(draft: CartDraft) -> None:
            draft.lines, draft.codes = [], []

        await change_cart(holder, edit, now=now or present(), settings=settings, revision=revision)

    @staticmethod
    async def add_coupon(
        holder: CartHolder,
        code: str,
        *,
        address: str,
        settings: Settings,
        revision: int | None = None,
        now: datetime | None = None,
    ) -> CartRead:
        """Keep a code that takes something off this cart; a code it holds already changes nothing.

        Attempts are counted per person, or per network address for guests. Raises CouponNotUsableError with the reason,
        CartEmptyError, CartFullError, TooManyAttemptsError and PreconditionError.
        """
        now = now or present()
        policy = RatePolicy("coupon", settings.coupon_attempts, _COUPON_WINDOW_SECONDS)
        await RateLimitService.require(policy, str(holder.viewer.user_id) if holder.viewer else address, now=now)
        wanted = code.strip().upper()

        async def edit(draft: CartDraft) -> None:
            if not draft.lines:
                raise CartEmptyError
            if wanted in draft.codes:
                return
            if len(draft.codes) >= MAX_CODES:
                raise CartFullError(f"A cart holds {MAX_CODES} codes.")
            draft.codes = [*draft.codes, wanted]
            await _require_usable(holder, draft, wanted, settings=settings, now=now)

        return await _changed(holder, edit, settings=settings, revision=revision, now=now)

    @staticmethod
    async def remove_coupon(
        holder: CartHolder, code: str, *, settings: Settings, revision: int | None = None, now: datetime | None = None
    ) -> None:
        """Take a code out of the cart. Raises CartCouponNotFoundError and PreconditionError."""
        unwanted = code.strip().upper()

        async def edit(draft: CartDraft) -> None:
            if unwanted not in draft.codes:
                raise CartCouponNotFoundError(code)
            draft.codes = [kept for kept in draft.codes if kept != unwanted]

        await change_cart(holder, edit, now=now or present(), settings=settings, revision=revision)

    @staticmethod
    async def merge(holder: CartHolder, *, settings: Settings, now: datetime | None = None) -> CartRead:
        """Let a guest's cart join the person's, which every other change does, too. Once: it is empty and closed afterwards."""
        return await _changed(holder, _nothing, settings=settings, revision=None, now=now or present())

    @staticmethod
    async def join_guest(
        holder: CartHolder, *, settings: Settings, revision: int | None = None, now: datetime | None = None
    ) -> int | None:
        """As `merge`, before a checkout: the revision the cart then has, or `revision` as it was given when nothing joined.

        Raises PreconditionError when something would join and `revision` is not the cart's any more.
        """
        now = now or present()
        if (await load_carts(holder, now=now)).guest is None:
            return revision
        change = await change_cart(holder, _nothing, now=now, settings=settings, revision=revision)
        return revision if revision is None or change.cart is None else change.cart.revision

    @staticmethod
    async def find_for_checkout(holder: CartHolder | str, *, session: Session | None = None, now: datetime | None = None) -> Cart:
        """The cart as it is stored, with something in it. One command. Raises CartEmptyError, also when there is no cart.

        Of a holder who has a guest's cart besides their own, the latter: `merge` comes before a checkout.
        """
        owner = holder if isinstance(holder, str) else holder.owner
        row = await Cart.find_row({"owner": owner}, session=session) if owner else None
        if row is None or not row["lines"] or row["expires_at"] <= (now or present()):
            raise CartEmptyError
        return Cart.from_row(row)

    @staticmethod
    async def take_out(cart: Cart, *, session: Session, now: datetime) -> None:
        """Empty the cart of an order, in its transaction, if it still is as it was read; else that one starts again.

        A cart that was called abandoned counts as recovered. One late write.
        """
        fields = {
            "lines": [],
            "coupon_codes": [],
            "active_at": now,
            "idle_since": None,
            "abandoned_at": None,
            "abandonment_id": None,
        }
        # To be called abandoned moves no revision, and whoever buys at that very moment has come back.
        as_read = {"_id": cart.id, "revision": cart.revision, "abandonment_id": cart.abandonment_id}
        overtaken = start_again("the cart was changed by another transaction")
        await Cart.change_later(as_read, {"$set": fields, "$inc": {"revision": 1}}, session=session, unmet=overtaken)
        if cart.abandonment_id is not None:
            await _recover(cart, cart.abandonment_id, session=session, now=now)


_COUPON_WINDOW_SECONDS = 600


async def _nothing(draft: CartDraft) -> None: ...


async def _changed(holder: CartHolder, edit: Edit, *, settings: Settings, revision: int | None, now: datetime) -> CartRead:
    """The cart after a change."""
    change = await change_cart(holder, edit, now=now, settings=settings, revision=revision)
    if change.new_token is not None:
        holder = CartHolder(None, change.new_token)

    async def read(session: Session | None = None) -> CartRead:
        return await read_cart(holder, settings=settings, preview=Preview(), now=now, new_token=change.new_token, session=session)

    # Under an Idempotency-Key the change is not committed yet: its own transaction alone can see it.
    return await (run_transaction(read) if in_transaction() else read())


async def _choose_currency(holder: CartHolder, draft: CartDraft, wanted: str | None, *, settings: Settings) -> None:
    """An empty cart takes the currency that is asked for, else the customer's. Raises CartCurrencyError for any other."""
    if draft.lines:
        if wanted not in (None, draft.currency):
            raise CartCurrencyError(str(wanted), draft.currency)
        return
    if wanted is None and holder.viewer is not None:
        customer = await Customer.find_row({"user_id": holder.viewer.user_id}, {"currency": 1})
        wanted = customer["currency"] if customer else None
    draft.currency = wanted or settings.currency


async def _purchasable(product_id: PydanticObjectId, variant_id: PydanticObjectId, *, currency: str) -> Purchasable:
    thing = (await PurchasableService.find([(product_id, variant_id)], currency=currency)).get(variant_id)
    if thing is None or not thing.is_for_sale:
        raise NotForSaleError(variant_id, currency)
    return thing


async def _require_stock(thing: Purchasable, quantity: int) -> None:
    """Raises CartStockError. Nothing is held yet: the order does that."""
    if not thing.tracks_inventory or thing.allow_backorder:
        return
    available = (await StockService.available([thing.variant_id]))[thing.variant_id]
    if available < quantity:
        raise CartStockError(thing.sku, quantity, available)


def _line(thing: Purchasable, quantity: int, added_at: datetime) -> CartLine:
    """Raises CartFullError for more money than a hundred such lines could be added up to, tax and all."""
    if thing.price.amount * quantity > MAX_AMOUNT // (10 * MAX_LINES):
        raise CartFullError("This is worth more than a cart can hold.")
    return CartLine(
        product_id=thing.product_id,
        variant_id=thing.variant_id,
        quantity=quantity,
        price_seen=thing.price,
        added_at=added_at,
    )


async def _require_usable(holder: CartHolder, draft: CartDraft, code: str, *, settings: Settings, now: datetime) -> None:
    """Raises CouponNotUsableError when the code takes nothing off the draft."""
    customer = None
    if holder.viewer is not None:
        customer = await Customer.find_row({"user_id": holder.viewer.user_id}, {"orders_count": 1})
    refs = [(line.product_id, line.variant_id) for line in draft.lines]
    things = await PurchasableService.find(refs, currency=draft.currency)
    request = pricing_request(draft, things, buyer=buyer_of(holder, customer), preview=Preview())
    priced = await PricingService.quote(request, settings=settings, now=now)
    for problem in priced.problems:
        if problem.code == code:
            raise COUPON_ERRORS[problem.reason](problem.code, problem.detail)


async def _recover(cart: Cart, abandonment_id: PydanticObjectId, *, session: Session, now: datetime) -> None:
    recovered = await CartAbandonment.change(
        {"_id": abandonment_id, "recovered_at": None}, {"$set": {"recovered_at": now}}, session=session
    )
    if recovered is not None:
        payload = {"abandonment_id": str(abandonment_id), "user_id": str(cart.user_id) if cart.user_id else None}
        await EventService.record(session, EventType.CART_RECOVERED, f"cart:{cart.id}", actor_id=cart.user_id, payload=payload)
