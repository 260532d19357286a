"""Bring files in as a script does."""

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from models.base import AgoraDocument
from models.database import Database
from models.documents import DOCUMENTS
from models.imports import ImportFailure, ImportRun
from services.imports.runs import ImportService
from services.settings import Settings
from services.users.permissions import SYSTEM
from tests.services.imports.tables import NOW

Bring = Callable[..., Awaitable[ImportRun]]


@pytest.fixture
def bring(database: Database, settings: Settings, tmp_path: Path) -> Bring:
    """`run = await bring(text)`: the run of a file with this text, or of the file at a path."""

    async def run(source: str | Path, **terms: Any) -> ImportRun:
        path = source if isinstance(source, Path) else tmp_path / "file.csv"
        if isinstance(source, str):
            path.write_bytes(source.encode())  # noqa: ASYNC240 - a few lines
        return await ImportService.run(path, viewer=SYSTEM, settings=settings, now=NOW, **terms)

    return run


def counted(run: ImportRun) -> dict[str, str]:
    """Created, updated, unchanged and refused things, by kind."""
    return {count.kind.value: f"{count.created}/{count.updated}/{count.unchanged}/{count.refused}" for count in run.counts}


async def letters(run: ImportRun) -> list[tuple[str, int, str]]:
    rows = await ImportFailure.find_rows({"run_id": run.id}, sort=[("number", 1)])
    return [(row["kind"], row["line"], row["reason"]) for row in rows]


async def stored(document: type[AgoraDocument]) -> list[Any]:
    return [document.from_row(row) for row in await document.find_rows({}, sort=[("_id", 1)])]


async def everything() -> dict[str, list[dict[str, Any]]]:
    """Every row of every collection but those about the runs themselves."""
    kept = [document for document in DOCUMENTS if document not in (ImportRun, ImportFailure)]
    return {document.__name__: await document.find_rows({}, sort=[("_id", 1)]) for document in kept}


async def sizes() -> Counter[str]:
    return Counter({name: len(rows) for name, rows in (await everything()).items() if rows})
