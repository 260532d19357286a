"""Counting what is there."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import ObjectIdPath, Paging
from api.routes.inventory.keepers import StockKeeper
from api.routing import make_router, refuses
from api.schemas.inventory import CountsCreate, StocktakeCreate
from models.inventory.moving import StocktakeCountRead, StocktakeRead, StocktakeStatus
from services.ecommerce.stock_items import StockItemService
from services.inventory.items import ItemNotFoundError
from services.inventory.locations import LocationNotFoundError
from services.inventory.stocktakes import (
    StocktakeNotFoundError,
    StocktakeOpenError,
    StocktakeService,
    StocktakeStateError,
    StocktakeTooLargeError,
)
from services.pagination import Page

router = make_router("/inventory/stocktakes", "Inventory: stocktakes")


@router.get("")
async def list_stocktakes(
    viewer: StockKeeper,
    page: Paging,
    status: Annotated[StocktakeStatus | None, Query(description="Of this status alone")] = None,
) -> Page[StocktakeRead]:
    """Stocktakes, newest first."""
    return await StocktakeService.list_stocktakes(viewer=viewer, page=page, status=status)


@router.post("", status_code=201, responses=refuses(LocationNotFoundError, StocktakeOpenError))
async def open_stocktake(body: StocktakeCreate, viewer: StockKeeper) -> StocktakeRead:
    """Begin to count a location; one at a time."""
    return await StocktakeService.open_stocktake(body, viewer=viewer)


@router.get("/{stocktake_id}", response_model=StocktakeRead, responses={**refuses(StocktakeNotFoundError), **NOT_MODIFIED})
async def get_stocktake(request: Request, stocktake_id: ObjectIdPath, viewer: StockKeeper) -> Response:
    """How far a stocktake is; what was counted is a list of its own."""
    return answer(request, await StocktakeService.get_stocktake(stocktake_id, viewer=viewer))


@router.get("/{stocktake_id}/counts", responses=refuses(StocktakeNotFoundError))
async def list_stocktake_counts(stocktake_id: ObjectIdPath, viewer: StockKeeper, page: Paging) -> Page[StocktakeCountRead]:
    """What was counted, and how far it is from the books."""
    return await StocktakeService.list_counts(stocktake_id, viewer=viewer, page=page)


@router.post(
    "/{stocktake_id}/counts",
    responses=refuses(StocktakeNotFoundError, StocktakeStateError, ItemNotFoundError, StocktakeTooLargeError),
)
async def count_stock(stocktake_id: ObjectIdPath, body: CountsCreate, viewer: StockKeeper) -> list[StocktakeCountRead]:
    """Write down what was found; a variant counted before is replaced."""
    return await StocktakeService.count(stocktake_id, body.counts, viewer=viewer, catalog=StockItemService)


@router.post("/{stocktake_id}/approve", responses=refuses(StocktakeNotFoundError, StocktakeStateError))
async def approve_stocktake(stocktake_id: ObjectIdPath, viewer: StockKeeper) -> StocktakeRead:
    """Make the books say what was counted. What was not counted is left alone."""
    return await StocktakeService.approve_stocktake(stocktake_id, viewer=viewer)


@router.post("/{stocktake_id}/cancel", responses=refuses(StocktakeNotFoundError, StocktakeStateError))
async def cancel_stocktake(stocktake_id: ObjectIdPath, viewer: StockKeeper) -> StocktakeRead:
    """Give the counting up; nothing changes."""
    return await StocktakeService.cancel_stocktake(stocktake_id, viewer=viewer)
