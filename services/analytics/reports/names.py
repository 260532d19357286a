"""What reports of the stock call the variants they are about."""

from collections.abc import Sequence
from typing import Any

from services.ecommerce.catalog.names import variant_names

Row = dict[str, Any]


async def with_names(rows: Sequence[Row]) -> list[Row]:
    """Rows by `variant_id`, or with that as their `_id`, with what product and variant are called now. One command.

    `name` and `variant_title` are None where there is no such variant any more.
    """
    names = await variant_names(row["product_id"] for row in rows)
    told = []
    for row in rows:
        variant_id = row["variant_id"] if "variant_id" in row else row["_id"]
        name = names.get(variant_id)
        told.append(
            {
                **row,
                "variant_id": variant_id,
                "name": name.product if name else None,
                "variant_title": name.title if name else None,
            }
        )
    return told
