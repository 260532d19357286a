import asyncio
from typing import Any

import pytest
from beanie import PydanticObjectId

from models.database import Database
from models.ecommerce.catalog import Product, ProductImage, ProductStatus
from models.ecommerce.customers import Customer
from models.ecommerce.wishlists import WishlistItem, WishlistItemRead
from models.users import User
from services.ecommerce import wishlists
from services.ecommerce.listed_variants import VariantNotFoundError
from services.ecommerce.wishlists import WishlistFullError, WishlistItemNotFoundError, WishlistService
from services.errors import UnauthenticatedError
from services.pagination import CursorCodec, InvalidCursorError
from services.settings import Settings
from tests.commands import CommandLog
from tests.factories.catalog import create_product, make_variant, money
from tests.factories.customers import create_customer
from tests.factories.inventory import stock
from tests.factories.users import create_user, viewer_of
from tests.factories.wishlists import create_wishlist_item
from tests.races import from_another_process

pytestmark = pytest.mark.usefixtures("database")

CURSORS = CursorCodec(b"0" * 32)


async def listed(user: User) -> list[WishlistItemRead]:
    return (await WishlistService.list_items(viewer=viewer_of(user), cursors=CURSORS)).items


async def stored(user: User) -> list[dict[str, Any]]:
    return await WishlistItem.find_rows({"user_id": user.id}, sort=[("_id", 1)])


class TestAdd:
    async def test_it_says_what_the_thing_is_and_costs(self, settings: Settings) -> None:
        user = await create_user()
        image = ProductImage(url="https://img.example/tee.jpg", is_primary=True)
        variant = make_variant(sku="TEE-L", options={"Size": "L"}, price="19.90")
        product = await create_product(name="Tee", slug="tee", variants=[variant], images=[image])
        await stock(variant, 1, product=product)

        item = await WishlistService.add(variant.id, viewer=viewer_of(user), settings=settings)

        assert item.model_dump(exclude={"added_at"}) == {
            "product_id": product.id,
            "variant_id": variant.id,
            "name": "Tee",
            "slug": "tee",
            "sku": "TEE-L",
            "options": {"Size": "L"},
            "image_url": "https://img.example/tee.jpg",
            "is_for_sale": True,
            "is_available": True,
            "price": money("19.90").model_dump(),
            "price_when_added": money("19.90").model_dump(),
        }
        [row] = await stored(user)
        assert (row["product_id"], row["variant_id"], row["created_at"]) == (product.id, variant.id, item.added_at)
        assert await listed(user) == [item]

    async def test_what_is_there_stays_with_its_first_price(self, settings: Settings) -> None:
        user, product = await create_user(), await create_product(price="19.90")
        variant_id = product.variants[0].id
        first = await WishlistService.add(variant_id, viewer=viewer_of(user), settings=settings)
        await Product.change({"_id": product.id}, {"$set": {"variants.0.price.amount": 1490}})

        again = await WishlistService.add(variant_id, viewer=viewer_of(user), settings=settings)

        assert (again.price_when_added, again.price, again.added_at) == (money("19.90"), money("14.90"), first.added_at)
        assert len(await stored(user)) == 1

    async def test_price_is_in_the_currency_of_the_customer_where_there_is_one(self, settings: Settings) -> None:
        user = await create_user()
        await create_customer(user=user, currency="EUR")
        both = await create_product(variants=[make_variant(price="19.90", other_prices=[money("18.50", "EUR")])])
        dollars = await create_product(price="5.00")

        for product in (both, dollars):
            await WishlistService.add(product.variants[0].id, viewer=viewer_of(user), settings=settings)
        await Product.change({"_id": both.id}, {"$set": {"variants.0.other_prices.0.amount": 1700}})

        assert [(item.price_when_added, item.price) for item in await listed(user)] == [
            (money("5.00"), money("5.00")),
            (money("18.50", "EUR"), money("17.00", "EUR")),
        ]

    @pytest.mark.parametrize("what", ["unknown", "draft", "discontinued", "inactive variant"])
    async def test_what_is_not_for_sale_is_unknown(self, settings: Settings, what: str) -> None:
        user = await create_user()
        statuses = {"draft": ProductStatus.DRAFT, "discontinued": ProductStatus.DISCONTINUED}
        variants = [make_variant(is_active=what != "inactive variant"), make_variant()]
        product = await create_product(status=statuses.get(what, ProductStatus.ACTIVE), variants=variants)
        variant_id = PydanticObjectId() if what == "unknown" else product.variants[0].id

        with pytest.raises(VariantNotFoundError):
            await WishlistService.add(variant_id, viewer=viewer_of(user), settings=settings)

        assert await stored(user) == []
        assert await Customer.find_rows({}) == []

    async def test_it_holds_so_many_and_no_more_however_parallel(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Fifty at once, ten of them for each of five things: three places are left, and three of the five are on the list."""
        monkeypatch.setattr(wishlists, "MAX_ITEMS", 4)
        monkeypatch.setattr(wishlists, "run_transaction", from_another_process)
        user = await create_user()
        await create_wishlist_item(await create_product(), user=user)
        things = [(await create_product()).variants[0].id for _ in range(5)]

        async def add(variant_id: PydanticObjectId) -> bool:
            try:
                await WishlistService.add(variant_id, viewer=viewer_of(user), settings=settings)
            except WishlistFullError:
                return False
            return True

        results = await asyncio.gather(*(add(variant_id) for variant_id in things * 10))

        rows = await stored(user)
        added = [row["variant_id"] for row in rows[1:]]
        assert (len(rows), len(set(added)), set(added) <= set(things)) == (4, 3, True)
        assert {variant_id for variant_id, done in zip(things * 10, results, strict=True) if done} == set(added)
        with pytest.raises(WishlistFullError):
            await WishlistService.add((await create_product()).variants[0].id, viewer=viewer_of(user), settings=settings)
        kept = await WishlistService.add(added[0], viewer=viewer_of(user), settings=settings)
        assert kept.variant_id == added[0]  # what is there needs no place

    async def test_nothing_is_kept_for_who_has_left(self, settings: Settings) -> None:
        user = await create_user()
        await create_customer(user=user, is_active=False)

        with pytest.raises(UnauthenticatedError):
            await WishlistService.add((await create_product()).variants[0].id, viewer=viewer_of(user), settings=settings)

        assert await stored(user) == []


class TestList:
    async def test_newest_first_and_ones_own_alone(self) -> None:
        user, products = await create_user(), [await create_product() for _ in range(3)]
        for product in products:
            await create_wishlist_item(product, user=user)
        await create_wishlist_item(products[0])

        assert [item.product_id for item in await listed(user)] == [product.id for product in reversed(products)]
        assert await listed(await create_user()) == []

    async def test_pages_follow_each_other(self) -> None:
        user = await create_user()
        for _ in range(3):
            await create_wishlist_item(await create_product(), user=user)
        whole = await listed(user)

        first = await WishlistService.list_items(viewer=viewer_of(user), cursors=CURSORS, limit=2)
        second = await WishlistService.list_items(viewer=viewer_of(user), cursors=CURSORS, cursor=first.next_cursor, limit=2)

        assert (first.items, second.items, second.next_cursor) == (whole[:2], whole[2:], None)
        with pytest.raises(InvalidCursorError):
            await WishlistService.list_items(viewer=viewer_of(await create_user()), cursors=CURSORS, cursor=first.next_cursor)

    @pytest.mark.parametrize(
        ("over", "pieces", "expected"),
        [
            ({}, 1, True),
            ({}, 0, False),
            ({"allow_backorder": True}, 0, True),
            ({"track_inventory": False}, None, True),
            ({}, None, False),
        ],
    )
    async def test_available_is_what_can_be_put_into_a_cart(
        self, over: dict[str, Any], pieces: int | None, expected: bool
    ) -> None:
        user, product = await create_user(), await create_product(**over)
        if pieces is not None:
            await stock(product.variants[0], pieces, product=product)
        await create_wishlist_item(product, user=user)

        [item] = await listed(user)

        assert (item.is_for_sale, item.is_available) == (True, expected)

    @pytest.mark.parametrize("what", ["hidden", "discontinued", "inactive variant", "variant gone", "product gone"])
    async def test_what_went_stays_listed_without_price_and_address(self, what: str) -> None:
        user = await create_user()
        product = await create_product(name="Lamp", slug="lamp", track_inventory=False)
        await create_wishlist_item(product, user=user)
        changes: dict[str, dict[str, Any]] = {
            "hidden": {"status": ProductStatus.INACTIVE},
            "discontinued": {"status": ProductStatus.DISCONTINUED},
            "inactive variant": {"variants.0.is_active": False},
            "variant gone": {"variants": [make_variant().model_dump()]},
        }
        if what == "product gone":
            await Product.collection().delete_one({"_id": product.id})
        else:
            await Product.change({"_id": product.id}, {"$set": changes[what]})

        [item] = await listed(user)

        assert (item.is_for_sale, item.is_available, item.price) == (False, False, None)
        assert item.price_when_added == money("19.90")
        assert item.name == (None if what == "product gone" else "Lamp")
        assert item.slug == ("lamp" if what in ("inactive variant", "variant gone") else None)

    async def test_three_commands_for_a_full_page(self, commands: CommandLog) -> None:
        user = await create_user()
        for _ in range(30):
            await create_wishlist_item(await create_product(), user=user)
        await stock((await create_product()).variants[0], 1)
        await listed(user)  # the locations are remembered from now on

        with commands.counting() as sent:
            items = await listed(user)

        assert len(items) == 20
        assert sent.sent == ["find wishlist_items", "find products", "find stock_levels"]


class TestRemove:
    async def test_takes_ones_own_off_and_no_other(self, settings: Settings) -> None:
        user, product = await create_user(), await create_product()
        await create_wishlist_item(product, user=user)
        other = await create_wishlist_item(product)

        await WishlistService.remove(product.variants[0].id, viewer=viewer_of(user))

        assert [row["_id"] for row in await WishlistItem.find_rows({})] == [other.id]
        with pytest.raises(WishlistItemNotFoundError):
            await WishlistService.remove(product.variants[0].id, viewer=viewer_of(user))
        await WishlistService.add(product.variants[0].id, viewer=viewer_of(user), settings=settings)
        assert len(await stored(user)) == 1

    async def test_adding_and_removing_at_once_leaves_one_or_none(self, database: Database, settings: Settings) -> None:
        user, product = await create_user(), await create_product()
        variant_id = product.variants[0].id

        async def remove() -> None:
            try:
                await WishlistService.remove(variant_id, viewer=viewer_of(user))
            except WishlistItemNotFoundError:
                return

        calls = [WishlistService.add(variant_id, viewer=viewer_of(user), settings=settings) for _ in range(25)]
        await asyncio.gather(*calls, *(remove() for _ in range(25)))

        assert len(await stored(user)) <= 1
        await WishlistService.add(variant_id, viewer=viewer_of(user), settings=settings)
        assert len(await stored(user)) == 1
