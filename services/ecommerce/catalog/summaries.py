"""Products as lists show them, kept in this process as the JSON that is sent.

A list finds the ids of its products and when each last changed; only those that are not kept as of that change are read. So what
is kept saves work and is never older than what the list itself found.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from beanie import PydanticObjectId

from models.ecommerce.catalog import Product
from services.cache import Cache
from services.ecommerce.catalog.reading import SUMMARY_FIELDS, to_summary
from services.ecommerce.catalog.reference import get_reference, is_current, shows_reference

STAMP_FIELDS: Final = {"updated_at": 1}
"""What `summaries_of` needs of a product; `_id` comes along."""

WHOLE_FIELDS: Final = {**SUMMARY_FIELDS, **STAMP_FIELDS}
"""What spares it the reading."""

Row = Mapping[str, Any]

# The life bounds what two changes within one millisecond could leave behind in another process.
_kept: Cache[PydanticObjectId, tuple[datetime, bytes]] = Cache("shop_summaries", ttl=60.0, size=5_000)


async def summaries_of(found: Sequence[Row]) -> list[bytes]:
    """A ProductSummary as JSON for each row of `STAMP_FIELDS` or `WHOLE_FIELDS`, in their order, without products gone meanwhile.

    No command when all are kept or their rows are whole, else one.
    """
    shown: dict[PydanticObjectId, bytes] = {}
    lacking: list[Row] = []
    for row in found:
        kept = _kept.get(row["_id"])
        if kept is not None and kept[0] == row["updated_at"]:
            shown[row["_id"]] = kept[1]
        else:
            lacking.append(row)
    if lacking:
        shown |= await _made(lacking)
    return [shown[row["_id"]] for row in found if row["_id"] in shown]


async def _made(rows: Sequence[Row]) -> dict[PydanticObjectId, bytes]:
    if any("slug" not in row for row in rows):
        rows = await Product.find_rows({"_id": {"$in": [row["_id"] for row in rows]}}, WHOLE_FIELDS)
    reference = await get_reference()
    made = {row["_id"]: to_summary(row, reference).model_dump_json().encode() for row in rows}
    if is_current(reference):
        for row in rows:
            _kept.put(row["_id"], (row["updated_at"], made[row["_id"]]))
    return made


def _forget(product_id: PydanticObjectId | None) -> None:
    _kept.invalidate(None if product_id is None else [product_id])


Product.watchers.append(_forget)
shows_reference(_kept)
