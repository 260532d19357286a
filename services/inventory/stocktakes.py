"""Counting what is there, and making the books say so."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from beanie import PydanticObjectId
from pydantic import BaseModel, Field

from models.base import now as present
from models.base import to_milliseconds
from models.database import DuplicateKeyError, Session, run_transaction, start_again
from models.inventory.moving import (
    Stocktake,
    StocktakeCount,
    StocktakeCountRead,
    StocktakeRead,
    StocktakeStatus,
)
from models.inventory.stock import MovementKind, StockLevel
from services.audit import AuditService
from services.errors import ConflictError, InvalidStateError, NotFoundError, RuleViolatedError
from services.inventory.books import Books, Cause
from services.inventory.items import Item, ItemCatalog, get_items
from services.inventory.locations import get_location
from services.inventory.stock import MAX_QUANTITY, level_at
from services.inventory.suppliers import Notes
from services.pagination import Page, PageRequest, page_of
from services.sequences import SequenceService
from services.users.permissions import Permission, Viewer

MAX_COUNTS = 1000  # of one stocktake: they are approved in one transaction


class StocktakeNotFoundError(NotFoundError):
    """There is no such stocktake."""

    code = "stocktake_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("stocktake", key)


class StocktakeStateError(InvalidStateError):
    """The stocktake is settled: nothing is counted or approved in it any more."""

    code = "stocktake_state"

    def __init__(self, status: StocktakeStatus) -> None:
        super().__init__(f"This is not possible with a stocktake that is {status.value}.")
        self.status = status


class StocktakeOpenError(ConflictError):
    """Somebody is counting this location already."""

    code = "stocktake_open"

    def __init__(self, location_id: PydanticObjectId) -> None:
        super().__init__("This location is being counted already.")
        self.location_id = location_id


class StocktakeTooLargeError(RuleViolatedError):
    """More variants than one stocktake may hold."""

    code = "stocktake_too_large"

    def __init__(self) -> None:
        super().__init__(f"A stocktake holds {MAX_COUNTS} variants: approve this one and open another.")


class Counted(BaseModel):
    """What was found of one variant."""

    variant_id: PydanticObjectId
    counted: Annotated[int, Field(ge=0, le=MAX_QUANTITY, examples=[11])]


class StocktakeDraft(BaseModel):
    """A stocktake to be."""

    location_id: PydanticObjectId
    notes: Notes = ""


class StocktakeService:
    @staticmethod
    async def open_stocktake(draft: StocktakeDraft, *, viewer: Viewer, now: datetime | None = None) -> StocktakeRead:
        """Raises PermissionDeniedError, LocationNotFoundError, StocktakeOpenError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        now = to_milliseconds(now or present())
        location = await get_location(draft.location_id)
        stocktake = Stocktake(
            number=await SequenceService.next_number("ST", now=now),
            location_id=location.id,
            notes=draft.notes,
            created_by=viewer.user_id,
            created_at=now,
        )

        async def work(session: Session) -> None:
            await stocktake.store(session=session)
            await _note(session, "opened", stocktake, viewer)

        try:
            await run_transaction(work, hot=[location.id])
        except DuplicateKeyError as error:
            raise StocktakeOpenError(location.id) from error
        return _to_read(stocktake)

    @staticmethod
    async def list_stocktakes(*, viewer: Viewer, page: PageRequest, status: StocktakeStatus | None = None) -> Page[StocktakeRead]:
        """Newest first, all or of one status. Raises PermissionDeniedError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        query = {} if status is None else {"status": status}
        total = await Stocktake.count_rows(query)
        rows = await Stocktake.find_rows(query, sort=[("_id", -1)], skip=page.skip, limit=page.limit)
        return page_of([_to_read(Stocktake.from_row(row)) for row in rows], page, total)

    @staticmethod
    async def get_stocktake(stocktake_id: PydanticObjectId, *, viewer: Viewer) -> StocktakeRead:
        """Raises PermissionDeniedError, StocktakeNotFoundError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        return _to_read(await _load(stocktake_id))

    @staticmethod
    async def list_counts(stocktake_id: PydanticObjectId, *, viewer: Viewer, page: PageRequest) -> Page[StocktakeCountRead]:
        """What was counted, in the order of the variants. Raises PermissionDeniedError, StocktakeNotFoundError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        await _load(stocktake_id)
        query = {"stocktake_id": stocktake_id}
        total = await StocktakeCount.count_rows(query)
        rows = await StocktakeCount.find_rows(query, sort=[("variant_id", 1)], skip=page.skip, limit=page.limit)
        return page_of([StocktakeCountRead.model_validate(row) for row in rows], page, total)

    @staticmethod
    async def count(
        stocktake_id: PydanticObjectId,
        found: Sequence[Counted],
        *,
        viewer: Viewer,
        catalog: ItemCatalog,
        now: datetime | None = None,
    ) -> list[StocktakeCountRead]:
        """Write down what was found now, in the order given; a variant counted before is replaced.

        Raises PermissionDeniedError, StocktakeNotFoundError, StocktakeStateError, ItemNotFoundError, StocktakeTooLargeError.
        """
        viewer.require(Permission.MANAGE_INVENTORY)
        now = to_milliseconds(now or present())
        pieces = {one.variant_id: one.counted for one in found}

        async def work(session: Session) -> list[StocktakeCount]:
            stocktake = await _touch(stocktake_id, session)
            known = await StocktakeCount.find_rows({"stocktake_id": stocktake_id}, {"variant_id": 1}, session=session)
            if len({row["variant_id"] for row in known} | pieces.keys()) > MAX_COUNTS:
                raise StocktakeTooLargeError
            items = await get_items(catalog, list(pieces), session=session)
            rows = await StockLevel.find_rows(
                {"variant_id": {"$in": sorted(pieces)}},
                {"variant_id": 1, "location_id": 1, "on_hand": 1},
                session=session,
            )
            on_hand = {row["variant_id"]: row["on_hand"] for row in rows if row["location_id"] == stocktake.location_id}
            counts = [
                _to_count(stocktake, items[variant_id], counted, on_hand.get(variant_id, 0), now, viewer)
                for variant_id, counted in pieces.items()
            ]
            await _replace(stocktake_id, counts, session)
            return counts

        counts = await run_transaction(work, hot=[stocktake_id])
        return [StocktakeCountRead.model_validate(count.model_dump()) for count in counts]

    @staticmethod
    async def approve_stocktake(stocktake_id: PydanticObjectId, *, viewer: Viewer, now: datetime | None = None) -> StocktakeRead:
        """Post every variance; a stocktake that is approved stays so. What was not counted is left alone.

        Posts differences, so what was sold or received since the count keeps its effect. A variance may take away what is
        promised: what is not there cannot be sold. Raises PermissionDeniedError, StocktakeNotFoundError, StocktakeStateError.
        """
        viewer.require(Permission.MANAGE_INVENTORY)
        now = to_milliseconds(now or present())
        variants = await StocktakeCount.find_rows({"stocktake_id": stocktake_id}, {"variant_id": 1}, limit=MAX_COUNTS)

        async def work(session: Session) -> Stocktake:
            stocktake = await _load(stocktake_id, session=session)
            if stocktake.status is StocktakeStatus.APPROVED:
                return stocktake
            settled = await _close(stocktake, StocktakeStatus.APPROVED, now, viewer, session)
            rows = await StocktakeCount.find_rows({"stocktake_id": stocktake_id}, sort=[("variant_id", 1)], session=session)
            counts = [StocktakeCount.from_row(row) for row in rows if row["variance"]]
            books = await Books.read([count.variant_id for count in counts], session=session)
            reference = f"stocktake:{stocktake.id}"
            for count in counts:
                reason = f"{stocktake.number}: {count.counted} counted, {count.expected} expected"
                cause = Cause(MovementKind.STOCKTAKE, reference, reference, now, reason, viewer.user_id)
                item = Item(count.product_id, count.variant_id, count.sku)
                level = await level_at(books, item, stocktake.location_id)
                if count.variance > 0:
                    books.put(level, count.variance, cause)
                else:
                    books.take(level, -count.variance, cause)
            await books.write(session=session)
            await _note(session, "approved", stocktake, viewer, {"variances": len(counts)})
            return settled

        return _to_read(await run_transaction(work, hot=[stocktake_id, *(row["variant_id"] for row in variants)]))

    @staticmethod
    async def cancel_stocktake(stocktake_id: PydanticObjectId, *, viewer: Viewer, now: datetime | None = None) -> StocktakeRead:
        """A stocktake that changes nothing. Raises PermissionDeniedError, StocktakeNotFoundError, StocktakeStateError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        now = to_milliseconds(now or present())

        async def work(session: Session) -> Stocktake:
            stocktake = await _load(stocktake_id, session=session)
            if stocktake.status is StocktakeStatus.CANCELLED:
                return stocktake
            settled = await _close(stocktake, StocktakeStatus.CANCELLED, now, viewer, session)
            await _note(session, "cancelled", stocktake, viewer)
            return settled

        return _to_read(await run_transaction(work, hot=[stocktake_id]))


async def _load(stocktake_id: PydanticObjectId, *, session: Session | None = None) -> Stocktake:
    row = await Stocktake.find_row({"_id": stocktake_id}, session=session)
    if row is None:
        raise StocktakeNotFoundError(stocktake_id)
    return Stocktake.from_row(row)


async def _touch(stocktake_id: PydanticObjectId, session: Session) -> Stocktake:
    """The open stocktake, written to: a count and an approval at one moment are one after the other."""
    stocktake = await Stocktake.change({"_id": stocktake_id, "status": StocktakeStatus.OPEN}, {}, session=session)
    if stocktake is None:
        raise StocktakeStateError((await _load(stocktake_id, session=session)).status)
    return stocktake


async def _close(stocktake: Stocktake, status: StocktakeStatus, now: datetime, viewer: Viewer, session: Session) -> Stocktake:
    """By deletion and insertion: the status decides whether the location is taken under a unique index."""
    if stocktake.status is not StocktakeStatus.OPEN:
        raise StocktakeStateError(stocktake.status)
    as_read = {"_id": stocktake.id, "status": StocktakeStatus.OPEN}
    fields = {"status": status, "settled_at": now, "settled_by": viewer.user_id}
    settled = await Stocktake.rekey(as_read, fields, session=session)
    if settled is None:
        raise start_again("the stocktake was settled meanwhile")
    return settled


def _to_count(stocktake: Stocktake, item: Item, counted: int, on_hand: int, now: datetime, viewer: Viewer) -> StocktakeCount:
    return StocktakeCount(
        stocktake_id=stocktake.id,
        product_id=item.product_id,
        variant_id=item.variant_id,
        sku=item.sku,
        counted=counted,
        expected=on_hand,
        variance=counted - on_hand,
        counted_at=now,
        counted_by=viewer.user_id,
    )


async def _replace(stocktake_id: PydanticObjectId, counts: list[StocktakeCount], session: Session) -> None:
    """Put these counts in the place of earlier ones of the same variants."""
    query = {"stocktake_id": stocktake_id, "variant_id": {"$in": [count.variant_id for count in counts]}}
    await StocktakeCount.collection().delete_many(query, session=session)
    for count in counts:
        await count.store(session=session)


async def _note(
    session: Session, what: str, stocktake: Stocktake, viewer: Viewer, details: Mapping[str, Any] | None = None
) -> None:
    await AuditService.record(
        session,
        f"stocktake.{what}",
        subject=f"stocktake:{stocktake.id}",
        actor_id=viewer.user_id,
        details={"number": stocktake.number, **(details or {})},
    )


def _to_read(stocktake: Stocktake) -> StocktakeRead:
    return StocktakeRead.model_validate(stocktake.model_dump())
