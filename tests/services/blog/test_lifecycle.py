import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from beanie import PydanticObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from models.blog.comments import Comment
from models.blog.posts import Post, PostRevision, PostSlug, PostStatus, PostViews
from models.blog.taxonomy import Category, Tag
from models.database import Database
from models.events import Event, EventType
from models.social import Like, LikeKind
from models.users import Role, User
from services.blog.exposure import counter_moves
from services.blog.lifecycle import SOURCES, PostTransitionError, PublishingService
from services.blog.posts import PostService
from services.blog.reading import PostNotFoundError
from services.blog.writing import PostChanges, PostDraft, ScheduleInPastError
from services.errors import AppError
from services.users.permissions import Viewer
from tests.factories.blog import create_category, create_post, create_tag, make_post
from tests.factories.users import create_user, viewer_of
from tests.races import rounds

pytestmark = pytest.mark.usefixtures("database")

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

TRANSITIONS: dict[str, Callable[[PydanticObjectId, Viewer], Awaitable[object]]] = {
    "publish": lambda post_id, viewer: PublishingService.publish(post_id, viewer=viewer, now=NOON),
    "unpublish": lambda post_id, viewer: PublishingService.unpublish(post_id, viewer=viewer),
    "schedule": lambda post_id, viewer: PublishingService.schedule(post_id, scheduled_at=NOON + HOUR, viewer=viewer, now=NOON),
    "archive": lambda post_id, viewer: PublishingService.archive(post_id, viewer=viewer),
    "trash": lambda post_id, viewer: PublishingService.trash(post_id, viewer=viewer, now=NOON),
    "restore": lambda post_id, viewer: PublishingService.restore(post_id, viewer=viewer),
}

# Written out by hand: what each step makes of each status; a pair that is not here is refused.
LEADS_TO = {
    ("publish", "draft"): "published",
    ("publish", "scheduled"): "published",
    ("publish", "archived"): "published",
    ("publish", "published"): "published",
    ("unpublish", "published"): "draft",
    ("unpublish", "scheduled"): "draft",
    ("unpublish", "archived"): "draft",
    ("schedule", "draft"): "scheduled",
    ("schedule", "scheduled"): "scheduled",
    ("archive", "published"): "archived",
    ("trash", "draft"): "trashed",
    ("trash", "scheduled"): "trashed",
    ("trash", "published"): "trashed",
    ("trash", "archived"): "trashed",
    ("restore", "trashed"): "draft",
}


class TestTransitions:
    @pytest.mark.parametrize("step", TRANSITIONS)
    async def test_each_step_from_each_status(self, step: str) -> None:
        for status in PostStatus:
            owner = await create_user(role=Role.AUTHOR)
            post = await create_post(author=owner, status=status)
            wanted = LEADS_TO.get((step, status.value))
            if wanted is None:
                with pytest.raises(PostTransitionError):
                    await TRANSITIONS[step](post.id, viewer_of(owner))
                wanted = status.value
            else:
                await TRANSITIONS[step](post.id, viewer_of(owner))
            assert (await _post(post.id)).status == wanted
            assert (await _user(owner.id)).posts_count == int(wanted == "published")

    async def test_stranger_finds_nothing_and_editor_may(self) -> None:
        strangers = [viewer_of(await create_user(role=role)) for role in (Role.AUTHOR, Role.USER)]
        editor = viewer_of(await create_user(role=Role.EDITOR))
        for step, transition in TRANSITIONS.items():
            status = next(PostStatus(status) for name, status in LEADS_TO if name == step)
            post = await create_post(status=status)
            for stranger in strangers:
                with pytest.raises(PostNotFoundError):
                    await transition(post.id, stranger)
            with pytest.raises(PostNotFoundError):
                await transition(PydanticObjectId(), editor)
            assert (await _post(post.id)).status is status
            await transition(post.id, editor)
            assert (await _post(post.id)).status == LEADS_TO[step, status.value]


class TestPublish:
    async def test_everything_around_it_counts_it(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        category, tags = await create_category(), [await create_tag(), await create_tag()]
        post = await create_post(author=owner, category=category, tags=tags, content="word " * 500)
        published = await PublishingService.publish(post.id, viewer=viewer_of(owner), now=NOON)
        assert (published.status, published.published_at, published.reading_minutes) == (PostStatus.PUBLISHED, NOON, 3)
        assert await _stored_counters() == {owner.id: 1, category.id: 1, tags[0].id: 1, tags[1].id: 1}
        assert await _event_types(post.id) == [EventType.POST_PUBLISHED]

    async def test_blg_s3_fifty_publishers_count_once(self) -> None:
        """BLG-S3: in the source two publishers counted twice."""
        for _ in range(5):
            owner = await create_user(role=Role.AUTHOR)
            category, tag = await create_category(), await create_tag()
            post = await create_post(author=owner, category=category, tags=[tag])
            await asyncio.gather(*(PublishingService.publish(post.id, viewer=viewer_of(owner)) for _ in range(50)))
            counters = await _stored_counters()
            assert (counters[owner.id], counters[category.id], counters[tag.id]) == (1, 1, 1)
            assert await _event_types(post.id) == [EventType.POST_PUBLISHED]

    async def test_blg_s3_republished_archive_keeps_its_date_and_counts_once(self) -> None:
        """BLG-S3: the source reset the date and counted again."""
        owner = await create_user(role=Role.AUTHOR)
        viewer = viewer_of(owner)
        post = await create_post(author=owner)
        await PublishingService.publish(post.id, viewer=viewer, now=NOON)
        await PublishingService.archive(post.id, viewer=viewer)
        again = await PublishingService.publish(post.id, viewer=viewer, now=NOON + HOUR)
        assert again.published_at == NOON
        assert (await _user(owner.id)).posts_count == 1
        assert await _event_types(post.id) == [
            EventType.POST_PUBLISHED,
            EventType.POST_WITHDRAWN,
            EventType.POST_PUBLISHED,
        ]

    async def test_published_again_is_the_same(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post = await create_post(author=owner, status=PostStatus.PUBLISHED)
        before = await _post(post.id)
        await PublishingService.publish(post.id, viewer=viewer_of(owner), now=NOON)
        assert await _post(post.id) == before
        assert await _event_types(post.id) == []

    async def test_end_that_has_passed_is_dropped_and_one_to_come_kept(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        for end, kept in ((NOON - HOUR, None), (NOON + HOUR, NOON + HOUR)):
            post = await create_post(author=owner, unpublish_at=end)
            published = await PublishingService.publish(post.id, viewer=viewer_of(owner), now=NOON)
            assert published.unpublish_at == kept


class TestSchedule:
    async def test_time_must_be_to_come(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post = await create_post(author=owner)
        with pytest.raises(ScheduleInPastError):
            await PublishingService.schedule(post.id, scheduled_at=NOON, viewer=viewer_of(owner), now=NOON)
        assert (await _post(post.id)).status is PostStatus.DRAFT


class TestRaces:
    async def test_blg_s5_any_mixture_of_fifty_steps_keeps_the_counters_true(self) -> None:
        for round_number in range(5):
            owner = await create_user(role=Role.AUTHOR)
            category, tag = await create_category(), await create_tag()
            post = await create_post(author=owner, category=category, tags=[tag])
            steps = list(TRANSITIONS.values())
            results = await asyncio.gather(
                *(steps[(n * 7 + round_number) % len(steps)](post.id, viewer_of(owner)) for n in range(60)),
                return_exceptions=True,
            )
            assert {type(result) for result in results if isinstance(result, Exception)} <= {PostTransitionError}
            assert await _stored_counters() == await _recounted()
            types = Counter(await _event_types(post.id))
            is_public = int((await _post(post.id)).status is PostStatus.PUBLISHED)
            assert types[EventType.POST_PUBLISHED] - types[EventType.POST_WITHDRAWN] == is_public


class TestPublishDue:
    async def test_due_ones_are_published_and_ended_and_others_wait(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        due = await create_post(author=owner, status=PostStatus.SCHEDULED, scheduled_at=NOON)
        later = await create_post(author=owner, status=PostStatus.SCHEDULED, scheduled_at=NOON + HOUR)
        over = await create_post(author=owner, status=PostStatus.PUBLISHED, unpublish_at=NOON)
        stays = await create_post(author=owner, status=PostStatus.PUBLISHED)

        assert await PublishingService.publish_due(now=NOON) == 2

        found = await _post(due.id)
        assert (found.status, found.published_at, found.scheduled_at) == (PostStatus.PUBLISHED, NOON, None)
        assert (await _post(later.id)).status is PostStatus.SCHEDULED
        ended = await _post(over.id)
        assert (ended.status, ended.unpublish_at) == (PostStatus.ARCHIVED, None)
        assert (await _post(stays.id)).status is PostStatus.PUBLISHED
        assert await _stored_counters() == await _recounted()
        assert await PublishingService.publish_due(now=NOON) == 0

    async def test_many_workers_move_each_once(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        posts = [await create_post(author=owner, status=PostStatus.SCHEDULED, scheduled_at=NOON) for _ in range(10)]
        moved = await asyncio.gather(*(PublishingService.publish_due(now=NOON) for _ in range(50)))
        assert sum(moved) == 10
        assert (await _user(owner.id)).posts_count == 10
        for post in posts:
            assert await _event_types(post.id) == [EventType.POST_PUBLISHED]

    async def test_post_that_is_rescheduled_meanwhile_waits(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post = await create_post(author=owner, status=PostStatus.SCHEDULED, scheduled_at=NOON)
        await PublishingService.schedule(post.id, scheduled_at=NOON + HOUR, viewer=viewer_of(owner), now=NOON - HOUR)
        assert await PublishingService.publish_due(now=NOON) == 0


class TestPurgeDue:
    async def test_thirty_days_later_nothing_of_it_is_left(self) -> None:
        post = await create_post(status=PostStatus.TRASHED, trashed_at=NOON)
        other = await create_post(status=PostStatus.PUBLISHED)
        for one in (post, other):
            comment = await Comment(post_id=one.id, content="c", content_html="c", author_name="Jane").store()
            await Like(kind=LikeKind.POST, subject_id=one.id, user_id=PydanticObjectId()).store()
            await Like(kind=LikeKind.COMMENT, subject_id=comment.id, user_id=PydanticObjectId()).store()
            await PostViews(post_id=one.id, day=NOON, views_count=1).store()

        assert await PublishingService.purge_due(now=NOON + timedelta(days=30, milliseconds=-1)) == 0
        assert await PublishingService.purge_due(now=NOON + timedelta(days=30)) == 1

        assert [row["_id"] for row in await Post.find_rows({})] == [other.id]
        assert await Like.count_rows({}) == 2
        for document in (Comment, PostSlug, PostRevision, PostViews):
            assert [row["post_id"] for row in await document.find_rows({})] == [other.id]

    async def test_restored_or_purged_by_someone_else_is_not_purged_again(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        posts = [await create_post(author=owner, status=PostStatus.TRASHED, trashed_at=NOON) for _ in range(10)]
        later = NOON + timedelta(days=31)
        purges = [PublishingService.purge_due(now=later) for _ in range(5)]
        restores = [PublishingService.restore(post.id, viewer=viewer_of(owner)) for post in posts]
        results = await asyncio.gather(*restores, *purges, return_exceptions=True)
        purged = sum(result for result in results if isinstance(result, int))
        restored = sum(not isinstance(result, BaseException) for result in results[: len(posts)])
        assert purged + restored == 10
        assert await Post.count_rows({}) == restored
        assert await PostSlug.count_rows({}) == restored

    async def test_slug_is_free_again(self) -> None:
        await create_post(slug="again", status=PostStatus.TRASHED, trashed_at=NOON)
        await PublishingService.purge_due(now=NOON + timedelta(days=31))
        viewer = viewer_of(await create_user(role=Role.AUTHOR))
        created = await PostService.create_post(PostDraft(title="T", content="c", slug="again"), viewer=viewer)
        assert created.slug == "again"


class TestCounterMoves:
    def test_only_what_differs_moves(self) -> None:
        author, old, new, kept, left, came = (PydanticObjectId() for _ in range(6))
        before = make_post(author_id=author, category_id=old, tag_ids=[kept, left], status=PostStatus.PUBLISHED)
        after = make_post(author_id=author, category_id=new, tag_ids=[kept, came, came], status=PostStatus.PUBLISHED)
        assert counter_moves(before, after) == {User: {}, Category: {old: -1, new: 1}, Tag: {left: -1, came: 1}}
        assert list(counter_moves(before, after)) == [User, Category, Tag]

    def test_unpublished_posts_count_nowhere(self) -> None:
        posts = [make_post(status=status) for status in PostStatus if status is not PostStatus.PUBLISHED]
        assert all(counter_moves(before, after) == {User: {}, Category: {}, Tag: {}} for before in posts for after in posts)
        assert counter_moves(None, posts[0]) == {User: {}, Category: {}, Tag: {}}

    def test_every_status_can_be_reached_and_only_by_declared_steps(self) -> None:
        assert {(source.value, wanted.value) for wanted, sources in SOURCES.items() for source in sources} == {
            (status, wanted) for (step, status), wanted in LEADS_TO.items() if (step, status) not in _OUTSIDE_THE_TABLE
        }


# Publishing what is published does nothing, and the trash has one way out.
_OUTSIDE_THE_TABLE = {("publish", "published"), ("restore", "trashed")}

_STEPS = [*TRANSITIONS, "move", "due", "purge"]


class TestAnyLife:
    @settings(max_examples=rounds(15, 500))
    @given(steps=st.lists(st.tuples(st.sampled_from(_STEPS), st.integers(0, 2)), max_size=12))
    async def test_blg_s5_stored_counters_equal_their_recount(self, database: Database, steps: list[tuple[str, int]]) -> None:
        """BLG-S5: whatever happens to posts, in any order, every counter stays what counting would give."""
        owner = await create_user(role=Role.AUTHOR)
        viewer = viewer_of(owner)
        categories = [await create_category() for _ in range(2)]
        tags = [await create_tag() for _ in range(2)]
        posts = [await create_post(author=owner, category=categories[0], tags=tags[:1]) for _ in range(3)]
        for step, which in steps:
            try:
                if step == "move":
                    changes = PostChanges(category_id=categories[which % 2].id, tag_ids=[tag.id for tag in tags[which:]])
                    await PostService.update_post(posts[which].id, changes, viewer=viewer, revision=None)
                elif step == "due":
                    await PublishingService.publish_due(now=NOON + 2 * HOUR)
                elif step == "purge":
                    await PublishingService.purge_due(now=NOON + timedelta(days=31))
                else:
                    await TRANSITIONS[step](posts[which].id, viewer)
            except AppError:
                pass
        assert await _stored_counters() == await _recounted()


async def _post(post_id: PydanticObjectId) -> Post:
    row = await Post.find_row({"_id": post_id})
    assert row is not None
    return Post.from_row(row)


async def _user(user_id: PydanticObjectId) -> User:
    row = await User.find_row({"_id": user_id})
    assert row is not None
    return User.from_row(row)


async def _event_types(post_id: PydanticObjectId) -> list[str]:
    return [row["type"] for row in await Event.find_rows({"subject": f"post:{post_id}"}, sort=[("_id", 1)])]


async def _stored_counters() -> Counter[PydanticObjectId]:
    """Every counter that is not zero."""
    counters: Counter[PydanticObjectId] = Counter()
    for document, field in ((User, "posts_count"), (Category, "posts_count"), (Tag, "usage_count")):
        for row in await document.find_rows({}):
            if row[field]:
                counters[row["_id"]] = row[field]
    return counters


async def _recounted() -> Counter[PydanticObjectId]:
    """The same, counted in plain Python from the posts."""
    counters: Counter[PydanticObjectId] = Counter()
    for row in await Post.find_rows({"status": "published"}):
        counters.update([row["author_id"], *row["tag_ids"], *([row["category_id"]] if row["category_id"] else [])])
    return counters
