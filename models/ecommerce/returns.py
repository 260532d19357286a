"""Returns: pieces on their way back, and what becomes of them and of the money."""

from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime
from models.money import Money


class ReturnStatus(StrEnum):
    REQUESTED = "requested"  # no other return can speak of its pieces
    APPROVED = "approved"  # the customer may send them
    REJECTED = "rejected"
    RECEIVED = "received"  # the pieces are here, put back on the shelf or written off
    REFUNDED = "refunded"
    CANCELLED = "cancelled"  # by the customer, before anything was received


class ReturnReason(StrEnum):
    DAMAGED = "damaged"
    WRONG_ITEM = "wrong_item"
    NOT_AS_DESCRIBED = "not_as_described"
    DOES_NOT_FIT = "does_not_fit"
    CHANGED_MIND = "changed_mind"
    OTHER = "other"


class Disposition(StrEnum):
    RESTOCK = "restock"
    WRITE_OFF = "write_off"  # it came back, but not into the stock


class ReturnLine(BaseModel):
    line_id: PydanticObjectId  # of the order
    sku: str
    name: str
    variant_id: PydanticObjectId
    quantity: int
    reason: ReturnReason
    received_quantity: int = 0
    disposition: Disposition | None = None  # decided when received
    refund: Money | None = None  # the received pieces' part of what was paid for the line, tax and discount included


class ReturnRequest(AgoraDocument):
    """One parcel back."""

    number: str  # RMA-YYYYMMDD-nnnnnn
    order_id: PydanticObjectId | None = None  # None for an imported credit note whose invoice is not known
    source_key: str | None = None  # where an imported one comes from: `retail:C536379`
    customer_id: PydanticObjectId | None = None
    user_id: PydanticObjectId | None = None
    lines: list[ReturnLine]
    status: ReturnStatus = ReturnStatus.REQUESTED
    notes: str = ""  # of the customer
    staff_notes: str = ""  # never shown to the customer
    refund: Money | None = None  # of all received pieces; what is given back unless staff says less
    refund_id: PydanticObjectId | None = None
    requested_at: UtcDatetime
    received_at: UtcDatetime | None = None  # when its pieces were
    settled_at: UtcDatetime | None = None
    revision: int = 1

    class Settings:
        name = "returns"
        indexes = [
            IndexModel([("number", ASCENDING)], name="number_unique", unique=True),
            IndexModel(
                [("source_key", ASCENDING)],
                name="source_key_unique",
                unique=True,
                partialFilterExpression={"source_key": {"$type": "string"}},
            ),
            # An order's returns, in their order.
            IndexModel([("order_id", ASCENDING), ("_id", ASCENDING)], name="order_created"),
            # One's own returns, newest first.
            IndexModel([("user_id", ASCENDING), ("_id", DESCENDING)], name="user_newest"),
            # Staff: what waits in a status, oldest first.
            IndexModel([("status", ASCENDING), ("_id", ASCENDING)], name="status_oldest"),
            # What a refund belongs to.
            IndexModel([("refund_id", ASCENDING)], name="refund"),
        ]


class ReturnRead(BaseModel):
    """A return, for who asked for it and for staff."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    number: str = Field(examples=["RMA-20261121-000007"])
    order_id: PydanticObjectId | None
    status: ReturnStatus
    lines: list[ReturnLine]
    notes: str
    refund: Money | None = Field(description="What the received pieces were paid with; null before they arrive")
    refund_id: PydanticObjectId | None = Field(description="Null until money is on its way")
    requested_at: UtcDatetime
    settled_at: UtcDatetime | None
    revision: int


class StaffReturn(ReturnRead):
    """A return with what customers are not shown."""

    staff_notes: str
    customer_id: PydanticObjectId | None
