"""Promises of stock: held until they are committed, released or expired, each of these once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import partial

from beanie import PydanticObjectId

from models.base import now as present
from models.base import to_milliseconds
from models.database import DuplicateKeyError, Session, heed_cancellation, run_transaction, start_again
from models.inventory.stock import (
    MovementKind,
    Reservation,
    ReservationStatus,
    ReservedLine,
    StockLevel,
    StockMovement,
)
from models.money import Money, half_up
from services.errors import InvalidStateError, RuleViolatedError
from services.inventory.allocation import Shortage, Wanted, allocate, together
from services.inventory.books import Books, Cause
from services.inventory.locations import default_of

__all__ = [
    "OutOfStockError",
    "ReservationGoneError",
    "ReservationService",
    "RestockTooLargeError",
    "Wanted",
]

BATCH = 200
SWEPT_ELSEWHERE = ("order",)  # kinds of owners whose own jobs call `expire_due` for them

OnExpired = Callable[[Session, Reservation], Awaitable[None]]


class OutOfStockError(RuleViolatedError):
    """There is not enough of something that is wanted; nothing of the rest was taken."""

    code = "out_of_stock"

    def __init__(self, shortages: Sequence[Shortage]) -> None:
        lines = "; ".join(f"{line.sku}: {line.wanted} wanted, {line.available} available" for line in shortages)
        super().__init__(f"Not enough in stock: {lines}.")
        self.shortages = list(shortages)


class ReservationGoneError(InvalidStateError):
    """The stock is not held any more: the reservation expired, was released, or never was."""

    code = "reservation_gone"

    def __init__(self, owner: str, status: ReservationStatus | None) -> None:
        super().__init__("The stock is not held any more.")
        self.owner = owner
        self.status = status


class RestockTooLargeError(RuleViolatedError):
    """More pieces would come back than were sold and are still away."""

    code = "restock_too_large"

    def __init__(self, variant_id: PydanticObjectId, wanted: int, left: int) -> None:
        super().__init__(f"{wanted} pieces cannot come back: {left} are away.")
        self.variant_id = variant_id
        self.wanted = wanted
        self.left = left


class ReservationService:
    @staticmethod
    async def reserve(
        owner: str, wanted: Sequence[Wanted], *, expires_at: datetime | None, session: Session, now: datetime | None = None
    ) -> Reservation:
        """Hold everything that is wanted for `owner`, or nothing: one command to read, and late writes.

        What the owner holds or has taken already is returned as it is; one whose reservation expired or was released gets a new
        one. Callers name the variants' ids as `hot` when they open the transaction. Raises OutOfStockError.
        """
        return await _take(owner, wanted, ReservationStatus.HELD, expires_at, session, now)

    @staticmethod
    async def sell(owner: str, wanted: Sequence[Wanted], *, session: Session, now: datetime | None = None) -> Reservation:
        """Take everything that is wanted, or nothing, without holding it before: reserved and committed in one.

        What the owner has taken already is returned as it is; what they hold is committed. Raises OutOfStockError.
        """
        return await _take(owner, wanted, ReservationStatus.COMMITTED, None, session, now)

    @staticmethod
    async def commit(owner: str, *, session: Session, now: datetime | None = None) -> Reservation:
        """Turn what the owner holds into sales; harmless to repeat. What is overdue and was not taken back yet still counts.

        Raises ReservationGoneError.
        """
        now = to_milliseconds(now or present())
        reservation = await ReservationService.find(owner, session=session)
        if reservation is not None and reservation.status is ReservationStatus.COMMITTED:
            return reservation
        if reservation is None or reservation.status is not ReservationStatus.HELD:
            raise ReservationGoneError(owner, reservation.status if reservation else None)
        committed = await _settle(reservation, ReservationStatus.COMMITTED, now, session)
        books = await Books.read([line.variant_id for line in committed.lines], session=session)
        _sell(books, committed, now, was_held=True)
        await books.write(session=session)
        return committed

    @staticmethod
    async def release(owner: str, *, session: Session, now: datetime | None = None) -> bool:
        """Give back what the owner holds. False when nothing was held: never, no longer, or because it was committed."""
        return await _give_back(owner, ReservationStatus.RELEASED, session, to_milliseconds(now or present())) is not None

    @staticmethod
    async def expire(owner: str, *, session: Session, now: datetime | None = None) -> Reservation | None:
        """Give back what the owner holds if its time is over; None when it is not, or nothing is held."""
        now = to_milliseconds(now or present())
        return await _give_back(owner, ReservationStatus.EXPIRED, session, now)

    @staticmethod
    async def find(owner: str, *, session: Session | None = None) -> Reservation | None:
        row = await Reservation.find_row({"owner": owner}, session=session)
        return None if row is None else Reservation.from_row(row)

    @staticmethod
    async def expire_due(
        *, owner_kind: str | None = None, now: datetime | None = None, on_expired: OnExpired | None = None, limit: int = BATCH
    ) -> int:
        """Take back what the owners of this kind hold too long; returns how many reservations this call expired.

        Without a kind: of every kind that no other job sweeps. Orders fall with their stock, so their own job takes theirs.

        `on_expired` is called in the transaction of each one, so that the order falls with its stock. Any number of processes
        may run this at once. One that fails is left for the next run, after the others were tried.
        """
        now = to_milliseconds(now or present())
        due = {
            "status": ReservationStatus.HELD,
            "owner_kind": owner_kind or {"$nin": list(SWEPT_ELSEWHERE)},
            # One step beyond: the embedded server loses the boundary of a range behind equalities.
            "expires_at": {"$lt": now + timedelta(milliseconds=1)},
        }
        rows = await Reservation.find_rows(due, {"owner": 1, "lines": 1}, sort=[("expires_at", 1)], limit=limit)
        expired, failed = 0, None
        for row in rows:

            async def work(session: Session, owner: str = row["owner"]) -> bool:
                reservation = await ReservationService.expire(owner, session=session, now=now)
                if reservation is not None and on_expired is not None:
                    await on_expired(session, reservation)
                return reservation is not None

            try:
                expired += await run_transaction(work, hot=[line["variant_id"] for line in row["lines"]])
            except Exception as error:
                heed_cancellation()
                failed = failed or error
        if failed is not None:
            raise failed
        return expired

    @staticmethod
    async def restock(
        owner: str,
        pieces: Mapping[PydanticObjectId, int],
        *,
        kind: MovementKind,
        key: str,
        session: Session,
        now: datetime | None = None,
        actor_id: PydanticObjectId | None = None,
        reason: str = "",
    ) -> list[StockMovement]:
        """Put pieces that the owner had taken back to where they came from, at what they left with.

        `key` names the cause: under a key that was used before nothing happens and what moved then is returned.
        Raises RestockTooLargeError for more than is away.
        """
        cause = Cause(kind, f"{owner}:{key}", owner, to_milliseconds(now or present()), reason, actor_id)
        rows = await StockMovement.find_rows({"reference": owner}, sort=[("_id", 1)], session=session)
        moved = [StockMovement.from_row(row) for row in rows]
        done = [one for one in moved if one.key == f"{cause.key}:{one.variant_id}:{one.location_id}"]
        pieces = {variant_id: quantity for variant_id, quantity in pieces.items() if quantity}
        if done or not pieces:
            return done
        books = await Books.read(list(pieces), session=session)
        for variant_id in sorted(pieces):
            _bring_back(books, [movement for movement in moved if movement.variant_id == variant_id], variant_id, pieces, cause)
        await books.write(session=session)
        return books.movements


# The owner whose reservation a transaction stumbled over: the next attempt looks first. Looking always would cost a command that
# only a repeated request needs.
_met: ContextVar[str | None] = ContextVar("owner_met", default=None)
_STANDING = frozenset({ReservationStatus.HELD, ReservationStatus.COMMITTED})


async def _take(
    owner: str,
    wanted: Sequence[Wanted],
    status: ReservationStatus,
    expires_at: datetime | None,
    session: Session,
    now: datetime | None,
) -> Reservation:
    now = to_milliseconds(now or present())
    known: Reservation | None = None
    if _met.get() == owner:
        _met.set(None)
        known = await ReservationService.find(owner, session=session)
        if known is not None and known.status in _STANDING:
            return await _as_wanted(known, status, session, now)
    lines = together(wanted)
    books = await Books.read([line.variant_id for line in lines], session=session)
    try:
        allocated = _allocate(books, lines)
    except OutOfStockError:
        standing = await ReservationService.find(owner, session=session)
        if standing is None or standing.status not in _STANDING:
            raise
        return await _as_wanted(standing, status, session, now)
    reservation = Reservation(
        owner=owner,
        owner_kind=owner.partition(":")[0],
        lines=allocated,
        status=status,
        expires_at=expires_at,
        settled_at=now if status is ReservationStatus.COMMITTED else None,
    )
    if known is not None:
        reservation = await _renew(known, reservation, session)
    else:
        await reservation.store_later(session=session, refused=partial(_meet, reservation.owner))
    if status is ReservationStatus.COMMITTED:
        _sell(books, reservation, now, was_held=False)
    else:
        for line in reservation.lines:
            books.hold(books.level(line.variant_id, line.location_id), line.quantity)
    await books.write(session=session)
    return reservation


async def _as_wanted(standing: Reservation, status: ReservationStatus, session: Session, now: datetime) -> Reservation:
    """What the owner has already; what they hold becomes theirs when that is wanted now."""
    if status is ReservationStatus.COMMITTED:
        return await ReservationService.commit(standing.owner, session=session, now=now)
    return standing


def _meet(owner: str, error: DuplicateKeyError) -> Exception:
    _met.set(owner)
    return start_again("the owner has a reservation")


def _allocate(books: Books, wanted: Sequence[Wanted]) -> list[ReservedLine]:
    """The lines of a reservation, in the order of variants and locations. Raises OutOfStockError."""
    lines: list[ReservedLine] = []
    shortages: list[Shortage] = []
    for line in wanted:
        levels = books.for_sale(line.variant_id)
        if not levels and line.allow_backorder:
            levels = _level_to_owe_from(books, line)
        parts = allocate(levels, line)
        if isinstance(parts, Shortage):
            shortages.append(parts)
            continue
        lines += [
            ReservedLine(
                product_id=line.product_id,
                variant_id=line.variant_id,
                location_id=level.location_id,
                sku=line.sku,
                quantity=quantity,
            )
            for level, quantity in sorted(parts, key=lambda part: part[0].location_id)
        ]
    if shortages:
        raise OutOfStockError(shortages)
    return lines


def _level_to_owe_from(books: Books, line: Wanted) -> list[StockLevel]:
    """An empty level at the first location, for a backorder of what no location ever had; none without a location."""
    location = default_of(books.locations)
    if location is None:
        return []
    level = StockLevel(
        product_id=line.product_id,
        variant_id=line.variant_id,
        location_id=location.id,
        sku=line.sku,
        stock_value=Money.zero(location.currency),
    )
    return [books.open(level)]


def _sell(books: Books, reservation: Reservation, now: datetime, *, was_held: bool) -> None:
    cause = Cause(MovementKind.SALE, f"{reservation.owner}:sale", reservation.owner, now)
    for line in reservation.lines:
        level = books.level(line.variant_id, line.location_id)
        if was_held:
            books.hold(level, -line.quantity)
        books.take(level, line.quantity, cause)


async def _settle(reservation: Reservation, status: ReservationStatus, now: datetime, session: Session) -> Reservation:
    """The reservation in its last state. Only one that is held gets there."""
    held = {"_id": reservation.id, "status": ReservationStatus.HELD}
    facts = {"status": status, "settled_at": now, "updated_at": present()}
    overtaken = start_again("the reservation was settled meanwhile")
    await Reservation.change_later(held, {"$set": facts}, session=session, unmet=overtaken)
    settled: Reservation = reservation.model_copy(update=facts)
    return settled


async def _give_back(owner: str, status: ReservationStatus, session: Session, now: datetime) -> Reservation | None:
    reservation = await ReservationService.find(owner, session=session)
    if reservation is None or reservation.status is not ReservationStatus.HELD:
        return None
    if status is ReservationStatus.EXPIRED and (reservation.expires_at is None or reservation.expires_at > now):
        return None
    settled = await _settle(reservation, status, now, session)
    books = await Books.read([line.variant_id for line in settled.lines], session=session)
    for line in settled.lines:
        books.hold(books.level(line.variant_id, line.location_id), -line.quantity)
    await books.write(session=session)
    return settled


async def _renew(known: Reservation, reservation: Reservation, session: Session) -> Reservation:
    """Fill a reservation that expired or was released anew: its owner keeps one row."""
    fields = reservation.row()
    renewed = await Reservation.change(
        {"_id": known.id, "status": known.status},
        {"$set": {name: fields[name] for name in ("lines", "status", "expires_at", "settled_at")}},
        session=session,
    )
    if renewed is None:
        raise start_again("the reservation was changed meanwhile")
    return renewed


def _bring_back(
    books: Books,
    moved: Sequence[StockMovement],
    variant_id: PydanticObjectId,
    pieces: Mapping[PydanticObjectId, int],
    cause: Cause,
) -> None:
    """Put a variant's pieces back to the locations they left, each at its share of the cost it left with."""
    missing = pieces[variant_id]
    if missing < 0:
        raise ValueError("a quantity is at least 1")
    away = -sum(movement.quantity for movement in moved)
    if missing > away:
        raise RestockTooLargeError(variant_id, missing, away)
    for sale in sorted((one for one in moved if one.kind is MovementKind.SALE), key=lambda one: one.location_id):
        back = [one for one in moved if one.location_id == sale.location_id and one is not sale]
        returned = sum(movement.quantity for movement in back)
        part = min(missing, -sale.quantity - returned)
        if part > 0:
            # Its share is what all pieces so far are worth less what came back before, so that the last one leaves no cent.
            cost = half_up(-sale.cost.amount * (returned + part), -sale.quantity) - sum(one.cost.amount for one in back)
            books.put(books.level(variant_id, sale.location_id), part, cause, cost=cost)
            missing -= part
