"""Orders without a cart: what is wanted is named in the request, the payment comes later."""

from datetime import datetime
from decimal import Decimal
from functools import partial

from beanie import PydanticObjectId

from models.base import now as present
from models.base import to_milliseconds
from models.clock import new_id
from models.database import Session, run_transaction
from models.ecommerce.catalog import Product
from models.ecommerce.customers import Customer
from models.ecommerce.orders import Order, OrderRead
from models.money import Money
from services.ecommerce.carts import NotForSaleError
from services.ecommerce.checkout.buyers import Account, account_of, buyer_for_staff, buyer_of
from services.ecommerce.checkout.completion import ORDER_PREFIX
from services.ecommerce.checkout.placement import Basket, PurchaseLine, Ticket, place
from services.ecommerce.checkout.wishes import OrderDraft, OrderItemDraft
from services.ecommerce.customers import CustomerNotFoundError
from services.ecommerce.orders.reading import to_order_read
from services.errors import UnprocessableError
from services.sequences import SequenceService
from services.settings import Settings
from services.users.permissions import Permission, Viewer

Refs = list[tuple[OrderItemDraft, PydanticObjectId]]


class VariantNeededError(UnprocessableError):
    """The product comes in several variants, and none was named."""

    code = "variant_needed"

    def __init__(self, product_id: PydanticObjectId) -> None:
        super().__init__("This product comes in several variants: name one.")
        self.product_id = product_id


class InvalidUnitPriceError(UnprocessableError):
    """A unit price with more digits than its currency has."""

    code = "invalid_unit_price"

    def __init__(self, price: Decimal, currency: str) -> None:
        super().__init__(f"{price} is no amount of {currency}.")
        self.price = price
        self.currency = currency


class DirectOrderService:
    @staticmethod
    async def create_order(draft: OrderDraft, *, viewer: Viewer, settings: Settings, now: datetime | None = None) -> OrderRead:
        """Place an order that waits for its payment, at present prices; what costs nothing is confirmed at once.

        Customers order for themselves, staff for any customer. Raises CustomerNotFoundError, VariantNeededError,
        InvalidUnitPriceError, and what `place` raises.
        """
        moment = to_milliseconds(now or present())
        refs = await _resolve(draft)
        account = await _account(draft, viewer)
        ticket = Ticket(
            key=f"direct:{new_id()}",
            number=await SequenceService.next_number(ORDER_PREFIX, now=moment),
            terms=draft,
            gateway=None,
            source="api",
            now=moment,
        )
        work = partial(_place, ticket, draft, refs, account, viewer, settings)
        order = await run_transaction(work, hot=[variant_id for _, variant_id in refs])
        return to_order_read(order.row())


async def _account(draft: OrderDraft, viewer: Viewer) -> Account:
    """Whose order it is: the caller's, or that of the customer staff orders for. Raises CustomerNotFoundError."""
    if draft.customer_id is None or not viewer.can(Permission.MANAGE_ORDERS):
        return await account_of(viewer.user_id)
    row = await Customer.find_row({"_id": draft.customer_id}, {"user_id": 1})
    if row is None:
        raise CustomerNotFoundError(draft.customer_id)
    return await account_of(row["user_id"])


async def _place(
    ticket: Ticket,
    draft: OrderDraft,
    refs: Refs,
    account: Account,
    viewer: Viewer,
    settings: Settings,
    session: Session,
) -> Order:
    if draft.customer_id is not None and viewer.can(Permission.MANAGE_ORDERS):
        buyer = await buyer_for_staff(draft.customer_id, viewer, account, session=session)
    else:
        buyer = await buyer_of(viewer, account, settings=settings, session=session)
        if draft.customer_id is not None and (buyer.customer is None or buyer.customer.id != draft.customer_id):
            raise CustomerNotFoundError(draft.customer_id)
    currency = buyer.customer.currency if buyer.customer else settings.currency
    basket = Basket(_lines(refs, currency), currency, draft.coupon_codes)
    return (await place(ticket, basket, buyer, settings=settings, session=session)).order


def _lines(refs: Refs, currency: str) -> list[PurchaseLine]:
    """One line per variant, however often it is named. Raises InvalidUnitPriceError."""
    lines: dict[PydanticObjectId, PurchaseLine] = {}
    for item, variant_id in refs:
        known = lines.get(variant_id)
        price = _price(item.unit_price, currency)
        lines[variant_id] = PurchaseLine(
            product_id=item.product_id,
            variant_id=variant_id,
            quantity=item.quantity + (known.quantity if known else 0),
            unit_price=price if price is not None or known is None else known.unit_price,
        )
    return list(lines.values())


def _price(given: Decimal | None, currency: str) -> Money | None:
    if given is None:
        return None
    try:
        return Money.of(given, currency)
    except ValueError as error:
        raise InvalidUnitPriceError(given, currency) from error


async def _resolve(draft: OrderDraft) -> Refs:
    """Each item with its variant: the named one, or the only one. One command, none when all are named."""
    open_ids = sorted({item.product_id for item in draft.items if item.variant_id is None})
    rows = await Product.find_rows({"_id": {"$in": open_ids}}, {"variants": 1}) if open_ids else []
    variants = {row["_id"]: [variant["id"] for variant in row["variants"] if variant["is_active"]] for row in rows}
    refs: Refs = []
    for item in draft.items:
        if item.variant_id is not None:
            refs.append((item, item.variant_id))
            continue
        found = variants.get(item.product_id)
        if not found:
            raise NotForSaleError(item.product_id, "any currency")
        if len(found) > 1:
            raise VariantNeededError(item.product_id)
        refs.append((item, found[0]))
    return refs
