"""Runs of the importers: a file read once, brought in by batches, and what staff sees of it afterwards."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from beanie import PydanticObjectId
from pydantic import TypeAdapter, ValidationError

from models.base import now as present
from models.base import to_milliseconds
from models.imports import (
    FailureKind,
    ImportCount,
    ImportedKind,
    ImportFailure,
    ImportFailureRead,
    ImportFormat,
    ImportRun,
    ImportRunRead,
    ImportState,
)
from models.money import Currency
from services.errors import AppError, NotFoundError
from services.imports.files import FileFacts, SourceRow, Table, UnreadableFileError, examine, read_lines
from services.imports.formats import KEYS, PRODUCT_READERS, format_of
from services.imports.letters import DeadLetters
from services.imports.products import Outcome, known_products, write_product
from services.imports.retail import RetailDocument, read_document
from services.imports.retailers import Counts, RetailWriter
from services.imports.sources import ReadingTerms, SourceProduct, Trouble
from services.imports.spool import MAX_GROUP, RowGroup, Spool
from services.imports.values import RefusedRowError
from services.pagination import CursorCodec, CursorPage, Page, PageRequest, page_of
from services.settings import Settings
from services.users.permissions import Permission, Viewer

RETAIL_CURRENCY = "GBP"
_BATCH = 40  # groups: products or documents
_READ = 2_000  # rows between two words about the progress
_CURRENCY = TypeAdapter(Currency)

Progress = Callable[[str, int, int | None], None]
"""Told what is being done, how much of it is, and of how much; None while that is not known."""


class ImportRunNotFoundError(NotFoundError):
    """There is no such run of an import."""

    code = "import_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("import", key)


class ImportService:
    @staticmethod
    async def run(
        path: Path,
        *,
        viewer: Viewer,
        settings: Settings,
        format: ImportFormat | None = None,
        currency: str | None = None,
        progress: Progress | None = None,
        now: datetime | None = None,
    ) -> ImportRun:
        """Bring a file in; the finished run, whose dead letters say what was not taken.

        Without `format` the header tells it; without `currency` prices are in the shop's, a retailer's in GBP. Each product,
        order and return comes wholly or not at all, so a run that was killed is completed by running it again, and a run of what
        is there already changes nothing. Raises PermissionDeniedError and UnreadableFileError.
        """
        viewer.require(Permission.MANAGE_CATALOG)
        tell = progress or (lambda what, done, total: None)
        facts = await asyncio.to_thread(examine, path)
        with Spool() as spool:
            table = Table(read_lines(path, facts.encoding))
            known = format_of(table.columns, format)
            default = RETAIL_CURRENCY if known is ImportFormat.RETAIL else settings.currency
            run = await _open(facts, known, _checked(currency or default), to_milliseconds(now or present()))
            importer = _Importer(run, viewer=viewer, settings=settings)
            await importer.read(table, spool, tell)
            await importer.write(spool, tell)
        return await importer.close()

    @staticmethod
    async def list_runs(page: PageRequest, *, viewer: Viewer) -> Page[ImportRunRead]:
        """Every run, newest first. Raises PermissionDeniedError. Two commands."""
        viewer.require(Permission.MANAGE_CATALOG)
        total = await ImportRun.count_rows({})
        rows = await ImportRun.find_rows({}, sort=[("_id", -1)], skip=page.skip, limit=page.limit)
        return page_of([ImportRunRead.model_validate({**row, "id": row["_id"]}) for row in rows], page, total)

    @staticmethod
    async def list_failures(
        run_id: PydanticObjectId, *, viewer: Viewer, cursors: CursorCodec, cursor: str | None = None, limit: int = 20
    ) -> CursorPage[ImportFailureRead]:
        """The dead letters of a run in their order. Raises PermissionDeniedError, ImportRunNotFoundError, InvalidCursorError."""
        viewer.require(Permission.MANAGE_CATALOG)
        PageRequest(limit=limit)
        if await ImportRun.find_row({"_id": run_id}, {"_id": 1}) is None:
            raise ImportRunNotFoundError(run_id)
        listing = f"import_failures:{run_id}"
        after = cursors.decode(listing, cursor)[0] if cursor is not None else 0
        rows = await ImportFailure.find_rows({"run_id": run_id, "number": {"$gt": after}}, sort=[("number", 1)], limit=limit + 1)
        shown = rows[:limit]
        items = [ImportFailureRead.model_validate({**row, "id": row["_id"]}) for row in shown]
        next_cursor = cursors.encode(listing, shown[-1]["number"]) if len(rows) > limit else None
        return CursorPage[ImportFailureRead](items=items, next_cursor=next_cursor)


class _Importer:
    """One run under way."""

    def __init__(self, run: ImportRun, *, viewer: Viewer, settings: Settings) -> None:
        self._run = run
        self._viewer = viewer
        self._settings = settings
        self._letters = DeadLetters(run.id)
        self._counts: Counts = Counter()
        self._rows = 0
        self._terms = ReadingTerms(run.currency, run.started_at)
        self._retail = RetailWriter(
            currency=run.currency, settings=settings, viewer=viewer, letters=self._letters, counts=self._counts
        )

    async def read(self, table: Table, spool: Spool, tell: Progress) -> None:
        """Bring the rows that belong together, together."""
        spool.keep_columns(table.columns)
        rows, key_of = table.rows(), KEYS[self._run.format]
        is_more = True
        while is_more:
            refused = await asyncio.to_thread(_read_some, rows, spool, key_of)
            for trouble in refused.troubles:
                self._refuse(trouble.row, trouble.reason)
            self._rows += refused.count
            is_more = refused.count == _READ
            tell("reading", self._rows, None)
            await self._letters.flush()

    async def write(self, spool: Spool, tell: Progress) -> None:
        """Bring the products or documents in, in the order of the file."""
        total = spool.groups_count
        tell("writing", 0, total)
        for start in range(0, total, _BATCH):
            groups = await asyncio.to_thread(spool.groups, start, _BATCH)
            if self._run.format is ImportFormat.RETAIL:
                await self._write_documents(groups)
            else:
                await self._write_products(groups)
            await self._letters.flush()
            tell("writing", start + len(groups), total)

    async def close(self) -> ImportRun:
        await self._letters.flush(wholly=True)
        fields = {
            "state": ImportState.COMPLETED,
            "rows_count": self._rows,
            "counts": [count.model_dump() for count in self._counted()],
            "failures_count": self._letters.count,
            "finished_at": present(),
        }
        closed = await ImportRun.change({"_id": self._run.id}, {"$set": fields})
        assert closed is not None
        return closed

    def _counted(self) -> list[ImportCount]:
        found = []
        for kind in ImportedKind:
            counted = {outcome.value: self._counts[kind, outcome] for outcome in Outcome}
            if any(counted.values()):
                found.append(ImportCount(kind=kind, **counted))
        return found

    async def _write_products(self, groups: Sequence[RowGroup]) -> None:
        reader = PRODUCT_READERS[self._run.format]
        sources: list[SourceProduct] = []
        for group in groups:
            try:
                sources.append(reader(_whole(group), self._terms))
            except RefusedRowError as error:
                self._refuse_product(group.rows[0], str(error))
        known = await known_products([source.source_key for source in sources])
        for source in sources:
            try:
                outcome = await write_product(
                    source, known.get(source.source_key), viewer=self._viewer, currency=self._run.currency
                )
            except (AppError, RefusedRowError) as error:
                self._refuse_product(source.row, str(error))
                continue
            self._counts[ImportedKind.PRODUCTS, outcome] += 1
            for trouble in source.left_out:
                self._letters.add(FailureKind.LEFT_OUT, trouble.row, trouble.reason)

    async def _write_documents(self, groups: Sequence[RowGroup]) -> None:
        documents: list[RetailDocument] = []
        for group in groups:
            try:
                documents.append(read_document(_whole(group), self._terms))
            except RefusedRowError as error:
                kind = ImportedKind.RETURNS if group.key.startswith("C") else ImportedKind.ORDERS
                self._counts[kind, Outcome.REFUSED] += 1
                self._refuse(group.rows[0], f"{group.key}: {error}")
        await self._retail.write(documents)

    def _refuse_product(self, row: SourceRow, reason: str) -> None:
        self._counts[ImportedKind.PRODUCTS, Outcome.REFUSED] += 1
        self._refuse(row, reason)

    def _refuse(self, row: SourceRow, reason: str) -> None:
        self._letters.add(FailureKind.REFUSED, row, reason)


class _Read:
    """What a stretch of rows came to."""

    def __init__(self) -> None:
        self.count = 0
        self.troubles: list[Trouble] = []


async def _open(facts: FileFacts, format: ImportFormat, currency: str, now: datetime) -> ImportRun:
    run = ImportRun(
        format=format,
        file_name=facts.name[:255],
        checksum=facts.checksum,
        size_bytes=facts.size_bytes,
        currency=currency,
        started_at=now,
    )
    return await run.store()


def _read_some(rows: Iterator[SourceRow], spool: Spool, key_of: Callable[[SourceRow], str]) -> _Read:
    """Put up to `_READ` rows into the spool; those that say nothing of where they belong are the troubles."""
    found = _Read()
    for row in rows:
        found.count += 1
        if row.problem is not None:
            found.troubles.append(Trouble(row, row.problem))
        else:
            try:
                spool.add(key_of(row), row)
            except RefusedRowError as error:
                found.troubles.append(Trouble(row, str(error)))
        if found.count == _READ:
            break
    return found


def _whole(group: RowGroup) -> RowGroup:
    """Raises RefusedRowError for a group that would not fit."""
    if group.is_cut:
        raise RefusedRowError(f"more than {MAX_GROUP} rows belong to {group.key}")
    return group


def _checked(currency: str) -> str:
    """Raises UnreadableFileError."""
    try:
        return _CURRENCY.validate_python(currency)
    except ValidationError as error:
        raise UnreadableFileError(f"{currency} is no ISO 4217 code of a currency.") from error
