"""Purchase orders: drawn up, ordered, received in parts, each delivery once."""

from datetime import UTC, datetime

import pytest
from beanie import PydanticObjectId

from models.ecommerce.catalog import Product
from models.events import Event, EventType
from models.inventory.purchasing import PurchaseOrderRead, PurchaseOrderStatus
from models.inventory.stock import StockLevel, StockMovement
from models.money import Money
from models.users import Role
from services.ecommerce.stock_items import StockItemService
from services.errors import PermissionDeniedError, PreconditionError
from services.inventory.items import ItemNotFoundError
from services.inventory.purchasing import (
    Delivery,
    ExcessReceiptError,
    OrderedItem,
    PurchaseOrderChanges,
    PurchaseOrderDraft,
    PurchaseOrderNotFoundError,
    PurchaseOrderService,
    PurchaseOrderStateError,
    UnitCostTooHighError,
)
from services.inventory.receipts import ReceiptKeyReusedError, ReceivedPieces, UnknownLineError
from services.inventory.stock import CostCurrencyError
from services.inventory.suppliers import (
    SupplierChanges,
    SupplierDraft,
    SupplierNotFoundError,
    SupplierService,
    SupplierTakenError,
)
from services.pagination import PageRequest
from services.users.permissions import Viewer
from tests.factories.catalog import create_product
from tests.factories.inventory import create_location, create_supplier
from tests.factories.users import create_user, viewer_of
from tests.services.inventory.books_check import assert_books_add_up

pytestmark = pytest.mark.usefixtures("database")

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


async def keeper(role: Role = Role.MANAGER) -> Viewer:
    return viewer_of(await create_user(role=role))


def item(product: Product, quantity: int = 10, cost: int = 150, currency: str = "USD") -> OrderedItem:
    return OrderedItem.model_construct(
        variant_id=product.variants[0].id, quantity=quantity, unit_cost=Money(amount=cost, currency=currency)
    )


async def draft_order(viewer: Viewer, *items: OrderedItem) -> PurchaseOrderRead:
    supplier, location = await create_supplier(name="Acme"), await create_location()
    draft = PurchaseOrderDraft.model_construct(
        supplier_id=supplier.id, location_id=location.id, items=list(items), expected_at=None, notes=""
    )
    return await PurchaseOrderService.create_purchase_order(draft, viewer=viewer, catalog=StockItemService, now=NOON)


async def placed_order(viewer: Viewer, *items: OrderedItem) -> PurchaseOrderRead:
    order = await draft_order(viewer, *items)
    return await PurchaseOrderService.place_purchase_order(order.id, viewer=viewer, now=NOON)


async def receive(
    order: PurchaseOrderRead, viewer: Viewer, key: str, *quantities: int, excess: bool = False
) -> PurchaseOrderRead:
    lines = [
        ReceivedPieces(line_id=line.id, quantity=quantity)
        for line, quantity in zip(order.lines, quantities, strict=False)
        if quantity
    ]
    delivery = Delivery(key=key, lines=lines, allow_excess=excess)
    return await PurchaseOrderService.receive_purchase_order(order.id, delivery, viewer=viewer, now=NOON)


class TestReceive:
    async def test_inv_4_in_parts_at_the_unit_costs(self) -> None:
        viewer = await keeper()
        mug, cup = await create_product(), await create_product()
        order = await placed_order(viewer, item(mug, 10, 150), item(cup, 4, 99))
        partly = await receive(order, viewer, "DN-1", 6, 4)
        again = await receive(order, viewer, "DN-1", 6, 4)
        whole = await receive(order, viewer, "DN-2", 4)

        assert order.number.startswith("PO-20261121-")
        assert (partly.status, again) == (PurchaseOrderStatus.PARTLY_RECEIVED, partly)
        assert (whole.status, whole.settled_at) == (PurchaseOrderStatus.RECEIVED, NOON)
        assert [line.received_quantity for line in whole.lines] == [10, 4]
        levels = await StockLevel.find_rows({}, sort=[("_id", 1)])
        assert [(row["on_hand"], row["stock_value"]["amount"]) for row in levels] == [(10, 1500), (4, 396)]
        assert await StockMovement.count_rows({"reference": f"purchase_order:{order.id}"}) == 3
        assert await Event.count_rows({"type": EventType.PURCHASE_ORDER_RECEIVED}) == 2
        await assert_books_add_up()

    async def test_other_pieces_under_a_used_key_are_refused(self) -> None:
        viewer, mug = await keeper(), await create_product()
        order = await placed_order(viewer, item(mug))
        await receive(order, viewer, "DN-1", 6)
        with pytest.raises(ReceiptKeyReusedError):
            await receive(order, viewer, "DN-1", 3)

        assert [row["on_hand"] for row in await StockLevel.find_rows({})] == [6]

    async def test_more_than_ordered_only_when_stated(self) -> None:
        viewer, mug = await keeper(), await create_product()
        order = await placed_order(viewer, item(mug, 10))
        with pytest.raises(ExcessReceiptError):
            await receive(order, viewer, "DN-1", 11)
        assert await StockMovement.count_rows({}) == 0
        await receive(order, viewer, "DN-1", 6)
        with pytest.raises(ExcessReceiptError) as refused:
            await receive(order, viewer, "DN-2", 5)
        assert (refused.value.ordered, refused.value.received) == (10, 11)
        received = await receive(order, viewer, "DN-2", 5, excess=True)

        assert (received.status, received.lines[0].received_quantity) == (PurchaseOrderStatus.RECEIVED, 11)
        assert [row["on_hand"] for row in await StockLevel.find_rows({})] == [11]

    async def test_lines_are_known_and_named_once(self) -> None:
        viewer, mug = await keeper(), await create_product()
        order = await placed_order(viewer, item(mug, 10))
        line = ReceivedPieces(line_id=order.lines[0].id, quantity=1)
        unknown = ReceivedPieces(line_id=PydanticObjectId(), quantity=1)
        for lines in ([unknown], [line, line]):
            with pytest.raises(UnknownLineError):
                await PurchaseOrderService.receive_purchase_order(order.id, Delivery(key="DN-1", lines=lines), viewer=viewer)

    async def test_only_what_is_ordered_comes(self) -> None:
        viewer, mug = await keeper(), await create_product()
        order = await draft_order(viewer, item(mug))
        with pytest.raises(PurchaseOrderStateError):
            await receive(order, viewer, "DN-1", 1)
        await PurchaseOrderService.cancel_purchase_order(order.id, viewer=viewer)
        with pytest.raises(PurchaseOrderStateError):
            await receive(order, viewer, "DN-1", 1)
        assert await StockLevel.count_rows({}) == 0

    async def test_one_variant_on_two_lines(self) -> None:
        viewer, mug = await keeper(), await create_product()
        order = await placed_order(viewer, item(mug, 2, 100), item(mug, 3, 200))
        await receive(order, viewer, "DN-1", 2, 3)

        (level,) = await StockLevel.find_rows({})
        assert (level["on_hand"], level["stock_value"]["amount"]) == (5, 800)
        await assert_books_add_up()


class TestDrafts:
    async def test_items_exist_and_costs_are_in_the_location_s_currency(self) -> None:
        viewer, mug = await keeper(), await create_product()
        untracked = await create_product(track_inventory=False)
        with pytest.raises(ItemNotFoundError):
            await draft_order(viewer, item(untracked))
        with pytest.raises(CostCurrencyError):
            await draft_order(viewer, item(mug, currency="EUR"))
        with pytest.raises(UnitCostTooHighError):
            await draft_order(viewer, item(mug, cost=-1))
        with pytest.raises(PermissionDeniedError):
            await draft_order(await keeper(Role.EDITOR), item(mug))

    async def test_draft_changes_until_it_is_placed(self) -> None:
        viewer, mug = await keeper(), await create_product()
        order = await draft_order(viewer, item(mug, 10))
        changes = PurchaseOrderChanges(notes="By Friday")

        async def update(changes: PurchaseOrderChanges, revision: int | None) -> PurchaseOrderRead:
            return await PurchaseOrderService.update_purchase_order(
                order.id, changes, viewer=viewer, catalog=StockItemService, revision=revision
            )

        with pytest.raises(PreconditionError):
            await update(changes, 9)
        changed = await update(changes, 1)
        assert (changed.notes, changed.revision, changed.lines[0].quantity) == ("By Friday", 2, 10)
        other = PurchaseOrderChanges.model_construct(_fields_set={"items"}, items=[item(mug, 3)])
        assert (await update(other, None)).lines[0].quantity == 3
        await PurchaseOrderService.place_purchase_order(order.id, viewer=viewer)
        with pytest.raises(PurchaseOrderStateError):
            await update(changes, None)

    async def test_placing_and_cancelling_are_harmless_to_repeat(self) -> None:
        viewer, mug = await keeper(), await create_product()
        order = await placed_order(viewer, item(mug))
        assert await PurchaseOrderService.place_purchase_order(order.id, viewer=viewer) == order
        cancelled = await PurchaseOrderService.cancel_purchase_order(order.id, viewer=viewer)
        assert await PurchaseOrderService.cancel_purchase_order(order.id, viewer=viewer) == cancelled
        with pytest.raises(PurchaseOrderStateError):
            await PurchaseOrderService.place_purchase_order(order.id, viewer=viewer)
        with pytest.raises(PurchaseOrderNotFoundError):
            await PurchaseOrderService.place_purchase_order(PydanticObjectId(), viewer=viewer)

    async def test_lists_newest_first_by_status_and_supplier(self) -> None:
        viewer, mug = await keeper(), await create_product()
        first, second = await placed_order(viewer, item(mug)), await draft_order(viewer, item(mug))

        async def ids(**named: object) -> list[PydanticObjectId]:
            page = await PurchaseOrderService.list_purchase_orders(viewer=viewer, page=PageRequest(), **named)  # type: ignore[arg-type]  # by name
            return [order.id for order in page.items]

        assert await ids() == [second.id, first.id]
        assert await ids(status=PurchaseOrderStatus.ORDERED) == [first.id]
        assert await ids(supplier_id=second.supplier_id) == [second.id]


class TestSuppliers:
    async def test_kept_by_code(self) -> None:
        viewer = await keeper()
        made = await SupplierService.create_supplier(SupplierDraft(code="ACME", name="Acme"), viewer=viewer)
        with pytest.raises(SupplierTakenError):
            await SupplierService.create_supplier(SupplierDraft(code="ACME", name="Other"), viewer=viewer)
        with pytest.raises(PreconditionError):
            await SupplierService.update_supplier(made.id, SupplierChanges(lead_days=3), viewer=viewer, revision=4)
        changed = await SupplierService.update_supplier(
            made.id, SupplierChanges(lead_days=3, is_active=False), viewer=viewer, revision=1
        )

        assert (changed.lead_days, changed.name, changed.revision) == (3, "Acme", 2)
        assert (await SupplierService.get_supplier(made.id, viewer=viewer)) == changed
        assert [one.code for one in (await SupplierService.list_suppliers(viewer=viewer, page=PageRequest())).items] == ["ACME"]
        with pytest.raises(SupplierNotFoundError):
            await SupplierService.get_supplier(PydanticObjectId(), viewer=viewer)
