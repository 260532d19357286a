"""Suppliers, and what is ordered from them."""

from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime
from models.clock import new_id
from models.money import Currency, Money


class Supplier(AgoraDocument):
    """Whom stock is bought from."""

    code: str
    name: str
    email: str | None = None
    phone: str | None = None
    lead_days: int = 7  # between order and delivery, as a rule
    notes: str = ""
    is_active: bool = True
    revision: int = 1

    class Settings:
        name = "suppliers"
        indexes = [IndexModel([("code", ASCENDING)], name="code_unique", unique=True)]


class SupplierRead(BaseModel):
    """Whom stock is bought from."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    code: str = Field(examples=["ACME"])
    name: str = Field(examples=["Acme Ltd"])
    email: str | None
    phone: str | None
    lead_days: int = Field(description="Days between order and delivery, as a rule", examples=[7])
    notes: str
    is_active: bool
    revision: int


class PurchaseOrderStatus(StrEnum):
    DRAFT = "draft"  # its lines may change
    ORDERED = "ordered"
    PARTLY_RECEIVED = "partly_received"
    RECEIVED = "received"  # all of it
    CANCELLED = "cancelled"  # what came before stays in stock


OPEN_ORDERS = (PurchaseOrderStatus.ORDERED, PurchaseOrderStatus.PARTLY_RECEIVED)


class PurchaseOrderLine(BaseModel):
    id: PydanticObjectId = Field(default_factory=new_id)
    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    sku: str
    quantity: int = Field(description="Pieces ordered")
    received_quantity: int = Field(default=0, description="Pieces that came")
    unit_cost: Money


class PurchaseOrder(AgoraDocument):
    """What is ordered from one supplier for one location."""

    number: str  # `PO-20261121-000001`
    supplier_id: PydanticObjectId
    supplier_name: str
    location_id: PydanticObjectId
    currency: Currency = "USD"
    lines: list[PurchaseOrderLine]
    status: PurchaseOrderStatus = PurchaseOrderStatus.DRAFT
    expected_at: UtcDatetime | None = None
    notes: str = ""
    created_by: PydanticObjectId | None = None
    ordered_at: UtcDatetime | None = None
    settled_at: UtcDatetime | None = None  # wholly received, or cancelled
    revision: int = 1

    class Settings:
        name = "purchase_orders"
        indexes = [
            IndexModel([("number", ASCENDING)], name="number_unique", unique=True),
            # Lists, all or of one status or supplier, newest first.
            IndexModel([("status", ASCENDING), ("_id", DESCENDING)], name="status_newest"),
            IndexModel([("supplier_id", ASCENDING), ("_id", DESCENDING)], name="supplier_newest"),
            # What is under way of a variant.
            IndexModel([("lines.variant_id", ASCENDING), ("status", ASCENDING)], name="variant_status"),
        ]


class PurchaseOrderRead(BaseModel):
    """What is ordered from one supplier for one location."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    number: str = Field(examples=["PO-20261121-000001"])
    supplier_id: PydanticObjectId
    supplier_name: str
    location_id: PydanticObjectId
    currency: str
    lines: list[PurchaseOrderLine]
    status: PurchaseOrderStatus
    expected_at: UtcDatetime | None
    notes: str
    created_at: UtcDatetime
    ordered_at: UtcDatetime | None
    settled_at: UtcDatetime | None = Field(description="When it was wholly received, or cancelled")
    revision: int


class ReorderSuggestion(BaseModel):
    """A level that fell to its reorder point, with what is under way to it counted in."""

    model_config = ConfigDict(frozen=True)

    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    location_id: PydanticObjectId
    sku: str
    available: int
    on_order: int = Field(description="Pieces ordered from suppliers and not received yet")
    in_transit: int = Field(description="Pieces on their way from other locations")
    reorder_point: int
    quantity: int = Field(description="Pieces to order: so many reorder quantities that the point is passed")
