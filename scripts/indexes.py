"""`make indexes`: compare the declared indexes with the created ones; nothing is ever dropped."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scripts.database.connection import run_connected
from services.indexes import DriftKind, IndexDrift, IndexService
from services.settings import Settings


def main(create: Annotated[bool, typer.Option("--create", help="Create the missing ones first")] = False) -> None:
    """Exits 0 when code and database agree, 1 on drift."""

    async def compare(_: Settings) -> int:
        if create:
            await IndexService.create_missing()
        return show(await IndexService.drift(), Console())

    run_connected(compare)


def show(drift: list[IndexDrift], console: Console) -> int:
    """Print the differences with what to do about each kind, and return the exit code."""
    if not drift:
        console.print("Every declared index exists as declared.")
        return 0
    table = Table("", "collection", "index", "declared", "created")
    for row in drift:
        table.add_row(row.kind, row.collection, row.index, row.declared or "-", row.created or "-")
    console.print(table)
    kinds = {row.kind for row in drift}
    if DriftKind.MISSING in kinds:
        console.print("missing: `make indexes CREATE=1` creates them; starting Agora does, too.")
    if DriftKind.DIFFERENT in kinds:
        console.print("different: drop the created one by hand when nothing needs it, then create.")
    if DriftKind.UNDECLARED in kinds:
        console.print("undeclared: left as they are; drop by hand what nothing needs.")
    return 1


if __name__ == "__main__":
    typer.run(main)
