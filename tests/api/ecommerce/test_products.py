"""Products, categories and attributes over HTTP."""

from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from models.ecommerce.catalog import Product, ProductStatus
from models.users import Role
from tests.api.conftest import SignIn
from tests.commands import CommandLog
from tests.factories.catalog import create_attribute, create_category, create_product, make_variant, money

PRODUCTS = "/api/v1/shop/products"
CATEGORIES = "/api/v1/shop/categories"
USD = {"currency": "USD"}
BROWSER = {"User-Agent": "Mozilla/5.0 Firefox/130.0"}


def body(**over: Any) -> dict[str, Any]:
    return {"name": "Linen shirt", "variants": [{"sku": "SHIRT", "price": {"amount": "19.90", **USD}}], **over}


class TestSearchProducts:
    async def test_com_a2_answers_items_total_pages_echo_and_facets(
        self, client: httpx2.AsyncClient, commands: CommandLog
    ) -> None:
        """COM-A2, COM-S2: names of ProductService.search_products; anyone may."""
        category = await create_category(slug="shirts")
        await create_attribute(code="color", name="Colour", choices=["red", "blue"])
        for name, color in (("Linen shirt", "red"), ("Wool shirt", "blue"), ("Linen scarf", "red")):
            await create_product(name=name, brand="Acme", category=category, attributes=[{"code": "color", "value": color}])
        await client.get(PRODUCTS)
        query = {"q": "linen", "attribute": "color:red", "brand": "ACME", "facets": "true", "sort": "newest", "limit": "1"}
        with commands.counting() as sent:
            answer = await client.get(PRODUCTS, params={**query, "category": "shirts", "max_price": "20", "min_price": "1.50"})
        assert len(sent) <= 2
        found = answer.json()
        assert [item["name"] for item in found["items"]] == ["Linen scarf"]
        assert (found["total_count"], found["total_pages"], found["limit"]) == (2, 2, 1)
        assert found["filters"]["min_price"] == {"amount": "1.50", **USD}
        assert found["facets"]["facets"][-1] == {
            "code": "color",
            "name": "Colour",
            "values": [{"value": "red", "label": "red", "count": 2}],
        }

    async def test_repeated_filters_widen(self, client: httpx2.AsyncClient) -> None:
        for brand in ("One", "Two", "Three"):
            await create_product(brand=brand)
        answer = await client.get(PRODUCTS, params=[("brand", "one"), ("brand", "two")])
        assert answer.json()["total_count"] == 2

    @pytest.mark.parametrize(
        "query",
        [
            "limit=101",
            "limit=0",
            "page=0",
            "sort=cheapest",
            "min_price=-1",
            "min_price=abc",
            "min_price=1.999",
            "currency=XXX",
            "attribute=nothing:red",
            "seller_id=nobody",
            "&".join(["tag=x"] * 21),
        ],
    )
    async def test_com_s2_what_makes_no_sense_is_422(self, client: httpx2.AsyncClient, query: str) -> None:
        """COM-S2, X-22, X-23: bounded limit, closed set of orders."""
        answer = await client.get(f"{PRODUCTS}?{query}")
        assert answer.status_code == 422, answer.text

    @pytest.mark.parametrize("value", ["$where", "{$gt: 1}", ".*", "a=b", "%24ne", "\\", "x" * 200])
    async def test_x16_text_stays_text(self, client: httpx2.AsyncClient, value: str) -> None:
        await create_product()
        for name in ("q", "category", "brand", "tag"):
            answer = await client.get(PRODUCTS, params={name: value})
            if answer.status_code != 422:  # too long for a category
                assert (answer.status_code, answer.json()["total_count"]) == (200, 0), (name, value)


class TestGetProductDetails:
    async def test_com_s3_is_tagged_and_answers_304(self, client: httpx2.AsyncClient) -> None:
        """COM-S3: REG-002 ProductService.get_product_details."""
        product = await create_product(variants=[make_variant(cost_price=money("7.77"))])
        first = await client.get(f"{PRODUCTS}/{product.slug}")
        assert (first.status_code, "7.77" in first.text, "cost_price" in first.text) == (200, False, False)
        again = await client.get(f"{PRODUCTS}/{product.slug}", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        await Product.change({"_id": product.id}, {"$set": {"sales_count": 1}})
        changed = await client.get(f"{PRODUCTS}/{product.slug}", headers={"If-None-Match": first.headers["etag"]})
        assert changed.status_code == 200

    async def test_former_slug_redirects(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        product = await create_product(slug="old")
        headers = {**await as_role(Role.MANAGER), "If-Match": "*"}
        renamed = await client.patch(f"{PRODUCTS}/{product.id}", json={"slug": "new"}, headers=headers)

        answer = await client.get(f"{PRODUCTS}/old")
        followed = await client.get(f"{PRODUCTS}/old", follow_redirects=True)

        assert renamed.status_code == 200
        assert (answer.status_code, answer.headers["location"]) == (308, f"{PRODUCTS}/new")
        assert answer.headers["cache-control"] == "no-cache"  # another product may take the slug
        assert (followed.status_code, followed.json()["slug"]) == (200, "new")

    async def test_views_are_counted(self, client: httpx2.AsyncClient, app: FastAPI) -> None:
        product = await create_product()
        for _ in range(2):
            await client.get(f"{PRODUCTS}/{product.slug}", headers=BROWSER)
        await app.state.product_views.flush()
        row = await Product.find_row({"_id": product.id})
        assert row is not None
        assert row["views_count"] == 1

    @pytest.mark.parametrize("status", [ProductStatus.DRAFT, ProductStatus.DISCONTINUED])
    async def test_hidden_one_is_404_for_its_seller_too(
        self, client: httpx2.AsyncClient, as_role: SignIn, status: ProductStatus
    ) -> None:
        product = await create_product(status=status)
        headers = await as_role(Role.MANAGER)
        assert (await client.get(f"{PRODUCTS}/{product.slug}", headers=headers)).status_code == 404
        assert (await client.get(f"{PRODUCTS}/{product.id}/edit", headers=headers)).json()["status"] == status


class TestWriting:
    async def test_a_seller_creates_edits_and_discontinues(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.VENDOR)
        created = await client.post(PRODUCTS, json=body(status="active"), headers=headers)
        product = created.json()
        assert (created.status_code, product["slug"], product["status"]) == (201, "linen-shirt", "out_of_stock")
        url = f"{PRODUCTS}/{product['id']}"
        assert (await client.patch(url, json={"brand": "Loom"}, headers=headers)).status_code == 428
        tag = {**headers, "If-Match": created.headers["etag"]}
        changed = await client.patch(url, json={"brand": "Loom"}, headers=tag)
        assert (changed.json()["brand"], changed.json()["revision"]) == ("Loom", 2)
        assert (await client.patch(url, json={"brand": "Late"}, headers=tag)).status_code == 412
        listed = await client.get(f"{PRODUCTS}/manage", headers=headers)
        assert [item["skus"] for item in listed.json()["items"]] == [["SHIRT"]]
        other = await as_role(Role.VENDOR)
        assert (await client.get(f"{url}/edit", headers=other)).status_code == 404
        assert (await client.delete(url, headers=other)).status_code == 404
        assert (await client.delete(url, headers=headers)).status_code == 204
        assert (await client.get(f"{PRODUCTS}/linen-shirt")).status_code == 404

    async def test_com_s1_taken_sku_is_409(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        """COM-S1: a clash of SKUs is a conflict."""
        await create_product(sku="SHIRT")
        answer = await client.post(PRODUCTS, json=body(), headers=await as_role(Role.MANAGER))
        assert (answer.status_code, answer.json()["code"]) == (409, "sku_taken")

    @pytest.mark.parametrize(
        "over",
        [
            {"variants": []},
            {"variants": [{"sku": "S", "price": {"amount": 19.9, **USD}}]},
            {"variants": [{"sku": "S", "price": {"amount": "-1.00", **USD}}]},
            {"variants": [{"sku": "S", "price": {"amount": "1.00", **USD}, "stock": 5}]},
            {"variants": [{"sku": "S", "price": {"amount": "1.00", **USD}, "dimensions": {"length": 1}}]},
            {"variants": [{"sku": "S", "price": {"amount": "1.00", **USD}, "options": {"$where": "x"}}]},
            {"status": "out_of_stock"},
            {"views_count": 5},
            {"sku": "S"},
            {"name": " "},
            {"attributes": [{"code": "color", "value": 5}]},
            {"images": [{"url": "javascript:alert(1)"}]},
        ],
    )
    async def test_com_m5_malformed_products_are_422(
        self, client: httpx2.AsyncClient, as_role: SignIn, over: dict[str, Any]
    ) -> None:
        """COM-M5, X-15: nothing is accepted and quietly dropped."""
        answer = await client.post(PRODUCTS, json=body(**over), headers=await as_role(Role.MANAGER))
        assert answer.status_code == 422, answer.text
        assert await Product.count_rows({}) == 0


class TestIdempotencyKey:
    async def test_first_answer_is_repeated_and_nothing_is_made_twice(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.MANAGER)
        for path, sent in ((CATEGORIES, {"name": "Shirts"}), (PRODUCTS, body(status="active"))):
            keyed = {**headers, "Idempotency-Key": f"key-of-{path}"}
            first = await client.post(path, json=sent, headers=keyed)
            again = await client.post(path, json=sent, headers=keyed)
            assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
        assert await Product.count_rows({}) == 1
        assert [item["name"] for item in (await client.get(PRODUCTS)).json()["items"]] == ["Linen shirt"]
        assert [node["slug"] for node in (await client.get(CATEGORIES)).json()] == ["shirts"]


class TestCategories:
    async def test_staff_shapes_the_tree(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.MANAGER)
        root = (await client.post(CATEGORIES, json={"name": "Clothes"}, headers=headers)).json()
        child = (await client.post(CATEGORIES, json={"name": "Shirts", "parent_id": root["id"]}, headers=headers)).json()
        assert child["path"] == "clothes/shirts/"
        any_revision = {**headers, "If-Match": "*"}
        cycle = await client.patch(f"{CATEGORIES}/{root['id']}", json={"parent_id": child["id"]}, headers=any_revision)
        assert (cycle.status_code, cycle.json()["code"]) == (400, "category_cycle")
        closed = await client.delete(f"{CATEGORIES}/{root['id']}", headers=headers)
        assert (closed.status_code, closed.json()["code"]) == (409, "category_not_empty")
        [tree] = (await client.get(CATEGORIES)).json()
        assert (tree["slug"], [node["slug"] for node in tree["children"]]) == ("clothes", ["shirts"])
        page = (await client.get(f"{CATEGORIES}/shirts")).json()
        assert [step["slug"] for step in page["breadcrumb"]] == ["clothes", "shirts"]


class TestRecommendations:
    async def test_falls_back_to_what_is_popular(self, client: httpx2.AsyncClient) -> None:
        category = await create_category(name="Shirts")
        product, other = await create_product(category=category), await create_product(category=category)
        [found] = (await client.get(f"{PRODUCTS}/{product.slug}/recommendations")).json()
        assert (found["product"]["id"], found["reason"]) == (str(other.id), "popular_in_category")
        assert found["explanation"] == "Popular in Shirts."
