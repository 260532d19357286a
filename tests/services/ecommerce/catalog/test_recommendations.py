import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from beanie import PydanticObjectId

from models.ecommerce.catalog import Product, ProductRecommendation, ProductStatus, ProductVisit
from models.ecommerce.orders import Order, PaymentStatus
from services.ecommerce.catalog.products import ProductNotFoundError
from services.ecommerce.catalog.recommendations import AT_LEAST, KEPT, RecommendationService
from tests.commands import CommandLog
from tests.factories.catalog import create_category, create_product
from tests.factories.orders import create_order, make_line
from tests.factories.users import create_user, viewer_of

pytestmark = pytest.mark.usefixtures("database")

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TODAY = datetime(2026, 11, 21, tzinfo=UTC)


async def bought(
    *products: Product,
    status: PaymentStatus = PaymentStatus.COMPLETED,
    user_id: PydanticObjectId | None = None,
    placed_at: datetime = NOW,
) -> Order:
    lines = [make_line(product_id=product.id) for product in products]
    return await create_order(lines=lines, payment_status=status, user_id=user_id, placed_at=placed_at)


async def viewed(*products: Product, day: datetime = TODAY) -> None:
    ids = [product.id for product in products]
    await ProductVisit(visitor=str(PydanticObjectId()), day=day, product_ids=ids).store()


async def stored(product: Product) -> list[tuple[PydanticObjectId, str, int]]:
    row = await ProductRecommendation.find_row({"product_id": product.id})
    return [] if row is None else [(item["product_id"], item["reason"], item["count"]) for item in row["items"]]


async def recommended(product: Product) -> list[tuple[PydanticObjectId, str]]:
    found = await RecommendationService.list_recommendations(product.slug)
    return [(one.product.id, one.reason) for one in found]


class TestRebuild:
    @pytest.mark.parametrize("seed", range(2))
    async def test_com_s5_counts_are_those_of_plain_python(self, seed: int) -> None:
        """COM-S5: row by row against the orders and visits themselves; ties go to the newest product."""
        generator = random.Random(seed)
        products = [await create_product() for _ in range(6)]
        baskets = [generator.choices(products, k=generator.randint(1, 4)) for _ in range(25)]
        statuses = [generator.choice(list(PaymentStatus)) for _ in baskets]
        visits = [generator.choices(products, k=generator.randint(1, 4)) for _ in range(15)]
        for basket, status in zip(baskets, statuses, strict=True):
            await bought(*basket, status=status)
        for visit in visits:
            await viewed(*visit)

        assert await RecommendationService.rebuild(now=NOW) == sum([bool(await stored(product)) for product in products])

        paid = [basket for basket, status in zip(baskets, statuses, strict=True) if status in ("completed", "partially_refunded")]
        for product in products:
            expected = [
                (other, reason, count)
                for reason, groups in (("bought_together", paid), ("viewed_together", visits))
                for other, count in _together(product, groups)
            ]
            assert await stored(product) == expected

    async def test_old_orders_and_visits_do_not_count(self) -> None:
        one, two = await create_product(), await create_product()
        for days in (0, 366, 400):
            await bought(one, two, placed_at=NOW - timedelta(days=days))
        for days in (0, 31, 40):
            await viewed(one, two, day=TODAY - timedelta(days=days))
        assert await RecommendationService.rebuild(now=NOW) == 0

    async def test_what_no_longer_holds_is_dropped(self) -> None:
        one, two = await create_product(), await create_product()
        orders = [await bought(one, two) for _ in range(2)]
        assert await RecommendationService.rebuild(now=NOW) == 2
        await Order.collection().delete_one({"_id": orders[0].id})
        assert await RecommendationService.rebuild(now=NOW) == 0
        assert await ProductRecommendation.count_rows({}) == 0

    async def test_runs_at_once_end_as_one_would(self) -> None:
        products = [await create_product() for _ in range(5)]
        for _ in range(2):
            await bought(*products)
        assert await asyncio.gather(*(RecommendationService.rebuild(now=NOW) for _ in range(5))) == [5] * 5
        assert [len(await stored(product)) for product in products] == [4] * 5


class TestListRecommendations:
    async def test_com_s5_each_comes_with_its_first_reason_and_why(self) -> None:
        """COM-S5: explainable; bought together, then viewed together, then popular in the category."""
        category = await create_category(name="Shirts")
        product = await create_product(category=category)
        partner, looked_at, popular = await create_product(), await create_product(), await create_product(category=category)
        for _ in range(2):
            await bought(product, partner)
            await viewed(product, partner, looked_at)
        await RecommendationService.rebuild(now=NOW)
        found = await RecommendationService.list_recommendations(product.slug)
        assert [(one.product.id, one.reason, one.explanation) for one in found] == [
            (partner.id, "bought_together", "Bought together in 2 orders."),
            (looked_at.id, "viewed_together", "Looked at together by 2 visitors."),
            (popular.id, "popular_in_category", "Popular in Shirts."),
        ]
        assert [one.product.id for one in await RecommendationService.list_recommendations(product.slug, limit=1)] == [partner.id]

    async def test_com_s5_owned_and_unavailable_are_left_out(self) -> None:
        """COM-S5: excludes what the viewer owns and what cannot be had."""
        category = await create_category()
        product = await create_product(category=category)
        owned, sold_out, hidden, left = [await create_product() for _ in range(4)]
        popular, gone = await create_product(category=category), await create_product(category=category, is_available=False)
        for _ in range(2):
            await bought(product, owned, sold_out, hidden, left)
        await RecommendationService.rebuild(now=NOW)
        await Product.change({"_id": sold_out.id}, {"$set": {"is_available": False}})
        await Product.change({"_id": hidden.id}, {"$set": {"status": ProductStatus.INACTIVE}})
        user = await create_user()
        await bought(owned, user_id=user.id)
        await bought(left, user_id=user.id, status=PaymentStatus.FAILED)

        found = await RecommendationService.list_recommendations(product.slug, viewer=viewer_of(user))
        assert [one.product.id for one in found] == [left.id, popular.id]
        assert {one for one, _ in await recommended(product)} == {owned.id, left.id, popular.id}
        assert gone.id not in {one for one, _ in await recommended(product)}

    async def test_one_basket_is_nobody_s_business(self) -> None:
        product, other = await create_product(), await create_product()
        await bought(product, other)
        await RecommendationService.rebuild(now=NOW)
        assert await recommended(product) == []

    async def test_three_commands_at_most(self, commands: CommandLog) -> None:
        product = await create_product(category=await create_category())
        await recommended(product)
        viewer = viewer_of(await create_user())
        await create_product()  # empties what is kept
        with commands.counting() as sent:
            await RecommendationService.list_recommendations(product.slug, viewer=viewer)
        assert sent.sent == ["find products", "aggregate product_recommendations", "find orders"]

    async def test_hidden_product_has_none(self) -> None:
        product = await create_product(status=ProductStatus.DRAFT)
        for slug in (product.slug, "nothing"):
            with pytest.raises(ProductNotFoundError):
                await RecommendationService.list_recommendations(slug)


def _together(product: Product, groups: list[list[Product]]) -> list[tuple[PydanticObjectId, int]]:
    counts: Counter[PydanticObjectId] = Counter()
    for group in groups:
        ids = {one.id for one in group}
        if product.id in ids:
            counts.update(ids - {product.id})
    often = [(other, count) for other, count in counts.items() if count >= AT_LEAST]
    return sorted(often, key=lambda item: (-item[1], -int(str(item[0]), 16)))[:KEPT]
