"""`make import FILE=...`: bring a file of products or order lines into the shop."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from models.database import DatabaseUnavailableError
from models.imports import ImportFailure, ImportFormat, ImportRun
from scripts.database.connection import run_connected
from services.imports.files import UnreadableFileError
from services.imports.runs import ImportService
from services.imports.runs import Progress as Told
from services.indexes import IndexService
from services.settings import Settings
from services.users.permissions import SYSTEM

SHOWN = 50
AUTO = "auto"


def main(
    file: Annotated[Path, typer.Argument(help="A CSV file")],
    format: Annotated[str, typer.Option(help="auto, woocommerce, shopify, medusa or retail")] = AUTO,
    currency: Annotated[str, typer.Option(help="Of prices that name none: the shop's, and GBP for retail, when left out")] = "",
) -> None:
    """Exits 0 when the file was read, its dead letters listed; 1 with one sentence when nothing of it could be."""
    if format not in (AUTO, *ImportFormat):
        raise typer.BadParameter(f"The format is {AUTO} or one of {', '.join(ImportFormat)}.")
    wanted = None if format == AUTO else ImportFormat(format)

    async def work(settings: Settings) -> int:
        console = Console()
        await IndexService.create_missing()
        try:
            with shown_progress(console) as tell:
                run = await ImportService.run(
                    file, viewer=SYSTEM, settings=settings, format=wanted, currency=currency.upper() or None, progress=tell
                )
        except UnreadableFileError as error:
            Console(stderr=True).print(escape(error.detail), soft_wrap=True)
            return 1
        except DatabaseUnavailableError:
            Console(stderr=True).print(
                "The database went away: import the file again, it completes what is missing.", soft_wrap=True
            )
            return 1
        return await report(run, console)

    run_connected(work)


@contextlib.contextmanager
def shown_progress(console: Console) -> Iterator[Told]:
    """A bar for each of the two halves, reading and writing."""
    columns = (TextColumn("{task.description:<8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        tasks = {what: bar.add_task(what, total=None) for what in ("reading", "writing")}

        def tell(what: str, done: int, total: int | None) -> None:
            bar.update(tasks[what], completed=done, total=total)
            if what == "writing":  # all is read, so what was read is all
                bar.update(tasks["reading"], total=bar.tasks[0].completed)

        yield tell


async def report(run: ImportRun, console: Console) -> int:
    """Print what became of the file and its dead letters; the exit code."""
    table = Table("", "created", "updated", "unchanged", "refused", title=f"{escape(run.file_name)}, {run.format}")
    for column in table.columns[1:]:
        column.justify = "right"
    for count in run.counts:
        table.add_row(count.kind, *(f"{number:,}" for number in (count.created, count.updated, count.unchanged, count.refused)))
    console.print(table)
    is_changed = any(count.created or count.updated for count in run.counts)
    is_known = any(count.unchanged for count in run.counts)
    if run.failures_count:
        await _show_failures(run, console)
    if not is_changed and is_known:
        console.print(f"{run.rows_count:,} rows: everything was there already, nothing changed.")
    else:
        console.print(f"{run.rows_count:,} rows read, {run.failures_count:,} dead letters.")
    return 0 if is_changed or is_known else 1


async def _show_failures(run: ImportRun, console: Console) -> None:
    table = Table("line", "", "why", title="Dead letters")
    for row in await ImportFailure.find_rows({"run_id": run.id}, sort=[("number", 1)], limit=SHOWN):
        table.add_row(str(row["line"]), row["kind"], escape(printable(row["reason"])))
    console.print(table)
    if run.failures_count > SHOWN:
        console.print(f"The first {SHOWN} of {run.failures_count:,}: GET /api/v1/imports/{run.id}/failures has them all.")


def printable(text: str) -> str:
    """The text without what would command the terminal: it quotes a stranger's file."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


if __name__ == "__main__":
    typer.run(main)
