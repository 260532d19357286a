"""Every read of wish lists and of who waits is served by a declared index, as it is really sent."""

from models.database import Database
from models.ecommerce.catalog import Product
from services.ecommerce.stock_notices import StockNoticeService
from services.ecommerce.wishlists import WishlistService
from services.pagination import CursorCodec
from services.settings import Settings
from tests.commands import CommandLog
from tests.factories.catalog import create_product
from tests.factories.users import create_user, viewer_of
from tests.shapes import serving_index

OURS = {"wishlist_items", "stock_notices"}


async def test_every_read_and_list_is_served(database: Database, settings: Settings, commands: CommandLog) -> None:
    viewer, cursors, product = viewer_of(await create_user()), CursorCodec(b"0" * 32), await create_product()
    variant_id = product.variants[0].id

    with commands.counting() as sent:
        await WishlistService.add(variant_id, viewer=viewer, settings=settings)
        wishes = await WishlistService.list_items(viewer=viewer, cursors=cursors)
        wishlist = cursors.encode(f"wishlist:{viewer.user_id}", variant_id)
        await WishlistService.list_items(viewer=viewer, cursors=cursors, cursor=wishlist)
        await StockNoticeService.request_notice(product.id, variant_id, viewer=viewer, settings=settings)
        await StockNoticeService.list_notices(viewer=viewer, cursors=cursors)
        waited = cursors.encode(f"stock notices:{viewer.user_id}", variant_id)
        await StockNoticeService.list_notices(viewer=viewer, cursors=cursors, cursor=waited)
        await Product.change({"_id": product.id}, {"$set": {"variants.0.track_inventory": False}})
        told = await StockNoticeService.tell_waiting(product.id)

    assert (len(wishes.items), told) == (1, 1)
    reads = [read for read in sent.reads if read.collection in OURS]
    assert {read.collection for read in reads} == OURS
    assert [read for read in reads if serving_index(read) is None] == []
