"""Purchase orders: drawn up, ordered, received in parts, each delivery once."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from beanie import PydanticObjectId
from pydantic import BaseModel, Field

from models.base import UtcDatetime, to_milliseconds
from models.base import now as present
from models.database import Session, run_transaction, start_again
from models.events import EventType
from models.inventory.purchasing import (
    OPEN_ORDERS,
    PurchaseOrder,
    PurchaseOrderLine,
    PurchaseOrderRead,
    PurchaseOrderStatus,
)
from models.inventory.stock import MovementKind
from models.money import Money, MoneyInput
from services.audit import AuditService
from services.errors import InvalidStateError, NotFoundError, RuleViolatedError, require_revision
from services.events import EventService
from services.inventory.books import Books, Cause
from services.inventory.items import Item, ItemCatalog, get_items
from services.inventory.locations import get_location
from services.inventory.receipts import MAX_LINES, ReceiptKey, ReceivedPieces, pieces_by_line, was_received
from services.inventory.stock import CostCurrencyError, Quantity, level_at
from services.inventory.suppliers import Notes, SupplierNotFoundError, load_supplier
from services.pagination import Page, PageRequest, page_of
from services.sequences import SequenceService
from services.users.permissions import Permission, Viewer

MAX_UNIT_COST = 10**9  # minor units: times the largest quantity it is still an amount of money


class PurchaseOrderNotFoundError(NotFoundError):
    """There is no such purchase order."""

    code = "purchase_order_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("purchase order", key)


class PurchaseOrderStateError(InvalidStateError):
    """The purchase order's status does not allow this step."""

    code = "purchase_order_state"

    def __init__(self, status: PurchaseOrderStatus) -> None:
        super().__init__(f"This is not possible with a purchase order that is {status.value}.")
        self.status = status


class ExcessReceiptError(RuleViolatedError):
    """More came than was ordered, and the request did not say that this is right."""

    code = "excess_receipt"

    def __init__(self, sku: str, ordered: int, received: int) -> None:
        super().__init__(f"Of {sku} {ordered} were ordered; {received} would have come. Allow the excess if that is right.")
        self.sku = sku
        self.ordered = ordered
        self.received = received


class UnitCostTooHighError(RuleViolatedError):
    """A piece cannot cost this much."""

    code = "unit_cost_too_high"

    def __init__(self, cost: Money) -> None:
        super().__init__("A piece cannot cost this much.")
        self.cost = cost


class OrderedItem(BaseModel):
    """Pieces of one variant to order."""

    variant_id: PydanticObjectId
    quantity: Quantity
    unit_cost: MoneyInput


OrderedItems = Annotated[Sequence[OrderedItem], Field(min_length=1, max_length=MAX_LINES)]


class PurchaseOrderDraft(BaseModel):
    """A purchase order to be. All unit costs are in the currency the location's stock is valued in."""

    supplier_id: PydanticObjectId
    location_id: PydanticObjectId
    items: OrderedItems
    expected_at: UtcDatetime | None = None
    notes: Notes = ""


class PurchaseOrderChanges(BaseModel):
    """What is to change of a draft; what is left out stays."""

    items: OrderedItems = Field(default_factory=list)
    expected_at: UtcDatetime | None = Field(default_factory=lambda: None)
    notes: Notes = Field(default_factory=str)


class Delivery(BaseModel):
    """What came of a purchase order."""

    key: ReceiptKey
    lines: Annotated[Sequence[ReceivedPieces], Field(min_length=1, max_length=MAX_LINES)]
    allow_excess: bool = Field(default=False, description="Whether more may come than was ordered")
    occurred_at: UtcDatetime | None = Field(default=None, description="When it came, if that was earlier")


class PurchaseOrderService:
    @staticmethod
    async def create_purchase_order(
        draft: PurchaseOrderDraft, *, viewer: Viewer, catalog: ItemCatalog, now: datetime | None = None
    ) -> PurchaseOrderRead:
        """A draft.

        Raises PermissionDeniedError, SupplierNotFoundError, LocationNotFoundError, ItemNotFoundError, CostCurrencyError,
        UnitCostTooHighError.
        """
        viewer.require(Permission.MANAGE_INVENTORY)
        now = to_milliseconds(now or present())
        supplier = await load_supplier(draft.supplier_id)
        if not supplier.is_active:
            raise SupplierNotFoundError(draft.supplier_id)
        location = await get_location(draft.location_id)
        lines = await _lines_of(draft.items, location.currency, catalog)
        order = PurchaseOrder(
            number=await SequenceService.next_number("PO", now=now),
            supplier_id=supplier.id,
            supplier_name=supplier.name,
            location_id=location.id,
            currency=location.currency,
            lines=lines,
            expected_at=draft.expected_at,
            notes=draft.notes,
            created_by=viewer.user_id,
            created_at=now,
        )

        async def work(session: Session) -> None:
            await order.store(session=session)
            await _note(session, "created", order, viewer)

        await run_transaction(work)
        return _to_read(order)

    @staticmethod
    async def list_purchase_orders(
        *,
        viewer: Viewer,
        page: PageRequest,
        status: PurchaseOrderStatus | None = None,
        supplier_id: PydanticObjectId | None = None,
    ) -> Page[PurchaseOrderRead]:
        """Newest first, all or of one status and supplier. Raises PermissionDeniedError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        query: dict[str, Any] = {}
        if status is not None:
            query["status"] = status
        if supplier_id is not None:
            query["supplier_id"] = supplier_id
        total = await PurchaseOrder.count_rows(query)
        rows = await PurchaseOrder.find_rows(query, sort=[("_id", -1)], skip=page.skip, limit=page.limit)
        return page_of([_to_read(PurchaseOrder.from_row(row)) for row in rows], page, total)

    @staticmethod
    async def get_purchase_order(order_id: PydanticObjectId, *, viewer: Viewer) -> PurchaseOrderRead:
        """Raises PermissionDeniedError, PurchaseOrderNotFoundError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        return _to_read(await _load(order_id))

    @staticmethod
    async def update_purchase_order(
        order_id: PydanticObjectId,
        changes: PurchaseOrderChanges,
        *,
        viewer: Viewer,
        catalog: ItemCatalog,
        revision: int | None,
    ) -> PurchaseOrderRead:
        """A draft with the changes in it.

        Raises PurchaseOrderNotFoundError, PurchaseOrderStateError, PreconditionError, and as `create_purchase_order`.
        """
        viewer.require(Permission.MANAGE_INVENTORY)
        order = await _load(order_id)
        fields = changes.model_dump(include=changes.model_fields_set - {"items"})
        if "items" in changes.model_fields_set:
            lines = await _lines_of(changes.items, order.currency, catalog)
            fields["lines"] = [line.model_dump() for line in lines]

        async def work(session: Session) -> PurchaseOrder:
            found = await _load(order_id, session=session)
            require_revision(revision, found.revision)
            moved = await _move(found, (PurchaseOrderStatus.DRAFT,), fields, session)
            await _note(session, "updated", moved, viewer)
            return moved

        return _to_read(await run_transaction(work, hot=[order_id]))

    @staticmethod
    async def place_purchase_order(
        order_id: PydanticObjectId, *, viewer: Viewer, now: datetime | None = None
    ) -> PurchaseOrderRead:
        """A draft, ordered; one that is ordered already stays so. Raises PurchaseOrderNotFoundError, PurchaseOrderStateError."""
        now = to_milliseconds(now or present())
        fields = {"status": PurchaseOrderStatus.ORDERED, "ordered_at": now}
        return await _transition(order_id, (PurchaseOrderStatus.DRAFT,), fields, viewer)

    @staticmethod
    async def cancel_purchase_order(
        order_id: PydanticObjectId, *, viewer: Viewer, now: datetime | None = None
    ) -> PurchaseOrderRead:
        """One from which nothing more will come; what came stays. Raises PurchaseOrderNotFoundError, PurchaseOrderStateError."""
        now = to_milliseconds(now or present())
        fields = {"status": PurchaseOrderStatus.CANCELLED, "settled_at": now}
        return await _transition(order_id, (PurchaseOrderStatus.DRAFT, *OPEN_ORDERS), fields, viewer)

    @staticmethod
    async def receive_purchase_order(
        order_id: PydanticObjectId, delivery: Delivery, *, viewer: Viewer, now: datetime | None = None
    ) -> PurchaseOrderRead:
        """The purchase order with a delivery put into stock at its unit costs; the same delivery again changes nothing.

        Raises PermissionDeniedError, PurchaseOrderNotFoundError, PurchaseOrderStateError, UnknownLineError, ExcessReceiptError,
        ReceiptKeyReusedError.
        """
        viewer.require(Permission.MANAGE_INVENTORY)
        now = to_milliseconds(now or present())
        variant_ids = [line.variant_id for line in (await _load(order_id)).lines]

        async def work(session: Session) -> PurchaseOrder:
            order = await _load(order_id, session=session)
            pieces = pieces_by_line(delivery.lines, [line.id for line in order.lines])
            reference = f"purchase_order:{order.id}"
            if await was_received(reference, delivery.key, pieces, session=session):
                return order
            lines = [_received(line, pieces.get(line.id, 0), allow_excess=delivery.allow_excess) for line in order.lines]
            is_complete = all(line.received_quantity >= line.quantity for line in lines)
            fields = {
                "lines": [line.model_dump() for line in lines],
                "status": PurchaseOrderStatus.RECEIVED if is_complete else PurchaseOrderStatus.PARTLY_RECEIVED,
                "settled_at": now if is_complete else None,
            }
            moved = await _move(order, OPEN_ORDERS, fields, session)
            books = await Books.read([line.variant_id for line in lines if line.id in pieces], session=session)
            occurred_at = min(delivery.occurred_at or now, now)
            for line in lines:
                if line.id in pieces:
                    key = f"{reference}:{delivery.key}:{line.id}"
                    cause = Cause(MovementKind.RECEIPT, key, reference, occurred_at, actor_id=viewer.user_id)
                    level = await level_at(books, Item(line.product_id, line.variant_id, line.sku), order.location_id)
                    books.put(level, pieces[line.id], cause, cost=line.unit_cost.amount * pieces[line.id])
            await books.write(session=session)
            payload = {"number": order.number, "key": delivery.key, "is_complete": is_complete}
            await EventService.record(
                session, EventType.PURCHASE_ORDER_RECEIVED, reference, actor_id=viewer.user_id, payload=payload
            )
            await _note(session, "received", order, viewer, {"key": delivery.key, "pieces": sum(pieces.values())})
            return moved

        return _to_read(await run_transaction(work, hot=[order_id, *variant_ids]))


async def pieces_on_order(
    variant_ids: Sequence[PydanticObjectId], *, session: Session | None = None
) -> Mapping[tuple[PydanticObjectId, PydanticObjectId], int]:
    """Pieces ordered and not received, by variant and location. One command; none for no variants."""
    wanted = set(variant_ids)
    found: dict[tuple[PydanticObjectId, PydanticObjectId], int] = {}
    if not wanted:
        return found
    query = {"lines.variant_id": {"$in": sorted(wanted)}, "status": {"$in": list(OPEN_ORDERS)}}
    for row in await PurchaseOrder.find_rows(query, {"lines": 1, "location_id": 1}, session=session):
        for line in row["lines"]:
            missing = line["quantity"] - line["received_quantity"]
            if line["variant_id"] in wanted and missing > 0:
                place = (line["variant_id"], row["location_id"])
                found[place] = found.get(place, 0) + missing
    return found


async def _lines_of(items: Sequence[OrderedItem], currency: str, catalog: ItemCatalog) -> list[PurchaseOrderLine]:
    known = await get_items(catalog, [item.variant_id for item in items])
    lines = []
    for item in items:
        cost = Money(amount=item.unit_cost.amount, currency=item.unit_cost.currency)
        if cost.currency != currency:
            raise CostCurrencyError(currency, cost.currency)
        if not 0 <= cost.amount <= MAX_UNIT_COST:
            raise UnitCostTooHighError(cost)
        found = known[item.variant_id]
        lines.append(
            PurchaseOrderLine(
                product_id=found.product_id,
                variant_id=found.variant_id,
                sku=found.sku,
                quantity=item.quantity,
                unit_cost=cost,
            )
        )
    return lines


def _received(line: PurchaseOrderLine, pieces: int, *, allow_excess: bool) -> PurchaseOrderLine:
    received = line.received_quantity + pieces
    if pieces and received > line.quantity and not allow_excess:
        raise ExcessReceiptError(line.sku, line.quantity, received)
    return line.model_copy(update={"received_quantity": received})


async def _load(order_id: PydanticObjectId, *, session: Session | None = None) -> PurchaseOrder:
    row = await PurchaseOrder.find_row({"_id": order_id}, session=session)
    if row is None:
        raise PurchaseOrderNotFoundError(order_id)
    return PurchaseOrder.from_row(row)


async def _transition(
    order_id: PydanticObjectId, sources: Sequence[PurchaseOrderStatus], fields: Mapping[str, Any], viewer: Viewer
) -> PurchaseOrderRead:
    viewer.require(Permission.MANAGE_INVENTORY)

    async def work(session: Session) -> PurchaseOrder:
        order = await _load(order_id, session=session)
        if order.status == fields["status"]:
            return order
        moved = await _move(order, sources, fields, session)
        await _note(session, moved.status.value, moved, viewer)
        return moved

    return _to_read(await run_transaction(work, hot=[order_id]))


async def _move(
    order: PurchaseOrder, sources: Sequence[PurchaseOrderStatus], fields: Mapping[str, Any], session: Session
) -> PurchaseOrder:
    """The order with these fields, if it is as it was read. Raises PurchaseOrderStateError."""
    if order.status not in sources:
        raise PurchaseOrderStateError(order.status)
    as_read = {"_id": order.id, "revision": order.revision}
    moved = await PurchaseOrder.change(as_read, {"$set": dict(fields), "$inc": {"revision": 1}}, session=session)
    if moved is None:
        raise start_again("the purchase order was changed meanwhile")
    return moved


async def _note(session: Session, what: str, order: PurchaseOrder, viewer: Viewer, details: dict[str, Any] | None = None) -> None:
    await AuditService.record(
        session,
        f"purchase_order.{what}",
        subject=f"purchase_order:{order.id}",
        actor_id=viewer.user_id,
        details={"number": order.number, **(details or {})},
    )


def _to_read(order: PurchaseOrder) -> PurchaseOrderRead:
    return PurchaseOrderRead.model_validate(order.model_dump())
