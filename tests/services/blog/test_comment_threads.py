"""Reading the comments of a post."""

import pytest
from beanie import PydanticObjectId

from models.blog.comments import Comment, CommentStatus
from models.blog.posts import PostStatus
from models.database import Database
from services.blog.comment_states import CommentNotFoundError
from services.blog.comments import CommentService
from services.blog.reading import PostNotFoundError
from services.pagination import InvalidCursorError, InvalidPageError
from tests.commands import CommandLog
from tests.factories.blog import create_post
from tests.factories.comments import create_comment
from tests.factories.users import create_user
from tests.services.blog.test_comments import CURSORS, published


class TestListThreads:
    async def test_newest_thread_first_with_its_replies_oldest_first(self, database: Database) -> None:
        post = await published()
        old = await create_comment(post=post)
        new = await create_comment(post=post)
        first = await create_comment(parent=old)
        second = await create_comment(parent=first)
        third = await create_comment(parent=old)
        await create_comment(post=await published())

        page = await CommentService.list_threads(post.id, cursors=CURSORS)

        assert [thread.id for thread in page.items] == [new.id, old.id]
        assert [reply.id for reply in page.items[1].replies] == [first.id, second.id, third.id]
        assert [reply.depth for reply in page.items[1].replies] == [1, 2, 1]
        assert (page.items[1].replies_count, page.items[1].descendants_count) == (2, 3)
        assert page.items[0].replies == []
        assert page.next_cursor is None

    async def test_empty_under_a_post_without_comments(self, database: Database, commands: CommandLog) -> None:
        post = await published()

        with commands.counting() as sent:
            page = await CommentService.list_threads(post.id, cursors=CURSORS)

        assert (page.items, page.next_cursor) == ([], None)
        assert len(sent) == 2

    async def test_only_approved_comments_are_shown(self, database: Database) -> None:
        post = await published()
        shown = await create_comment(post=post)
        for status in CommentStatus:
            if status is not CommentStatus.APPROVED:
                await create_comment(post=post, status=status)
                await create_comment(parent=shown, status=status)

        page = await CommentService.list_threads(post.id, cursors=CURSORS)

        assert [thread.id for thread in page.items] == [shown.id]
        assert page.items[0].replies == []

    @pytest.mark.parametrize("status", [status for status in CommentStatus if status is not CommentStatus.APPROVED])
    async def test_withdrawn_comment_keeps_its_place_above_approved_ones_without_its_text(
        self, database: Database, status: CommentStatus
    ) -> None:
        post = await published()
        author = await create_user()
        root = await create_comment(post=post, author_id=author.id, content="regretted", author_website="https://a.example")
        middle = await create_comment(parent=root, author_id=author.id, content="regretted")
        leaf = await create_comment(parent=middle)
        for withdrawn in (root, middle):
            await Comment.collection().update_one({"_id": withdrawn.id}, {"$set": {"status": status}})

        page = await CommentService.list_threads(post.id, cursors=CURSORS)
        replies = await CommentService.list_replies(root.id, cursors=CURSORS)

        assert [thread.id for thread in page.items] == [root.id]
        assert [reply.id for reply in page.items[0].replies] == [middle.id, leaf.id]
        for shown in (page.items[0], page.items[0].replies[0], replies.items[0]):
            assert shown.status is CommentStatus.DELETED
            assert (shown.content_html, shown.author, shown.author_name, shown.author_website) == ("", None, "", None)
        assert page.items[0].replies[1].content_html != ""

    async def test_pages_follow_each_other_without_gap_or_repeat(self, database: Database) -> None:
        post = await published()
        made = [(await create_comment(post=post)).id for _ in range(5)]

        seen, cursor = [], None
        for _ in range(3):
            page = await CommentService.list_threads(post.id, cursors=CURSORS, cursor=cursor, limit=2)
            seen.append([thread.id for thread in page.items])
            cursor = page.next_cursor

        assert seen == [[made[4], made[3]], [made[2], made[1]], [made[0]]]
        assert cursor is None

    async def test_ten_replies_come_along_and_the_cursor_leads_on(self, database: Database) -> None:
        post = await published()
        root = await create_comment(post=post)
        made = [(await create_comment(parent=root)).id for _ in range(13)]
        other = await create_comment(post=post)
        ten = [(await create_comment(parent=other)).id for _ in range(10)]

        page = await CommentService.list_threads(post.id, cursors=CURSORS)
        full, long = page.items
        rest = await CommentService.list_replies(root.id, cursors=CURSORS, cursor=long.replies_cursor)

        assert [reply.id for reply in long.replies] == made[:10]
        assert long.has_more_replies
        assert [reply.id for reply in rest.items] == made[10:]
        assert rest.next_cursor is None
        assert [reply.id for reply in full.replies] == ten
        assert (full.has_more_replies, full.replies_cursor) == (False, None)

    async def test_names_come_from_the_accounts_and_leave_with_them(self, database: Database) -> None:
        post = await published()
        here = await create_user(first_name="Grace", last_name="Hopper")
        gone = await create_user(is_active=False)
        await create_comment(post=post, author_id=here.id)
        await create_comment(post=post, author_id=gone.id)

        page = await CommentService.list_threads(post.id, cursors=CURSORS)

        assert [(thread.author_name, thread.author is None) for thread in page.items] == [("", True), ("Grace Hopper", False)]

    async def test_budget_does_not_grow_with_the_page(self, database: Database, commands: CommandLog) -> None:
        post = await published()
        for _ in range(6):
            root = await create_comment(post=post, author_id=(await create_user()).id)
            for _ in range(3):
                await create_comment(parent=root, author_id=(await create_user()).id)

        with commands.counting() as cold:
            await CommentService.list_threads(post.id, cursors=CURSORS)
        with commands.counting() as warm:
            await CommentService.list_threads(post.id, cursors=CURSORS)

        assert warm.sent == ["find posts", "aggregate comments", "aggregate comments"]
        assert len(cold) == 4  # and the names

    async def test_unpublished_post_shows_none(self, database: Database) -> None:
        post = await create_post(status=PostStatus.ARCHIVED)
        root = await create_comment(post=post)

        with pytest.raises(PostNotFoundError):
            await CommentService.list_threads(post.id, cursors=CURSORS)
        with pytest.raises(PostNotFoundError):
            await CommentService.list_replies(root.id, cursors=CURSORS)

    async def test_foreign_cursor_and_impossible_limit_are_refused(self, database: Database) -> None:
        post, other = await published(), await published()
        for _ in range(2):
            await create_comment(post=other)
        cursor = (await CommentService.list_threads(other.id, cursors=CURSORS, limit=1)).next_cursor

        with pytest.raises(InvalidCursorError):
            await CommentService.list_threads(post.id, cursors=CURSORS, cursor=cursor)
        with pytest.raises(InvalidPageError):
            await CommentService.list_threads(post.id, cursors=CURSORS, limit=101)


class TestListReplies:
    async def test_pages_oldest_first_within_the_budget(self, database: Database, commands: CommandLog) -> None:
        root = await create_comment(post=await published())
        made = [(await create_comment(parent=root)).id for _ in range(3)]

        first = await CommentService.list_replies(root.id, cursors=CURSORS, limit=2)
        with commands.counting() as sent:
            last = await CommentService.list_replies(root.id, cursors=CURSORS, limit=2, cursor=first.next_cursor)

        assert [[reply.id for reply in page.items] for page in (first, last)] == [made[:2], made[2:]]
        assert last.next_cursor is None
        assert sent.sent == ["find comments", "find posts", "aggregate comments"]

    async def test_only_a_shown_root_has_replies(self, database: Database) -> None:
        post = await published()
        root = await create_comment(post=post)
        reply = await create_comment(parent=root)
        waiting = await create_comment(post=post, status=CommentStatus.PENDING)

        for comment_id in (reply.id, waiting.id, PydanticObjectId()):
            with pytest.raises(CommentNotFoundError):
                await CommentService.list_replies(comment_id, cursors=CURSORS)
