"""Stock between locations: conserved at every moment, to the cent."""

from datetime import UTC, datetime

import pytest
from beanie import PydanticObjectId

from models.inventory.moving import TransferRead, TransferStatus
from models.inventory.stock import MovementKind, StockLevel, StockMovement
from models.users import Role
from services.inventory.history import HistoryService
from services.inventory.receipts import ReceiptKeyReusedError, ReceivedPieces
from services.inventory.stock import NotEnoughStockError
from services.inventory.transfers import (
    Arrival,
    Loss,
    MovedItem,
    NotInTransitError,
    TransferDraft,
    TransferPlacesError,
    TransferService,
    TransferStateError,
)
from services.pagination import PageRequest
from services.users.permissions import Viewer
from tests.factories.inventory import KnownItems, a_variant, create_location, create_transfer, stock
from tests.factories.users import create_user, viewer_of
from tests.services.inventory.books_check import assert_books_add_up

pytestmark = pytest.mark.usefixtures("database")

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


async def keeper() -> Viewer:
    return viewer_of(await create_user(role=Role.MANAGER))


async def shipped(level: StockLevel, quantity: int, viewer: Viewer) -> TransferRead:
    transfer = await create_transfer(level, quantity)
    return await TransferService.ship_transfer(transfer.id, viewer=viewer, now=NOON)


async def arrive(transfer: TransferRead, quantity: int, key: str, viewer: Viewer) -> TransferRead:
    arrival = Arrival(key=key, lines=[ReceivedPieces(line_id=transfer.lines[0].id, quantity=quantity)])
    return await TransferService.receive_transfer(transfer.id, arrival, viewer=viewer, now=NOON)


async def worth(viewer: Viewer) -> list[tuple[PydanticObjectId | None, int, int]]:
    """Pieces and value by location, in transit last."""
    found = await HistoryService.valuation(viewer=viewer)
    return [(one.location_id, one.on_hand, one.value.amount) for one in found.locations]


class TestTransfer:
    async def test_value_travels_with_the_pieces(self) -> None:
        """INV-5: what is in transit is visible, and nothing is lost by rounding: 1000 for 7 pieces, 3 of them move."""
        viewer = await keeper()
        mug = await stock(a_variant(), 7, unit_cost=0)
        await StockLevel.collection().update_one({"_id": mug.id}, {"$set": {"stock_value.amount": 1000}})
        await StockMovement.collection().update_many({}, {"$set": {"value.amount": 1000}})

        transfer = await shipped(mug, 3, viewer)
        assert (transfer.status, transfer.lines[0].cost.amount) == (TransferStatus.IN_TRANSIT, 429)
        assert await worth(viewer) == [(mug.location_id, 4, 571), (None, 3, 429)]

        partly = await arrive(transfer, 2, "A", viewer)
        assert await arrive(transfer, 2, "A", viewer) == partly  # reported again
        assert await worth(viewer) == [(mug.location_id, 4, 571), (transfer.to_location_id, 2, 286), (None, 1, 143)]

        done = await arrive(transfer, 1, "B", viewer)
        assert (done.status, done.settled_at) == (TransferStatus.RECEIVED, NOON)
        assert await worth(viewer) == [(mug.location_id, 4, 571), (transfer.to_location_id, 3, 429)]
        await assert_books_add_up()

    async def test_what_is_lost_is_written_off_and_leaves_the_average_alone(self) -> None:
        viewer = await keeper()
        mug = await stock(a_variant(), 10, unit_cost=100)
        transfer = await shipped(mug, 4, viewer)
        await arrive(transfer, 1, "A", viewer)
        lost = await TransferService.lose_transfer(transfer.id, Loss(reason="Broken"), viewer=viewer, now=NOON)
        again = await TransferService.lose_transfer(transfer.id, Loss(reason="Broken"), viewer=viewer, now=NOON)

        assert (lost.status, lost.lines[0].lost_quantity, again) == (TransferStatus.RECEIVED, 3, lost)
        (off,) = await StockMovement.find_rows({"kind": MovementKind.WRITE_OFF})
        assert (off["quantity"], off["value"]["amount"], off["reason"]) == (-3, -300, "Broken")
        assert await worth(viewer) == [(mug.location_id, 6, 600), (transfer.to_location_id, 1, 100)]
        await assert_books_add_up()

    async def test_not_more_than_is_there_or_on_its_way(self) -> None:
        viewer = await keeper()
        mug = await stock(a_variant(), 3)
        draft = await create_transfer(mug, 4)
        with pytest.raises(NotEnoughStockError):
            await TransferService.ship_transfer(draft.id, viewer=viewer)
        transfer = await shipped(mug, 3, viewer)
        with pytest.raises(NotInTransitError):
            await arrive(transfer, 4, "A", viewer)
        await arrive(transfer, 2, "A", viewer)
        with pytest.raises(NotInTransitError):
            await arrive(transfer, 2, "B", viewer)
        with pytest.raises(ReceiptKeyReusedError):
            await arrive(transfer, 1, "A", viewer)
        assert await StockMovement.count_rows({}) == 3
        await assert_books_add_up()

    async def test_states(self) -> None:
        viewer = await keeper()
        mug = await stock(a_variant(), 9)
        transfer = await shipped(mug, 3, viewer)
        assert await TransferService.ship_transfer(transfer.id, viewer=viewer) == transfer
        with pytest.raises(TransferStateError):
            await TransferService.cancel_transfer(transfer.id, viewer=viewer)
        await arrive(transfer, 3, "A", viewer)
        with pytest.raises(TransferStateError):
            await TransferService.ship_transfer(transfer.id, viewer=viewer)
        draft = await create_transfer(mug, 1)
        cancelled = await TransferService.cancel_transfer(draft.id, viewer=viewer, now=NOON)
        assert await TransferService.cancel_transfer(draft.id, viewer=viewer) == cancelled
        with pytest.raises(TransferStateError):
            await TransferService.lose_transfer(draft.id, Loss(reason="None"), viewer=viewer)
        listed = await TransferService.list_transfers(viewer=viewer, page=PageRequest(), status=TransferStatus.CANCELLED)
        assert [one.id for one in listed.items] == [draft.id]

    async def test_between_two_locations_of_one_currency(self) -> None:
        viewer = await keeper()
        mug = await stock(a_variant(), 9)
        for target in (mug.location_id, (await create_location(currency="EUR")).id):
            draft = TransferDraft(
                from_location_id=mug.location_id,
                to_location_id=target,
                items=[MovedItem(variant_id=mug.variant_id, quantity=1)],
            )
            with pytest.raises(TransferPlacesError):
                await TransferService.create_transfer(draft, viewer=viewer, catalog=KnownItems(mug))
