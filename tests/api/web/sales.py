"""Sales as the consumer would have counted them, for pages that show them."""

from datetime import datetime
from itertools import count
from typing import Any

from models.analytics.rollups import Dimension
from services.analytics.rollups.rollups import Entry, Fact, RollupService

_numbers = count(1)


def sale(
    at: datetime, total: int, *, units: int = 1, product: str = "", source: str = "shop", discount: int = 0, category: str = ""
) -> Fact:
    """One paid order in USD cents, without tax and shipping."""
    money = {"orders": 1, "units": units, "gross": total + discount, "discount": discount, "total": total}
    entries = [Entry(Dimension.TOTAL, "", "USD", money), Entry(Dimension.SOURCE, source, "USD", money)]
    if product:
        entries.append(Entry(Dimension.PRODUCT, product, "USD", money))
    if category:
        entries.append(Entry(Dimension.CATEGORY, category, "USD", money))
    return Fact(f"sale:{next(_numbers)}", at, entries)


async def sell(at: datetime, total: int, **over: Any) -> None:
    """Count one such order."""
    await RollupService.apply([sale(at, total, **over)])


async def give_back(at: datetime, amount: int) -> None:
    """One refund in USD cents."""
    money = {"refunds": amount, "refunded_count": 1}
    await RollupService.apply([Fact(f"refund:{next(_numbers)}", at, [Entry(Dimension.TOTAL, "", "USD", money)])])
