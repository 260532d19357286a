"""Likes and follows: idempotent, counted once, and right under contention."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from beanie import PydanticObjectId

from models.base import AgoraDocument
from models.blog.comments import CommentStatus
from models.blog.posts import Post, PostStatus
from models.database import Database, Session, run_transaction
from models.events import Event, EventType
from models.social import Follow, FollowState, Like, LikeKind, LikeState
from models.users import AuthorName, User
from services import social
from services.blog.comment_states import CommentNotFoundError
from services.blog.reading import PostNotFoundError
from services.pagination import CursorCodec, InvalidCursorError, InvalidPageError
from services.social import FollowService, LikeService, PersonNotFoundError, SelfFollowError
from services.users.permissions import Viewer
from tests import races
from tests.commands import CommandLog
from tests.factories.blog import create_post
from tests.factories.comments import create_comment, create_follow, create_like
from tests.factories.users import create_user, viewer_of

CURSORS = CursorCodec(b"0" * 32)
CALLERS = 50


async def published() -> Post:
    return await create_post(status=PostStatus.PUBLISHED)


async def someone() -> Viewer:
    return viewer_of(await create_user())


async def stored(document: AgoraDocument) -> dict[str, Any]:
    row = await type(document).find_row({"_id": document.id})
    assert row is not None
    return row


@pytest.fixture(params=["queued", "colliding"])
def rounds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> range:
    """Callers of one process queue for hot documents; those of several processes collide in the server. Both must be right."""
    if request.param == "queued":
        return range(races.rounds(2, 5))
    # Callers that collide cost a multiple of those that queue.
    monkeypatch.setattr(sys.modules[__name__], "CALLERS", races.rounds(16, CALLERS))

    async def collide(work: Callable[[Session], Awaitable[object]], *, hot: Sequence[object] = ()) -> object:
        return await run_transaction(work)

    monkeypatch.setattr(social, "run_transaction", collide)
    return range(1)


class TestLike:
    async def test_soc_2_like_is_counted_and_told(self, database: Database) -> None:
        post = await published()
        viewer = await someone()

        state = await LikeService.like(post.id, kind=LikeKind.POST, viewer=viewer)

        assert state == LikeState(liked=True, likes_count=1)
        assert (await stored(post))["likes_count"] == 1
        (like,) = await Like.find_rows({})
        assert (like["kind"], like["subject_id"], like["user_id"]) == (LikeKind.POST, post.id, viewer.user_id)
        (event,) = await Event.find_rows({})
        assert (event["type"], event["subject"], event["actor_id"]) == (
            EventType.POST_LIKED,
            f"post:{post.id}",
            viewer.user_id,
        )
        assert event["payload"] == {"post_id": str(post.id), "author_id": str(post.author_id)}
        assert await LikeService.is_liked(post.id, viewer=viewer)
        assert not await LikeService.is_liked(post.id, viewer=await someone())

    async def test_soc_4_comments_are_liked_by_the_same_mechanism(self, database: Database) -> None:
        comment = await create_comment(post=await published())

        state = await LikeService.like(comment.id, kind=LikeKind.COMMENT, viewer=await someone())

        assert state == LikeState(liked=True, likes_count=1)
        assert (await stored(comment))["likes_count"] == 1
        (event,) = await Event.find_rows({})
        assert (event["type"], event["subject"]) == (EventType.COMMENT_LIKED, f"comment:{comment.id}")

    async def test_again_changes_nothing(self, database: Database) -> None:
        post = await published()
        viewer = await someone()

        states = [await LikeService.like(post.id, kind=LikeKind.POST, viewer=viewer) for _ in range(3)]

        assert states == [LikeState(liked=True, likes_count=1)] * 3
        assert (await stored(post))["likes_count"] == 1
        assert len(await Event.find_rows({})) == 1

    async def test_blg_s10_what_is_not_public_cannot_be_liked(self, database: Database) -> None:
        viewer = await someone()
        draft = await create_post(status=PostStatus.DRAFT)
        comment = await create_comment(post=draft)
        waiting = await create_comment(post=await published(), status=CommentStatus.PENDING)

        for post_id in (draft.id, PydanticObjectId(), waiting.id):
            for act in (LikeService.like, LikeService.unlike, LikeService.toggle_like):
                with pytest.raises(PostNotFoundError):
                    await act(post_id, kind=LikeKind.POST, viewer=viewer)
        for comment_id, error in (
            (waiting.id, CommentNotFoundError),
            (PydanticObjectId(), CommentNotFoundError),
            (comment.id, PostNotFoundError),
        ):
            with pytest.raises(error):
                await LikeService.like(comment_id, kind=LikeKind.COMMENT, viewer=viewer)

        assert await Like.find_rows({}) == []
        assert await Event.find_rows({}) == []

    async def test_blg_s10_fifty_people_are_fifty_likes(self, database: Database, rounds: range) -> None:
        people = [await someone() for _ in range(CALLERS)]
        for _ in rounds:
            post = await published()

            await asyncio.gather(*(LikeService.like(post.id, kind=LikeKind.POST, viewer=viewer) for viewer in people))

            assert (await stored(post))["likes_count"] == CALLERS
            assert len(await Like.find_rows({"subject_id": post.id})) == CALLERS

    async def test_blg_s10_one_person_fifty_times_at_once_is_one_like(self, database: Database, rounds: range) -> None:
        viewer = await someone()
        for _ in rounds:
            post = await published()

            states = await asyncio.gather(*(LikeService.like(post.id, kind=LikeKind.POST, viewer=viewer) for _ in range(CALLERS)))

            assert set(states) == {LikeState(liked=True, likes_count=1)}
            assert (await stored(post))["likes_count"] == 1
            assert len(await Event.find_rows({"subject": f"post:{post.id}"})) == 1

    async def test_budget(self, database: Database, commands: CommandLog) -> None:
        post = await published()
        viewer = await someone()

        with commands.counting() as sent:
            await LikeService.like(post.id, kind=LikeKind.POST, viewer=viewer)

        assert sent.sent == [
            "find posts",
            "find likes",
            "insert likes",
            "findAndModify posts",
            "bulkWrite 1",
            "commitTransaction 1",
        ]


class TestUnlike:
    async def test_takes_the_like_back(self, database: Database) -> None:
        post = await published()
        user = await create_user()
        await create_like(post, user)
        await create_like(post, await create_user())

        state = await LikeService.unlike(post.id, kind=LikeKind.POST, viewer=viewer_of(user))

        assert state == LikeState(liked=False, likes_count=1)
        assert (await stored(post))["likes_count"] == 1
        assert [row["type"] for row in await Event.find_rows({})] == [EventType.POST_UNLIKED]

    async def test_without_a_like_nothing_changes_and_no_count_goes_below_zero(self, database: Database) -> None:
        post = await published()

        state = await LikeService.unlike(post.id, kind=LikeKind.POST, viewer=await someone())

        assert state == LikeState(liked=False, likes_count=0)
        assert (await stored(post))["likes_count"] == 0
        assert await Event.find_rows({}) == []

    async def test_blg_s10_fifty_times_at_once_counts_down_once(self, database: Database, rounds: range) -> None:
        user = await create_user()
        for _ in rounds:
            post = await published()
            await create_like(post, user)

            await asyncio.gather(
                *(LikeService.unlike(post.id, kind=LikeKind.POST, viewer=viewer_of(user)) for _ in range(CALLERS))
            )

            assert (await stored(post))["likes_count"] == 0
            assert await Like.find_rows({"subject_id": post.id}) == []


class TestToggleLike:
    async def test_turns_over_each_time(self, database: Database) -> None:
        post = await published()
        viewer = await someone()

        states = [await LikeService.toggle_like(post.id, kind=LikeKind.POST, viewer=viewer) for _ in range(3)]

        assert [(state.liked, state.likes_count) for state in states] == [(True, 1), (False, 0), (True, 1)]

    async def test_blg_s10_fifty_turns_at_once_end_where_they_began(self, database: Database, rounds: range) -> None:
        viewer = await someone()
        for _ in rounds:
            post = await published()

            states = await asyncio.gather(
                *(LikeService.toggle_like(post.id, kind=LikeKind.POST, viewer=viewer) for _ in range(CALLERS))
            )

            assert sum(state.liked for state in states) == CALLERS // 2
            assert {state.likes_count for state in states} == {0, 1}
            assert (await stored(post))["likes_count"] == 0
            assert await Like.find_rows({"subject_id": post.id}) == []

    async def test_blg_s10_liking_unliking_and_turning_at_once_leaves_the_count_right(
        self, database: Database, rounds: range
    ) -> None:
        viewer = await someone()
        acts = [LikeService.like, LikeService.unlike, LikeService.toggle_like]
        for _ in rounds:
            comment = await create_comment(post=await published())

            await asyncio.gather(*(acts[n % 3](comment.id, kind=LikeKind.COMMENT, viewer=viewer) for n in range(CALLERS)))

            likes = await Like.find_rows({"subject_id": comment.id})
            assert len(likes) in (0, 1)
            assert (await stored(comment))["likes_count"] == len(likes)


class TestFollow:
    async def test_blg_s11_counts_at_both_ends_and_tells(self, database: Database) -> None:
        follower, followed = await create_user(), await create_user()

        state = await FollowService.follow(followed.username.upper(), viewer=viewer_of(follower))

        assert state == FollowState(is_following=True, followers_count=1)
        assert ((await stored(follower))["following_count"], (await stored(follower))["followers_count"]) == (1, 0)
        assert ((await stored(followed))["following_count"], (await stored(followed))["followers_count"]) == (0, 1)
        (event,) = await Event.find_rows({})
        assert (event["type"], event["subject"], event["actor_id"]) == (
            EventType.USER_FOLLOWED,
            f"user:{followed.id}",
            follower.id,
        )
        assert event["payload"] == {"follower_id": str(follower.id), "following_id": str(followed.id)}
        assert await FollowService.is_following(followed.username, viewer=viewer_of(follower))
        assert not await FollowService.is_following(follower.username, viewer=viewer_of(followed))

    async def test_again_changes_nothing(self, database: Database) -> None:
        follower, followed = await create_user(), await create_user()

        for _ in range(3):
            state = await FollowService.follow(followed.username, viewer=viewer_of(follower))

        assert state == FollowState(is_following=True, followers_count=1)
        assert (await stored(follower))["following_count"] == 1
        assert len(await Event.find_rows({})) == 1

    async def test_blg_s11_not_oneself_and_nobody_who_is_not_there(self, database: Database) -> None:
        user = await create_user()
        gone = await create_user(is_active=False)

        for act in (FollowService.follow, FollowService.unfollow, FollowService.toggle_follow):
            with pytest.raises(SelfFollowError):
                await act(user.username, viewer=viewer_of(user))
            for username in (gone.username, "nobody", "$where"):
                with pytest.raises(PersonNotFoundError):
                    await act(username, viewer=viewer_of(user))

        assert await Follow.find_rows({}) == []
        assert (await stored(user))["following_count"] == 0

    async def test_blg_s11_fifty_followers_at_once_are_counted_once_each(self, database: Database, rounds: range) -> None:
        people = [await create_user() for _ in range(CALLERS)]
        for _ in rounds:
            followed = await create_user()

            await asyncio.gather(*(FollowService.follow(followed.username, viewer=viewer_of(user)) for user in people))

            assert (await stored(followed))["followers_count"] == CALLERS
            assert len(await Follow.find_rows({"following_id": followed.id})) == CALLERS

    async def test_blg_s11_two_who_follow_and_leave_each_other_at_once(self, database: Database, rounds: range) -> None:
        acts = [FollowService.follow, FollowService.unfollow, FollowService.toggle_follow]
        for _ in rounds:
            pair = [await create_user(), await create_user()]

            await asyncio.gather(
                *(acts[n // 2 % 3](pair[n % 2].username, viewer=viewer_of(pair[1 - n % 2])) for n in range(CALLERS))
            )

            for person in pair:
                row = await stored(person)
                assert row["followers_count"] == len(await Follow.find_rows({"following_id": person.id}))
                assert row["following_count"] == len(await Follow.find_rows({"follower_id": person.id}))

    async def test_budget(self, database: Database, commands: CommandLog) -> None:
        follower, followed = await create_user(), await create_user()

        with commands.counting() as sent:
            await FollowService.follow(followed.username, viewer=viewer_of(follower))

        assert sent.sent == [
            "find users",
            "find follows",
            "insert follows",
            "findAndModify users",
            "findAndModify users",
            "bulkWrite 1",
            "commitTransaction 1",
        ]


class TestUnfollow:
    async def test_counts_down_at_both_ends_once(self, database: Database) -> None:
        follower, followed = await create_user(), await create_user()
        await create_follow(follower, followed)

        for _ in range(2):
            state = await FollowService.unfollow(followed.username, viewer=viewer_of(follower))

        assert state == FollowState(is_following=False, followers_count=0)
        assert (await stored(follower))["following_count"] == 0
        assert (await stored(followed))["followers_count"] == 0
        assert [row["type"] for row in await Event.find_rows({})] == [EventType.USER_UNFOLLOWED]


class TestToggleFollow:
    async def test_blg_s11_fifty_turns_at_once_end_where_they_began(self, database: Database, rounds: range) -> None:
        for _ in rounds:
            follower, followed = await create_user(), await create_user()

            states = await asyncio.gather(
                *(FollowService.toggle_follow(followed.username, viewer=viewer_of(follower)) for _ in range(CALLERS))
            )

            assert sum(state.is_following for state in states) == CALLERS // 2
            assert await Follow.find_rows({"follower_id": follower.id}) == []
            assert (await stored(followed))["followers_count"] == 0
            assert (await stored(follower))["following_count"] == 0


class TestListFollowers:
    async def test_newest_first_by_cursor_without_those_who_are_gone(self, database: Database, commands: CommandLog) -> None:
        followed = await create_user()
        people: list[User] = []
        for n in range(5):
            people.append(await create_user(first_name="Ada", last_name=str(n), is_active=n != 2))
            await create_follow(people[n], followed)

        first = await FollowService.list_followers(followed.username, cursors=CURSORS, limit=3)
        with commands.counting() as sent:
            last = await FollowService.list_followers(followed.username, cursors=CURSORS, cursor=first.next_cursor, limit=3)

        assert [person.full_name for person in first.items] == ["Ada 4", "Ada 3"]
        assert last.items == [
            AuthorName(id=people[1].id, username=people[1].username, full_name="Ada 1", avatar_url=None),
            AuthorName(id=people[0].id, username=people[0].username, full_name="Ada 0", avatar_url=None),
        ]
        assert last.next_cursor is None
        assert sent.sent == ["find users", "find follows", "find users"]

    async def test_empty(self, database: Database) -> None:
        page = await FollowService.list_followers((await create_user()).username, cursors=CURSORS)

        assert (page.items, page.next_cursor) == ([], None)

    async def test_unknown_person_foreign_cursor_and_impossible_limit(self, database: Database) -> None:
        one, other = await create_user(), await create_user()
        for person in (one, other):
            for _ in range(2):
                await create_follow(await create_user(), person)
        cursor = (await FollowService.list_followers(one.username, cursors=CURSORS, limit=1)).next_cursor

        with pytest.raises(PersonNotFoundError):
            await FollowService.list_followers("nobody", cursors=CURSORS)
        with pytest.raises(InvalidCursorError):
            await FollowService.list_followers(other.username, cursors=CURSORS, cursor=cursor)
        with pytest.raises(InvalidCursorError):
            await FollowService.list_following(one.username, cursors=CURSORS, cursor=cursor)
        with pytest.raises(InvalidPageError):
            await FollowService.list_followers(one.username, cursors=CURSORS, limit=0)


class TestListFollowing:
    async def test_newest_first(self, database: Database) -> None:
        follower, one, two = await create_user(), await create_user(), await create_user()
        await create_follow(follower, one)
        await create_follow(follower, two)
        await create_follow(one, follower)

        page = await FollowService.list_following(follower.username, cursors=CURSORS)

        assert [person.username for person in page.items] == [two.username, one.username]
