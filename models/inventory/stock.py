"""Stock levels, the ledger whose sums they are, and reservations."""

from collections.abc import Callable
from enum import StrEnum
from typing import ClassVar

from beanie import PydanticObjectId
from pydantic import BaseModel
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime
from models.money import Currency, Money


class StockLocation(AgoraDocument):
    """A warehouse or shop. Orders are served from the one of the lowest `priority` that has enough."""

    watchers: ClassVar[list[Callable[[PydanticObjectId | None], None]]] = []

    code: str
    name: str
    priority: int = 0
    is_active: bool = True  # sells; what lies at an inactive one is counted and cannot be bought
    currency: Currency = "USD"  # what its stock is valued in
    revision: int = 1

    class Settings:
        name = "stock_locations"
        indexes = [
            IndexModel([("code", ASCENDING)], name="code_unique", unique=True),
        ]


class StockLevel(AgoraDocument):
    """What lies of one variant at one location.

    on_hand is the sum of its movements, reserved the sum of its held reservations, available what the second leaves of the
    first; it is stored because sales take it down under the condition that there is enough.
    """

    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    location_id: PydanticObjectId
    sku: str
    on_hand: int = 0
    reserved: int = 0
    available: int = 0  # below zero only by a backorder, or when a stocktake found less than was promised
    low_stock_threshold: int = 5
    is_low: bool = True  # available <= low_stock_threshold
    reorder_point: int | None = None
    reorder_quantity: int | None = None
    revision: int = 1  # of what staff set: the thresholds. What moves the stock leaves it
    # Moving average: the value of what is on hand; each movement carries its part of it. Zero when nothing is on hand.
    stock_value: Money

    class Settings:
        name = "stock_levels"
        indexes = [
            IndexModel([("variant_id", ASCENDING), ("location_id", ASCENDING)], name="variant_location_unique", unique=True),
            # A product's stock, few rows: on its own, because its page asks for them. What lies at a location.
            IndexModel([("product_id", ASCENDING)], name="product"),
            IndexModel([("location_id", ASCENDING), ("_id", ASCENDING)], name="location"),
            # What runs low.
            IndexModel([("is_low", ASCENDING), ("_id", ASCENDING)], name="low"),
            # What is ordered again at a point: rows without one are not in it.
            IndexModel(
                [("reorder_point", ASCENDING), ("_id", ASCENDING)],
                name="reorder_point",
                partialFilterExpression={"reorder_point": {"$gte": 0}},
            ),
        ]


class MovementKind(StrEnum):
    RECEIPT = "receipt"  # from a supplier, or an opening balance
    SALE = "sale"
    RETURN = "return"  # by a customer, put back on the shelf
    CANCELLATION = "cancellation"  # a sale undone before it left
    TRANSFER_OUT = "transfer_out"
    TRANSFER_IN = "transfer_in"
    ADJUSTMENT = "adjustment"
    STOCKTAKE = "stocktake"  # an approved variance
    WRITE_OFF = "write_off"


class StockMovement(AgoraDocument):
    """A change of what is on hand, never changed itself. `key` names its cause, so that no cause moves stock twice.

    `value` is what it changes of the value of the stock, `cost` what its pieces are worth. They differ where pieces come in while
    on_hand is below zero: those are sold already, and what is not on hand has no value.
    """

    key: str  # `order:<id>:sale:<variant>:<location>`
    kind: MovementKind
    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    location_id: PydanticObjectId
    sku: str
    quantity: int  # signed
    value: Money  # signed
    cost: Money  # signed
    on_hand_after: int  # in the order in which movements were recorded
    reference: str  # `order:<id>`, `purchase_order:<id>`, `transfer:<id>`, `stocktake:<id>`, `manual`
    reason: str = ""
    actor_id: PydanticObjectId | None = None
    occurred_at: UtcDatetime  # may lie before `created_at`: what was entered late

    class Settings:
        name = "stock_movements"
        indexes = [
            IndexModel([("key", ASCENDING)], name="key_unique", unique=True),
            # The ledger of a variant or a location, newest first; stock as of a moment sums a variant's.
            IndexModel([("variant_id", ASCENDING), ("_id", DESCENDING)], name="variant_newest"),
            IndexModel([("location_id", ASCENDING), ("_id", DESCENDING)], name="location_newest"),
            # What one order or delivery moved.
            IndexModel([("reference", ASCENDING), ("_id", DESCENDING)], name="reference_newest"),
            # Reports: what moved since a moment, and what was written since one.
            IndexModel([("occurred_at", ASCENDING)], name="occurred"),
            IndexModel([("created_at", ASCENDING)], name="created"),
        ]


class ReservationStatus(StrEnum):
    HELD = "held"
    COMMITTED = "committed"  # became sale movements
    RELEASED = "released"
    EXPIRED = "expired"


class ReservedLine(BaseModel):
    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    location_id: PydanticObjectId
    sku: str
    quantity: int


class Reservation(AgoraDocument):
    """Stock that is promised to one owner, all of it or none."""

    owner: str  # `order:<id>`
    owner_kind: str  # what stands before the colon: who sweeps it
    lines: list[ReservedLine]
    status: ReservationStatus = ReservationStatus.HELD
    expires_at: UtcDatetime | None = None  # None: until it is committed or released
    settled_at: UtcDatetime | None = None

    class Settings:
        name = "reservations"
        indexes = [
            IndexModel([("owner", ASCENDING)], name="owner_unique", unique=True),
            # What a sweeper takes back, the longest overdue first.
            IndexModel([("status", ASCENDING), ("owner_kind", ASCENDING), ("expires_at", ASCENDING)], name="status_kind_expires"),
            # What is promised of a variant, for the recount.
            IndexModel([("lines.variant_id", ASCENDING), ("status", ASCENDING)], name="variant_status"),
        ]
