"""What staff send about stock: locations, corrections, suppliers, purchase orders, transfers, stocktakes."""

from typing import Annotated

from pydantic import AfterValidator, Field

from api.schemas.base import Id, Input, with_example
from models.base import UtcDatetime
from services.inventory.levels import LevelChanges
from services.inventory.locations import LocationChanges, LocationDraft
from services.inventory.purchasing import Delivery, OrderedItem, PurchaseOrderChanges, PurchaseOrderDraft
from services.inventory.receipts import MAX_LINES, ReceivedPieces
from services.inventory.stock import MAX_QUANTITY, Correction, Quantity, Reason, UnitCost
from services.inventory.stocktakes import Counted, StocktakeDraft
from services.inventory.suppliers import SupplierChanges, SupplierDraft
from services.inventory.transfers import Arrival, Loss, MovedItem, TransferDraft


class LocationCreate(LocationDraft, Input):
    """A new location."""


class LocationUpdate(LocationChanges, Input):
    """Changes to a location: what is left out stays."""


class LevelUpdate(LevelChanges, Input):
    """Changes to a level: what is left out stays, null takes a reorder point or quantity away."""

    model_config = with_example(low_stock_threshold=5, reorder_point=10, reorder_quantity=50)


def _something(quantity: int) -> int:
    if quantity == 0:
        raise ValueError("a correction changes something")
    return quantity


class _AtPlace(Input):
    variant_id: Id
    location_id: Id | None = Field(default=None, description="The location that serves first when left out")
    reason: Reason = Field(examples=["Found behind the shelf"])
    occurred_at: UtcDatetime | None = Field(default=None, description="When it happened, if that was earlier")


class ReceiptCreate(_AtPlace):
    """Pieces that come in without a purchase order: an opening balance, a gift."""

    quantity: Quantity
    unit_cost: UnitCost | None = Field(default=None, description="Of each piece; the present average when left out")

    def to_correction(self) -> Correction:
        return Correction(**dict(self))


class AdjustmentCreate(_AtPlace):
    """A correction by hand, up or down."""

    quantity: Annotated[
        int,
        Field(ge=-MAX_QUANTITY, le=MAX_QUANTITY, description="Signed, and not 0", examples=[-2]),
        AfterValidator(_something),
    ]
    unit_cost: UnitCost | None = Field(default=None, description="Of each piece that comes in; else the present average")

    def to_correction(self) -> Correction:
        return Correction(**dict(self))


class WriteOffCreate(_AtPlace):
    """Pieces that are lost, broken or spoilt."""

    quantity: Quantity

    def to_correction(self) -> Correction:
        return Correction(**{**dict(self), "quantity": -self.quantity})


class SupplierCreate(SupplierDraft, Input):
    """A new supplier."""


class SupplierUpdate(SupplierChanges, Input):
    """Changes to a supplier: what is left out stays."""


class OrderedItemInput(OrderedItem, Input):
    """Pieces of one variant to order."""

    variant_id: Id


class PurchaseOrderCreate(PurchaseOrderDraft, Input):
    """A new purchase order, a draft at first."""

    supplier_id: Id
    location_id: Id
    items: Annotated[list[OrderedItemInput], Field(min_length=1, max_length=MAX_LINES)]


class PurchaseOrderUpdate(PurchaseOrderChanges, Input):
    """Changes to a draft: what is left out stays."""

    model_config = with_example(expected_at="2030-01-15T09:00:00Z", notes="Rings before it delivers.")

    items: Annotated[list[OrderedItemInput], Field(min_length=1, max_length=MAX_LINES)] = Field(default_factory=list)


class ReceivedInput(ReceivedPieces, Input):
    """Pieces of one line that came."""

    line_id: Id


class DeliveryCreate(Delivery, Input):
    """What came of a purchase order."""

    lines: Annotated[list[ReceivedInput], Field(min_length=1, max_length=MAX_LINES)]


class MovedItemInput(MovedItem, Input):
    """Pieces of one variant to move."""

    variant_id: Id


class TransferCreate(TransferDraft, Input):
    """A new transfer, a draft at first."""

    from_location_id: Id
    to_location_id: Id
    items: Annotated[list[MovedItemInput], Field(min_length=1, max_length=MAX_LINES)]


class ArrivalCreate(Arrival, Input):
    """What came of a transfer."""

    lines: Annotated[list[ReceivedInput], Field(min_length=1, max_length=MAX_LINES)]


class LossCreate(Loss, Input):
    """Why the rest of a transfer will not come."""


class StocktakeCreate(StocktakeDraft, Input):
    """A new stocktake of one location."""

    location_id: Id


class CountedInput(Counted, Input):
    """What was found of one variant."""

    variant_id: Id


class CountsCreate(Input):
    """What was found, variant by variant."""

    counts: Annotated[list[CountedInput], Field(min_length=1, max_length=100)]
