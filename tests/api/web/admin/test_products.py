"""Products: one form changes the product, one of its variants or one picture, for the revision that was read."""

from typing import Any

from models.audit import AuditEntry
from models.ecommerce.catalog import Product, ProductStatus
from models.users import Role
from tests.api.web.admin.conftest import Clerk, SeatClerk
from tests.factories.catalog import create_category, create_product, make_variant, money
from tests.factories.inventory import stock

LIST = "/admin/products"


async def stored(product: Product) -> Product:
    row = await Product.find_row({"_id": product.id})
    assert row is not None
    return Product.from_row(row)


async def read(product: Product) -> dict[str, str]:
    return {"revision": str((await stored(product)).revision)}


async def acts(product: Product) -> list[tuple[str, Any]]:
    rows = await AuditEntry.find_rows({"subject": f"product:{product.id}"}, sort=[("_id", 1)])
    return [(row["action"], row["details"].get("fields")) for row in rows]


class TestMaking:
    async def test_a_draft_is_made_once_described_and_published(self, manager: Clerk) -> None:
        category = await create_category(name="Clothes")
        new = {"name": "Linen shirt", "sku": "SHIRT-1", "price": "19.90", "form_key": await manager.key(LIST)}

        made = await manager.send(f"{LIST}/create", **new)
        again = await manager.send(f"{LIST}/create", **new)

        row = await Product.find_row({"variants.sku": "SHIRT-1"})
        assert row is not None
        product = Product.from_row(row)
        here = f"{LIST}/{product.id}"
        assert made.headers["location"] == again.headers["location"] == f"{here}?done=create"
        assert (product.status, product.price) == (ProductStatus.DRAFT, money("19.90"))
        texts = {"name": "Linen shirt", "brand": "Loom", "tags": "summer, Linen", "description": "**Cool**"}
        chosen = {"category_id": str(category.id), "is_featured": "on"}
        await manager.send(f"{here}/edit", **texts, **chosen, **await read(product))
        await manager.send(f"{here}/publish", **await read(product))
        done = await stored(product)
        assert (done.brand, done.tags, done.category_id, done.is_featured) == ("Loom", ["summer", "linen"], category.id, True)
        assert (done.status, done.description_html) == (ProductStatus.OUT_OF_STOCK, "<p><strong>Cool</strong></p>\n")
        names = [name for name, _ in await acts(product)]
        assert names == ["product.created", "product.changed", "product.changed"]

    async def test_a_sku_that_is_taken_is_a_conflict_and_the_form_is_kept(self, manager: Clerk) -> None:
        await create_product(sku="TAKEN")

        answer = await manager.send(f"{LIST}/create", name="Mine", sku="TAKEN", price="5", form_key="a-key")

        assert answer.status_code == 409
        assert 'value="Mine"' in answer.text
        assert '<details class="action" id="sent" open>' in answer.text
        assert '<a href="#sent">To the form</a>' in answer.text
        assert await Product.count_rows({}) == 1


class TestChanging:
    async def test_one_variant_and_no_other(self, manager: Clerk) -> None:
        variants = [make_variant(options={"Size": size}, title=size, price="10.00") for size in ("S", "M")]
        product = await create_product(variants=variants, option_names=["Size"])
        level = await stock(variants[0], 7, product=product)
        here = f"{LIST}/{product.id}"
        page = await manager.page(here)
        assert all(part in page for part in (variants[0].sku, "$10.00", f"/admin/stock/{level.id}"))
        assert f"/admin/stock/{level.id}" in await manager.page(f"/admin/stock?search={variants[1].sku}")
        assert "No such SKU." in await manager.page("/admin/stock?search=none")
        said = {"sku": "NEW-M", "price": "12.50", "compare_at_price": "15", "weight_grams": "300", "is_active": "on"}

        await manager.send(f"{here}/variants/{variants[1].id}/change", **said, **await read(product))
        await manager.send(f"{here}/variant", option_0="L", sku="NEW-L", price="13", **await read(product))

        small, middle, large = (await stored(product)).variants
        assert small == variants[0]
        assert (middle.id, middle.sku, middle.price, middle.compare_at_price) == (
            variants[1].id,
            "NEW-M",
            money("12.50"),
            money("15.00"),
        )
        assert (middle.weight_grams, middle.track_inventory, middle.options) == (300, False, {"Size": "M"})
        assert (large.sku, large.title, large.price) == ("NEW-L", "L", money("13.00"))
        assert await acts(product) == [("product.changed", ["variants"])] * 2

    async def test_pictures_by_their_place(self, manager: Clerk) -> None:
        product = await create_product()
        here = f"{LIST}/{product.id}"
        for name in ("a", "b"):
            await manager.send(f"{here}/picture", url=f"https://images.example.com/{name}.jpg", alt=name, **await read(product))

        await manager.send(f"{here}/pictures/1/first", **await read(product))
        await manager.send(f"{here}/pictures/1/describe", alt="A shirt", **await read(product))
        assert [(one.alt, one.is_primary) for one in (await stored(product)).images] == [("a", False), ("A shirt", True)]
        await manager.send(f"{here}/pictures/0/remove", **await read(product))

        assert [one.alt for one in (await stored(product)).images] == ["A shirt"]
        assert (await manager.send(f"{here}/pictures/7/remove", **await read(product))).status_code == 404

    async def test_what_somebody_else_changed_is_shown_beside_what_was_filled_in(self, manager: Clerk) -> None:
        product = await create_product(name="Shirt", brand="Loom")
        here, seen = f"{LIST}/{product.id}", await read(product)
        await manager.send(f"{here}/edit", name="Shirt", brand="Weaver", tags="", description="", **seen)

        answer = await manager.send(f"{here}/edit", name="Linen shirt", brand="Loom", tags="", description="", **seen)

        assert answer.status_code == 412
        assert "It has changed since you read it" in answer.text
        assert 'value="Linen shirt"' in answer.text
        assert "By now it is: Weaver" in answer.text
        assert "By now it is: Shirt" in answer.text
        assert (await stored(product)).name == "Shirt"
        again = {"revision": str(product.revision + 1)}  # the form that is shown carries it
        assert f'name="revision" value="{again["revision"]}"' in answer.text
        assert (await manager.send(f"{here}/edit", name="Linen shirt", brand="Loom", **again)).status_code == 303

    async def test_discontinued_it_is_kept_as_it_was(self, manager: Clerk) -> None:
        product = await create_product()
        here = f"{LIST}/{product.id}"

        await manager.send(f"{here}/discontinue")

        assert (await stored(product)).status is ProductStatus.DISCONTINUED
        assert "<form" not in (await manager.page(here)).partition("<main")[2]
        assert (await manager.send(f"{here}/publish", **await read(product))).status_code == 409
        assert [name for name, _ in await acts(product)] == ["product.discontinued"]


class TestSellers:
    async def test_keep_their_own_and_find_no_other(self, seat: SeatClerk) -> None:
        vendor = await seat(Role.VENDOR)
        own, other = await create_product(seller_id=vendor.user.id, sku="OWN"), await create_product(sku="OTHER")

        listed = await vendor.page(LIST)
        assert (own.name in listed, other.name in listed) == (True, False)
        assert own.name in await vendor.page(f"{LIST}?search=OWN")
        assert other.name not in await vendor.page(f"{LIST}?search=OTHER")
        assert "/admin/stock" not in await vendor.page(f"{LIST}/{own.id}")
        refused = await vendor.send(f"{LIST}/{other.id}/hide", **await read(other))
        assert (refused.status_code, (await stored(other)).status) == (404, ProductStatus.ACTIVE)
        assert (await vendor.send(f"{LIST}/{own.id}/hide", **await read(own))).status_code == 303
        assert (await stored(own)).status is ProductStatus.INACTIVE
