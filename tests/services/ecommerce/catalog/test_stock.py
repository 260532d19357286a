import asyncio
import itertools

import pytest
from beanie import PydanticObjectId

from models.database import run_transaction
from models.ecommerce.catalog import Product, ProductStatus
from models.events import EventType
from models.inventory.stock import StockLevel, StockLocation
from models.money import Money
from models.users import Role
from services.ecommerce.catalog.products import ProductService
from services.ecommerce.catalog.stock import (
    AVAILABILITY_CONSUMER,
    AvailabilityService,
    StockFacts,
    availability_of,
)
from services.ecommerce.catalog.writing import ProductChanges, VariantDraft
from services.events import EventService
from tests.factories.catalog import create_product, make_variant
from tests.factories.users import create_user, viewer_of

pytestmark = pytest.mark.usefixtures("database")


async def set_stock(product: Product, available: int, *, index: int = 0, location: PydanticObjectId | None = None) -> None:
    variant = product.variants[index]
    place = location or product.id  # one location for each product will do
    found = await StockLevel.collection().update_one(
        {"variant_id": variant.id, "location_id": place}, {"$set": {"available": available, "on_hand": available}}
    )
    if not found.matched_count:
        await StockLevel(
            product_id=product.id,
            variant_id=variant.id,
            location_id=place,
            sku=variant.sku,
            on_hand=available,
            available=available,
            stock_value=Money.zero("USD"),
        ).store()


async def state(product: Product) -> tuple[str, bool]:
    row = await Product.find_row({"_id": product.id})
    assert row is not None
    return row["status"], row["is_available"]


async def tell(product: Product) -> None:
    async def work(session: object) -> None:
        await EventService.record(session, EventType.STOCK_CHANGED, f"product:{product.id}", payload={"available": "ignored"})

    await run_transaction(work)


class TestAvailabilityOf:
    @pytest.mark.parametrize(
        ("over", "stock", "shown"),
        [
            ({}, StockFacts(6, 5), "in_stock"),
            ({}, StockFacts(5, 5), "low"),
            ({}, StockFacts(0, 5), "out_of_stock"),
            ({}, StockFacts(-2, 5), "out_of_stock"),
            ({"allow_backorder": True}, StockFacts(-2, 5), "backorder"),
            ({"allow_backorder": True}, StockFacts(3, 5), "low"),
            ({"track_inventory": False}, StockFacts(0, 5), "in_stock"),
        ],
    )
    def test_tells_how_a_variant_stands(self, over: dict[str, bool], stock: StockFacts, shown: str) -> None:
        variant = make_variant(**over)
        assert availability_of(variant, {variant.id: stock}) == shown

    def test_unknown_stock_is_none(self) -> None:
        assert availability_of(make_variant(), {}) == "out_of_stock"


class TestConsumer:
    async def test_com_s6_product_follows_its_stock_down_and_up(self) -> None:
        """COM-S6, COM-M5: out_of_stock when the last piece goes, active when one comes back."""
        product = await create_product()
        for available, expected in ((3, ("active", True)), (0, ("out_of_stock", False)), (1, ("active", True))):
            await set_stock(product, available)
            await tell(product)
            await EventService.pump([AVAILABILITY_CONSUMER])
            assert await state(product) == expected

    @pytest.mark.parametrize("status", [ProductStatus.DRAFT, ProductStatus.INACTIVE, ProductStatus.DISCONTINUED])
    async def test_hidden_products_stay_hidden(self, status: ProductStatus) -> None:
        product = await create_product(status=status)
        await set_stock(product, 3)
        await AvailabilityService.refresh(product.id)
        assert await state(product) == (status.value, True)

    async def test_any_order_and_number_of_events_ends_at_the_stock_of_the_end(self) -> None:
        """The handler looks at the levels, so an event that is late or told twice does no harm."""
        product = await create_product()
        for order in itertools.permutations((5, 0, 2)):
            for available in order:
                await set_stock(product, available)
                await tell(product)
            await asyncio.gather(*(AvailabilityService.refresh(product.id) for _ in range(3)))
            await EventService.pump([AVAILABILITY_CONSUMER])
            assert await state(product) == (("active", True) if order[-1] else ("out_of_stock", False))

    async def test_inactive_locations_and_variants_do_not_sell(self) -> None:
        closed = await StockLocation(code="closed", name="Closed", is_active=False).store()
        product = await create_product(
            option_names=["Size"],
            variants=[make_variant(options={"Size": "A"}), make_variant(options={"Size": "B"}, is_active=False)],
        )
        await set_stock(product, 9, location=closed.id)
        await set_stock(product, 9, index=1)
        await AvailabilityService.refresh(product.id)
        assert await state(product) == ("out_of_stock", False)

    async def test_product_that_is_gone_is_nobody_s_trouble(self) -> None:
        await AvailabilityService.refresh(PydanticObjectId())

    async def test_edits_of_the_variants_meanwhile_are_not_missed(self) -> None:
        viewer = viewer_of(await create_user(role=Role.MANAGER))
        product = await create_product()
        only = product.variants[0]

        async def edit(number: int) -> None:
            variant = VariantDraft(id=only.id, sku=only.sku, price=only.price, allow_backorder=number % 2 == 0)
            await ProductService.update_product(product.id, ProductChanges(variants=[variant]), viewer=viewer, revision=None)

        await asyncio.gather(*map(edit, range(10)), *(AvailabilityService.refresh(product.id) for _ in range(10)))
        row = await Product.find_row({"_id": product.id})
        assert row is not None
        assert row["is_available"] == row["variants"][0]["allow_backorder"]
