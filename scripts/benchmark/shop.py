"""The shop's part of the benchmark: what is asked for, and what must lie in stock and in carts for it."""

import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

import orjson
from beanie import PydanticObjectId

from models.base import AgoraDocument, now
from models.database import Database
from models.ecommerce.carts import Cart, CartLine
from models.ecommerce.catalog import Product, ProductCategory, ProductStatus
from models.inventory.stock import MovementKind, StockLevel, StockLocation, StockMovement
from models.money import Money
from scripts.benchmark.load import Case, get, post
from services.ecommerce.carts import guest_owner
from services.settings import Settings

PLENTY = 1_000_000
BATCH = 1_000

_PLACE = {
    "first_name": "Jane",
    "last_name": "Doe",
    "line1": "1 Market Street",
    "city": "Springfield",
    "state": "IL",
    "postal_code": "62701",
    "country": "US",
}


async def shop_cases(database: Database, settings: Settings, *, carts: int) -> list[Case]:
    """Searches whose price range is another one each time, so that no page is kept of them, and one search again and again;
    product pages; and so many checkouts, by guests whose carts are filled beforehand, on account: no gateway is in it.
    """
    products = [Product.from_row(row) for row in await Product.find_rows({"status": ProductStatus.ACTIVE}, sort=[("_id", 1)])]
    sold = [product for product in products if not product.is_digital and product.variants[0].track_inventory]
    await fill_up(sold)
    await database.raw["bare_stock"].insert_many([{"_id": product.variants[0].id, "available": PLENTY} for product in sold])
    tokens = await _fill_carts(sold, settings, carts)
    slugs = [product.slug for product in products]
    categories = await _categories(products)
    chance = Random(7)

    def search(number: int, facets: str) -> bytes:
        low = 1 + number * 7919 % 1_999 / 100
        category = categories[number * 104_729 % len(categories)]
        return get(f"/api/v1/shop/products?category={category}&min_price={low:.2f}&max_price=900&page=1&limit=20{facets}")

    def plain(number: int, etag: str) -> bytes:
        return search(number, "")

    def repeated(number: int, etag: str) -> bytes:
        return search(0, "")

    def faceted(number: int, etag: str) -> bytes:
        return search(number, "&facets=true")

    def product_page(number: int, etag: str) -> bytes:
        return get(f"/api/v1/shop/products/{slugs[number * 7919 % len(slugs)]}")

    def checkout(number: int, etag: str) -> bytes:
        token = next(tokens, None)
        if token is None:
            raise SystemExit("the carts are used up: measure for a shorter time, or fill more of them")
        # Everybody is somebody else: the fraud rules look at those of one address together.
        draft = {"email": f"{token}@example.com", "payment_method": "invoice", "shipping_address": _PLACE}
        address = f"10.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"
        headers = f"idempotency-key: {token}\r\ncart-token: {token}\r\nx-forwarded-for: {address}\r\n"
        return post("/api/v1/shop/checkout", orjson.dumps(draft), headers)

    def bare_checkout(number: int, etag: str) -> bytes:
        pair = chance.sample(sold, 2)
        lines = [{"product": str(one.id), "variant": str(one.variants[0].id), "quantity": 1} for one in pair]
        return post("/api/v1/shop/checkout", orjson.dumps({"lines": lines, "address": _PLACE}))

    return [
        Case("product search, never repeated", plain, plain, 0.9),
        Case("product search, repeated", repeated, repeated, 0.9),
        Case("product search with facets", faceted, faceted, 0.6),
        Case("product page", product_page, product_page, 1.0),
        Case("checkout of two lines", checkout, bare_checkout, 0.5),
    ]


async def _categories(products: list[Product]) -> list[str]:
    """The slugs of the categories that products lie in themselves, with nothing below them: both programs find the same there."""
    used = {product.category_id for product in products}
    rows = await ProductCategory.find_rows({}, {"slug": 1, "parent_id": 1})
    parents = {row["parent_id"] for row in rows}
    return sorted(row["slug"] for row in rows if row["_id"] in used - parents)


async def fill_up(sold: list[Product]) -> None:
    """Plenty of the first variant of each product, by a receipt in the ledger."""
    [location] = await StockLocation.find_rows({}, {"currency": 1}, sort=[("priority", 1)], limit=1)
    moment = now()
    levels = {row["variant_id"]: row for row in await StockLevel.find_rows({"location_id": location["_id"]})}
    movements = []
    for product in sold:
        variant = product.variants[0]
        row = levels[variant.id]
        zero = Money.zero(location["currency"])
        movement = StockMovement(
            key=f"bench:{variant.id}",
            kind=MovementKind.RECEIPT,
            product_id=product.id,
            variant_id=variant.id,
            location_id=location["_id"],
            sku=variant.sku,
            quantity=PLENTY,
            value=zero,
            cost=zero,
            on_hand_after=row["on_hand"] + PLENTY,
            reference="manual",
            occurred_at=moment,
        )
        movements.append(movement)
    await _insert(StockMovement, movements)
    more = {"$inc": {"on_hand": PLENTY, "available": PLENTY}, "$set": {"is_low": False}}
    await StockLevel.collection().update_many({"variant_id": {"$in": [movement.variant_id for movement in movements]}}, more)


async def _fill_carts(sold: list[Product], settings: Settings, count: int) -> Iterator[str]:
    """The tokens of so many guests, each with one piece of two products in their cart."""
    moment, chance = now(), Random(1)
    tokens = [secrets.token_urlsafe(32) for _ in range(count)]
    for at in range(0, count, BATCH):
        await _insert(Cart, [_cart(token, chance.sample(sold, 2), settings, moment) for token in tokens[at : at + BATCH]])
    return iter(tokens)


def _cart(token: str, products: list[Product], settings: Settings, moment: datetime) -> Cart:
    lines = [
        CartLine(
            product_id=product.id,
            variant_id=product.variants[0].id,
            quantity=1,
            price_seen=product.variants[0].price,
            added_at=moment,
        )
        for product in products
    ]
    return Cart(
        id=PydanticObjectId(),
        owner=guest_owner(token),
        currency=settings.currency,
        lines=lines,
        active_at=moment,
        expires_at=moment + timedelta(days=30),
    )


async def _insert(document: type[AgoraDocument], rows: list[StockMovement] | list[Cart]) -> None:
    await document.collection().insert_many([row.row() for row in rows])
