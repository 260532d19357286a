"""The stock levels a transaction is about, and the one way in which they change: with their movements and their events."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from beanie import PydanticObjectId

from models.database import DuplicateKeyError, Session, start_again
from models.events import EventType
from models.inventory.stock import MovementKind, StockLevel, StockLocation, StockMovement
from models.money import MAX_AMOUNT, Money
from services.errors import NotFoundError, RuleViolatedError
from services.events import EventService
from services.inventory.locations import known_locations
from services.inventory.valuation import average_cost, value_entering, value_leaving

MAX_ON_HAND = 1_000_000_000

Place = tuple[PydanticObjectId, PydanticObjectId]
"""A variant and a location."""


class LevelNotFoundError(NotFoundError):
    """No stock of this variant is kept, at this location or at all."""

    code = "stock_level_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("stock level", key)


class StockLimitError(RuleViolatedError):
    """More pieces, or a higher value, than a stock level can hold."""

    code = "stock_limit"

    def __init__(self, sku: str) -> None:
        super().__init__(f"This is more than can be kept of {sku}.")
        self.sku = sku


@dataclass(frozen=True, slots=True)
class Cause:
    """Why pieces move: what the movements of one act have in common. `key` begins their own keys."""

    kind: MovementKind
    key: str
    reference: str
    occurred_at: datetime
    reason: str = ""
    actor_id: PydanticObjectId | None = None


@dataclass(slots=True)
class _Entry:
    """A level as it was read and as it is to be."""

    before: StockLevel
    level: StockLevel
    is_new: bool = False


@dataclass(slots=True)
class Books:
    """The levels of some variants, as this transaction read them; what is entered here is stored by `write` at once.

    Every change is made to what was read, and stored under the condition that it still is so: who was overtaken starts again.
    """

    entries: dict[Place, _Entry]
    locations: Mapping[PydanticObjectId, StockLocation]
    movements: list[StockMovement] = field(default_factory=list)

    @classmethod
    async def read(cls, variant_ids: Collection[PydanticObjectId], *, session: Session) -> Self:
        """The levels of these variants at all locations. One command."""
        locations = await known_locations()
        query = {"variant_id": {"$in": sorted(set(variant_ids))}}
        levels = [StockLevel.from_row(row) for row in await StockLevel.find_rows(query, session=session)] if variant_ids else []
        entries = {(level.variant_id, level.location_id): _Entry(level, level.model_copy()) for level in levels}
        return cls(entries, locations)

    def level(self, variant_id: PydanticObjectId, location_id: PydanticObjectId) -> StockLevel:
        """The level with what was entered so far. Raises LevelNotFoundError."""
        entry = self.entries.get((variant_id, location_id))
        if entry is None:
            raise LevelNotFoundError(variant_id)
        return entry.level

    def for_sale(self, variant_id: PydanticObjectId) -> list[StockLevel]:
        """The variant's levels at active locations, in the order in which those serve."""
        return [
            self.entries[variant_id, location.id].level
            for location in self.locations.values()
            if location.is_active and (variant_id, location.id) in self.entries
        ]

    def open(self, level: StockLevel) -> StockLevel:
        """The level of this place; `level`, with nothing on it, where there is none yet."""
        entry = self.entries.setdefault((level.variant_id, level.location_id), _Entry(level, level.model_copy(), is_new=True))
        return entry.level

    def hold(self, level: StockLevel, quantity: int) -> None:
        """Promise pieces, or with a negative quantity take the promise back."""
        level.reserved += quantity
        level.available -= quantity

    def take(self, level: StockLevel, quantity: int, cause: Cause) -> StockMovement:
        """Let pieces leave at the present average."""
        value = value_leaving(level.on_hand, level.stock_value.amount, quantity)
        return self._move(level, -quantity, -value, -value, cause)

    def undo(self, movement: StockMovement, cause: Cause) -> StockMovement:
        """Let the pieces of the movement entered last leave again, with exactly what they brought."""
        level = self.level(movement.variant_id, movement.location_id)
        return self._move(level, -movement.quantity, -movement.value.amount, -movement.cost.amount, cause)

    def put(self, level: StockLevel, quantity: int, cause: Cause, *, cost: int | None = None) -> StockMovement:
        """Let pieces come in that are worth `cost` together, in minor units; at the present average without it."""
        if cost is None:
            cost = average_cost(level.on_hand, level.stock_value.amount, quantity)
        return self._move(level, quantity, value_entering(level.on_hand, quantity, cost), cost, cause)

    def _move(self, level: StockLevel, quantity: int, value: int, cost: int, cause: Cause) -> StockMovement:
        currency, total = level.stock_value.currency, level.stock_value.amount + value
        if abs(level.on_hand + quantity) > MAX_ON_HAND or total > MAX_AMOUNT or abs(cost) > MAX_AMOUNT:
            raise StockLimitError(level.sku)
        level.on_hand += quantity
        level.available += quantity
        level.stock_value = Money(amount=total, currency=currency)
        movement = StockMovement(
            key=f"{cause.key}:{level.variant_id}:{level.location_id}",
            kind=cause.kind,
            product_id=level.product_id,
            variant_id=level.variant_id,
            location_id=level.location_id,
            sku=level.sku,
            quantity=quantity,
            value=Money(amount=value, currency=currency),
            cost=Money(amount=cost, currency=currency),
            on_hand_after=level.on_hand,
            reference=cause.reference,
            reason=cause.reason,
            actor_id=cause.actor_id,
            occurred_at=cause.occurred_at,
        )
        self.movements.append(movement)
        return movement

    async def write(self, *, session: Session) -> None:
        """Store what was entered, with an event per line crossed, by late writes.

        Who is overtaken, by a level that moved or was opened or a cause entered meanwhile, starts again and finds it.
        """
        changed = [self.entries[place] for place in sorted(self.entries) if _is_changed(self.entries[place])]
        for entry in changed:
            await _write(entry, session)
        for movement in self.movements:  # also those that cancel each other out
            await movement.store_later(session=session, refused=_overtaken)
        for entry in changed:
            await self._tell(entry, session)

    async def _tell(self, entry: _Entry, session: Session) -> None:
        """Record what others wait for: a level that ran low just now, a level that ran out or has something again."""
        before, level = entry.before, entry.level
        subject = f"product:{level.product_id}"
        if level.available <= level.low_stock_threshold < before.available:
            payload = {
                "variant_id": str(level.variant_id),
                "location_id": str(level.location_id),
                "sku": level.sku,
                "available": level.available,
                "threshold": level.low_stock_threshold,
            }
            await EventService.record(session, EventType.STOCK_LOW, subject, payload=payload)
        if (level.available > 0) != (before.available > 0):
            # Of two transactions that empty two locations at once each sees the other's last piece: both tell, and who listens
            # asks for what is available then.
            is_available = any(other.available > 0 for other in self.for_sale(level.variant_id))
            payload = {"variant_id": str(level.variant_id), "sku": level.sku, "is_available": is_available}
            await EventService.record(session, EventType.STOCK_CHANGED, subject, payload=payload)


def _is_changed(entry: _Entry) -> bool:
    before, level = entry.before, entry.level
    was = (before.on_hand, before.reserved, before.stock_value.amount)
    return entry.is_new or (level.on_hand, level.reserved, level.stock_value.amount) != was


async def _write(entry: _Entry, session: Session) -> None:
    before, level = entry.before, entry.level
    level.is_low = level.available <= level.low_stock_threshold
    if entry.is_new:
        await level.store_later(session=session, refused=_overtaken)
        return
    as_read = {
        "_id": level.id,
        "on_hand": before.on_hand,
        "reserved": before.reserved,
        "stock_value.amount": before.stock_value.amount,
    }
    deltas = {
        "on_hand": level.on_hand - before.on_hand,
        "reserved": level.reserved - before.reserved,
        "available": level.available - before.available,
        "stock_value.amount": level.stock_value.amount - before.stock_value.amount,
    }
    update = {"$inc": deltas, "$set": {"is_low": level.is_low}}
    await StockLevel.change_later(as_read, update, session=session, unmet=start_again("stock moved meanwhile"))


def _overtaken(error: DuplicateKeyError) -> Exception:
    return start_again("stock moved meanwhile")
