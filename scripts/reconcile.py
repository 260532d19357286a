"""`make reconcile`: recompute every stored counter, report what does not add up, mend it when asked to."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scripts.database.connection import run_connected
from services.reconcile import COUNTERS, Drift, ReconcileService
from services.settings import Settings

SHOWN = 50


def main(repair: Annotated[bool, typer.Option("--repair", help="Store what was counted")] = False) -> None:
    """Exits 0 when everything adds up (or was mended), 1 on drift."""

    async def reconcile(_: Settings) -> int:
        return await report(Console(), repair=repair)

    run_connected(reconcile)


async def report(console: Console, *, repair: bool) -> int:
    """Print the drift and return the exit code."""
    table = Table("collection", "id", "field", "stored", "counted", "repaired" if repair else "to be mended by")
    found = left = for_people = 0
    async for row in ReconcileService.drift():
        repaired = repair and await ReconcileService.repair(row)
        found += 1
        left += not repaired
        for_people += not row.is_derived
        if found <= SHOWN:
            table.add_row(*_cells(row), ("yes" if repaired else "no") if repair and row.is_derived else _mender(row))
    if not found:
        console.print(
            f"Nothing to mend: {len(COUNTERS)} counters, posts, orders, payments, stock, coupons and points add up, drift 0."
        )
        return 0
    console.print(table)
    more = f" (the first {SHOWN} shown)" if found > SHOWN else ""
    console.print(f"{found} differences{more}, {found - left} repaired, {left} left.")
    if for_people:
        console.print(f"{for_people} are for a person to look at: no machine invents money or stock.")
    return 1 if left else 0


def _mender(row: Drift) -> str:
    return "REPAIR=1" if row.is_derived else "a person"


def _cells(row: Drift) -> list[str]:
    return [row.collection, str(row.id), row.field, str(row.stored), str(row.counted)]


if __name__ == "__main__":
    typer.run(main)
