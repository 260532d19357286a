"""The sums of the stock's ledger: every movement in them once, whoever follows, and made anew at any moment."""

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest

from models.analytics.ledger import BEGINNING, LedgerMark, StockDay, VariantMonth, VariantSold
from models.base import AgoraDocument
from models.database import Database, run_transaction
from models.inventory.stock import MovementKind, StockMovement
from services.analytics.stock import ledger
from services.analytics.stock.checks import ledger_drift
from services.analytics.stock.ledger import SETTLED, LedgerService, seen_mark
from services.reconcile import ReconcileService
from tests.services.analytics.reports.test_inventory import NOVEMBER, Shelf

SUMS: tuple[type[AgoraDocument], ...] = (StockDay, VariantMonth, VariantSold)


async def summed() -> list[list[dict[str, Any]]]:
    """What is kept, without ids, times and generations."""
    hidden = dict.fromkeys(("_id", "created_at", "updated_at", "generation"), 0)
    kept = []
    for document in SUMS:
        rows = await document.find_rows({}, hidden)
        kept.append(sorted(rows, key=lambda row: sorted((name, str(value)) for name, value in row.items() if value)))
    return kept


async def moved(count: int) -> list[StockMovement]:
    dice = random.Random(count)
    shelves = [Shelf() for _ in range(3)]
    for _ in range(count):
        kind = dice.choice([MovementKind.SALE, MovementKind.RECEIPT])
        at = NOVEMBER + timedelta(minutes=15 * dice.randrange(96 * 40))
        await dice.choice(shelves).move(kind, -1 if kind is MovementKind.SALE else 4, at)
    return [one for shelf in shelves for one in shelf.movements]


async def test_followed_in_small_steps_by_many_at_once_is_as_followed_in_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by several processes, which do not queue for each other."""
    now = max(one.created_at for one in await moved(30)) + SETTLED + timedelta(seconds=1)
    assert await LedgerService.follow_all(now=now) == 30
    whole = await summed()
    monkeypatch.setattr(ledger, "run_transaction", lambda work, hot=(): run_transaction(work))

    await LedgerService.restart()
    for _ in range(2):
        await asyncio.gather(*(LedgerService.follow(limit=7, now=now) for _ in range(4)))
    assert await LedgerService.rebuild(now=now) == 30

    assert await summed() == whole
    pieces = sum(row["totals"].get("sold", 0) for row in whole[0])
    assert (pieces, pieces) == (sum(row["pieces"] for row in whole[1]), sum(sum(row["sold"].values()) for row in whole[1]))


async def test_planted_drift_is_found_and_made_anew(database: Database) -> None:
    now = max(one.created_at for one in await moved(12)) + SETTLED + timedelta(seconds=1)
    assert [drift async for drift in ledger_drift()] == []
    await LedgerService.follow_all(now=now)
    assert [drift async for drift in ledger_drift()] == []
    whole = await summed()
    await StockDay.change_row({"totals.sold": {"$lt": 0}}, {"$inc": {"totals.sold": 1}})
    await VariantMonth.collection().delete_one({})
    await VariantSold.change_row({}, {"$set": {"last_sold_at": NOVEMBER - timedelta(days=9)}})

    found = [drift async for drift in ledger_drift()]

    assert [drift.collection for drift in found] == ["stock_days", "stock_variant_months", "stock_variants_sold"]
    assert (found[1].stored, found[2].stored) == ("nothing", str(NOVEMBER - timedelta(days=9)))
    assert not any([await ReconcileService.repair(drift) for drift in found])
    await LedgerService.rebuild(now=now)
    assert (await summed(), [drift async for drift in ledger_drift()]) == (whole, [])


async def test_sums_of_an_older_version_are_not_read_and_made_anew(database: Database) -> None:
    now = max(one.created_at for one in await moved(9)) + SETTLED + timedelta(seconds=1)
    await LedgerService.follow_all(now=now)
    whole = await summed()
    await LedgerMark.collection().update_many({}, {"$unset": {"version": 1}})
    mark = await run_transaction(seen_mark)

    assert mark.until == BEGINNING
    assert await LedgerService.follow_all(now=now) == 9
    assert await LedgerService.follow_all(now=now) == 0
    assert [drift async for drift in ledger_drift()] == []
    await LedgerService.rebuild(now=now)
    assert await summed() == whole


async def test_what_may_still_be_overtaken_is_left_to_the_next_look(database: Database) -> None:
    """A transaction that began before another may end after it: the mark stays behind both."""
    movements = await moved(4)
    last = max(one.created_at for one in movements)

    assert await LedgerService.follow(now=last + SETTLED) == 3
    assert await LedgerService.follow(now=last + SETTLED) == 0
    assert await LedgerService.follow(now=last + SETTLED + timedelta(seconds=1)) == 1


async def test_more_of_one_instant_than_a_look_takes_go_together(database: Database) -> None:
    movements = await moved(9)
    at = movements[0].created_at
    await StockMovement.collection().update_many({}, {"$set": {"created_at": at}})

    assert await LedgerService.follow(limit=2, now=at + SETTLED + timedelta(seconds=1)) == 9
    assert await LedgerService.follow_all(now=at + timedelta(days=1)) == 0


async def test_nothing_followed_is_nothing_to_forget(database: Database) -> None:
    await LedgerService.restart()

    assert await LedgerMark.count_rows({}) == 0
