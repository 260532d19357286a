"""Writing, editing and deleting comments."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from beanie import PydanticObjectId

from models.blog.comments import Comment, CommentRead, CommentStatus, ModerationAction
from models.blog.posts import Post, PostStatus
from models.database import Database
from models.events import Event, EventType
from models.users import Role
from services.blog.bans import BannedFromCommentingError
from services.blog.comment_states import ERASED, CommentDeletedError, CommentNotFoundError
from services.blog.comments import (
    CommentEditWindowClosedError,
    CommentNotEditableError,
    CommentService,
    CommentTooDeepError,
    Guest,
    InvalidCommentError,
)
from services.blog.moderation import ModerationService
from services.blog.reading import PostNotFoundError
from services.errors import PreconditionError
from services.pagination import CursorCodec
from services.settings import Settings
from services.users.permissions import Viewer
from services.users.sessions import ClientInfo
from tests.commands import CommandLog
from tests.factories.blog import create_post
from tests.factories.comments import create_ban, create_comment
from tests.factories.users import create_user, viewer_of

CURSORS = CursorCodec(b"0" * 32)
GUEST = Guest("Ada", "Ada@Example.com", "https://ada.example")
CLIENT = ClientInfo("203.0.113.7", "Test/1.0")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def published() -> Post:
    return await create_post(status=PostStatus.PUBLISHED)


async def someone(role: Role = Role.USER) -> Viewer:
    return viewer_of(await create_user(role=role))


async def stored(comment_id: PydanticObjectId) -> dict[str, Any]:
    row = await Comment.find_row({"_id": comment_id})
    assert row is not None
    return row


async def comments_count(post: Post) -> int:
    row = await Post.find_row({"_id": post.id}, {"comments_count": 1})
    assert row is not None
    count: int = row["comments_count"]
    return count


async def add(post: Post, settings: Settings, content: str = "Well said", **over: Any) -> CommentRead:
    over.setdefault("viewer", None)
    if over["viewer"] is None:
        over.setdefault("guest", GUEST)
    return await CommentService.add_comment(post.id, content=content, settings=settings, client=CLIENT, **over)


class TestAddComment:
    async def test_blg_s8_author_is_the_viewer_and_never_from_the_request(self, database: Database, settings: Settings) -> None:
        post = await published()
        user = await create_user(first_name="Grace", last_name="Hopper")

        comment = await add(post, settings, viewer=viewer_of(user), guest=Guest("Somebody Else", "else@example.com"))

        assert comment.author is not None
        assert comment.author.id == user.id
        assert comment.author_name == "Grace Hopper"
        row = await stored(comment.id)
        assert (row["author_id"], row["author_name"], row["author_email"]) == (user.id, "", None)
        assert (row["address"], row["user_agent"]) == ("203.0.113.7", "Test/1.0")

    async def test_blg_s8_pending_comment_is_counted_nowhere(self, database: Database, settings: Settings) -> None:
        post = await published()
        parent = await create_comment(post=post)

        comment = await add(post, settings, parent_id=parent.id)

        assert comment.status is CommentStatus.PENDING
        assert await comments_count(post) == 1
        row = await stored(parent.id)
        assert (row["replies_count"], row["descendants_count"]) == (0, 0)

    async def test_guest_is_kept_with_name_address_and_site(self, database: Database, settings: Settings) -> None:
        post = await published()

        comment = await add(post, settings, guest=Guest("  Ada\tLovelace ", "Ada@Example.com", "https://ada.example"))

        assert comment.author is None
        assert (comment.author_name, comment.author_website) == ("Ada Lovelace", "https://ada.example")
        assert (await stored(comment.id))["author_email"] == "ada@example.com"

    @pytest.mark.parametrize(
        "guest",
        [
            None,
            Guest("", "ada@example.com"),
            Guest("   ", "ada@example.com"),
            Guest("x" * 101, "ada@example.com"),
            Guest("Ada\u202egnp.exe", "ada@example.com"),
            Guest("Ada", ""),
            Guest("Ada", "no address"),
            Guest("Ada", "ada@example.com", "javascript:alert(1)"),
            Guest("Ada", "ada@example.com", "https://user:pass@example.com"),
            Guest("Ada", "ada@example.com", "https://"),
            Guest("Ada", "ada@example.com", "http://[::1"),
            Guest("Ada", "ada@example.com", "https://example.com/" + "x" * 500),
        ],
    )
    async def test_blg_s8_guest_without_valid_name_address_or_site_is_refused(
        self, database: Database, settings: Settings, guest: Guest | None
    ) -> None:
        post = await published()

        with pytest.raises(InvalidCommentError):
            await add(post, settings, guest=guest)

        assert await Comment.find_rows({}) == []

    @pytest.mark.parametrize("content", ["", "  \n ", "x" * 1001])
    async def test_content_has_1_to_1000_characters(self, database: Database, settings: Settings, content: str) -> None:
        post = await published()

        with pytest.raises(InvalidCommentError):
            await add(post, settings, content)

        assert (await add(post, settings, "x" * 1000)).content_html == f"<p>{'x' * 1000}</p>\n"
        assert len(await Comment.find_rows({})) == 1

    @pytest.mark.parametrize(
        ("content", "forbidden"),
        [
            ("<img src=x onerror=alert(1)>", "<img"),
            ("<scr<script>ipt>alert(1)</scr</script>ipt>", "<script"),
            ("<script>alert(1)", "<script"),
            ("[click](javascript:alert(1))", "href"),
            ("![beacon](https://evil.example/x.gif)", "<img"),
            ("# Loud", "<h1"),
        ],
    )
    async def test_blg_m6_markup_that_acts_does_not_get_through(
        self, database: Database, settings: Settings, content: str, forbidden: str
    ) -> None:
        comment = await add(await published(), settings, content)

        assert forbidden not in comment.content_html

    async def test_markdown_is_rendered_and_links_lend_no_weight(self, database: Database, settings: Settings) -> None:
        comment = await add(await published(), settings, "**See** [this](https://example.com)")

        assert comment.content_html == (
            '<p><strong>See</strong> <a href="https://example.com" rel="nofollow ugc noopener">this</a></p>\n'
        )

    @pytest.mark.parametrize("status", [status for status in PostStatus if status is not PostStatus.PUBLISHED])
    async def test_blg_s8_post_must_be_published(self, database: Database, settings: Settings, status: PostStatus) -> None:
        post = await create_post(status=status)

        with pytest.raises(PostNotFoundError):
            await add(post, settings)
        with pytest.raises(PostNotFoundError):
            await CommentService.add_comment(PydanticObjectId(), content="x", viewer=None, guest=GUEST, settings=settings)

        assert await Comment.find_rows({}) == []
        assert await Event.find_rows({}) == []

    async def test_blg_s8_parent_must_exist_under_the_same_post_and_be_approved(
        self, database: Database, settings: Settings
    ) -> None:
        post = await published()
        elsewhere = await create_comment(post=await published())
        refused = [PydanticObjectId(), elsewhere.id]
        for status in CommentStatus:
            if status is not CommentStatus.APPROVED:
                refused.append((await create_comment(post=post, status=status)).id)

        for parent_id in refused:
            with pytest.raises(CommentNotFoundError):
                await add(post, settings, parent_id=parent_id)

        assert len(await Comment.find_rows({})) == 5

    async def test_blg_s8_replies_go_five_levels_deep(self, database: Database, settings: Settings) -> None:
        post = await published()
        editor = await someone(Role.EDITOR)
        chain = [await add(post, settings, viewer=editor)]
        for _ in range(5):
            chain.append(await add(post, settings, viewer=editor, parent_id=chain[-1].id))

        with pytest.raises(CommentTooDeepError):
            await add(post, settings, viewer=editor, parent_id=chain[-1].id)

        rows = [await stored(comment.id) for comment in chain]
        assert [row["depth"] for row in rows] == [0, 1, 2, 3, 4, 5]
        assert [row["replies_count"] for row in rows] == [1, 1, 1, 1, 1, 0]
        assert [row["descendants_count"] for row in rows] == [5, 4, 3, 2, 1, 0]
        assert [row["root_id"] for row in rows] == [None] + [chain[0].id] * 5
        assert await comments_count(post) == 6

    async def test_moderators_and_the_posts_author_are_approved_at_once(self, database: Database, settings: Settings) -> None:
        author = await create_user(role=Role.AUTHOR)
        post = await create_post(author=author, status=PostStatus.PUBLISHED)

        mine = await add(post, settings, viewer=viewer_of(author))
        editors = await add(post, settings, viewer=await someone(Role.EDITOR))
        others = await add(post, settings, viewer=await someone(Role.AUTHOR))

        assert (mine.status, editors.status, others.status) == (
            CommentStatus.APPROVED,
            CommentStatus.APPROVED,
            CommentStatus.PENDING,
        )
        assert await comments_count(post) == 2

    async def test_everyone_is_approved_at_once_where_comments_are_not_moderated(
        self, database: Database, settings: Settings
    ) -> None:
        post = await published()
        open_house = settings.model_copy(update={"comments_moderated": False})

        assert (await add(post, open_house)).status is CommentStatus.APPROVED
        assert await comments_count(post) == 1

    async def test_events_tell_of_the_comment_and_of_its_approval(self, database: Database, settings: Settings) -> None:
        post = await published()
        user = await someone()
        editor = await someone(Role.EDITOR)

        waiting = await add(post, settings, viewer=user)
        public = await add(post, settings, viewer=editor, parent_id=None)

        rows = await Event.find_rows({}, sort=[("_id", 1)])
        assert [(row["type"], row["subject"], row["actor_id"]) for row in rows] == [
            (EventType.COMMENT_CREATED, f"comment:{waiting.id}", user.user_id),
            (EventType.COMMENT_CREATED, f"comment:{public.id}", editor.user_id),
            (EventType.COMMENT_APPROVED, f"comment:{public.id}", editor.user_id),
        ]
        assert rows[0]["payload"] == {
            "post_id": str(post.id),
            "comment_id": str(waiting.id),
            "parent_id": None,
            "author_id": str(user.user_id),
            "status": "pending",
        }

    async def test_banned_user_guest_and_network_are_refused(self, database: Database, settings: Settings) -> None:
        post = await published()
        user = await someone()
        await create_ban(f"user:{user.user_id}")
        await create_ban("email:ada@example.com")
        await create_ban("address:198.51.100.9")

        with pytest.raises(BannedFromCommentingError):
            await add(post, settings, viewer=user)
        with pytest.raises(BannedFromCommentingError):
            await add(post, settings, guest=Guest("Ada", "ADA@example.COM"))
        with pytest.raises(BannedFromCommentingError):
            await CommentService.add_comment(
                post.id,
                content="x",
                viewer=await someone(),
                settings=settings,
                client=ClientInfo("::ffff:198.51.100.9"),
            )

        assert await Comment.find_rows({}) == []

    async def test_ban_ends_when_it_expires(self, database: Database, settings: Settings) -> None:
        post = await published()
        await create_ban("address:203.0.113.7", expires_at=NOW)

        with pytest.raises(BannedFromCommentingError):
            await add(post, settings, now=NOW - timedelta(milliseconds=1))

        assert (await add(post, settings, now=NOW)).status is CommentStatus.PENDING

    async def test_moderators_are_not_kept_out_by_a_banned_network(self, database: Database, settings: Settings) -> None:
        await create_ban("address:203.0.113.7")

        comment = await add(await published(), settings, viewer=await someone(Role.EDITOR))

        assert comment.status is CommentStatus.APPROVED

    async def test_budget_is_two_reads_and_one_transaction_of_two_writes(
        self, database: Database, settings: Settings, commands: CommandLog
    ) -> None:
        post = await published()
        user = await someone()
        await add(post, settings, viewer=user)  # the author's name and the absence of bans are known now

        with commands.counting() as warm:
            await add(post, settings, viewer=user)
        with commands.counting() as cold:
            await add(post, settings)

        assert warm.sent == ["find posts", "bulkWrite 1", "commitTransaction 1"]
        assert cold.sent == ["find posts", "find comment_bans", "bulkWrite 1", "commitTransaction 1"]


class TestUpdateComment:
    async def test_pending_comment_is_rewritten_and_waits_on(self, database: Database, settings: Settings) -> None:
        user = await someone()
        comment = await add(await published(), settings, viewer=user)

        edited = await CommentService.update_comment(
            comment.id, content="  *Better*  ", viewer=user, settings=settings, revision=1
        )

        assert (edited.content_html, edited.status, edited.revision) == (
            "<p><em>Better</em></p>\n",
            CommentStatus.PENDING,
            2,
        )
        row = await stored(comment.id)
        assert (row["content"], row["edited_at"]) == ("*Better*", edited.edited_at)
        assert edited.edited_at is not None

    async def test_approved_comment_goes_back_to_the_queue_and_out_of_the_counts(
        self, database: Database, settings: Settings
    ) -> None:
        post = await published()
        user = await someone()
        root = await create_comment(post=post)
        reply = await create_comment(parent=root, author_id=user.user_id)

        edited = await CommentService.update_comment(reply.id, content="Spam now", viewer=user, settings=settings)

        assert edited.status is CommentStatus.PENDING
        assert await comments_count(post) == 1
        row = await stored(root.id)
        assert (row["replies_count"], row["descendants_count"]) == (0, 0)
        assert [row["type"] for row in await Event.find_rows({})] == [EventType.COMMENT_WITHDRAWN]

    async def test_approved_comment_of_the_posts_author_stays_public(self, database: Database, settings: Settings) -> None:
        author = await create_user(role=Role.AUTHOR)
        post = await create_post(author=author, status=PostStatus.PUBLISHED)
        comment = await create_comment(post=post, author_id=author.id)

        edited = await CommentService.update_comment(comment.id, content="Corrected", viewer=viewer_of(author), settings=settings)

        assert edited.status is CommentStatus.APPROVED
        assert await comments_count(post) == 1
        assert await Event.find_rows({}) == []

    async def test_window_closes_after_fifteen_minutes(self, database: Database, settings: Settings) -> None:
        user = await someone()
        comment = await create_comment(post=await published(), author_id=user.user_id, created_at=NOW, content="as it was")

        with pytest.raises(CommentEditWindowClosedError):
            await CommentService.update_comment(
                comment.id, content="late", viewer=user, settings=settings, now=NOW + timedelta(minutes=15, milliseconds=1)
            )
        assert (await stored(comment.id))["content"] == "as it was"

        edited = await CommentService.update_comment(
            comment.id, content="just in time", viewer=user, settings=settings, now=NOW + timedelta(minutes=15)
        )
        assert edited.content_html == "<p>just in time</p>\n"

    @pytest.mark.parametrize("role", [Role.USER, Role.SUPER_ADMIN])
    async def test_nobody_puts_words_into_anothers_mouth(self, database: Database, settings: Settings, role: Role) -> None:
        comment = await create_comment(post=await published(), author_id=(await create_user()).id)
        guests = await create_comment(post=await published())

        for comment_id in (comment.id, guests.id, PydanticObjectId()):
            with pytest.raises(CommentNotFoundError):
                await CommentService.update_comment(comment_id, content="x", viewer=await someone(role), settings=settings)

        assert (await stored(comment.id))["revision"] == 1

    async def test_stale_revision_is_refused(self, database: Database, settings: Settings) -> None:
        user = await someone()
        comment = await create_comment(post=await published(), author_id=user.user_id, revision=2, content="as it was")

        with pytest.raises(PreconditionError):
            await CommentService.update_comment(comment.id, content="x", viewer=user, settings=settings, revision=1)

        assert (await stored(comment.id))["content"] == "as it was"

    @pytest.mark.parametrize("status", [CommentStatus.REJECTED, CommentStatus.SPAM])
    async def test_refused_comment_cannot_be_rewritten(
        self, database: Database, settings: Settings, status: CommentStatus
    ) -> None:
        user = await someone()
        comment = await create_comment(post=await published(), author_id=user.user_id, status=status)

        with pytest.raises(CommentNotEditableError):
            await CommentService.update_comment(comment.id, content="x", viewer=user, settings=settings)

        assert (await stored(comment.id))["status"] == status

    async def test_deleted_comment_is_gone(self, database: Database, settings: Settings) -> None:
        user = await someone()
        comment = await create_comment(post=await published(), author_id=user.user_id, status=CommentStatus.DELETED)

        with pytest.raises(CommentNotFoundError):
            await CommentService.update_comment(comment.id, content="x", viewer=user, settings=settings)

    async def test_fifty_edits_approvals_and_deletions_at_once_leave_the_counters_right(
        self, database: Database, settings: Settings
    ) -> None:
        user, editor = await someone(), await someone(Role.EDITOR)
        for _ in range(3):
            post = await published()
            root = await create_comment(post=post)
            comment = await create_comment(parent=root, author_id=user.user_id)

            async def act(number: int, comment: Comment = comment) -> str:
                try:
                    if number % 3 == 0:
                        text = f"Version {number}"
                        await CommentService.update_comment(comment.id, content=text, viewer=user, settings=settings)
                    elif number % 3 == 1:
                        await ModerationService.approve(comment.id, viewer=editor)
                    elif number > 40:
                        await CommentService.delete_comment(comment.id, viewer=user)
                except (CommentNotFoundError, CommentDeletedError) as gone:
                    return gone.code
                return "done"

            await asyncio.gather(*(act(number) for number in range(50)))

            assert await stored(comment.id) | ERASED | {"status": "deleted"} == await stored(comment.id)
            row = await stored(root.id)
            assert (row["replies_count"], row["descendants_count"], await comments_count(post)) == (0, 0, 1)


class TestDeleteComment:
    async def test_text_and_everything_known_of_the_author_are_erased(self, database: Database, settings: Settings) -> None:
        post = await published()
        user = await someone()
        comment = await create_comment(post=post, author_id=user.user_id, author_website="https://a.example")

        await CommentService.delete_comment(comment.id, viewer=user)

        row = await stored(comment.id)
        assert row["status"] == CommentStatus.DELETED
        assert (row["content"], row["content_html"], row["author_name"]) == ("", "", "")
        assert (row["author_email"], row["author_website"], row["address"], row["user_agent"]) == (None, None, None, None)
        assert await comments_count(post) == 0
        with pytest.raises(CommentNotFoundError):
            await CommentService.delete_comment(comment.id, viewer=user)
        assert await comments_count(post) == 0

    async def test_own_old_and_pending_ones_can_be_deleted(self, database: Database) -> None:
        post = await published()
        user = await someone()
        comment = await create_comment(
            post=post, author_id=user.user_id, status=CommentStatus.PENDING, created_at=datetime(2020, 1, 1, tzinfo=UTC)
        )

        await CommentService.delete_comment(comment.id, viewer=user)

        assert (await stored(comment.id))["status"] == CommentStatus.DELETED
        assert await comments_count(post) == 0
        assert await Event.find_rows({}) == []  # it was never public

    async def test_replies_stay_and_stay_counted(self, database: Database) -> None:
        post = await published()
        user = await someone()
        root = await create_comment(post=post, author_id=user.user_id)
        await create_comment(parent=root)

        await CommentService.delete_comment(root.id, viewer=user)

        assert await comments_count(post) == 1
        page = await CommentService.list_threads(post.id, cursors=CURSORS)
        assert [(thread.content_html, len(thread.replies)) for thread in page.items] == [("", 1)]

    async def test_stranger_is_told_nothing_and_changes_nothing(self, database: Database) -> None:
        post = await published()
        comment = await create_comment(post=post, author_id=(await create_user()).id)

        for comment_id in (comment.id, PydanticObjectId()):
            with pytest.raises(CommentNotFoundError):
                await CommentService.delete_comment(comment_id, viewer=await someone(Role.AUTHOR))

        assert (await stored(comment.id))["status"] == CommentStatus.APPROVED
        assert await comments_count(post) == 1

    async def test_moderator_and_the_posts_author_may(self, database: Database) -> None:
        author = await create_user(role=Role.AUTHOR)
        post = await create_post(author=author, status=PostStatus.PUBLISHED)
        one, two = await create_comment(post=post), await create_comment(post=post)

        await CommentService.delete_comment(one.id, viewer=viewer_of(author))
        await CommentService.delete_comment(two.id, viewer=await someone(Role.EDITOR))

        assert await comments_count(post) == 0

    async def test_deleted_comment_does_not_come_back(self, database: Database) -> None:
        post = await published()
        comment = await create_comment(post=post, status=CommentStatus.DELETED)

        results = await ModerationService.moderate_many([comment.id], ModerationAction.APPROVE, viewer=await someone(Role.EDITOR))

        assert [result.error for result in results] == ["comment_deleted"]
        assert await comments_count(post) == 0
