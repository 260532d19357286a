"""What all documents share: they read back as they were stored, keep their times, and declare names and indexes well."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import pytest
from beanie import PydanticObjectId
from pydantic import AwareDatetime, BaseModel, ValidationError

from models.base import AgoraDocument, now
from models.blog.posts import Post
from models.blog.taxonomy import Tag
from models.database import Database
from models.documents import DOCUMENTS
from models.ratelimits import RateWindow
from models.users import (
    Registration,
    User,
)

Model = TypeVar("Model", bound=BaseModel)

MOMENT = datetime(2026, 11, 21, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))  # with microseconds, not in UTC
KEPT = datetime(2026, 11, 21, 10, 30, 15, 123000, tzinfo=UTC)
SOME_ID = PydanticObjectId("65f0c0ffee0ddba11ca7f00d")

# What a field of this name holds where not every text would do.
_TEXTS = {"username": "jane", "currency": "USD", "country": "US", "phone": "+12025550143"}


def examples() -> list[AgoraDocument]:
    """One of each document, with every field filled."""
    return [filled(document) for document in DOCUMENTS]


def filled(model: type[Model]) -> Model:
    """An instance with a value in every field: two in each list, odd signs in each text, a time with a zone in each time."""
    values = {
        name: _value(name, field.annotation)
        for name, field in model.model_fields.items()
        if name not in ("id", "revision_id", "created_at", "updated_at")
    }
    return model(**values)


def _value(name: str, annotation: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _value(name, arguments[0])
    if origin in (Union, UnionType):
        return _value(name, arguments[0])
    if origin is list:
        return [_value(name, arguments[0]), _value(name, arguments[0])]
    if origin is dict:
        return {"a key": _value(name, arguments[1]) if arguments[1] is not Any else [1, 2.5, {"b": None}]}
    if annotation in _SCALARS:
        return _TEXTS.get(name, _SCALARS[annotation])
    if issubclass(annotation, Enum):
        return list(annotation)[-1]
    assert issubclass(annotation, BaseModel), (name, annotation)
    return filled(annotation)


_SCALARS: dict[Any, Any] = {
    str: "\u00c4 \U0001f600 \u2603",
    int: 3,
    float: 2.5,
    bool: True,
    bytes: b"\x00\xff",
    date: date(2026, 11, 21),
    datetime: MOMENT,
    AwareDatetime: MOMENT,
    PydanticObjectId: SOME_ID,
}


def times_in(value: object) -> Iterator[datetime]:
    if isinstance(value, datetime):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from times_in(getattr(value, name))


class TestRoundTrip:
    async def test_there_is_an_example_of_each_with_every_field_filled(self, any_store: Database) -> None:
        assert [type(example) for example in examples()] == DOCUMENTS
        for example in examples():
            empty = [name for name, value in example if value in (None, "", [], {}) and name != "revision_id"]
            assert (type(example).__name__, empty) == (type(example).__name__, [])

    async def test_x_11_each_reads_back_as_it_was_stored(self, any_store: Database) -> None:
        """X-11: what is retrieved is identical, dates, enums, bytes and nested parts included."""
        for example in examples():
            await example.store()
            row = await type(example).find_row({"_id": example.id})
            assert row is not None
            assert row == example.row()
            assert type(example).from_row(row).model_dump() == example.model_dump()

    async def test_x_07_times_are_utc_to_the_millisecond(self, any_store: Database) -> None:
        """X-07, X-11: whatever zone and precision a time came in, it is what the store keeps."""
        for example in examples():
            for moment in times_in(example):
                assert moment.utcoffset() == timedelta(0)
                assert moment.microsecond % 1000 == 0
        assert [example.published_at for example in examples() if isinstance(example, Post)] == [KEPT]

    async def test_x_07_times_without_a_zone_are_refused(self, any_store: Database) -> None:
        with pytest.raises(ValidationError):
            RateWindow(key="k", expires_at=datetime(2026, 11, 21))  # noqa: DTZ001 - what is refused


class TestTimes:
    @pytest.mark.parametrize(
        "update",
        [{"$set": {"name": "b"}}, {"$inc": {"usage_count": 1}}, [{"$set": {"name": "b"}}]],
        ids=["set", "inc", "pipeline"],
    )
    async def test_x_06_every_change_moves_updated_at_alone(self, database: Database, update: Any) -> None:
        """X-06: also updates that never load the document."""
        tag, other = [await Tag(name=slug, slug=slug, created_at=KEPT, updated_at=KEPT).store() for slug in ("a", "b")]
        before = now()

        changed = await Tag.change({"_id": tag.id}, update)
        assert changed is not None
        assert (changed.created_at, (await _tag(other)).updated_at) == (KEPT, KEPT)
        assert before <= changed.updated_at <= now()

        assert await Tag.change_many({"_id": other.id}, update) == 1
        stored = await _tag(other)
        assert stored.created_at == KEPT
        assert before <= stored.updated_at <= now()

    async def test_x_06_what_is_not_met_is_not_touched(self, database: Database) -> None:
        tag = await Tag(name="a", slug="a", updated_at=KEPT).store()

        assert await Tag.change({"_id": SOME_ID}, {"$set": {"name": "b"}}) is None
        assert await Tag.change_many({"_id": SOME_ID}, {"$set": {"name": "b"}}) == 0
        assert (await _tag(tag)).updated_at == KEPT

    async def test_x_06_every_document_has_both(self, any_store: Database) -> None:
        before = now()
        for document in DOCUMENTS:
            assert {"id", "created_at", "updated_at"} <= document.model_fields.keys()
        tag = Tag(name="a", slug="a")
        assert before <= tag.created_at <= tag.updated_at <= now()


async def _tag(tag: Tag) -> Tag:
    row = await Tag.find_row({"_id": tag.id})
    assert row is not None
    return Tag.from_row(row)


class TestCollections:
    def test_x_21_one_per_document_and_no_bare_categories(self) -> None:
        """X-21: the sources had two `users` and two `categories` of different shape."""
        names = [vars(document.Settings)["name"] for document in DOCUMENTS]

        assert len(set(names)) == len(names)
        assert "categories" not in names
        assert [document for document in DOCUMENTS if "password_hash" in document.model_fields] == [Registration, User]


class TestIndexes:
    @pytest.mark.parametrize("document", DOCUMENTS)
    def test_x_20_named_once_and_no_key_twice(self, document: type[AgoraDocument]) -> None:
        """X-20: the sources declared a key plain and unique, or plain and TTL, which the server refuses."""
        declared = [index.document for index in document.Settings.indexes]
        names = [index["name"] for index in declared]
        keys = [tuple(index["key"].items()) for index in declared]

        assert len(set(names)) == len(names)
        assert len(set(keys)) == len(keys)
        assert all("background" not in index for index in declared)
        assert not any(name.endswith(("_1", "_-1")) for name in names)  # what a driver calls an index without a name

    @pytest.mark.parametrize("document", DOCUMENTS)
    def test_idx_add_none_is_served_by_another(self, document: type[AgoraDocument]) -> None:
        """IDX-ADD: an index whose keys begin another one is dropped, unless it also enforces or expires something."""
        declared = [index.document for index in document.Settings.indexes]
        for index in declared:
            keys = list(index["key"].items())
            longer = [
                other["name"] for other in declared if other is not index and list(other["key"].items())[: len(keys)] == keys
            ]
            assert not longer or index.get("unique") or "expireAfterSeconds" in index, (index["name"], longer)
