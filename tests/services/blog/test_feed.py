"""The feed of the people one follows."""

from datetime import UTC, datetime, timedelta

import pytest

from models.blog.posts import PostStatus, PostViews
from models.database import Database
from models.social import Follow
from models.users import User
from services.blog import feed
from services.blog.feed import FeedPage, FeedService, FeedSource
from services.pagination import CursorCodec, InvalidCursorError
from tests.commands import CommandLog
from tests.factories.blog import EPOCH, create_post
from tests.factories.users import create_user, viewer_of

CURSORS = CursorCodec(b"secret")
PUBLISHED = PostStatus.PUBLISHED


@pytest.fixture
async def reader(database: Database) -> User:
    return await create_user(username="reader")


async def follow(follower: User, following: User) -> None:
    await Follow(follower_id=follower.id, following_id=following.id).store()


async def read(reader: User, *, cursor: str | None = None, limit: int = 20) -> FeedPage:
    return await FeedService.get_user_feed(viewer_of(reader), cursors=CURSORS, cursor=cursor, limit=limit)


class TestGetUserFeed:
    async def test_blg_s14_published_posts_of_followed_people_newest_first(self, reader: User) -> None:
        jane, john, stranger = await create_user(), await create_user(), await create_user()
        await follow(reader, jane)
        await follow(reader, john)
        await follow(stranger, stranger)
        await create_post(author=jane, status=PUBLISHED, title="First")
        await create_post(author=stranger, status=PUBLISHED, title="Of a stranger")
        await create_post(author=reader, status=PUBLISHED, title="One's own")
        await create_post(author=john, status=PUBLISHED, title="Second")
        await create_post(author=john, status=PostStatus.DRAFT, title="Draft")
        await create_post(author=jane, status=PostStatus.ARCHIVED, title="Archived")
        await create_post(author=jane, status=PUBLISHED, title="Third")

        page = await read(reader)

        assert [post.title for post in page.items] == ["Third", "Second", "First"]
        assert (page.source, page.next_cursor) == (FeedSource.FOLLOWING, None)
        assert [post.author.id for post in page.items if post.author] == [jane.id, john.id, jane.id]

    async def test_blg_s14_cursors_walk_the_whole_feed_once_across_ties(self, reader: User) -> None:
        jane = await create_user()
        await follow(reader, jane)
        posts = [
            await create_post(author=jane, status=PUBLISHED, published_at=EPOCH + timedelta(days=number // 4))
            for number in range(11)
        ]

        seen, cursor = [], None
        for _ in range(4):
            page = await read(reader, cursor=cursor, limit=3)
            seen.append([post.id for post in page.items])
            cursor = page.next_cursor

        expected = [post.id for post in sorted(posts, key=lambda post: (post.published_at, post.id), reverse=True)]
        assert seen == [expected[0:3], expected[3:6], expected[6:9], expected[9:11]]
        assert cursor is None

    async def test_blg_s14_a_post_published_while_reading_moves_nothing(self, reader: User) -> None:
        jane = await create_user()
        await follow(reader, jane)
        for number in range(4):
            await create_post(author=jane, status=PUBLISHED, title=f"Post {number}", published_at=EPOCH + timedelta(days=number))
        first = await read(reader, limit=2)
        await create_post(author=jane, status=PUBLISHED, title="Between", published_at=EPOCH + timedelta(days=9))

        second = await read(reader, cursor=first.next_cursor, limit=2)

        assert [post.title for post in second.items] == ["Post 1", "Post 0"]

    async def test_blg_s14_who_follows_nobody_gets_what_is_popular(self, reader: User) -> None:
        post = await create_post(author=await create_user(), status=PUBLISHED, title="Read by all")
        await create_post(author=await create_user(), status=PUBLISHED, title="Read by none")
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        await PostViews(post_id=post.id, day=today, views_count=3).store()

        page = await read(reader, limit=100)

        assert [post.title for post in page.items] == ["Read by all"]
        assert (page.source, page.next_cursor) == (FeedSource.POPULAR, None)

    async def test_blg_s14_followed_but_silent_is_an_empty_feed(self, reader: User) -> None:
        await follow(reader, await create_user())
        await create_post(author=await create_user(), status=PUBLISHED)

        page = await read(reader)

        assert (page.items, page.source, page.next_cursor) == ([], FeedSource.FOLLOWING, None)

    async def test_blg_s14_of_too_many_followed_people_the_latest_count(
        self, reader: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(feed, "MAX_FOLLOWED", 2)
        for name in ("One", "Two", "Three"):
            author = await create_user()
            await follow(reader, author)
            await create_post(author=author, status=PUBLISHED, title=name)

        assert [post.title for post in (await read(reader)).items] == ["Three", "Two"]

    async def test_cursors_of_others_and_made_up_ones_are_refused(self, reader: User) -> None:
        jane, other = await create_user(), await create_user()
        for follower in (reader, other):
            await follow(follower, jane)
        for _ in range(2):
            await create_post(author=jane, status=PUBLISHED)
        theirs = (await read(other, limit=1)).next_cursor

        for cursor in (theirs, "", "nonsense", "ä", "A" * 400):
            with pytest.raises(InvalidCursorError):
                await read(reader, cursor=cursor)

    async def test_costs_two_commands(self, reader: User, commands: CommandLog) -> None:
        jane = await create_user()
        await follow(reader, jane)
        for _ in range(30):
            await create_post(author=jane, status=PUBLISHED)
        await read(reader)

        with commands.counting() as sent:
            page = await read(reader)

        assert sent.sent == ["find follows", "find posts"]
        assert len(page.items) == 20
