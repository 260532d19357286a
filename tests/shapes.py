"""Whether a declared index serves a read: the check DESIGN 8 asks for where the server's `explain` cannot tell."""

from collections.abc import Mapping
from typing import Any

from pymongo import IndexModel

from models.base import AgoraDocument
from models.documents import DOCUMENTS
from tests.commands import Read

_RANGES = {"$gt", "$gte", "$lt", "$lte"}


def serving_index(read: Read) -> str | None:
    """The first declared index that serves the read by MongoDB's rule: equality, then order, then range. None when none does.

    The fields compared for equality (or by `$in`) lead the index in any order, the sort follows in its own order or wholly
    reversed, and the fields compared by range are among the index's keys. Without any of the first two a range must be first.
    """
    document = next(found for found in DOCUMENTS if _collection(found) == read.collection)
    if set(read.filter) <= {"_id"} and {field for field, _ in read.sort} <= {"_id"} and (read.filter or read.sort):
        return "_id_"
    for index in _indexes(document):
        if _serves(list(index.document["key"].items()), read):
            name: str = index.document["name"]
            return name
    return None


def narrowing_index(read: Read) -> str | None:
    """The first declared index that finds what the filter's fields match; conditions on top (`$or`) and the order come after."""
    return serving_index(Read(read.collection, {field: value for field, value in read.filter.items() if field[0] != "$"}, []))


def _collection(document: type[AgoraDocument]) -> object:
    """The declared name; no database need be bound."""
    return vars(document.Settings)["name"]


def _indexes(document: type[AgoraDocument]) -> list[IndexModel]:
    return document.Settings.indexes


def _serves(keys: list[tuple[str, int]], read: Read) -> bool:
    ranges = {field for field, value in read.filter.items() if isinstance(value, Mapping) and _RANGES & set(value)}
    equal = set(read.filter) - ranges
    if {field for field, _ in keys[: len(equal)]} != equal:
        return False
    if not equal and not read.sort and keys[0][0] not in ranges:
        return False
    rest = keys[len(equal) :]
    ordered = rest[: len(read.sort)]
    wanted: list[tuple[str, Any]] = list(read.sort)
    reverse = [(field, -direction) for field, direction in wanted]
    return ordered in (wanted, reverse) and ranges <= {field for field, _ in rest}
