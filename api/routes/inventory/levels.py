"""What is in stock, what moved it, and corrections by hand."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import Config, Cursor, Cursors, Limit, ObjectIdPath, Paging, RequiredIfMatch
from api.routes.inventory.keepers import StockKeeper
from api.routing import make_router, refuses
from api.schemas.base import Id, Moment
from api.schemas.inventory import AdjustmentCreate, LevelUpdate, ReceiptCreate, WriteOffCreate
from models.inventory.purchasing import ReorderSuggestion
from models.inventory.reports import AsOf, LevelExplanation, LevelRead, MovementRead, PastLevel, Valuation, VariantStock
from models.inventory.stock import MovementKind
from services.ecommerce.stock_items import StockItemService
from services.errors import PreconditionError, PreconditionRequiredError
from services.heavy import OverloadedError
from services.inventory.books import LevelNotFoundError, StockLimitError
from services.inventory.history import HistoryService
from services.inventory.items import ItemNotFoundError
from services.inventory.levels import LevelService
from services.inventory.locations import LocationNotFoundError
from services.inventory.stock import CostCurrencyError, FutureMovementError, NotEnoughStockError, StockService
from services.pagination import CursorPage, InvalidCursorError, Page

router = make_router("/inventory", "Inventory: stock")

OfVariant = Annotated[Id | None, Query(description="Of this variant alone")]
OfProduct = Annotated[Id | None, Query(description="Of this product alone")]
OfLocation = Annotated[Id | None, Query(description="At this location alone")]

CORRECTION_ERRORS = (
    ItemNotFoundError,
    LocationNotFoundError,
    FutureMovementError,
    CostCurrencyError,
    StockLimitError,
)


@router.get("/levels")
async def list_stock_levels(
    viewer: StockKeeper,
    page: Paging,
    variant_id: OfVariant = None,
    product_id: OfProduct = None,
    location_id: OfLocation = None,
    is_low: Annotated[bool | None, Query(description="Only what runs low, or what does not")] = None,
) -> Page[LevelRead]:
    """What lies where, the oldest level first."""
    return await LevelService.list_levels(
        viewer=viewer, page=page, variant_id=variant_id, product_id=product_id, location_id=location_id, is_low=is_low
    )


@router.get("/levels/{level_id}", response_model=LevelRead, responses={**refuses(LevelNotFoundError), **NOT_MODIFIED})
async def get_stock_level(request: Request, level_id: ObjectIdPath, viewer: StockKeeper) -> Response:
    """What lies of one variant at one location."""
    return answer(request, await LevelService.get_level(level_id, viewer=viewer))


@router.patch(
    "/levels/{level_id}",
    response_model=LevelRead,
    responses=refuses(LevelNotFoundError, PreconditionError, PreconditionRequiredError),
)
async def update_stock_level(
    request: Request, level_id: ObjectIdPath, body: LevelUpdate, viewer: StockKeeper, revision: RequiredIfMatch
) -> Response:
    """Set when the level is low, when it is ordered again and how much. `If-Match` names its `revision`."""
    return answer(request, await LevelService.update_level(level_id, body, viewer=viewer, revision=revision))


@router.get("/levels/{level_id}/explanation", responses=refuses(LevelNotFoundError, OverloadedError))
async def explain_stock_level(level_id: ObjectIdPath, viewer: StockKeeper) -> LevelExplanation:
    """Why the level is what it is: its movements by kind, what holds it, and the last that happened."""
    return await HistoryService.explain_level(level_id, viewer=viewer)


@router.get("/variants/{variant_id}", response_model=VariantStock, responses={**refuses(LevelNotFoundError), **NOT_MODIFIED})
async def get_variant_stock(request: Request, variant_id: ObjectIdPath, viewer: StockKeeper) -> Response:
    """A variant at all locations, on its way between them and on order."""
    return answer(request, await LevelService.get_variant_stock(variant_id, viewer=viewer))


@router.get("/reorder-suggestions", responses=refuses(InvalidCursorError))
async def list_reorder_suggestions(
    viewer: StockKeeper, cursors: Cursors, cursor: Cursor = None, limit: Limit = 20
) -> CursorPage[ReorderSuggestion]:
    """What to order: levels that fell to their reorder point, with what is under way to them counted in."""
    return await LevelService.list_reorder_suggestions(viewer=viewer, cursors=cursors, cursor=cursor, limit=limit)


@router.get("/movements", responses=refuses(InvalidCursorError))
async def list_stock_movements(
    viewer: StockKeeper,
    cursors: Cursors,
    variant_id: OfVariant = None,
    location_id: OfLocation = None,
    reference: Annotated[
        str | None, Query(max_length=100, description="What moved it, such as `order:65f0c0ffee0ddba11ca7f00d`")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> CursorPage[MovementRead]:
    """The ledger, what was recorded last first."""
    return await HistoryService.list_movements(
        viewer=viewer,
        cursors=cursors,
        variant_id=variant_id,
        location_id=location_id,
        reference=reference,
        cursor=cursor,
        limit=limit,
    )


@router.get("/as-of", responses=refuses(InvalidCursorError, OverloadedError))
async def stock_as_of(
    viewer: StockKeeper,
    cursors: Cursors,
    moment: Annotated[Moment, Query(description="A time with its zone", examples=["2026-11-01T00:00:00Z"])],
    basis: Annotated[
        AsOf, Query(description="By what had occurred until then, or by what was recorded until then")
    ] = AsOf.OCCURRED,
    variant_id: OfVariant = None,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> CursorPage[PastLevel]:
    """What was on hand at a moment in the past."""
    return await HistoryService.stock_as_of(
        moment, viewer=viewer, cursors=cursors, basis=basis, variant_id=variant_id, cursor=cursor, limit=limit
    )


@router.get("/valuation", responses=refuses(OverloadedError))
async def get_stock_valuation(viewer: StockKeeper) -> Valuation:
    """What the stock is worth at the moving average, by location and in transit."""
    return await HistoryService.valuation(viewer=viewer)


@router.post("/receipts", status_code=201, responses=refuses(*CORRECTION_ERRORS))
async def create_stock_receipt(body: ReceiptCreate, viewer: StockKeeper, settings: Config) -> MovementRead:
    """Take pieces in without a purchase order."""
    return await StockService.correct(
        body.to_correction(),
        kind=MovementKind.RECEIPT,
        catalog=StockItemService,
        viewer=viewer,
        currency=settings.currency,
    )


@router.post("/adjustments", status_code=201, responses=refuses(*CORRECTION_ERRORS, NotEnoughStockError))
async def create_stock_adjustment(body: AdjustmentCreate, viewer: StockKeeper, settings: Config) -> MovementRead:
    """Correct what is on hand, with a reason. What is promised cannot be taken."""
    return await StockService.correct(
        body.to_correction(),
        kind=MovementKind.ADJUSTMENT,
        catalog=StockItemService,
        viewer=viewer,
        currency=settings.currency,
    )


@router.post("/write-offs", status_code=201, responses=refuses(*CORRECTION_ERRORS, NotEnoughStockError))
async def create_stock_write_off(body: WriteOffCreate, viewer: StockKeeper, settings: Config) -> MovementRead:
    """Take out what is lost, broken or spoilt."""
    return await StockService.correct(
        body.to_correction(),
        kind=MovementKind.WRITE_OFF,
        catalog=StockItemService,
        viewer=viewer,
        currency=settings.currency,
    )
