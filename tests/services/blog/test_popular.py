"""Popularity: recent views and likes, and nothing else."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from beanie import PydanticObjectId

from models.blog.posts import Post, PostStatus, PostViews
from models.database import Database
from models.social import Like, LikeKind
from models.users import User
from services.blog.popular import LIKE_POINTS, InvalidWindowError, PopularityService
from tests.commands import CommandLog
from tests.factories.blog import create_post
from tests.factories.users import create_user

NOW = datetime(2026, 3, 20, 15, 30, tzinfo=UTC)
TODAY = NOW.replace(hour=0, minute=0)
PUBLISHED = PostStatus.PUBLISHED


@pytest.fixture
async def author(database: Database) -> User:
    return await create_user()


async def view(post: Post, count: int, *, days_ago: int = 0) -> None:
    await PostViews(post_id=post.id, day=TODAY - timedelta(days=days_ago), views_count=count).store()


async def like(post: Post, count: int, *, at: datetime = NOW, kind: LikeKind = LikeKind.POST) -> None:
    for _ in range(count):
        await Like(kind=kind, subject_id=post.id, user_id=PydanticObjectId(), created_at=at).store()


async def popular(days: int = 7, limit: int = 10) -> list[str]:
    return [post.title for post in await PopularityService.get_popular_posts(days=days, limit=limit, now=NOW)]


class TestGetPopularPosts:
    async def test_blg_s13_recently_read_post_beats_one_with_more_views_of_all_time(self, author: User) -> None:
        old = await create_post(
            author=author,
            status=PUBLISHED,
            title="Old",
            views_count=100_000,
            likes_count=9_000,
            published_at=NOW - timedelta(days=2),
        )
        await view(old, 100_000, days_ago=30)
        recent = await create_post(
            author=author, status=PUBLISHED, title="Recent", views_count=3, published_at=NOW - timedelta(days=400)
        )
        await view(recent, 3, days_ago=1)

        assert await popular() == ["Recent"]

    async def test_a_like_is_worth_five_views(self, author: User) -> None:
        assert LIKE_POINTS == 5
        liked = await create_post(author=author, status=PUBLISHED, title="Liked")
        seen = await create_post(author=author, status=PUBLISHED, title="Seen")
        both = await create_post(author=author, status=PUBLISHED, title="Both")
        await like(liked, 2)  # 10
        await view(seen, 9)  # 9
        await like(both, 1)  # 11
        await view(both, 4, days_ago=2)
        await view(both, 2, days_ago=7)

        assert await popular() == ["Both", "Liked", "Seen"]

    async def test_the_window_is_today_and_the_whole_days_before_it(self, author: User) -> None:
        edge = await create_post(author=author, status=PUBLISHED, title="Edge")
        outside = await create_post(author=author, status=PUBLISHED, title="Outside")
        await view(edge, 1, days_ago=2)
        await view(outside, 50, days_ago=3)
        await like(outside, 50, at=TODAY - timedelta(days=2, milliseconds=1))
        await like(outside, 50, at=NOW + timedelta(minutes=1))

        assert await popular(days=2) == ["Edge"]
        assert await popular(days=3) == ["Outside", "Edge"]

    async def test_likes_of_comments_do_not_count(self, author: User) -> None:
        post = await create_post(author=author, status=PUBLISHED)
        await like(post, 3, kind=LikeKind.COMMENT)

        assert await popular() == []

    async def test_only_published_posts_however_many_others_are_read_more(self, author: User) -> None:
        public = [await create_post(author=author, status=PUBLISHED, title=f"Public {number}") for number in range(3)]
        for number, post in enumerate(public):
            await view(post, number + 1)
        for status in (PostStatus.ARCHIVED, PostStatus.TRASHED, PostStatus.DRAFT):
            for _ in range(12):
                await view(await create_post(author=author, status=status), 99)
        await PostViews(post_id=PydanticObjectId(), day=TODAY, views_count=999).store()  # purged

        assert await popular(limit=2) == ["Public 2", "Public 1"]

    async def test_ties_go_to_the_later_published_then_to_the_higher_id(self, author: User) -> None:
        published_at = NOW - timedelta(days=1)
        first = await create_post(author=author, status=PUBLISHED, title="First", published_at=published_at)
        second = await create_post(author=author, status=PUBLISHED, title="Second", published_at=published_at)
        later = await create_post(author=author, status=PUBLISHED, title="Later", published_at=NOW)
        for post in (later, second, first):
            await view(post, 5)

        assert await popular() == ["Later", "Second", "First"]

    async def test_nothing_read_nothing_popular(self, author: User) -> None:
        await create_post(author=author, status=PUBLISHED, views_count=5)

        assert await popular() == []

    async def test_answers_are_kept_and_loaded_once_for_many(self, author: User, commands: CommandLog) -> None:
        post = await create_post(author=author, status=PUBLISHED)
        await PostViews(
            post_id=post.id, day=datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0), views_count=1
        ).store()

        with commands.counting() as sent:
            first = await PopularityService.get_popular_posts()
            second = await PopularityService.get_popular_posts()

        assert [post.id for post in first] == [post.id for post in second] == [post.id]
        assert sent.sent == ["aggregate post_views", "aggregate users"]

    @pytest.mark.parametrize(("days", "limit"), [(0, 10), (91, 10), (7, 0), (7, 51)])
    async def test_impossible_windows_are_refused(self, database: Database, days: int, limit: int) -> None:
        with pytest.raises(InvalidWindowError):
            await PopularityService.get_popular_posts(days=days, limit=limit)


class TestPopularityAgainstPlainPython:
    @pytest.mark.parametrize("seed", range(3))
    async def test_random_views_and_likes_agree_with_the_reference(self, database: Database, author: User, seed: int) -> None:
        chance = random.Random(seed)
        posts = [
            await create_post(
                author=author,
                status=chance.choice([PUBLISHED, PUBLISHED, PostStatus.ARCHIVED]),
                published_at=TODAY - timedelta(days=chance.randint(0, 4)),
            )
            for _ in range(60)
        ]
        views = [
            PostViews(post_id=post.id, day=TODAY - timedelta(days=day), views_count=chance.randint(0, 4))
            for post in posts
            for day in chance.sample(range(12), 3)
        ]
        likes = [
            Like(
                kind=LikeKind.POST,
                subject_id=chance.choice(posts).id,
                user_id=PydanticObjectId(),
                created_at=NOW - timedelta(hours=chance.randint(0, 300)),
            )
            for _ in range(60)
        ]
        await PostViews.collection().insert_many([row.row() for row in views])
        await Like.collection().insert_many([row.row() for row in likes])

        for days, limit in ((1, 5), (7, 3), (7, 10), (30, 50)):
            since = TODAY - timedelta(days=days)
            points = {
                post.id: sum(row.views_count for row in views if row.post_id == post.id and row.day >= since)
                + 5 * sum(1 for row in likes if row.subject_id == post.id and row.created_at >= since)
                for post in posts
                if post.status is PUBLISHED
            }
            ranked = sorted(
                (post for post in posts if points.get(post.id)),
                key=lambda post: (points[post.id], post.published_at, post.id),
                reverse=True,
            )

            found = await PopularityService.get_popular_posts(days=days, limit=limit, now=NOW)

            assert [post.id for post in found] == [post.id for post in ranked[:limit]]
