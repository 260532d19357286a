from typing import Any

import httpx2
import pytest
from beanie import PydanticObjectId

from models.ecommerce.catalog import Product
from models.ecommerce.wishlists import StockNotice, WishlistItem
from models.users import Role
from tests.api.conftest import SignIn
from tests.commands import CommandLog
from tests.factories.catalog import create_product, make_variant
from tests.factories.inventory import stock

Client = httpx2.AsyncClient
WISHLIST = "/api/v1/shop/wishlist"
NOTICES = "/api/v1/shop/stock-notices"

pytestmark = pytest.mark.usefixtures("database")


def notice_path(product: Product) -> str:
    return f"/api/v1/shop/products/{product.id}/variants/{product.variants[0].id}/stock-notice"


class TestWishlist:
    async def test_from_the_wish_to_the_cart(self, client: Client, as_role: SignIn) -> None:
        headers = await as_role()
        product = await create_product(name="Tee", slug="tee", variants=[make_variant(sku="TEE-L", options={"Size": "L"})])
        await stock(product.variants[0], 3, product=product)
        path = f"{WISHLIST}/{product.variants[0].id}"

        added = await client.put(path, headers=headers)
        again = await client.put(path, headers=headers)
        listed = (await client.get(WISHLIST, headers=headers)).json()

        assert (added.status_code, again.status_code, again.json()) == (200, 200, added.json())
        [item] = listed["items"]
        assert item.pop("added_at").endswith("Z")
        price = {"amount": "19.90", "currency": "USD"}
        assert item == {
            "product_id": str(product.id),
            "variant_id": str(product.variants[0].id),
            "name": "Tee",
            "slug": "tee",
            "sku": "TEE-L",
            "options": {"Size": "L"},
            "image_url": None,
            "is_for_sale": True,
            "is_available": True,
            "price": price,
            "price_when_added": price,
        }
        assert listed["next_cursor"] is None
        line: dict[str, Any] = {key: item[key] for key in ("product_id", "variant_id")}
        assert (await client.post("/api/v1/shop/cart/items", json=line, headers=headers)).status_code == 201
        assert (await client.delete(path, headers=headers)).status_code == 204
        assert (await client.get(WISHLIST, headers=headers)).json()["items"] == []
        assert (await client.delete(path, headers=headers)).json()["code"] == "wishlist_item_not_found"

    @pytest.mark.parametrize("role", [Role.USER, Role.MANAGER, Role.ADMIN])
    async def test_nobody_else_sees_or_changes_it(self, client: Client, as_role: SignIn, role: Role) -> None:
        owner, other = await as_role(), await as_role(role)
        variant_id = (await create_product()).variants[0].id
        await client.put(f"{WISHLIST}/{variant_id}", headers=owner)
        cursor = {"limit": 1}

        assert (await client.get(WISHLIST, headers=other, params=cursor)).json() == {"items": [], "next_cursor": None}
        assert (await client.delete(f"{WISHLIST}/{variant_id}", headers=other)).status_code == 404
        assert len(await WishlistItem.find_rows({})) == 1

    async def test_anonymous_are_asked_to_sign_in(self, client: Client) -> None:
        path = f"{WISHLIST}/{(await create_product()).variants[0].id}"

        answers = [await client.get(WISHLIST), await client.put(path), await client.delete(path)]

        assert [answer.status_code for answer in answers] == [401, 401, 401]
        assert await WishlistItem.find_rows({}) == []

    async def test_what_is_unknown_or_malformed_is_refused(self, client: Client, as_role: SignIn) -> None:
        headers = await as_role()

        unknown = await client.put(f"{WISHLIST}/{PydanticObjectId()}", headers=headers)
        malformed = await client.put(f"{WISHLIST}/me", headers=headers)
        cursor = await client.get(WISHLIST, headers=headers, params={"cursor": "x"})

        assert (unknown.status_code, unknown.json()["code"]) == (404, "variant_not_found")
        assert malformed.status_code == 422
        assert (cursor.status_code, cursor.json()["code"]) == (400, "invalid_cursor")

    async def test_a_page_is_four_commands_with_the_session(self, client: Client, as_role: SignIn, commands: CommandLog) -> None:
        headers = await as_role()
        for _ in range(5):
            product = await create_product()
            await stock(product.variants[0], 1, product=product)
            await client.put(f"{WISHLIST}/{product.variants[0].id}", headers=headers)
        await client.get(WISHLIST, headers=headers)

        with commands.counting() as sent:
            answer = await client.get(WISHLIST, headers=headers)

        assert [item["is_available"] for item in answer.json()["items"]] == [True] * 5
        assert [command for command in sent.sent if "session" not in command] == [
            "find wishlist_items",
            "find products",
            "find stock_levels",
        ]


class TestStockNotice:
    async def test_from_asking_to_taking_it_back(self, client: Client, as_role: SignIn) -> None:
        headers, product = await as_role(), await create_product(name="Lamp")
        path = notice_path(product)

        asked = await client.put(path, headers=headers)
        again = await client.put(path, headers=headers)
        [listed] = (await client.get(NOTICES, headers=headers)).json()["items"]

        assert (asked.status_code, again.status_code) == (200, 200)
        assert asked.json() == again.json() == listed
        assert (listed["name"], listed["is_for_sale"], listed["is_available"]) == ("Lamp", True, False)
        assert "price" not in listed
        assert (await client.delete(path, headers=headers)).status_code == 204
        assert (await client.get(NOTICES, headers=headers)).json() == {"items": [], "next_cursor": None}
        assert (await client.delete(path, headers=headers)).json()["code"] == "stock_notice_not_found"

    async def test_what_is_in_stock_is_refused_and_says_why(self, client: Client, as_role: SignIn) -> None:
        product = await create_product(sku="LAMP")
        await stock(product.variants[0], 1, product=product)

        answer = await client.put(notice_path(product), headers=await as_role())

        assert (answer.status_code, answer.json()["code"]) == (400, "still_available")
        assert answer.json()["detail"] == "LAMP can be bought now: there is nothing to wait for."
        assert await StockNotice.find_rows({}) == []

    @pytest.mark.parametrize("role", [Role.USER, Role.MANAGER, Role.ADMIN])
    async def test_nobody_else_sees_or_ends_it(self, client: Client, as_role: SignIn, role: Role) -> None:
        owner, other, product = await as_role(), await as_role(role), await create_product()
        await client.put(notice_path(product), headers=owner)

        assert (await client.get(NOTICES, headers=other)).json()["items"] == []
        assert (await client.delete(notice_path(product), headers=other)).status_code == 404
        assert len(await StockNotice.find_rows({})) == 1

    async def test_anonymous_are_asked_to_sign_in(self, client: Client) -> None:
        path = notice_path(await create_product())

        answers = [await client.get(NOTICES), await client.put(path), await client.delete(path)]

        assert [answer.status_code for answer in answers] == [401, 401, 401]
        assert await StockNotice.find_rows({}) == []
