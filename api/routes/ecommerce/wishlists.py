"""Wish lists, and the wish to hear of it when something is in stock again."""

from api.dependencies import Config, Cursor, Cursors, Limit, ObjectIdPath, SignedIn
from api.routing import make_router, refuses
from models.ecommerce.wishlists import StockNoticeRead, WishlistItemRead
from services.ecommerce.listed_variants import VariantNotFoundError
from services.ecommerce.stock_notices import (
    StillAvailableError,
    StockNoticeNotFoundError,
    StockNoticeService,
    StockNoticesFullError,
)
from services.ecommerce.wishlists import WishlistFullError, WishlistItemNotFoundError, WishlistService
from services.pagination import CursorPage, InvalidCursorError

router = make_router("/shop", "Shop: wish lists")


@router.get("/wishlist", responses=refuses(InvalidCursorError))
async def list_wishlist(
    viewer: SignedIn, cursors: Cursors, cursor: Cursor = None, limit: Limit = 20
) -> CursorPage[WishlistItemRead]:
    """One's own wish list at present prices, newest first. What is on it is bought by `POST /shop/cart/items`."""
    return await WishlistService.list_items(viewer=viewer, cursors=cursors, cursor=cursor, limit=limit)


@router.put("/wishlist/{variant_id}", responses=refuses(VariantNotFoundError, WishlistFullError))
async def add_to_wishlist(variant_id: ObjectIdPath, viewer: SignedIn, settings: Config) -> WishlistItemRead:
    """Put a variant on one's own wish list. Safe to repeat: it keeps its place and the price it came with."""
    return await WishlistService.add(variant_id, viewer=viewer, settings=settings)


@router.delete("/wishlist/{variant_id}", status_code=204, responses=refuses(WishlistItemNotFoundError))
async def remove_from_wishlist(variant_id: ObjectIdPath, viewer: SignedIn) -> None:
    """Take a variant off one's own wish list."""
    await WishlistService.remove(variant_id, viewer=viewer)


@router.get("/stock-notices", responses=refuses(InvalidCursorError))
async def list_stock_notices(
    viewer: SignedIn, cursors: Cursors, cursor: Cursor = None, limit: Limit = 20
) -> CursorPage[StockNoticeRead]:
    """What one waits for, newest first. A thing leaves this list when the mail about it is written."""
    return await StockNoticeService.list_notices(viewer=viewer, cursors=cursors, cursor=cursor, limit=limit)


@router.put(
    "/products/{product_id}/variants/{variant_id}/stock-notice",
    responses=refuses(VariantNotFoundError, StillAvailableError, StockNoticesFullError),
)
async def request_stock_notice(
    product_id: ObjectIdPath, variant_id: ObjectIdPath, viewer: SignedIn, settings: Config
) -> StockNoticeRead:
    """Ask for one mail when this can be bought again; everybody who waits gets it at once. Safe to repeat."""
    return await StockNoticeService.request_notice(product_id, variant_id, viewer=viewer, settings=settings)


@router.delete(
    "/products/{product_id}/variants/{variant_id}/stock-notice", status_code=204, responses=refuses(StockNoticeNotFoundError)
)
async def withdraw_stock_notice(product_id: ObjectIdPath, variant_id: ObjectIdPath, viewer: SignedIn) -> None:
    """Wait for it no longer."""
    await StockNoticeService.withdraw_notice(product_id, variant_id, viewer=viewer)
