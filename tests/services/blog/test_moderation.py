"""The moderation queue, what moderators do with comments one by one and in bulk, and the counters under contention."""

import asyncio

import pytest
from beanie import PydanticObjectId

from models.audit import AuditEntry
from models.blog.comments import Comment, CommentStatus, ModerationAction
from models.blog.posts import Post, PostStatus
from models.database import Database
from models.events import Event, EventType
from models.users import Role
from services.blog.comment_states import CommentDeletedError, CommentNotFoundError, move_comment
from services.blog.comments import CommentService
from services.blog.moderation import ModerationService, TooManyCommentsError
from services.errors import PermissionDeniedError, PreconditionError
from services.pagination import CursorCodec, InvalidCursorError
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.blog import create_post
from tests.factories.comments import create_comment, make_comment
from tests.factories.users import create_user, viewer_of

CURSORS = CursorCodec(b"0" * 32)
CALLERS = 50
ROUNDS = 3


async def published() -> Post:
    return await create_post(status=PostStatus.PUBLISHED)


async def someone(role: Role = Role.EDITOR) -> Viewer:
    return viewer_of(await create_user(role=role))


async def status_of(comment: Comment) -> str:
    row = await Comment.find_row({"_id": comment.id}, {"status": 1})
    assert row is not None
    status: str = row["status"]
    return status


async def assert_counters_equal_recount() -> None:
    """Every counter of comments, recounted in Python from the stored rows."""
    comments = await Comment.find_rows({})
    approved = [row for row in comments if row["status"] == "approved"]
    for post in await Post.find_rows({}, {"comments_count": 1}):
        assert post["comments_count"] == sum(row["post_id"] == post["_id"] for row in approved)
    for comment in comments:
        assert comment["replies_count"] == sum(row["parent_id"] == comment["_id"] for row in approved)
        assert comment["descendants_count"] == sum(comment["_id"] in row["ancestor_ids"] for row in approved)


class TestModerate:
    @pytest.mark.parametrize("before", [status for status in CommentStatus if status is not CommentStatus.DELETED])
    @pytest.mark.parametrize(
        ("action", "after"),
        [
            (ModerationAction.APPROVE, CommentStatus.APPROVED),
            (ModerationAction.REJECT, CommentStatus.REJECTED),
            (ModerationAction.SPAM, CommentStatus.SPAM),
            (ModerationAction.DELETE, CommentStatus.DELETED),
        ],
    )
    async def test_blg_s8_counts_mean_approved_whatever_the_way(
        self, database: Database, before: CommentStatus, action: ModerationAction, after: CommentStatus
    ) -> None:
        post = await published()
        root = await create_comment(post=post)
        middle = await create_comment(parent=root)
        comment = await create_comment(parent=middle, status=before)
        editor = await someone()

        moved = await ModerationService.moderate(comment.id, action, viewer=editor)

        assert moved.status == await status_of(comment) == after
        await assert_counters_equal_recount()
        events = [row["type"] for row in await Event.find_rows({})]
        was, is_now = before is CommentStatus.APPROVED, after is CommentStatus.APPROVED
        if was == is_now:
            assert events == []
        else:
            assert events == [EventType.COMMENT_APPROVED if is_now else EventType.COMMENT_WITHDRAWN]
        log = [(row["action"], row["actor_id"]) for row in await AuditEntry.find_rows({})]
        assert log == ([] if before is after else [(f"comment.{after}", editor.user_id)])

    async def test_again_changes_nothing(self, database: Database) -> None:
        comment = await create_comment(post=await published(), status=CommentStatus.PENDING)
        editor = await someone()

        for _ in range(3):
            await ModerationService.approve(comment.id, viewer=editor)

        await assert_counters_equal_recount()
        assert len(await Event.find_rows({})) == 1
        assert len(await AuditEntry.find_rows({})) == 1

    async def test_deleted_comment_does_not_come_back(self, database: Database) -> None:
        comment = await create_comment(post=await published(), status=CommentStatus.DELETED)

        with pytest.raises(CommentDeletedError):
            await ModerationService.approve(comment.id, viewer=await someone())

        assert await status_of(comment) == CommentStatus.DELETED

    async def test_comment_purged_meanwhile_is_not_found(self, database: Database) -> None:
        with pytest.raises(CommentNotFoundError):
            await move_comment(make_comment(), CommentStatus.SPAM, viewer=await someone(), is_moderation=True)

        assert await AuditEntry.find_rows({}) == []

    async def test_nobody_approves_what_was_rewritten_meanwhile(self, database: Database) -> None:
        comment = await create_comment(post=await published(), status=CommentStatus.PENDING, revision=2)
        editor = await someone()

        with pytest.raises(PreconditionError):
            await ModerationService.approve(comment.id, viewer=editor, revision=1)
        assert await status_of(comment) == CommentStatus.PENDING

        await ModerationService.approve(comment.id, viewer=editor, revision=2)
        assert await status_of(comment) == CommentStatus.APPROVED

    async def test_posts_author_moderates_under_their_own_post_only(self, database: Database) -> None:
        author = await create_user(role=Role.AUTHOR)
        own = await create_comment(
            post=await create_post(author=author, status=PostStatus.PUBLISHED), status=CommentStatus.PENDING
        )
        other = await create_comment(post=await published(), status=CommentStatus.PENDING)

        shown = await ModerationService.approve(own.id, viewer=viewer_of(author))
        with pytest.raises(CommentNotFoundError):
            await ModerationService.approve(other.id, viewer=viewer_of(author))

        assert (shown.content, shown.author_email, shown.address) == (own.content, own.author_email, "198.51.100.7")
        assert (await status_of(own), await status_of(other)) == (CommentStatus.APPROVED, CommentStatus.PENDING)

    async def test_reader_does_not_approve_their_own(self, database: Database) -> None:
        reader = await someone(Role.USER)
        comment = await create_comment(post=await published(), author_id=reader.user_id, status=CommentStatus.PENDING)

        for comment_id in (comment.id, PydanticObjectId()):
            with pytest.raises(CommentNotFoundError):
                await ModerationService.approve(comment_id, viewer=reader)

        assert await status_of(comment) == CommentStatus.PENDING
        assert await AuditEntry.find_rows({}) == []


class TestRaces:
    async def test_fifty_moderators_who_disagree_leave_the_counters_right(self, database: Database) -> None:
        editor = await someone()
        for _ in range(ROUNDS):
            post = await published()
            root = await create_comment(post=post)
            reply = await create_comment(parent=root, status=CommentStatus.PENDING)
            actions = [ModerationAction.APPROVE, ModerationAction.REJECT, ModerationAction.SPAM, ModerationAction.APPROVE]

            await asyncio.gather(
                *(ModerationService.moderate([root, reply][n % 2].id, actions[n // 2 % 4], viewer=editor) for n in range(CALLERS))
            )

            await assert_counters_equal_recount()

    async def test_approving_rejecting_and_deleting_at_once_ends_deleted_and_uncounted(self, database: Database) -> None:
        author = await someone(Role.USER)
        editor = await someone()
        for _ in range(ROUNDS):
            post = await published()
            comment = await create_comment(post=post, author_id=author.user_id, status=CommentStatus.PENDING)

            async def act(number: int, comment: Comment = comment) -> str:
                try:
                    if number % 3 == 0:
                        await ModerationService.approve(comment.id, viewer=editor)
                    elif number % 3 == 1:
                        await ModerationService.reject(comment.id, viewer=editor)
                    else:
                        await CommentService.delete_comment(comment.id, viewer=author)
                except (CommentDeletedError, CommentNotFoundError) as refused:
                    return refused.code
                return "deleted" if number % 3 == 2 else "moved"

            outcomes = await asyncio.gather(*(act(number) for number in range(CALLERS + 1)))

            assert outcomes.count("deleted") == 1
            assert await status_of(comment) == CommentStatus.DELETED
            await assert_counters_equal_recount()

    async def test_fifty_comments_of_one_thread_approved_at_once_are_counted_once_each(self, database: Database) -> None:
        editor = await someone()
        post = await published()
        root = await create_comment(post=post)
        waiting = [await create_comment(parent=root, status=CommentStatus.PENDING) for _ in range(CALLERS)]

        await asyncio.gather(*(ModerationService.approve(comment.id, viewer=editor) for comment in waiting for _ in range(2)))

        row = await Post.find_row({"_id": post.id}, {"comments_count": 1})
        assert row is not None
        assert row["comments_count"] == CALLERS + 1
        await assert_counters_equal_recount()


class TestModerateMany:
    async def test_each_comment_has_its_own_result_and_a_bad_one_does_not_stop_the_rest(self, database: Database) -> None:
        post = await published()
        first = await create_comment(post=post, status=CommentStatus.PENDING)
        deleted = await create_comment(post=post, status=CommentStatus.DELETED)
        missing = PydanticObjectId()
        last = await create_comment(post=post, status=CommentStatus.SPAM)

        results = await ModerationService.moderate_many(
            [first.id, deleted.id, missing, last.id, first.id], ModerationAction.APPROVE, viewer=await someone()
        )

        assert [(result.id, result.status, result.error) for result in results] == [
            (first.id, CommentStatus.APPROVED, None),
            (deleted.id, None, "comment_deleted"),
            (missing, None, "comment_not_found"),
            (last.id, CommentStatus.APPROVED, None),
        ]
        await assert_counters_equal_recount()

    async def test_twenty_are_one_transaction_of_one_command_each(self, database: Database, commands: CommandLog) -> None:
        post, moderator = await published(), await someone()
        waiting = [await create_comment(post=post, status=CommentStatus.PENDING) for _ in range(20)]

        with commands.counting() as sent:
            await ModerationService.moderate_many([comment.id for comment in waiting], ModerationAction.APPROVE, viewer=moderator)

        assert len(sent.sent) <= 20 + 5  # the reading, the late writes, the commit
        await assert_counters_equal_recount()

    async def test_two_moderators_of_the_same_queue_count_each_comment_once(self, database: Database) -> None:
        post, moderator = await published(), await someone()
        waiting = [(await create_comment(post=post, status=CommentStatus.PENDING)).id for _ in range(8)]

        await asyncio.gather(
            *(
                ModerationService.moderate_many(waiting[n:] + waiting[:n], ModerationAction.APPROVE, viewer=moderator)
                for n in range(8)
            ),
            *(ModerationService.reject(comment_id, viewer=moderator) for comment_id in waiting[:2]),
        )

        await assert_counters_equal_recount()

    @pytest.mark.parametrize("count", [0, 101])
    async def test_takes_1_to_100(self, database: Database, count: int) -> None:
        with pytest.raises(TooManyCommentsError):
            await ModerationService.moderate_many(
                [PydanticObjectId() for _ in range(count)], ModerationAction.APPROVE, viewer=await someone()
            )

    async def test_is_for_moderators(self, database: Database) -> None:
        comment = await create_comment(post=await published(), status=CommentStatus.PENDING)

        with pytest.raises(PermissionDeniedError):
            await ModerationService.moderate_many([comment.id], ModerationAction.APPROVE, viewer=await someone(Role.AUTHOR))

        assert await status_of(comment) == CommentStatus.PENDING


class TestListQueue:
    async def test_blg_s9_pending_ones_oldest_first_with_what_only_moderators_see(self, database: Database) -> None:
        post = await published()
        made = [await create_comment(post=post, status=CommentStatus.PENDING) for _ in range(3)]
        await create_comment(post=post)
        editor = await someone()

        first = await ModerationService.list_queue(viewer=editor, cursors=CURSORS, limit=2)
        last = await ModerationService.list_queue(viewer=editor, cursors=CURSORS, limit=2, cursor=first.next_cursor)

        assert [comment.id for comment in first.items] == [made[0].id, made[1].id]
        assert [comment.id for comment in last.items] == [made[2].id]
        assert last.next_cursor is None
        seen = first.items[0]
        assert (seen.content, seen.author_email, seen.address, seen.user_agent) == (
            made[0].content,
            made[0].author_email,
            "198.51.100.7",
            "Test/1.0",
        )

    async def test_empty_when_nothing_waits(self, database: Database) -> None:
        page = await ModerationService.list_queue(viewer=await someone(), cursors=CURSORS)

        assert (page.items, page.next_cursor) == ([], None)

    async def test_filters_by_status_and_post(self, database: Database, commands: CommandLog) -> None:
        post = await published()
        spam = await create_comment(post=post, status=CommentStatus.SPAM)
        await create_comment(post=await published(), status=CommentStatus.SPAM)
        editor = await someone()

        with commands.counting() as sent:
            page = await ModerationService.list_queue(viewer=editor, cursors=CURSORS, status=CommentStatus.SPAM, post_id=post.id)

        assert [comment.id for comment in page.items] == [spam.id]
        assert sent.sent == ["find comments"]

    async def test_author_sees_the_queue_of_their_own_post_and_no_other(self, database: Database) -> None:
        author = await create_user(role=Role.AUTHOR)
        post = await create_post(author=author, status=PostStatus.PUBLISHED)
        waiting = await create_comment(post=post, status=CommentStatus.PENDING)
        foreign = await published()

        page = await ModerationService.list_queue(viewer=viewer_of(author), cursors=CURSORS, post_id=post.id)

        assert [comment.id for comment in page.items] == [waiting.id]
        for post_id in (None, foreign.id, PydanticObjectId()):
            with pytest.raises(PermissionDeniedError):
                await ModerationService.list_queue(viewer=viewer_of(author), cursors=CURSORS, post_id=post_id)

    async def test_cursor_of_another_queue_is_refused(self, database: Database) -> None:
        post = await published()
        for _ in range(2):
            await create_comment(post=post, status=CommentStatus.PENDING)
        editor = await someone()
        cursor = (await ModerationService.list_queue(viewer=editor, cursors=CURSORS, limit=1)).next_cursor

        with pytest.raises(InvalidCursorError):
            await ModerationService.list_queue(viewer=editor, cursors=CURSORS, status=CommentStatus.SPAM, cursor=cursor)
