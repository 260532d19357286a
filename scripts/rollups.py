"""`make rollups`: make the rollups of sales anew from the orders, beside whatever goes on."""

import time
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console

from scripts.database.connection import run_connected
from services.analytics.purchases.purchases import PurchaseService
from services.analytics.rollups.rollups import RollupService
from services.analytics.stock.ledger import LedgerService
from services.indexes import IndexService
from services.settings import Settings

PAUSE = timedelta(seconds=5)  # for reports that just began to read the old ones


def main(check: Annotated[bool, typer.Option("--check", help="Compare them with the orders and change nothing")] = False) -> None:
    """Exits 0 when they are made, or are right; 1 when the check found a difference."""

    async def work(_: Settings) -> int:
        await IndexService.create_missing()
        return await (compare(Console()) if check else make_anew(Console()))

    run_connected(work)


async def make_anew(console: Console, *, pause: timedelta = PAUSE) -> int:
    began = time.perf_counter()
    count = await RollupService.rebuild(pause=pause)
    console.print(f"The rollups are made anew of {count:,} facts, in {time.perf_counter() - began:.1f} s.")
    if changed := await PurchaseService.rebuild():
        console.print(f"The purchases of {changed:,} customers were not what their orders say, and are.")
    if count := await LedgerService.rebuild():
        console.print(f"{count:,} stock movements are summed anew.")
    return 0


async def compare(console: Console) -> int:
    """Print what differs and return the exit code."""
    found = 0
    async for drift in RollupService.drift():
        found += 1
        console.print(f"{drift.field}: {drift.stored}, should be {drift.counted}")
    console.print(f"{found} differences: `make rollups` mends them." if found else "The rollups say what the orders say.")
    return 1 if found else 0


if __name__ == "__main__":
    typer.run(main)
