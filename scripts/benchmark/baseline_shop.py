"""The shop of the bare program: the same data for the same requests, one cursor or transaction each, and nothing besides."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import orjson
from beanie import PydanticObjectId
from pymongo import UpdateOne

from models.database import Database, aggregate, run_transaction

Row = dict[str, Any]

_VISIBLE = {"$in": ["active", "out_of_stock"]}
_SUMMARY = dict.fromkeys(
    (
        *("name", "slug", "short_description", "brand", "tags", "price", "price_max", "is_available", "is_featured"),
        *("is_digital", "reviews_count", "category_id", "images", "rating_average"),
    ),
    1,
)
_BEST_FIRST = {"is_featured": -1, "sales_count": -1, "_id": -1}
_UNWOUND = [{"$project": {"facets": 1, "brand": 1}}, {"$unwind": "$facets"}]
_COUNTED = [{"$group": {"_id": "$facets", "n": {"$sum": 1}}}, {"$sort": {"n": -1, "_id": 1}}]


class BareShop:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._raw = database.raw
        self._is_bound = False

    async def search(self, query: bytes) -> Any:
        """A page of twenty with its total, by category and price; with `facets` also what can be narrowed by."""
        asked = dict(parse_qsl(query.decode()))
        category = await self._raw["product_categories"].find_one({"slug": asked["category"]}, {"_id": 1})
        price = {"price.amount": {"$gte": _cents(asked["min_price"]), "$lte": _cents(asked["max_price"])}}
        within = {"currency": "USD", **price}
        rows = [{"$sort": _BEST_FIRST}, {"$limit": 20}, {"$project": _SUMMARY}]
        first: list[Row] = [{"$match": {"category_id": category["_id"]}}]
        if "facets" not in asked:
            stages = [
                *first,
                {"$match": {"status": _VISIBLE, **within}},
                _carrying(*_SUMMARY, "sales_count"),
                {"$facet": {"rows": rows, "total": [{"$count": "n"}]}},
            ]
            return (await aggregate(self._raw["products"], stages))[0]
        chosen: list[Row] = [{"$match": within}]
        bounds = {"_id": None, "lowest": {"$min": "$price.amount"}, "highest": {"$max": "$price_max.amount"}}
        branches: Row = {
            "rows": [*chosen, *rows],
            "total": [*chosen, {"$count": "n"}],
            "values": [*chosen, *_UNWOUND, *_COUNTED],
            "categories": [*chosen, {"$group": {"_id": "$category_id", "n": {"$sum": 1}}}],
            "price": [{"$match": {"currency": "USD"}}, {"$group": bounds}],
            "availability": [*chosen, {"$group": {"_id": "$is_available", "n": {"$sum": 1}}}],
        }
        carried = _carrying(*_SUMMARY, "sales_count", "facets", "currency")
        stages = [*first, {"$match": {"status": _VISIBLE}}, carried, {"$facet": branches}]
        return (await aggregate(self._raw["products"], stages))[0]

    async def page(self, slug: str) -> Any:
        """A product with its stock, its ten most helpful reviews and their authors, its category, and four bestsellers of it."""
        product = await self._raw["products"].find_one({"slug": slug}, {"terms": 0, "facets": 0, "description": 0})
        of_it, category_id = {"product_id": product["_id"]}, product["category_id"]
        reviews: list[Row] = [
            {"$match": {**of_it, "status": "approved"}},
            {"$sort": {"helpful_count": -1, "_id": -1}},
            {"$limit": 10},
            {"$lookup": {"from": "users", "localField": "author_id", "foreignField": "_id", "as": "author"}},
            {"$project": {"rating": 1, "title": 1, "content_html": 1, "created_at": 1, "author.username": 1}},
        ]
        related = self._raw["products"].find({"category_id": category_id, "status": "active"}, _SUMMARY)
        found = await asyncio.gather(
            self._raw["stock_levels"].find(of_it, {"variant_id": 1, "available": 1}).to_list(None),
            aggregate(self._raw["reviews"], reviews),
            self._raw["product_categories"].find_one({"_id": category_id}),
            related.sort([("sales_count", -1)]).limit(5).to_list(None),
        )
        return {"product": product, **dict(zip(("stock", "reviews", "category", "related"), found, strict=True))}

    async def checkout(self, body: bytes) -> Any:
        """One transaction: read the products, take the stock if there is enough, insert the order and its event."""
        asked = orjson.loads(body)
        lines = [(PydanticObjectId(line["product"]), PydanticObjectId(line["variant"])) for line in asked["lines"]]
        if not self._is_bound:
            await self._database.bind([])  # the drivers begin transactions in different ways; the seam knows both
            self._is_bound = True
        return await run_transaction(partial(self._order, lines, asked["address"]))

    async def _order(self, lines: list[tuple[PydanticObjectId, PydanticObjectId]], address: Row, session: Any) -> Row:
        ids = {"_id": {"$in": [product_id for product_id, _ in lines]}}
        found = await self._raw["products"].find(ids, {"name": 1, "variants": 1}, session=session).to_list(None)
        products = {row["_id"]: row for row in found}
        taken = [
            UpdateOne({"_id": variant_id, "available": {"$gte": 1}}, {"$inc": {"available": -1}})
            for _, variant_id in sorted(lines)
        ]
        result = await self._raw["bare_stock"].bulk_write(taken, session=session)
        assert result.modified_count == len(taken)
        sold = [
            {"name": products[product_id]["name"], "price": variant["price"], "variant_id": variant_id, "quantity": 1}
            for product_id, variant_id in lines
            for variant in products[product_id]["variants"]
            if variant["id"] == variant_id
        ]
        subtotal = sum(line["price"]["amount"] for line in sold)
        total = subtotal + (subtotal + 5) // 10 + (0 if subtotal >= 10_000 else 1_000)
        order = {"_id": PydanticObjectId(), "lines": sold, "total": total, "address": address, "placed_at": datetime.now(UTC)}
        await self._raw["bare_orders"].insert_one(order, session=session)
        event = {"type": "order.placed", "subject": order["_id"], "created_at": order["placed_at"]}
        await self._raw["bare_events"].insert_one(event, session=session)
        return order


def _carrying(*fields: str) -> Row:
    # A `$project` that the embedded server does without unpacking whole documents, as Agora's search has it.
    return {"$group": {"_id": "$_id", **{field: {"$first": f"${field}"} for field in fields}}}


def _cents(text: str) -> int:
    return round(float(text) * 100)
