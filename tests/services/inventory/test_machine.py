"""Any sequence of what can happen to stock, against a plain Python model: pieces are conserved after every step (R9)."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.database import Database, Session, run_transaction
from models.inventory.moving import StockTransfer, TransferStatus
from models.inventory.stock import MovementKind, Reservation, StockLevel, StockLocation, StockMovement
from models.money import Money
from models.users import Role
from services.inventory.checks import stock_drift
from services.inventory.receipts import ReceivedPieces
from services.inventory.reservations import (
    OutOfStockError,
    ReservationGoneError,
    ReservationService,
    RestockTooLargeError,
    Wanted,
)
from services.inventory.stock import Correction, NotEnoughStockError, StockService
from services.inventory.stocktakes import Counted, StocktakeDraft, StocktakeService
from services.inventory.transfers import Arrival, Loss, MovedItem, TransferDraft, TransferService
from services.users.permissions import Viewer
from tests.factories.inventory import KnownItems, a_variant, create_location, stock
from tests.factories.users import create_user, viewer_of
from tests.races import rounds
from tests.services.inventory.books_check import assert_books_add_up

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

Step = tuple[str, int, int, int]
VERBS = [
    "receive",
    "write_off",
    "reserve",
    "reserve",
    "backorder",
    "sell",
    "commit",
    "commit",
    "release",
    "expire",
    "restock",
    "ship",
    "arrive",
    "lose",
    "count",
]
steps = st.lists(
    st.tuples(st.sampled_from(VERBS), st.integers(0, 7), st.integers(1, 6), st.integers(0, 3)),
    min_size=1,
    max_size=rounds(25, 30),
)


@dataclass
class Model:
    """What the shop should have, in the plainest terms: two variants at two locations, eight orders."""

    on_hand: Counter[tuple[int, int]] = field(default_factory=Counter)
    held: dict[int, Counter[tuple[int, int]]] = field(default_factory=dict)
    gone: dict[int, Counter[tuple[int, int]]] = field(default_factory=dict)  # sold and not come back
    in_transit: Counter[int] = field(default_factory=Counter)  # by variant
    received: Counter[int] = field(default_factory=Counter)
    corrected: Counter[int] = field(default_factory=Counter)  # written off, lost, and variances
    orders: set[int] = field(default_factory=set)  # those that sold something once

    def available(self, place: tuple[int, int]) -> int:
        return self.on_hand[place] - sum(lines[place] for lines in self.held.values())

    def allocate(self, variant: int, quantity: int, *, backorder: bool) -> Counter[tuple[int, int]] | None:
        """The first place that has all, else what each has in turn, else what is missing from the first."""
        places = [(variant, 0), (variant, 1)]
        for place in places:
            if self.available(place) >= quantity:
                return Counter({place: quantity})
        parts = Counter[tuple[int, int]]()
        for place in places:
            parts[place] = min(quantity - parts.total(), max(0, self.available(place)))
        missing = quantity - parts.total()
        if missing and not backorder:
            return None
        parts[places[0]] += missing
        return +parts

    def conserved(self, variant: int) -> bool:
        here = sum(quantity for (one, _), quantity in self.on_hand.items() if one == variant)
        sold = sum(quantity for lines in self.gone.values() for (one, _), quantity in lines.items() if one == variant)
        return here + sold + self.in_transit[variant] == self.received[variant] + self.corrected[variant]


@dataclass
class Shop:
    """The real thing, driven by the same steps."""

    model: Model
    viewer: Viewer
    levels: list[StockLevel]
    locations: list[StockLocation]

    @property
    def catalog(self) -> KnownItems:
        return KnownItems(*self.levels)

    async def run(self, verb: str, order: int, quantity: int, choice: int) -> None:
        step: Callable[[int, int, int, int], Awaitable[None]] = getattr(self, verb)
        await step(order, quantity, choice % 2, choice // 2)

    async def receive(self, order: int, quantity: int, variant: int, place: int) -> None:
        cost = Money(amount=97 + 13 * order, currency="USD")
        await self._correct(quantity, variant, place, MovementKind.RECEIPT, cost)
        self.model.on_hand[variant, place] += quantity
        self.model.received[variant] += quantity

    async def write_off(self, order: int, quantity: int, variant: int, place: int) -> None:
        if self.model.available((variant, place)) < quantity:
            with pytest.raises(NotEnoughStockError):
                await self._correct(-quantity, variant, place, MovementKind.WRITE_OFF)
            return
        await self._correct(-quantity, variant, place, MovementKind.WRITE_OFF)
        self.model.on_hand[variant, place] -= quantity
        self.model.corrected[variant] -= quantity

    async def reserve(self, order: int, quantity: int, variant: int, place: int) -> None:
        await self._take(order, quantity, variant, ReservationService.reserve, self.model.held)

    async def backorder(self, order: int, quantity: int, variant: int, place: int) -> None:
        await self._take(order, quantity, variant, ReservationService.reserve, self.model.held, backorder=True)

    async def sell(self, order: int, quantity: int, variant: int, place: int) -> None:
        if order in self.model.held:
            await self.commit(order, quantity, variant, place)  # what they hold is what they get
            return
        await self._take(order, quantity, variant, ReservationService.sell, self.model.gone)

    async def commit(self, order: int, quantity: int, variant: int, place: int) -> None:
        async def work(session: Session) -> Reservation:
            return await ReservationService.commit(f"order:{order}", session=session, now=NOON)

        if order not in self.model.held and order not in self.model.orders:
            with pytest.raises(ReservationGoneError):
                await run_transaction(work)
            return
        await run_transaction(work)
        lines = self.model.held.pop(order, None)
        if lines is not None:
            self.model.on_hand.subtract(lines)
            self.model.gone[order] = lines
            self.model.orders.add(order)

    async def release(self, order: int, quantity: int, variant: int, place: int) -> None:
        async def work(session: Session) -> bool:
            return await ReservationService.release(f"order:{order}", session=session, now=NOON)

        assert await run_transaction(work) is (self.model.held.pop(order, None) is not None)

    async def expire(self, order: int, quantity: int, variant: int, place: int) -> None:
        """Orders of an even number hold their stock for ten minutes, the others for twenty."""
        even = variant == 0
        due = [one for one in self.model.held if not even or one % 2 == 0]
        later = NOON + timedelta(minutes=10 if even else 20)
        assert await ReservationService.expire_due(owner_kind="order", now=later) == len(due)
        for one in due:
            del self.model.held[one]

    async def restock(self, order: int, quantity: int, variant: int, place: int) -> None:
        level = self._level(variant, 0)
        gone = self.model.gone.get(order, Counter())
        away = gone[variant, 0] + gone[variant, 1]
        key = f"return:{await StockMovement.count_rows({})}"

        async def work(session: Session) -> list[StockMovement]:
            return await ReservationService.restock(
                f"order:{order}", {level.variant_id: quantity}, kind=MovementKind.RETURN, key=key, session=session, now=NOON
            )

        if quantity > away:
            with pytest.raises(RestockTooLargeError):
                await run_transaction(work)
            return
        moved = await run_transaction(work)
        assert [one.id for one in await run_transaction(work)] == [one.id for one in moved]
        for movement in moved:
            at = (variant, [one.id for one in self.locations].index(movement.location_id))
            self.model.on_hand[at] += movement.quantity
            gone[at] -= movement.quantity
            assert gone[at] >= 0
        assert sum(movement.quantity for movement in moved) == quantity

    async def ship(self, order: int, quantity: int, variant: int, place: int) -> None:
        source, target = self.locations[place], self.locations[1 - place]
        item = MovedItem(variant_id=self._level(variant, 0).variant_id, quantity=quantity)
        draft = TransferDraft(from_location_id=source.id, to_location_id=target.id, items=[item])
        transfer = await TransferService.create_transfer(draft, viewer=self.viewer, catalog=self.catalog, now=NOON)
        if self.model.available((variant, place)) < quantity:
            with pytest.raises(NotEnoughStockError):
                await TransferService.ship_transfer(transfer.id, viewer=self.viewer, now=NOON)
            await TransferService.cancel_transfer(transfer.id, viewer=self.viewer, now=NOON)
            return
        await TransferService.ship_transfer(transfer.id, viewer=self.viewer, now=NOON)
        self.model.on_hand[variant, place] -= quantity
        self.model.in_transit[variant] += quantity

    async def arrive(self, order: int, quantity: int, variant: int, place: int) -> None:
        transfer = await self._under_way()
        if transfer is None:
            return
        line = transfer.lines[0]
        part = min(quantity, line.quantity - line.received_quantity)
        arrival = Arrival(key=f"DN-{line.received_quantity}", lines=[ReceivedPieces(line_id=line.id, quantity=part)])
        for _ in range(2):
            await TransferService.receive_transfer(transfer.id, arrival, viewer=self.viewer, now=NOON)
        at = self._place_of(transfer)
        self.model.on_hand[at] += part
        self.model.in_transit[at[0]] -= part

    async def lose(self, order: int, quantity: int, variant: int, place: int) -> None:
        transfer = await self._under_way()
        if transfer is None:
            return
        line = transfer.lines[0]
        await TransferService.lose_transfer(transfer.id, Loss(reason="Fell off"), viewer=self.viewer, now=NOON)
        at = self._place_of(transfer)
        self.model.in_transit[at[0]] -= line.quantity - line.received_quantity
        self.model.corrected[at[0]] -= line.quantity - line.received_quantity

    async def count(self, order: int, quantity: int, variant: int, place: int) -> None:
        """Counted at first wrong and then right, a piece received in between, then approved: posts what was missing."""
        variant_id = self._level(variant, 0).variant_id
        draft = StocktakeDraft(location_id=self.locations[place].id)
        opened = await StocktakeService.open_stocktake(draft, viewer=self.viewer, now=NOON)
        seen = max(0, self.model.on_hand[variant, place] + quantity - 3)
        variance = seen - self.model.on_hand[variant, place]
        for counted in (999, seen):
            found = [Counted(variant_id=variant_id, counted=counted)]
            await StocktakeService.count(opened.id, found, viewer=self.viewer, catalog=self.catalog, now=NOON)
        await self.receive(order, 1, variant, place)
        for _ in range(2):
            await StocktakeService.approve_stocktake(opened.id, viewer=self.viewer, now=NOON)
        self.model.on_hand[variant, place] += variance
        self.model.corrected[variant] += variance

    async def check(self) -> None:
        await assert_books_add_up()
        for (variant, place), quantity in self.model.on_hand.items():
            level = self._level(variant, place)
            stored = await StockLevel.find_row({"_id": level.id})
            assert stored is not None
            assert (stored["on_hand"], stored["available"]) == (quantity, self.model.available((variant, place)))
        for variant in (0, 1):
            assert self.model.conserved(variant)

    async def _correct(self, quantity: int, variant: int, place: int, kind: MovementKind, unit_cost: Money | None = None) -> None:
        level = self._level(variant, place)
        correction = Correction(
            variant_id=level.variant_id,
            location_id=level.location_id,
            quantity=quantity,
            unit_cost=unit_cost,
            reason="test",
        )
        await StockService.correct(correction, kind=kind, catalog=self.catalog, viewer=self.viewer, currency="USD")

    async def _take(
        self,
        order: int,
        quantity: int,
        variant: int,
        take: Any,
        owned: dict[int, Counter[tuple[int, int]]],
        *,
        backorder: bool = False,
    ) -> None:
        """Reserve or sell; an owner who has something already keeps just that."""
        level = self._level(variant, 0)
        line = Wanted(level.product_id, level.variant_id, level.sku, quantity, allow_backorder=backorder)
        expires = {"expires_at": NOON + timedelta(minutes=10 + 10 * (order % 2))} if take is ReservationService.reserve else {}

        async def work(session: Session) -> Reservation:
            reservation: Reservation = await take(f"order:{order}", [line], session=session, now=NOON, **expires)
            return reservation

        if order in self.model.held or order in self.model.orders:
            await run_transaction(work)
            return
        lines = self.model.allocate(variant, quantity, backorder=backorder)
        if lines is None:
            with pytest.raises(OutOfStockError):
                await run_transaction(work)
            return
        await run_transaction(work)
        owned[order] = lines
        if owned is self.model.gone:
            self.model.on_hand.subtract(lines)
            self.model.orders.add(order)

    async def _under_way(self) -> StockTransfer | None:
        rows = await StockTransfer.find_rows({"status": TransferStatus.IN_TRANSIT}, sort=[("_id", 1)], limit=1)
        return StockTransfer.from_row(rows[0]) if rows else None

    def _place_of(self, transfer: StockTransfer) -> tuple[int, int]:
        variant = next(n for n in (0, 1) if self._level(n, 0).variant_id == transfer.lines[0].variant_id)
        return variant, [one.id for one in self.locations].index(transfer.to_location_id)

    def _level(self, variant: int, place: int) -> StockLevel:
        return self.levels[2 * variant + place]


async def open_shop(viewer: Viewer, locations: list[StockLocation]) -> Shop:
    for document in (StockLevel, StockMovement, Reservation, StockTransfer):
        await document.collection().delete_many({})
    levels = []
    for _ in range(2):
        variant = a_variant()
        first = await stock(variant, 0, location=locations[0])
        levels += [first, await stock(variant, 0, location=locations[1], product_id=first.product_id)]
    return Shop(Model(), viewer, levels, locations)


@settings(max_examples=rounds(12, 2000))
@given(script=steps)
async def test_r9_pieces_are_conserved_after_every_step(database: Database, script: list[Step]) -> None:
    viewer = viewer_of(await create_user(role=Role.MANAGER))
    locations = [StockLocation.from_row(row) for row in await StockLocation.find_rows({}, sort=[("priority", 1)])]
    shop = await open_shop(viewer, locations or [await create_location(), await create_location()])
    await shop.receive(0, 5, 0, 0)
    for verb, order, quantity, choice in script:
        await shop.run(verb, order, quantity, choice)
        await shop.check()
    assert [row async for row in stock_drift()] == []
