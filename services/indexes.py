"""Declared indexes against created ones: create what is missing, report what differs, drop nothing."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pymongo import IndexModel

from models.base import AgoraDocument
from models.documents import DOCUMENTS

# What the server adds to an index by itself and nobody declares.
_SERVER_KEYS = {"v", "ns", "background", "key", "name"}
COVERING_PREFIX = "covering_"
"""How the names begin of indexes that a launcher adds for its own server: nobody declares them, and they are no drift."""


class DriftKind(StrEnum):
    MISSING = "missing"  # declared, not created
    DIFFERENT = "different"  # created under this name with other keys or options
    UNDECLARED = "undeclared"  # created, declared nowhere


@dataclass(frozen=True, slots=True)
class IndexDrift:
    """One index on which the code and the database disagree."""

    kind: DriftKind
    collection: str
    index: str
    declared: str | None
    created: str | None


class IndexService:
    @staticmethod
    async def create_missing(documents: Sequence[type[AgoraDocument]] = tuple(DOCUMENTS)) -> list[IndexDrift]:
        """Create every declared index that does not exist, and return the drift that is left, by collection and name.

        Safe to run by many processes at once. An index that exists under the same name with other keys is left as it is and
        reported: dropping an index is a person's decision.
        """
        drift = await IndexService.drift(documents)
        missing = {(row.collection, row.index) for row in drift if row.kind is DriftKind.MISSING}

        async def create(document: type[AgoraDocument]) -> None:
            wanted = [index for index in declared_indexes(document) if _key(document, index) in missing]
            if wanted:
                await document.collection().create_indexes(wanted)

        await asyncio.gather(*(create(document) for document in documents))
        return [row for row in drift if row.kind is not DriftKind.MISSING]

    @staticmethod
    async def drift(documents: Sequence[type[AgoraDocument]] = tuple(DOCUMENTS)) -> list[IndexDrift]:
        """Every index on which code and database disagree, by collection and name; empty when they agree."""
        found = await asyncio.gather(*(_drift_of(document) for document in documents))
        return sorted((row for rows in found for row in rows), key=lambda row: (row.collection, row.index))


def declared_indexes(document: type[AgoraDocument]) -> list[IndexModel]:
    return list(document.Settings.indexes)


def _key(document: type[AgoraDocument], index: IndexModel) -> tuple[str, str]:
    return document.get_collection_name(), index.document["name"]


async def _drift_of(document: type[AgoraDocument]) -> list[IndexDrift]:
    collection = document.get_collection_name()
    information = await document.collection().index_information()
    created = {
        name: _describe(dict(index))
        for name, index in information.items()
        if name != "_id_" and not name.startswith(COVERING_PREFIX)
    }
    declared = {index.document["name"]: _describe(dict(index.document)) for index in declared_indexes(document)}
    rows = []
    for name in declared.keys() | created.keys():
        wanted, existing = declared.get(name), created.get(name)
        if wanted == existing:
            continue
        if existing is None:
            kind = DriftKind.MISSING
        elif wanted is None:
            kind = DriftKind.UNDECLARED
        else:
            kind = DriftKind.DIFFERENT
        rows.append(IndexDrift(kind, collection, name, wanted, existing))
    return rows


def _describe(index: dict[str, Any]) -> str:
    """Keys and options as one line, the same for a declaration and for what the server reports."""
    keys = index["key"]
    pairs = keys.items() if hasattr(keys, "items") else keys
    text = ", ".join(f"{field} {int(direction)}" for field, direction in pairs)
    options = {name: _plain(value) for name, value in index.items() if name not in _SERVER_KEYS and value is not False}
    return f"({text})" + "".join(f" {name}={options[name]!r}" for name in sorted(options))


def _plain(value: Any) -> Any:
    """The drivers report partial filters as SON, which compares like a dictionary and does not print like one."""
    return {name: _plain(inner) for name, inner in value.items()} if isinstance(value, Mapping) else value
