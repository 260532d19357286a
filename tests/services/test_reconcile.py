import asyncio
import io
from datetime import UTC, datetime
from typing import Any

import pytest
from beanie import PydanticObjectId
from rich.console import Console

from models.analytics.purchases import CustomerValue
from models.audit import AuditEntry
from models.base import AgoraDocument
from models.blog.comments import Comment, CommentStatus
from models.blog.posts import Post, PostRevision, PostSlug, PostStatus, PostViews
from models.blog.taxonomy import Category, Tag
from models.documents import DOCUMENTS
from models.ecommerce.catalog import Product, ProductViews
from models.ecommerce.orders import Order
from models.imports import ImportRun
from models.jobs import Job
from models.payments import Payment, Refund
from models.ratelimits import RateWindow
from models.social import Follow, Like, LikeKind
from models.users import User
from models.webhooks import WebhookDelivery
from scripts.reconcile import report
from services import reconcile
from services.reconcile import COUNTERS, Drift, ReconcileService, StoredCounter, recount_pipeline
from tests.factories.blog import create_category, create_post, create_tag
from tests.factories.users import create_user

pytestmark = pytest.mark.usefixtures("database")

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


async def drift() -> list[Drift]:
    return [row async for row in ReconcileService.drift()]


async def add_comment(post: Post, parent: Comment | None = None, **over: Any) -> Comment:
    defaults: dict[str, Any] = {
        "post_id": post.id,
        "content": "Well said.",
        "content_html": "<p>Well said.</p>",
        "author_name": "Guest",
        "status": CommentStatus.APPROVED,
    }
    if parent is not None:
        above = [*parent.ancestor_ids, parent.id]
        defaults |= {"parent_id": parent.id, "root_id": above[0], "ancestor_ids": above, "depth": len(above)}
    return await Comment(**(defaults | over)).store()


class Story:
    """A small publication whose every counter is known by hand."""

    async def build(self) -> "Story":
        self.jane = await create_user(followers_count=2, following_count=1)
        self.john = await create_user(following_count=1)
        self.mary = await create_user(followers_count=1, following_count=1)
        for follower, following in ((self.john, self.jane), (self.mary, self.jane), (self.jane, self.mary)):
            await Follow(follower_id=follower.id, following_id=following.id).store()
        self.category = await create_category()
        self.tags = [await create_tag(), await create_tag()]
        self.post = await create_post(
            author=self.jane,
            category=self.category,
            tags=self.tags,
            status=PostStatus.PUBLISHED,
            views_count=7,
            likes_count=2,
            comments_count=3,
        )
        await create_post(author=self.jane, category=self.category, tags=self.tags[:1], status=PostStatus.PUBLISHED)
        await create_post(author=self.jane, category=self.category, tags=self.tags)  # a draft counts nowhere
        for day, views in ((2, 3), (3, 4)):
            await PostViews(post_id=self.post.id, day=MONDAY.replace(day=day), views_count=views).store()
        self.root = await add_comment(self.post, likes_count=1, replies_count=1, descendants_count=2)
        reply = await add_comment(self.post, self.root, replies_count=1, descendants_count=1)
        await add_comment(self.post, reply)
        await add_comment(self.post, self.root, status=CommentStatus.PENDING)
        for person in (self.john, self.mary):
            await Like(kind=LikeKind.POST, subject_id=self.post.id, user_id=person.id).store()
        await Like(kind=LikeKind.COMMENT, subject_id=self.root.id, user_id=self.john.id).store()
        return self


@pytest.fixture
async def story() -> Story:
    return await Story().build()


async def test_every_counter_field_of_every_document_declares_its_truth() -> None:
    declared = {(counter.document, counter.field) for counter in COUNTERS}
    own = {
        (User, "login_count"),
        (PostViews, "views_count"),
        (ProductViews, "views_count"),
        (Job, "run_count"),
        (RateWindow, "attempts_count"),
        (ImportRun, "rows_count"),
        (ImportRun, "failures_count"),
        (Payment, "sent_count"),
        (Payment, "checks_count"),
        (Refund, "sent_count"),
        (Refund, "checks_count"),
        (WebhookDelivery, "attempts_count"),
    }  # truths themselves
    # With their lines and with orders, in checks of their own.
    compared = {(Order, "items_count"), (Product, "sales_count"), (CustomerValue, "sales_count"), (CustomerValue, "kept_count")}
    for document in DOCUMENTS:
        for field in document.model_fields:
            if field.endswith("_count") and (document, field) not in own | compared:
                assert (document, field) in declared, f"{document.__name__}.{field} cannot be recounted"


# Those of the shop are tried where their causes are: with customers, coupons and products.
_PUBLICATION_COUNTERS = [counter for counter in COUNTERS if counter.document in (User, Category, Tag, Post, Comment)]


class TestDrift:
    async def test_empty_store_has_none(self) -> None:
        assert await drift() == []

    async def test_true_counters_have_none(self, story: Story) -> None:
        assert await drift() == []

    @pytest.mark.parametrize("counter", _PUBLICATION_COUNTERS, ids=lambda counter: counter.name)
    async def test_wrong_counter_is_reported_and_repaired(self, story: Story, counter: StoredCounter) -> None:
        named: dict[type[AgoraDocument], PydanticObjectId] = {
            User: story.jane.id,
            Category: story.category.id,
            Tag: story.tags[0].id,
            Post: story.post.id,
            Comment: story.root.id,
        }
        truths = {
            "users.posts_count": 2,
            "users.followers_count": 2,
            "users.following_count": 1,
            "blog_categories.posts_count": 2,
            "tags.usage_count": 2,
            "posts.likes_count": 2,
            "posts.comments_count": 3,
            "posts.views_count": 7,
            "comments.likes_count": 1,
            "comments.replies_count": 1,
            "comments.descendants_count": 2,
        }
        id = named[counter.document]
        before = await counter.document.find_row({"_id": id})
        await counter.document.collection().update_one({"_id": id}, {"$set": {counter.field: 99}})

        found = await drift()

        expected = Drift(counter.document.get_collection_name(), id, counter.field, 99, truths[counter.name])
        assert found == [expected]
        assert await ReconcileService.repair(expected)
        assert await counter.document.find_row({"_id": id}) == before
        assert await drift() == []

    async def test_rows_beyond_one_batch_are_compared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reconcile, "BATCH", 3)
        tags = [await create_tag(usage_count=number) for number in range(8)]
        assert [(row.id, row.stored, row.counted) for row in await drift()] == [
            (tag.id, number, 0) for number, tag in enumerate(tags) if number
        ]

    async def test_slug_that_is_not_registered_is_reported_and_repaired(self, story: Story) -> None:
        await PostSlug.collection().delete_one({"post_id": story.post.id})

        found = await drift()

        assert found == [Drift("posts", story.post.id, "slug", story.post.slug, "nobody's")]
        assert await ReconcileService.repair(found[0])
        assert await drift() == []

    async def test_slug_of_another_post_is_reported_and_left_to_a_person(self, story: Story) -> None:
        other = PydanticObjectId()
        await PostSlug.collection().update_one({"post_id": story.post.id}, {"$set": {"post_id": other}})

        found = await drift()

        assert found == [Drift("posts", story.post.id, "slug", story.post.slug, f"post {other}'s")]
        assert not await ReconcileService.repair(found[0])
        assert await drift() == found

    async def test_lost_revision_is_reported_and_kept_again(self, story: Story) -> None:
        await PostRevision.collection().delete_one({"post_id": story.post.id})

        found = await drift()

        assert found == [Drift("posts", story.post.id, "revision", 1, "not kept")]
        assert await ReconcileService.repair(found[0])
        assert not await ReconcileService.repair(found[0])
        kept = await PostRevision.find_row({"post_id": story.post.id})
        assert kept is not None
        assert (kept["number"], kept["title"], kept["content"]) == (1, story.post.title, story.post.content)
        assert await drift() == []


class TestRepair:
    async def test_counter_that_moved_since_the_report_is_left_alone(self, story: Story) -> None:
        reported = Drift("posts", story.post.id, "likes_count", 99, 2)

        assert not await ReconcileService.repair(reported)

        row = await Post.find_row({"_id": story.post.id})
        assert row is not None
        assert row["likes_count"] == 2
        assert await AuditEntry.find_rows({}) == []

    async def test_what_was_stored_anew_stands_in_the_audit_log(self, story: Story) -> None:
        await Post.collection().update_one({"_id": story.post.id}, {"$set": {"views_count": 5}})
        (row,) = await drift()

        assert await ReconcileService.repair(row)
        assert not await ReconcileService.repair(row)

        (entry,) = await AuditEntry.find_rows({})
        told = (entry["action"], entry["subject"], entry["actor_id"], entry["details"])
        details = {"field": "views_count", "stored": 5, "counted": 7}
        assert told == ("drift.repaired", f"posts:{story.post.id}", None, details)  # the system's, run by hand

    async def test_two_repairs_at_once_are_one(self, story: Story) -> None:
        await Post.collection().update_one({"_id": story.post.id}, {"$set": {"views_count": 5}})
        (row,) = await drift()

        repaired = await asyncio.gather(*(ReconcileService.repair(row) for _ in range(50)))

        assert sorted(repaired) == [False] * 49 + [True]
        assert len(await AuditEntry.find_rows({})) == 1
        assert await drift() == []


class TestReport:
    async def run(self, *, repair: bool) -> tuple[int, str]:
        out = io.StringIO()
        code = await report(Console(file=out, width=200), repair=repair)
        return code, out.getvalue()

    async def test_says_zero_and_exits_0_when_all_adds_up(self, story: Story) -> None:
        code, text = await self.run(repair=False)
        assert code == 0
        assert "drift 0" in text

    async def test_shows_drift_and_exits_1_then_repairs_and_exits_0(self, story: Story) -> None:
        await Post.collection().update_one({"_id": story.post.id}, {"$set": {"views_count": 5}})

        code, text = await self.run(repair=False)
        assert code == 1
        assert f"{story.post.id}" in text
        assert "1 differences, 0 repaired, 1 left." in text

        code, text = await self.run(repair=True)
        assert code == 0
        assert "1 differences, 1 repaired, 0 left." in text
        assert (await self.run(repair=False))[0] == 0


class TestRecountPipeline:
    def test_counts_published_posts_of_a_tag_once_each(self) -> None:
        counter = next(counter for counter in COUNTERS if counter.name == "tags.usage_count")
        id = PydanticObjectId()
        assert recount_pipeline(counter, [id]) == [
            {"$match": {"tag_ids": {"$in": [id]}}},
            {"$match": {"status": "published"}},
            {"$project": {"tag_ids": 1}},
            {"$unwind": "$tag_ids"},
            {"$match": {"tag_ids": {"$in": [id]}}},
            {"$group": {"_id": "$tag_ids", "counted": {"$sum": 1}}},
        ]
