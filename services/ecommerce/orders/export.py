"""Orders as a table for spreadsheets, written while they are read."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from models.ecommerce.orders import Order, OrderStatus
from models.money import decimal_text
from services.users.permissions import Permission, Viewer

BATCH = 500

COLUMNS = (
    "number",
    "placed_at",
    "status",
    "payment_status",
    "payment_method",
    "customer_id",
    "items_count",
    "subtotal",
    "discount",
    "shipping",
    "tax",
    "total",
    "refunded",
    "currency",
)
_SUMS = ("subtotal", "discount", "shipping", "tax", "total")
_FIELDS = {name: 1 for name in COLUMNS if name not in _SUMS} | {"totals": 1}


class OrderExportService:
    @staticmethod
    def export(*, viewer: Viewer, status: OrderStatus | None = None) -> AsyncIterator[str]:
        """All orders, or those of a status, as CSV (RFC 4180) with a head, oldest first, some hundred at a time.

        No column holds text of a customer's, so no cell can be a formula. Raises PermissionDeniedError at once.
        """
        viewer.require(Permission.MANAGE_ORDERS)
        return _chunks({} if status is None else {"status": status.value})


async def _chunks(query: Mapping[str, Any]) -> AsyncIterator[str]:
    yield _csv([COLUMNS])
    beyond: dict[str, Any] = {}
    while True:
        rows = await Order.find_rows({**query, **beyond}, _FIELDS, sort=[("_id", 1)], limit=BATCH)
        if rows:
            yield _csv(map(_cells, rows))
        if len(rows) < BATCH:
            return
        beyond = {"_id": {"$gt": rows[-1]["_id"]}}


def _cells(row: Mapping[str, Any]) -> list[str]:
    sums = {name: decimal_text(row["totals"][name]["amount"], row["currency"]) for name in _SUMS}
    values = {
        **{name: row.get(name) for name in COLUMNS if name not in _SUMS},
        **sums,
        "placed_at": row["placed_at"].isoformat(),
        "refunded": decimal_text(row["refunded"]["amount"], row["currency"]),
    }
    return ["" if values[name] is None else str(values[name]) for name in COLUMNS]


def _csv(rows: Iterable[Iterable[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()
