"""`make reconcile`: recompute every stored counter, report what does not add up, mend it when asked to."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scripts.connection import run_connected
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
    table = Table("collection", "id", "field", "stored", "counted", *(["repaired"] if repair else []))
    found = left = 0
    async for row in ReconcileService.drift():
        repaired = repair and await ReconcileService.repair(row)
        found += 1
        left += not repaired
        if found <= SHOWN:
            table.add_row(*_cells(row), *(["yes" if repaired else "no"] if repair else []))
    if not found:
        console.print(f"Nothing to mend: {len(COUNTERS)} counters and the posts' slugs and revisions add up, drift 0.")
        return 0
    console.print(table)
    more = f" (the first {SHOWN} shown)" if found > SHOWN else ""
    console.print(f"{found} differences{more}, {found - left} repaired, {left} left.")
    return 1 if left else 0


def _cells(row: Drift) -> list[str]:
    return [row.collection, str(row.id), row.field, str(row.stored), str(row.counted)]


if __name__ == "__main__":
    typer.run(main)
