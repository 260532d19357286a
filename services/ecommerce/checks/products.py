"""Whether products add up: what was sold of them, and the average of their ratings."""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any

from beanie import PydanticObjectId

from models.database import Session, run_transaction
from models.ecommerce.catalog import Product
from models.ecommerce.orders import Order, OrderStatus
from services.drift import Drift

BATCH = 200
_FIELDS = {"sales_count": 1, "rating_average": 1, "rating_total": 1, "reviews_count": 1}

Row = dict[str, Any]


async def product_drift() -> AsyncIterator[Drift]:
    """Products whose sales are not those of the orders that count, or whose average does not follow from their ratings.

    All can be repaired. What looks wrong is looked at again within one snapshot.
    """
    after: Mapping[str, Any] = {}
    while rows := await Product.find_rows(after, _FIELDS, sort=[("_id", 1)], limit=BATCH):
        for id in dict.fromkeys(drift.id for drift in await _differences(rows)):
            for drift in await run_transaction(partial(_look_again, id=id)):
                yield drift
        after = {"_id": {"$gt": rows[-1]["_id"]}}


async def repair_product(row: Drift, *, session: Session) -> bool:
    """Store what was counted; false when the product has changed since."""
    as_reported = {"_id": row.id, row.field: row.stored}
    return await Product.change(as_reported, {"$set": {row.field: row.counted}}, session=session) is not None


def sales_pipeline(product_ids: Sequence[PydanticObjectId]) -> list[dict[str, Any]]:
    """Rows `{"_id": <product>, "sold": 7}`: pieces of orders that count, less what came back.

    Of a refunded order only what had left by then was sold. Products that were bought together with those named have a row too,
    which is not their whole sum: to tell them apart here costs more than to leave them out where the rows are read.
    """
    sold = {"$cond": [{"$eq": ["$status", OrderStatus.REFUNDED]}, "$lines.fulfilled_quantity", "$lines.quantity"]}
    return [
        {"$match": {"lines.product_id": {"$in": list(product_ids)}}},
        {"$match": {"is_counted": True}},
        {"$project": {"status": 1, "lines": 1}},
        {"$unwind": "$lines"},
        {
            "$group": {
                "_id": "$lines.product_id",
                "sold": {"$sum": {"$subtract": [sold, "$lines.returned_quantity"]}},
            }
        },
    ]


async def _differences(rows: Sequence[Row], session: Session | None = None) -> list[Drift]:
    sums = await Order.aggregate_rows(sales_pipeline([row["_id"] for row in rows]), session=session)
    sold = {row["_id"]: row["sold"] for row in sums}
    return [
        Drift(Product.get_collection_name(), row["_id"], field, row[field], counted)
        for row in rows
        for field, counted in (("sales_count", sold.get(row["_id"], 0)), ("rating_average", _average(row)))
        if row[field] != counted
    ]


def _average(row: Row) -> int:
    """In tenths, halves rounded up; 0 without reviews."""
    count = row["reviews_count"]
    return int((20 * row["rating_total"] + count) // (2 * count)) if count else 0


async def _look_again(session: Session, *, id: PydanticObjectId) -> list[Drift]:
    return await _differences(await Product.find_rows({"_id": id}, _FIELDS, session=session), session)
