"""Wish lists: what people keep in mind to buy another day."""

from beanie import PydanticObjectId

from models.database import Session, run_transaction
from models.ecommerce.wishlists import WishlistItem, WishlistItemRead
from services.ecommerce.customers import CustomerService
from services.ecommerce.listed_variants import VariantNotFoundError, VariantNow, add_to_list, find_variant, variants_now
from services.errors import NotFoundError, RuleViolatedError
from services.pagination import CursorCodec, CursorPage, find_stretch
from services.settings import Settings
from services.users.permissions import Viewer

MAX_ITEMS = 500


class WishlistItemNotFoundError(NotFoundError):
    """The variant is not on the caller's wish list."""

    code = "wishlist_item_not_found"

    def __init__(self, variant_id: PydanticObjectId) -> None:
        super().__init__("thing on your wish list", variant_id)


class WishlistFullError(RuleViolatedError):
    """As many things as a wish list may hold."""

    code = "wishlist_full"

    def __init__(self) -> None:
        super().__init__(f"A wish list holds {MAX_ITEMS} things.")


class WishlistService:
    """One list per person. What is on it goes into the cart by `CartService.add` and stays on the list until it is taken off."""

    @staticmethod
    async def list_items(
        *, viewer: Viewer, cursors: CursorCodec, cursor: str | None = None, limit: int = 20
    ) -> CursorPage[WishlistItemRead]:
        """One's own wishes, newest first, at present prices; what is gone stays on it and says so. Three commands.

        Raises InvalidCursorError and InvalidPageError.
        """
        rows, next_cursor = await find_stretch(
            WishlistItem,
            {"user_id": viewer.user_id},
            listing=f"wishlist:{viewer.user_id}",
            cursors=cursors,
            cursor=cursor,
            limit=limit,
        )
        items = [WishlistItem.from_row(row) for row in rows]
        things = await variants_now([(item.product_id, item.variant_id) for item in items])
        shown = [_to_read(item, things[item.variant_id]) for item in items]
        return CursorPage[WishlistItemRead].model_construct(items=shown, next_cursor=next_cursor)

    @staticmethod
    async def add(variant_id: PydanticObjectId, *, viewer: Viewer, settings: Settings) -> WishlistItemRead:
        """Put a variant on one's own list, in stock or not; one that is there already stays as it is, its first price too.

        Raises VariantNotFoundError for what is not for sale, and WishlistFullError.
        """
        thing = await find_variant(variant_id)
        if thing is None or not thing.is_for_sale:
            raise VariantNotFoundError(variant_id)
        key = {"user_id": viewer.user_id, "variant_id": variant_id}

        async def work(session: Session) -> WishlistItem:
            row = await WishlistItem.find_row(key, session=session)
            if row is not None:
                return WishlistItem.from_row(row)
            customer = await CustomerService.of(viewer, settings=settings, session=session)
            price = thing.price_in(customer.currency)
            assert price is not None
            item = WishlistItem(**key, product_id=thing.product_id, price_when_added=price)
            await add_to_list(item, customer=customer, limit=MAX_ITEMS, full=WishlistFullError(), session=session)
            return item

        return _to_read(await run_transaction(work, hot=[f"customer of {viewer.user_id}"]), thing)

    @staticmethod
    async def remove(variant_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """Take a variant off one's own list. Raises WishlistItemNotFoundError."""

        async def work(session: Session) -> int:
            query = {"user_id": viewer.user_id, "variant_id": variant_id}
            result = await WishlistItem.collection().delete_one(query, session=session)
            deleted: int = result.deleted_count
            return deleted

        if not await run_transaction(work, hot=[f"customer of {viewer.user_id}"]):
            raise WishlistItemNotFoundError(variant_id)


def _to_read(item: WishlistItem, thing: VariantNow) -> WishlistItemRead:
    return WishlistItemRead(
        **thing.shown(),
        price=thing.price_in(item.price_when_added.currency),
        price_when_added=item.price_when_added,
        added_at=item.created_at,
    )
