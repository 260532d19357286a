"""Runs of importers and their dead letters."""

from itertools import count
from typing import Any

from models.base import now
from models.imports import FailureKind, ImportFailure, ImportFormat, ImportRun

_numbers = count(1)


def make_run(**over: Any) -> ImportRun:
    fields = {
        "format": ImportFormat.RETAIL,
        "file_name": "lines.csv",
        "checksum": "0" * 64,
        "size_bytes": 100,
        "currency": "GBP",
        "started_at": now(),
    }
    return ImportRun(**{**fields, **over})


async def create_run(**over: Any) -> ImportRun:
    return await make_run(**over).store()


async def create_failure(run: ImportRun, **over: Any) -> ImportFailure:
    fields = {
        "run_id": run.id,
        "number": next(_numbers),
        "kind": FailureKind.REFUSED,
        "line": 2,
        "reason": "broken",
        "raw": "1,2",
    }
    return await ImportFailure(**{**fields, **over}).store()
