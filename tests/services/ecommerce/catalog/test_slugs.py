import json

import pytest

from models.database import DuplicateKeyError
from models.ecommerce.catalog import Product, ProductSlug, ProductStatus
from services.ecommerce.catalog.pages import ProductPage, ProductPageService
from services.ecommerce.catalog.products import ProductNotFoundError, ProductService, ProductSlugTakenError
from services.ecommerce.catalog.slugs import ProductMoved
from services.ecommerce.catalog.writing import ProductChanges, ProductDraft, VariantDraft
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.catalog import create_product, money
from tests.services.ecommerce.catalog.test_products import staff

pytestmark = pytest.mark.usefixtures("database")


async def rename(product: Product, slug: str, viewer: Viewer) -> None:
    await ProductService.update_product(product.id, ProductChanges(slug=slug), viewer=viewer, revision=None)


async def at(slug: str) -> str:
    """What is found there: the product's name, or where it moved."""
    found = await ProductPageService.get_product_details(slug)
    if isinstance(found, ProductMoved):
        return f"moved to {found.slug}"
    return str(json.loads(found.body)["name"])


async def kept() -> dict[str, object]:
    return {row["slug"]: row["product_id"] for row in await ProductSlug.find_rows({}, sort=[("slug", 1)])}


class TestFormerSlugs:
    async def test_every_one_leads_to_the_present_one_in_two_commands(self, commands: CommandLog) -> None:
        viewer, product = await staff(), await create_product(slug="first")
        for slug in ("second", "third"):
            await rename(product, slug, viewer)

        for slug in ("first", "second"):
            with commands.counting() as sent:
                assert await ProductPageService.get_product_details(slug) == ProductMoved("third")
            assert sent.sent == ["aggregate products", "aggregate product_slugs"]
        assert await kept() == {"first": product.id, "second": product.id}

    async def test_page_that_is_found_asks_for_none(self, commands: CommandLog) -> None:
        viewer, product = await staff(), await create_product(slug="first")
        await rename(product, "second", viewer)

        with commands.counting() as sent:
            assert isinstance(await ProductPageService.get_product_details("second"), ProductPage)
        assert len(sent) <= 3
        assert "aggregate product_slugs" not in sent.sent

    async def test_page_kept_under_the_old_one_is_forgotten(self) -> None:
        viewer, product = await staff(), await create_product(slug="first")
        assert isinstance(await ProductPageService.get_product_details("first"), ProductPage)
        await rename(product, "second", viewer)
        assert await at("first") == "moved to second"

    async def test_taking_the_old_one_back_leads_nowhere_else(self) -> None:
        viewer, product = await staff(), await create_product(slug="first", name="Tee")
        await rename(product, "second", viewer)
        await rename(product, "first", viewer)
        assert (await at("first"), await at("second")) == ("Tee", "moved to first")
        assert await kept() == {"first": product.id, "second": product.id}

    async def test_other_edits_leave_none(self) -> None:
        viewer, product = await staff(), await create_product(slug="first")
        await ProductService.update_product(product.id, ProductChanges(name="Other", slug="first"), viewer=viewer, revision=None)
        assert await kept() == {}

    async def test_refused_rename_leaves_none(self) -> None:
        viewer, product = await staff(), await create_product(slug="first")
        await create_product(slug="taken")
        with pytest.raises(ProductSlugTakenError):
            await rename(product, "taken", viewer)
        assert await kept() == {}

    @pytest.mark.parametrize("status", [ProductStatus.DRAFT, ProductStatus.INACTIVE, ProductStatus.DISCONTINUED])
    async def test_what_is_hidden_is_led_to_by_none(self, status: ProductStatus) -> None:
        viewer, product = await staff(), await create_product(slug="first")
        await rename(product, "second", viewer)
        await Product.change({"_id": product.id}, {"$set": {"status": status}})
        for slug in ("first", "second"):
            with pytest.raises(ProductNotFoundError):
                await ProductPageService.get_product_details(slug)


class TestTakenOver:
    async def test_another_product_that_takes_it_is_found_there(self) -> None:
        viewer = await staff()
        tee, cup = await create_product(slug="gift", name="Tee"), await create_product(slug="cup", name="Cup")
        await rename(tee, "tee", viewer)
        assert await at("gift") == "moved to tee"

        await rename(cup, "gift", viewer)
        assert (await at("gift"), await at("cup")) == ("Cup", "moved to gift")

    async def test_given_up_twice_it_leads_to_who_had_it_last(self) -> None:
        viewer = await staff()
        tee, cup = await create_product(slug="gift"), await create_product(slug="cup")
        await rename(tee, "tee", viewer)
        await rename(cup, "gift", viewer)
        await rename(cup, "mug", viewer)
        assert [await at(slug) for slug in ("gift", "cup")] == ["moved to mug"] * 2
        assert await kept() == {"cup": cup.id, "gift": cup.id}

    async def test_while_who_took_it_is_hidden_it_leads_to_who_had_it(self) -> None:
        viewer = await staff()
        tee, cup = await create_product(slug="gift"), await create_product(slug="cup")
        await rename(tee, "tee", viewer)
        await rename(cup, "gift", viewer)
        await Product.change({"_id": cup.id}, {"$set": {"status": ProductStatus.INACTIVE}})
        assert await at("gift") == "moved to tee"

    async def test_a_new_product_takes_it_on_purpose_only(self) -> None:
        viewer, product = await staff(), await create_product(slug="tee")
        await rename(product, "linen-tee", viewer)

        def draft(sku: str, **over: str) -> ProductDraft:
            return ProductDraft(name="Tee", variants=[VariantDraft(sku=sku, price=money("1.00"))], **over)

        assert (await ProductService.create_product(draft("A"), viewer=viewer)).slug == "tee-2"
        assert (await ProductService.create_product(draft("B", slug="tee"), viewer=viewer)).slug == "tee"

    async def test_one_row_a_slug(self) -> None:
        one, other = await create_product(), await create_product()
        await ProductSlug(slug="gift", product_id=one.id).store()
        with pytest.raises(DuplicateKeyError):
            await ProductSlug(slug="gift", product_id=other.id).store()
