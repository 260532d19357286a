"""Stock between locations: it leaves one, is on its way, and comes to the other or is lost."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from beanie import PydanticObjectId
from pydantic import BaseModel, Field

from models.base import now as present
from models.base import to_milliseconds
from models.database import Session, run_transaction, start_again
from models.inventory.moving import StockTransfer, TransferLine, TransferRead, TransferStatus
from models.inventory.stock import MovementKind
from models.money import Money, half_up
from services.audit import AuditService
from services.errors import InvalidStateError, NotFoundError, RuleViolatedError
from services.inventory.books import Books, Cause
from services.inventory.items import Item, ItemCatalog, get_items
from services.inventory.locations import get_location
from services.inventory.receipts import MAX_LINES, ReceiptKey, ReceivedPieces, pieces_by_line, was_received
from services.inventory.stock import NotEnoughStockError, Quantity, Reason, level_at
from services.inventory.suppliers import Notes
from services.pagination import Page, PageRequest, page_of
from services.sequences import SequenceService
from services.users.permissions import Permission, Viewer

LOST = "#lost"  # the key under which what did not come is settled; no delivery may have it


class TransferNotFoundError(NotFoundError):
    """There is no such transfer."""

    code = "transfer_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("transfer", key)


class TransferStateError(InvalidStateError):
    """The transfer's status does not allow this step."""

    code = "transfer_state"

    def __init__(self, status: TransferStatus) -> None:
        super().__init__(f"This is not possible with a transfer that is {status.value}.")
        self.status = status


class TransferPlacesError(RuleViolatedError):
    """A transfer within one location, or between two whose stock is valued in different currencies."""

    code = "transfer_places"

    def __init__(self) -> None:
        super().__init__("A transfer leads from one location to another, both valued in one currency.")


class NotInTransitError(RuleViolatedError):
    """More pieces would come than are on their way."""

    code = "not_in_transit"

    def __init__(self, sku: str, received: int, in_transit: int) -> None:
        super().__init__(f"Of {sku} {in_transit} are on their way, not {received}.")
        self.sku = sku
        self.received = received
        self.in_transit = in_transit


class MovedItem(BaseModel):
    """Pieces of one variant to move."""

    variant_id: PydanticObjectId
    quantity: Quantity


class TransferDraft(BaseModel):
    """A transfer to be."""

    from_location_id: PydanticObjectId
    to_location_id: PydanticObjectId
    items: Annotated[Sequence[MovedItem], Field(min_length=1, max_length=MAX_LINES)]
    notes: Notes = ""


class Arrival(BaseModel):
    """What came of a transfer."""

    key: ReceiptKey
    lines: Annotated[Sequence[ReceivedPieces], Field(min_length=1, max_length=MAX_LINES)]


class Loss(BaseModel):
    """Why the rest of a transfer will not come."""

    reason: Reason = Field(examples=["Broken on the way"])


class TransferService:
    @staticmethod
    async def create_transfer(
        draft: TransferDraft, *, viewer: Viewer, catalog: ItemCatalog, now: datetime | None = None
    ) -> TransferRead:
        """A draft; nothing moves yet.

        Raises PermissionDeniedError, LocationNotFoundError, TransferPlacesError, ItemNotFoundError.
        """
        viewer.require(Permission.MANAGE_INVENTORY)
        now = to_milliseconds(now or present())
        source, target = await get_location(draft.from_location_id), await get_location(draft.to_location_id)
        if source.id == target.id or source.currency != target.currency:
            raise TransferPlacesError
        items = await get_items(catalog, [item.variant_id for item in draft.items])
        nothing = Money.zero(source.currency)
        transfer = StockTransfer(
            number=await SequenceService.next_number("TR", now=now),
            from_location_id=source.id,
            to_location_id=target.id,
            currency=source.currency,
            lines=[
                TransferLine(
                    product_id=items[one.variant_id].product_id,
                    variant_id=one.variant_id,
                    sku=items[one.variant_id].sku,
                    quantity=one.quantity,
                    cost=nothing,
                    settled_cost=nothing,
                )
                for one in draft.items
            ],
            notes=draft.notes,
            created_by=viewer.user_id,
            created_at=now,
        )

        async def work(session: Session) -> None:
            await transfer.store(session=session)
            await _note(session, "created", transfer, viewer)

        await run_transaction(work)
        return _to_read(transfer)

    @staticmethod
    async def list_transfers(*, viewer: Viewer, page: PageRequest, status: TransferStatus | None = None) -> Page[TransferRead]:
        """Newest first, all or of one status. Raises PermissionDeniedError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        query = {} if status is None else {"status": status}
        total = await StockTransfer.count_rows(query)
        rows = await StockTransfer.find_rows(query, sort=[("_id", -1)], skip=page.skip, limit=page.limit)
        return page_of([_to_read(StockTransfer.from_row(row)) for row in rows], page, total)

    @staticmethod
    async def get_transfer(transfer_id: PydanticObjectId, *, viewer: Viewer) -> TransferRead:
        """Raises PermissionDeniedError, TransferNotFoundError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        return _to_read(await _load(transfer_id))

    @staticmethod
    async def ship_transfer(transfer_id: PydanticObjectId, *, viewer: Viewer, now: datetime | None = None) -> TransferRead:
        """A draft whose pieces left, all of them; one that is on its way stays so.

        Raises PermissionDeniedError, TransferNotFoundError, TransferStateError, LevelNotFoundError, NotEnoughStockError.
        """
        viewer.require(Permission.MANAGE_INVENTORY)
        now = to_milliseconds(now or present())
        variant_ids = [line.variant_id for line in (await _load(transfer_id)).lines]

        async def work(session: Session) -> StockTransfer:
            transfer = await _load(transfer_id, session=session)
            if transfer.status is TransferStatus.IN_TRANSIT:
                return transfer
            if transfer.status is not TransferStatus.DRAFT:
                raise TransferStateError(transfer.status)
            books = await Books.read(variant_ids, session=session)
            lines = []
            for line in transfer.lines:
                level = books.level(line.variant_id, transfer.from_location_id)
                if level.available < line.quantity:
                    raise NotEnoughStockError(line.sku, line.quantity, level.available)
                cause = _cause(transfer, MovementKind.TRANSFER_OUT, "out", line, now, viewer)
                lines.append(line.model_copy(update={"cost": -books.take(level, line.quantity, cause).cost}))
            await books.write(session=session)
            moved = await _move(transfer, lines, {"status": TransferStatus.IN_TRANSIT, "shipped_at": now}, session)
            await _note(session, "shipped", transfer, viewer)
            return moved

        return _to_read(await run_transaction(work, hot=[transfer_id, *variant_ids]))

    @staticmethod
    async def receive_transfer(
        transfer_id: PydanticObjectId, arrival: Arrival, *, viewer: Viewer, now: datetime | None = None
    ) -> TransferRead:
        """The transfer with what came put into stock; the same arrival again changes nothing.

        Raises PermissionDeniedError, TransferNotFoundError, TransferStateError, UnknownLineError, NotInTransitError,
        ReceiptKeyReusedError.
        """
        return await _settle(transfer_id, viewer, now, key=arrival.key, lines=arrival.lines)

    @staticmethod
    async def lose_transfer(
        transfer_id: PydanticObjectId, loss: Loss, *, viewer: Viewer, now: datetime | None = None
    ) -> TransferRead:
        """The transfer, over: what did not come is written off where it was to come. A settled one stays as it is.

        Raises PermissionDeniedError, TransferNotFoundError, TransferStateError.
        """
        return await _settle(transfer_id, viewer, now, key=LOST, reason=loss.reason)

    @staticmethod
    async def cancel_transfer(transfer_id: PydanticObjectId, *, viewer: Viewer, now: datetime | None = None) -> TransferRead:
        """A draft that will not leave. Raises PermissionDeniedError, TransferNotFoundError, TransferStateError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        now = to_milliseconds(now or present())

        async def work(session: Session) -> StockTransfer:
            transfer = await _load(transfer_id, session=session)
            if transfer.status is TransferStatus.CANCELLED:
                return transfer
            if transfer.status is not TransferStatus.DRAFT:
                raise TransferStateError(transfer.status)
            fields = {"status": TransferStatus.CANCELLED, "settled_at": now}
            moved = await _move(transfer, transfer.lines, fields, session)
            await _note(session, "cancelled", transfer, viewer)
            return moved

        return _to_read(await run_transaction(work, hot=[transfer_id]))


async def pieces_in_transit(
    variant_ids: Sequence[PydanticObjectId], *, session: Session | None = None
) -> Mapping[tuple[PydanticObjectId, PydanticObjectId], int]:
    """Pieces on their way, by variant and the location they go to. One command; none for no variants."""
    wanted = set(variant_ids)
    found: dict[tuple[PydanticObjectId, PydanticObjectId], int] = {}
    if not wanted:
        return found
    query = {"lines.variant_id": {"$in": sorted(wanted)}, "status": TransferStatus.IN_TRANSIT}
    for row in await StockTransfer.find_rows(query, {"lines": 1, "to_location_id": 1}, session=session):
        for line in row["lines"]:
            if line["variant_id"] in wanted:
                place = (line["variant_id"], row["to_location_id"])
                found[place] = found.get(place, 0) + line["quantity"] - line["received_quantity"] - line["lost_quantity"]
    return found


async def _settle(
    transfer_id: PydanticObjectId,
    viewer: Viewer,
    now: datetime | None,
    *,
    key: str,
    lines: Sequence[ReceivedPieces] | None = None,
    reason: str = "",
) -> TransferRead:
    """Bring in the pieces of these lines under a key; without lines write off whatever is still on its way."""
    viewer.require(Permission.MANAGE_INVENTORY)
    moment = to_milliseconds(now or present())
    variant_ids = [line.variant_id for line in (await _load(transfer_id)).lines]

    async def work(session: Session) -> StockTransfer:
        transfer = await _load(transfer_id, session=session)
        if lines is None:
            if transfer.status is TransferStatus.RECEIVED:
                return transfer
            pieces = {line.id: _in_transit(line) for line in transfer.lines if _in_transit(line)}
        else:
            pieces = pieces_by_line(lines, [line.id for line in transfer.lines])
            if await was_received(f"transfer:{transfer.id}", key, pieces, session=session):
                return transfer
        if transfer.status is not TransferStatus.IN_TRANSIT:
            raise TransferStateError(transfer.status)
        books = await Books.read(variant_ids, session=session)
        settled = []
        for line in transfer.lines:
            part = pieces.get(line.id, 0)
            if part > _in_transit(line):
                raise NotInTransitError(line.sku, part, _in_transit(line))
            settled.append(await _bring(books, transfer, line, part, key, reason, moment, viewer) if part else line)
        await books.write(session=session)
        is_over = not any(_in_transit(line) for line in settled)
        fields = {"status": TransferStatus.RECEIVED, "settled_at": moment} if is_over else {}
        moved = await _move(transfer, settled, fields, session)
        await _note(session, "lost" if lines is None else "received", transfer, viewer, {"pieces": sum(pieces.values())})
        return moved

    return _to_read(await run_transaction(work, hot=[transfer_id, *variant_ids]))


async def _bring(
    books: Books,
    transfer: StockTransfer,
    line: TransferLine,
    part: int,
    key: str,
    reason: str,
    now: datetime,
    viewer: Viewer,
) -> TransferLine:
    """The line with `part` of its pieces come or, under the key of losses, come and written off at once."""
    gone = line.received_quantity + line.lost_quantity
    # The share of all that is settled by now, less what was settled before: the last piece leaves no cent behind.
    cost = half_up(line.cost.amount * (gone + part), line.quantity) - line.settled_cost.amount
    level = await level_at(books, Item(line.product_id, line.variant_id, line.sku), transfer.to_location_id)
    came = books.put(level, part, _cause(transfer, MovementKind.TRANSFER_IN, key, line, now, viewer), cost=cost)
    is_lost = key == LOST
    if is_lost:
        books.undo(came, _cause(transfer, MovementKind.WRITE_OFF, "write_off", line, now, viewer, reason))
    return line.model_copy(
        update={
            "lost_quantity" if is_lost else "received_quantity": (line.lost_quantity if is_lost else line.received_quantity)
            + part,
            "settled_cost": line.settled_cost + Money(amount=cost, currency=line.cost.currency),
        }
    )


def _in_transit(line: TransferLine) -> int:
    return line.quantity - line.received_quantity - line.lost_quantity


def _cause(
    transfer: StockTransfer,
    kind: MovementKind,
    key: str,
    line: TransferLine,
    now: datetime,
    viewer: Viewer,
    reason: str = "",
) -> Cause:
    reference = f"transfer:{transfer.id}"
    # What staff name is kept apart from what is named here: a delivery called `out` is none of ours.
    key = f"{key}:{line.id}" if kind is MovementKind.TRANSFER_IN else f"#{key}:{line.id}"
    return Cause(kind, f"{reference}:{key}", reference, now, reason, viewer.user_id)


async def _load(transfer_id: PydanticObjectId, *, session: Session | None = None) -> StockTransfer:
    row = await StockTransfer.find_row({"_id": transfer_id}, session=session)
    if row is None:
        raise TransferNotFoundError(transfer_id)
    return StockTransfer.from_row(row)


async def _move(
    transfer: StockTransfer, lines: Sequence[TransferLine], fields: Mapping[str, Any], session: Session
) -> StockTransfer:
    as_read = {"_id": transfer.id, "revision": transfer.revision}
    update = {"$set": {"lines": [line.model_dump() for line in lines], **fields}, "$inc": {"revision": 1}}
    moved = await StockTransfer.change(as_read, update, session=session)
    if moved is None:
        raise start_again("the transfer was changed meanwhile")
    return moved


async def _note(
    session: Session, what: str, transfer: StockTransfer, viewer: Viewer, details: dict[str, Any] | None = None
) -> None:
    await AuditService.record(
        session,
        f"stock_transfer.{what}",
        subject=f"stock_transfer:{transfer.id}",
        actor_id=viewer.user_id,
        details={"number": transfer.number, **(details or {})},
    )


def _to_read(transfer: StockTransfer) -> TransferRead:
    return TransferRead.model_validate(transfer.model_dump())
