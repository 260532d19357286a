"""`make seed`: fill in the sample data, once, completely, and the same wherever the anchor is the same.

The moment of the first run is kept and all times are told from it, so that a later run makes the very same rows and inserts what
is missing of them. A unit is complete when its marker is there; the marker is written together with what the unit adds to
categories and tags.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer
from beanie import PydanticObjectId
from pymongo.errors import BulkWriteError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from models.audit import AuditEntry
from models.base import AgoraDocument
from models.base import now as present
from models.database import DuplicateKeyError, Session, run_transaction
from models.ecommerce.orders import Order
from models.ecommerce.returns import ReturnRequest
from models.payments import Payment, Refund
from models.users import User
from scripts.database.connection import run_connected
from scripts.database.embedded import LaunchError
from scripts.samples.publication import DEMO_ACCOUNTS, make_unit
from scripts.samples.unit import Unit, sample_id
from services.analytics.purchases.purchases import PurchaseService
from services.analytics.rollups.rebuilding import facts_of_books
from services.analytics.rollups.rollups import RollupService
from services.analytics.stock.ledger import LedgerService
from services.cache import clear_all_caches
from services.indexes import IndexService
from services.settings import Settings
from services.users.passwords import PasswordService

SCALES = (1, 10, 100)
BATCH = 1_000

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)  # for the ids of what is not a sample itself
_STARTED = "sample_data.started"
_COMPLETED = "sample_data.completed"


class ProductionSeedError(LaunchError):
    """Sample accounts have passwords that everybody knows."""

    def __init__(self) -> None:
        super().__init__("Sample data belongs into development only: AGORA_ENVIRONMENT is production.")


class SampleConflictError(LaunchError):
    """Something that is no sample has a sample's name, address or slug."""

    def __init__(self, collection: str) -> None:
        super().__init__(
            f"The sample data cannot be filled in: {collection} holds one of its names already. Use another DATA folder."
        )


@dataclass(frozen=True, slots=True)
class SeedSummary:
    """What a run inserted, by collection; empty when everything was there."""

    scale: int
    inserted: dict[str, int]
    seconds: float

    @property
    def total(self) -> int:
        return sum(self.inserted.values())


async def ensure_seeded(*, settings: Settings, scale: int = 1, progress: bool = True) -> SeedSummary | None:
    """Fill an empty database, or complete a run that was killed; None when there is nothing to do.

    A database with people in it that never held sample data is left as it is.
    """
    completed = await AuditEntry.find_row({"_id": _marker_id(scale - 1)}, {"_id": 1})
    if completed is not None:
        return None
    started = await AuditEntry.find_row({"_id": _anchor_id()}, {"_id": 1})
    if started is None and await User.find_row({}, {"_id": 1}) is not None:
        return None
    return await seed(settings=settings, scale=scale, progress=progress)


async def seed(*, settings: Settings, scale: int = 1, progress: bool = True, now: datetime | None = None) -> SeedSummary:
    """Insert what is missing of the first `scale` units. Raises ProductionSeedError, SampleConflictError."""
    if settings.is_production:
        raise ProductionSeedError
    began = time.perf_counter()
    inserted: Counter[str] = Counter()
    anchor = await _anchor(now or present())
    completed = {
        row["_id"] for row in await AuditEntry.find_rows({"_id": {"$in": [_marker_id(n) for n in range(scale)]}}, {"_id": 1})
    }
    lacking = [number for number in range(scale) if _marker_id(number) not in completed]
    with _bar(shown=progress and bool(lacking)) as bar:
        task = bar.add_task("Sample data", total=None)
        for number in lacking:
            unit = make_unit(number, anchor, hashes=await _demo_hashes(settings) if number == 0 else {}, settings=settings)
            bar.update(task, total=len(unit) * len(lacking))
            for document, samples in unit.documents.items():
                bar.update(task, description=document.get_collection_name())
                for at in range(0, len(samples), BATCH):
                    batch = samples[at : at + BATCH]
                    inserted[document.get_collection_name()] += await _insert_missing(document, batch)
                    bar.advance(task, len(batch))
            bar.update(task, description="rollups")
            await count_samples(unit)
            await _complete(unit)
        bar.update(task, description="Sample data", total=bar.tasks[0].completed)
    clear_all_caches()
    return SeedSummary(scale, dict(+inserted), time.perf_counter() - began)


async def _anchor(now: datetime) -> datetime:
    """The moment all sample times are told from: that of the first run."""
    entry = AuditEntry(id=_anchor_id(), action=_STARTED, subject="sample_data:all", created_at=now)
    with contextlib.suppress(DuplicateKeyError):
        await entry.store()
    row = await AuditEntry.find_row({"_id": _anchor_id()}, {"created_at": 1})
    assert row is not None
    anchor: datetime = row["created_at"]
    return anchor.astimezone(UTC)


async def _demo_hashes(settings: Settings) -> dict[str, str]:
    """The stored passwords of the demo accounts; none for those who are there already."""
    rows = await User.find_rows({"username": {"$in": [account.username for account in DEMO_ACCOUNTS]}}, {"username": 1})
    known = {row["username"] for row in rows}
    return {
        account.username: await PasswordService.hash(account.password, settings=settings)
        for account in DEMO_ACCOUNTS
        if account.username not in known
    }


async def _insert_missing(document: type[AgoraDocument], samples: Sequence[AgoraDocument]) -> int:
    """How many of these were not there yet, and now are."""
    present_rows = await document.find_rows({"_id": {"$in": [sample.id for sample in samples]}}, {"_id": 1})
    there = {row["_id"] for row in present_rows}
    missing = [sample.row() for sample in samples if sample.id not in there]
    if missing:
        try:
            await document.collection().insert_many(missing, ordered=False)
        except BulkWriteError as error:
            raise SampleConflictError(document.get_collection_name()) from error
    return len(missing)


async def count_samples(unit: Unit) -> None:
    """What the unit's orders come to in reports: nobody tells the rollups' consumer of samples."""
    rows = {
        document: [sample.row() for sample in unit.documents.get(document, ())] for document in (Payment, Refund, ReturnRequest)
    }
    facts = facts_of_books(
        [order.row() for order in unit.documents.get(Order, ())],
        payments=rows[Payment],
        refunds=rows[Refund],
        returns=rows[ReturnRequest],
    )
    for at in range(0, len(facts), BATCH):
        await RollupService.apply(facts[at : at + BATCH])
    buyers = sorted({order.customer_id for order in unit.documents.get(Order, ()) if order.customer_id is not None})
    for at in range(0, len(buyers), BATCH):
        await PurchaseService.recount(*buyers[at : at + BATCH])
    await LedgerService.restart()  # samples are written into the ledger's past


async def _complete(unit: Unit) -> None:
    """Mark the unit as complete and count what it has in what units share: both at once, so that no kill can part them."""
    marker = AuditEntry(id=_marker_id(unit.number), action=_COMPLETED, subject=f"sample_data:{unit.number}")

    async def work(session: Session) -> None:
        await marker.store(session=session)
        for (document, field), moved in unit.moves.items():
            for key, count in sorted(moved.items()):
                # Not `change`: counters do not make a category newer than the sample says it is.
                await document.collection().update_one({"_id": key}, {"$inc": {field: count}}, session=session)

    with contextlib.suppress(DuplicateKeyError):  # another run was faster
        await run_transaction(work)


def _anchor_id() -> PydanticObjectId:
    return sample_id("anchor", 0, _EPOCH)


def _marker_id(unit: int) -> PydanticObjectId:
    return sample_id("marker", unit, _EPOCH)


# What a person sees


@contextlib.contextmanager
def _bar(*, shown: bool) -> Iterator[Progress]:
    columns = (TextColumn("{task.description:<15}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, disable=not shown) as bar:
        yield bar


def summary_table(summary: SeedSummary) -> Table:
    """Rows per collection, and how long it took."""
    table = Table("collection", "inserted", title=f"Sample data, scale {summary.scale}")
    table.columns[1].justify = "right"
    for collection, count in summary.inserted.items():
        table.add_row(collection, f"{count:,}")
    table.add_section()
    table.add_row(f"in {summary.seconds:.1f} s", f"{summary.total:,}")
    return table


def accounts_table() -> Table:
    """Who can sign in with which password."""
    table = Table("role", "username", "password", title="Demo accounts")
    for account in DEMO_ACCOUNTS:
        table.add_row(account.role, account.username, account.password)
    return table


def main(scale: Annotated[int, typer.Option(help="1, 10 or 100 times sixty people and their posts")] = 1) -> None:
    """Exits 0 when the sample data is there, 1 with one sentence when it cannot be."""
    if scale not in SCALES:
        raise typer.BadParameter("The scale is 1, 10 or 100.")

    async def work(settings: Settings) -> int:
        console = Console()
        await IndexService.create_missing()
        summary = await seed(settings=settings, scale=scale)
        console.print(summary_table(summary) if summary.total else "The sample data is all there: nothing inserted.")
        console.print(accounts_table())
        return 0

    run_connected(work)


if __name__ == "__main__":
    typer.run(main)
