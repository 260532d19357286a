"""What is in stock: available pieces for everybody who sells, levels and corrections for staff."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from beanie import PydanticObjectId
from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from models.base import now as present
from models.base import to_milliseconds
from models.clock import new_id
from models.database import Session, run_transaction
from models.inventory.reports import MovementRead
from models.inventory.stock import MovementKind, StockLevel, StockMovement
from models.money import Currency, Money, MoneyInput
from services.audit import AuditService
from services.errors import RuleViolatedError, UnprocessableError
from services.inventory.books import Books, Cause
from services.inventory.items import Item, ItemCatalog, get_items
from services.inventory.locations import LocationService, get_location, known_locations
from services.users.permissions import Permission, Viewer

MAX_QUANTITY = 1_000_000

Reason = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
Quantity = Annotated[int, Field(ge=1, le=MAX_QUANTITY, description="Pieces", examples=[12])]


def _worth_something(cost: Money) -> Money:
    if cost.amount < 0:
        raise ValueError("a piece costs nothing, or more")
    return cost


UnitCost = Annotated[MoneyInput, AfterValidator(_worth_something)]


class NotEnoughStockError(RuleViolatedError):
    """Fewer pieces are free than are to leave; what is promised stays."""

    code = "not_enough_stock"

    def __init__(self, sku: str, wanted: int, available: int) -> None:
        super().__init__(f"Only {max(0, available)} of {sku} are available, not {wanted}.")
        self.sku = sku
        self.wanted = wanted
        self.available = available


class FutureMovementError(UnprocessableError):
    """Stock cannot have moved at a time that is still to come."""

    code = "future_movement"

    def __init__(self, occurred_at: datetime) -> None:
        super().__init__("The time of a movement lies in the past.")
        self.occurred_at = occurred_at


class CostCurrencyError(UnprocessableError):
    """A cost in another currency than the one the location's stock is valued in."""

    code = "cost_currency"

    def __init__(self, wanted: str, given: str) -> None:
        super().__init__(f"Stock at this location is valued in {wanted}, not in {given}.")
        self.wanted = wanted
        self.given = given


class Correction(BaseModel):
    """Pieces that come in, or leave, by hand."""

    variant_id: PydanticObjectId
    location_id: PydanticObjectId | None = None  # None: the location that serves first
    quantity: Annotated[int, Field(ge=-MAX_QUANTITY, le=MAX_QUANTITY)]
    unit_cost: UnitCost | None = None
    reason: Reason
    occurred_at: datetime | None = None


class StockService:
    @staticmethod
    async def available(
        variant_ids: Sequence[PydanticObjectId], *, session: Session | None = None
    ) -> dict[PydanticObjectId, int]:
        """How many pieces of each variant can be bought now, at all active locations together; 0 where nothing is kept.

        One command.
        """
        found = dict.fromkeys(variant_ids, 0)
        if not found:
            return found
        locations = await known_locations()
        fields = {"variant_id": 1, "location_id": 1, "available": 1}
        for row in await StockLevel.find_rows({"variant_id": {"$in": list(found)}}, fields, session=session):
            location = locations.get(row["location_id"])
            if location is not None and location.is_active:
                found[row["variant_id"]] += max(0, row["available"])
        return found

    @staticmethod
    async def correct(
        correction: Correction,
        *,
        kind: MovementKind,
        catalog: ItemCatalog,
        viewer: Viewer,
        currency: Currency,
        now: datetime | None = None,
    ) -> MovementRead:
        """Enter a receipt without a purchase order, an adjustment or a write-off; a negative quantity leaves.

        Opens the level when there is none. `currency` is the shop's, for a first location. Raises PermissionDeniedError,
        ItemNotFoundError, LocationNotFoundError, NotEnoughStockError, FutureMovementError, CostCurrencyError, StockLimitError.
        """
        viewer.require(Permission.MANAGE_INVENTORY)
        now = to_milliseconds(now or present())
        occurred_at = to_milliseconds(correction.occurred_at) if correction.occurred_at else now
        if occurred_at > now:
            raise FutureMovementError(occurred_at)
        act = new_id()
        cause = Cause(kind, f"manual:{act}", "manual", occurred_at, correction.reason, viewer.user_id)
        location_id = correction.location_id or (await LocationService.ensure_default(currency=currency)).id

        async def work(session: Session) -> StockMovement:
            books = await Books.read([correction.variant_id], session=session)
            items = await get_items(catalog, [correction.variant_id], session=session)
            level = await level_at(books, items[correction.variant_id], location_id)
            if correction.quantity < 0:
                if level.available < -correction.quantity:
                    raise NotEnoughStockError(level.sku, -correction.quantity, level.available)
                movement = books.take(level, -correction.quantity, cause)
            else:
                cost = cost_of(level, correction.unit_cost, correction.quantity)
                movement = books.put(level, correction.quantity, cause, cost=cost)
            await books.write(session=session)
            await AuditService.record(
                session,
                f"stock.{kind}",
                subject=f"variant:{level.variant_id}",
                actor_id=viewer.user_id,
                details={"location_id": str(location_id), "quantity": correction.quantity, "reason": correction.reason},
            )
            return movement

        movement = await run_transaction(work, hot=[correction.variant_id])
        return MovementRead.model_validate(movement.model_dump())


async def level_at(books: Books, item: Item, location_id: PydanticObjectId) -> StockLevel:
    """The level of this place in the books, opened when there is none. Raises LocationNotFoundError."""
    location = books.locations.get(location_id) or await get_location(location_id)
    level = StockLevel(
        product_id=item.product_id,
        variant_id=item.variant_id,
        location_id=location.id,
        sku=item.sku,
        stock_value=Money.zero(location.currency),
    )
    return books.open(level)


def cost_of(level: StockLevel, unit_cost: Money | None, quantity: int) -> int | None:
    """What the pieces cost together, in minor units; None when nobody said. Raises CostCurrencyError."""
    if unit_cost is None:
        return None
    if unit_cost.currency != level.stock_value.currency:
        raise CostCurrencyError(level.stock_value.currency, unit_cost.currency)
    return unit_cost.amount * quantity
