"""A small world with something in it for every page of figures: customers, visits, stock and readers of one week."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from beanie import PydanticObjectId

from models.analytics.rollups import Dimension
from models.blog.posts import PostStatus, PostViews
from models.ecommerce.carts import CartAbandonment
from models.ecommerce.catalog import Product
from models.inventory.stock import MovementKind, StockLevel, StockMovement
from models.money import Money
from models.social import Like, LikeKind
from services.analytics.purchases.purchases import PurchaseService
from services.analytics.rollups.facts import facts_of_cart
from services.analytics.rollups.rollups import Entry, Fact, RollupService
from tests.api.web.sales import sell
from tests.factories.blog import make_post
from tests.factories.catalog import create_category, create_product, make_variant
from tests.factories.comments import make_comment
from tests.factories.inventory import create_location
from tests.factories.purchases import create_sale
from tests.factories.users import create_user

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
WEEK = "?range=custom&from=2026-11-02&to=2026-11-08"
_numbers = count(1)


async def fill_the_world(noon: datetime = NOON) -> None:
    """Everything that happened about that noon, and a little of the week before."""
    await _customers(noon)
    await _stock(noon, await _products(noon))
    await _readers(noon)


async def _customers(noon: datetime) -> None:
    """One who came back after two months, and one who is new and bought twice."""
    old, new = PydanticObjectId(), PydanticObjectId()
    for customer, days, amount in ((old, -62, 50_000), (old, 0, 10_000), (new, 0, 2_000), (new, 1, 4_000)):
        await create_sale(customer, noon + timedelta(days=days), amount)
    for customer in (old, new):
        await PurchaseService.recount(customer)


async def _products(noon: datetime) -> Product:
    lamps = await create_category(name="Lamps")
    lamp = await create_product(name="Desk <lamp>", category_id=lamps.id, variants=[make_variant(title="Red")])
    await sell(noon, 12_345, units=3, product=str(lamp.id), category=str(lamps.id))
    stages = {"view": 40, "cart": 10, "checkout": 5, "paid": 4}
    entries = [Entry(Dimension.STAGE, name, "", {"visitors": number}) for name, number in stages.items()]
    entries.append(Entry(Dimension.TRAFFIC, "", "", {"visitors": 60, "searches": 7}))
    entries.append(Entry(Dimension.SEARCH, "desk lamp", "", {"visitors": 3, "searches": 5}))
    entries.append(Entry(Dimension.SEARCH, "something private", "", {"visitors": 2, "searches": 2}))
    entries.append(Entry(Dimension.SOURCE, "letter", "", {"visits": 12}))
    await RollupService.apply([Fact("visit:test", noon, entries)])
    for recovered in (True, False, False, False):
        left = CartAbandonment(
            cart_id=PydanticObjectId(),
            value=Money(amount=1_000, currency="USD"),
            pieces=1,
            abandoned_at=noon,
            recovered_at=noon if recovered else None,
        )
        await RollupService.apply(facts_of_cart((await left.store()).row()))
    return lamp


async def _stock(noon: datetime, lamp: Product) -> None:
    """Ten lamps at 10.00 of which six were sold, none left of another thing, and one that nobody wants."""
    house = await create_location(name="House")
    await _shelf(house.id, "SELLS", [(MovementKind.RECEIPT, 10, -20), (MovementKind.SALE, -6, 0)], noon, product=lamp)
    await _shelf(house.id, "GONE", [(MovementKind.RECEIPT, 2, -20), (MovementKind.SALE, -2, 0)], noon)
    await _shelf(house.id, "DUST", [(MovementKind.RECEIPT, 30, -200)], noon, is_low=False)


async def _shelf(
    location: PydanticObjectId,
    sku: str,
    moves: list[tuple[MovementKind, int, int]],
    noon: datetime,
    *,
    product: Product | None = None,
    **over: Any,
) -> None:
    place: dict[str, Any] = {
        "product_id": product.id if product else PydanticObjectId(),
        "variant_id": product.variants[0].id if product else PydanticObjectId(),
        "location_id": location,
        "sku": sku,
    }
    for kind, quantity, days in moves:
        worth = Money(amount=quantity * 1_000, currency="USD")
        await StockMovement(
            **place,
            key=f"test:{next(_numbers)}",
            kind=kind,
            quantity=quantity,
            value=worth,
            cost=worth,
            on_hand_after=0,
            reference="manual",
            occurred_at=noon + timedelta(days=days),
        ).store()
    left = sum(quantity for _, quantity, _ in moves)
    value = Money(amount=left * 1_000, currency="USD")
    await StockLevel(**{**place, "on_hand": left, "available": left, "stock_value": value, **over}).store()


async def _readers(noon: datetime) -> None:
    author = await create_user(first_name="Ada", last_name="Writer", created_at=noon)
    post = await make_post(title="On <lamps>", author_id=author.id, status=PostStatus.PUBLISHED).store()
    midnight = noon.replace(hour=0, minute=0, second=0, microsecond=0)
    for days, views in ((-7, 8), (0, 12)):
        await PostViews(post_id=post.id, day=midnight + timedelta(days=days), views_count=views).store()
    for _ in range(3):
        await Like(kind=LikeKind.POST, subject_id=post.id, user_id=PydanticObjectId(), created_at=noon).store()
    await make_comment(post_id=post.id, created_at=noon).store()
