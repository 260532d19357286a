"""Stock on its way between locations."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import ObjectIdPath, Paging
from api.routes.inventory.keepers import StockKeeper
from api.routing import make_router, refuses
from api.schemas.inventory import ArrivalCreate, LossCreate, TransferCreate
from models.inventory.moving import TransferRead, TransferStatus
from services.ecommerce.stock_items import StockItemService
from services.inventory.books import LevelNotFoundError, StockLimitError
from services.inventory.items import ItemNotFoundError
from services.inventory.locations import LocationNotFoundError
from services.inventory.receipts import ReceiptKeyReusedError, UnknownLineError
from services.inventory.stock import NotEnoughStockError
from services.inventory.transfers import (
    NotInTransitError,
    TransferNotFoundError,
    TransferPlacesError,
    TransferService,
    TransferStateError,
)
from services.pagination import Page

router = make_router("/inventory/transfers", "Inventory: transfers")


@router.get("")
async def list_transfers(
    viewer: StockKeeper,
    page: Paging,
    status: Annotated[TransferStatus | None, Query(description="Of this status alone")] = None,
) -> Page[TransferRead]:
    """Transfers, newest first."""
    return await TransferService.list_transfers(viewer=viewer, page=page, status=status)


@router.post("", status_code=201, responses=refuses(LocationNotFoundError, TransferPlacesError, ItemNotFoundError))
async def create_transfer(body: TransferCreate, viewer: StockKeeper) -> TransferRead:
    """Draw up a transfer."""
    return await TransferService.create_transfer(body, viewer=viewer, catalog=StockItemService)


@router.get("/{transfer_id}", response_model=TransferRead, responses={**refuses(TransferNotFoundError), **NOT_MODIFIED})
async def get_transfer(request: Request, transfer_id: ObjectIdPath, viewer: StockKeeper) -> Response:
    """A transfer with what left and what arrived of each line."""
    return answer(request, await TransferService.get_transfer(transfer_id, viewer=viewer))


@router.post(
    "/{transfer_id}/ship",
    responses=refuses(TransferNotFoundError, TransferStateError, LevelNotFoundError, NotEnoughStockError),
)
async def ship_transfer(transfer_id: ObjectIdPath, viewer: StockKeeper) -> TransferRead:
    """Let all its pieces leave."""
    return await TransferService.ship_transfer(transfer_id, viewer=viewer)


@router.post(
    "/{transfer_id}/receipts",
    responses=refuses(
        TransferNotFoundError,
        TransferStateError,
        UnknownLineError,
        NotInTransitError,
        ReceiptKeyReusedError,
        StockLimitError,
    ),
)
async def receive_transfer(transfer_id: ObjectIdPath, body: ArrivalCreate, viewer: StockKeeper) -> TransferRead:
    """Put what came into stock; reported again under its key it changes nothing."""
    return await TransferService.receive_transfer(transfer_id, body, viewer=viewer)


@router.post("/{transfer_id}/loss", responses=refuses(TransferNotFoundError, TransferStateError))
async def lose_transfer(transfer_id: ObjectIdPath, body: LossCreate, viewer: StockKeeper) -> TransferRead:
    """Write off what did not come."""
    return await TransferService.lose_transfer(transfer_id, body, viewer=viewer)


@router.post("/{transfer_id}/cancel", responses=refuses(TransferNotFoundError, TransferStateError))
async def cancel_transfer(transfer_id: ObjectIdPath, viewer: StockKeeper) -> TransferRead:
    """Give up a draft."""
    return await TransferService.cancel_transfer(transfer_id, viewer=viewer)
