"""What all documents share: they read back as they were stored, keep their times, and declare names and indexes well."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from beanie import PydanticObjectId
from pydantic import BaseModel, ValidationError

from models.audit import AuditEntry
from models.base import AgoraDocument, now
from models.blog.comments import Comment, CommentBan, CommentStatus
from models.blog.posts import Post, PostRevision, PostSlug, PostStatus, PostViews
from models.blog.taxonomy import Category, Tag
from models.database import Database
from models.documents import DOCUMENTS
from models.events import Checkpoint, DeadLetter, Event, EventType
from models.idempotency import IdempotentAnswer
from models.jobs import Job
from models.ratelimits import RateWindow
from models.search import SearchTerm
from models.social import Follow, Like, LikeKind
from models.users import (
    AccountToken,
    DeviceLock,
    LoginRecord,
    LoginSession,
    Registration,
    Role,
    TokenPurpose,
    User,
)

MOMENT = datetime(2026, 11, 21, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))  # with microseconds, not in UTC
KEPT = datetime(2026, 11, 21, 10, 30, 15, 123000, tzinfo=UTC)
SOME_ID = PydanticObjectId("65f0c0ffee0ddba11ca7f00d")

_person = {"first_name": "Jané", "last_name": "Doe", "email": "Jane@Example.com", "email_normalized": "jane@example.com"}
_client = {"address": "2001:db8::1", "user_agent": "Mozilla/5.0 \u2603"}


def examples() -> list[AgoraDocument]:
    """One of each document, with every field filled."""
    return [
        AccountToken(
            user_id=SOME_ID, purpose=TokenPurpose.EMAIL_CHANGE, token_hash="h", new_email="new@example.com", expires_at=MOMENT
        ),
        AuditEntry(
            action="a", actor_id=SOME_ID, subject="user:1", address="::1", details={"from": {"role": "user"}, "n": [1, 2.5]}
        ),
        Category(name="Design", slug="design", description="d", color="#9b59b6", posts_count=3, revision=2),
        Checkpoint(consumer="mail", sequence=2**40, failures=1, last_error="e", retry_at=MOMENT),
        Comment(
            post_id=SOME_ID,
            parent_id=SOME_ID,
            root_id=SOME_ID,
            ancestor_ids=[SOME_ID],
            depth=1,
            content="c",
            content_html="<p>c</p>",
            status=CommentStatus.APPROVED,
            author_id=SOME_ID,
            author_name="n",
            author_email="e",
            author_website="w",
            edited_at=MOMENT,
            **_client,
        ),
        CommentBan(key="k", reason="r", banned_by=SOME_ID, expires_at=MOMENT),
        DeadLetter(consumer="mail", event_id=SOME_ID, sequence=7, error="e", failed_at=MOMENT),
        DeviceLock(device_id="d", failed_login_attempts=5, locked_until=MOMENT, expires_at=MOMENT),
        Event(type=EventType.POST_PUBLISHED, subject="post:1", actor_id=SOME_ID, payload={"a": {"b": [None, True]}}, sequence=9),
        Follow(follower_id=SOME_ID, following_id=PydanticObjectId()),
        IdempotentAnswer(
            scope="s",
            fingerprint="f",
            claim_id=SOME_ID,
            claimed_until=MOMENT,
            status=201,
            headers={"content-type": "application/json"},
            body=b"\x00\xff{}",
            expires_at=MOMENT,
        ),
        Job(
            name="j",
            owner=SOME_ID,
            leased_until=MOMENT,
            next_run_at=MOMENT,
            last_started_at=MOMENT,
            last_finished_at=MOMENT,
            last_error="e",
            last_result="r",
            run_count=4,
        ),
        Like(kind=LikeKind.COMMENT, subject_id=SOME_ID, user_id=SOME_ID),
        LoginRecord(user_id=SOME_ID, succeeded=False, has_locked=True, expires_at=MOMENT, **_client),
        LoginSession(
            user_id=SOME_ID,
            username="jane",
            role=Role.EDITOR,
            token_hash="h",
            device_id="d",
            last_seen_at=MOMENT,
            expires_at=MOMENT,
            **_client,
        ),
        Post(
            title="\u00c4 title \U0001f600",
            slug="a-title",
            content="# c",
            content_html="<h1>c</h1>",
            excerpt="e",
            featured_image="i",
            meta_title="m",
            meta_description="d",
            author_id=SOME_ID,
            category_id=SOME_ID,
            tag_ids=[SOME_ID, PydanticObjectId()],
            status=PostStatus.PUBLISHED,
            published_at=MOMENT,
            scheduled_at=MOMENT,
            unpublish_at=MOMENT,
            trashed_at=MOMENT,
            edited_at=MOMENT,
            terms=[SearchTerm(term="title", weight=8), SearchTerm(term="c", weight=1)],
        ),
        PostRevision(post_id=SOME_ID, number=2, editor_id=SOME_ID, title="t", content="c", excerpt="e"),
        PostSlug(slug="s", post_id=SOME_ID),
        PostViews(post_id=SOME_ID, day=datetime(2026, 11, 21, tzinfo=UTC), views_count=12),
        RateWindow(key="k", attempts_count=3, expires_at=MOMENT),
        Registration(username="jane", password_hash="p", token_hash="h", expires_at=MOMENT, **_person),
        Tag(name="C++", slug="c-plus-plus", usage_count=2),
        User(
            username="jane",
            password_hash="p",
            role=Role.AUTHOR,
            is_verified=True,
            last_login_at=MOMENT,
            locked_until=MOMENT,
            suspended_until=MOMENT,
            bio="b",
            avatar_url="a",
            website="w",
            social_links={"github": "https://github.com/jane"},
            **_person,
        ),
    ]


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
    async def test_x_06_every_change_moves_updated_at_alone(self, any_store: Database, update: Any) -> None:
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

    async def test_x_06_what_is_not_met_is_not_touched(self, any_store: Database) -> None:
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
