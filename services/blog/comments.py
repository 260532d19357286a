"""Comments under posts: written by people and guests, read as threads, edited and deleted by their authors."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from beanie import PydanticObjectId

from models.base import now as present
from models.blog.comments import Comment, CommentRead, CommentStatus, CommentThread
from models.database import Session, run_transaction
from models.events import EventType
from services.blog.bans import BanService
from services.blog.comment_states import (
    CommentDeletedError,
    CommentNotFoundError,
    count_comment,
    event_payload,
    get_comment,
    may_moderate,
    moderates,
    move_comment,
    record_move,
)
from services.blog.reading import get_published_post
from services.blog.threads import (
    REPLIES_SHOWN,
    Row,
    first_replies_pipeline,
    names_of,
    replies_pipeline,
    roots_pipeline,
    to_comment,
    to_own_comment,
    to_thread,
)
from services.errors import AppError, InvalidStateError, PreconditionError, RuleViolatedError
from services.events import EventService
from services.markdown import render_comment
from services.pagination import CursorCodec, CursorPage, PageRequest
from services.settings import Settings
from services.users.identity import InvalidEmailError, normalize_email
from services.users.permissions import Permission, Viewer
from services.users.sessions import ClientInfo

MAX_LENGTH = 1_000
MAX_DEPTH = 5  # of a reply; a root has depth 0
MAX_NAME_LENGTH = 100
MAX_WEBSITE_LENGTH = 500
MAX_USER_AGENT_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Guest:
    """Someone without an account, as they present themselves."""

    name: str
    email: str
    website: str | None = None


class InvalidCommentError(RuleViolatedError):
    """A comment without text, with too much of it, or by nobody."""

    code = "invalid_comment"


class CommentTooDeepError(RuleViolatedError):
    """A reply to a comment that is as deep in its thread as any may be."""

    code = "comment_too_deep"

    def __init__(self) -> None:
        super().__init__(f"Replies go {MAX_DEPTH} levels deep: answer further up.")


class CommentEditWindowClosedError(RuleViolatedError):
    """The comment is older than its author may edit it."""

    code = "comment_edit_window_closed"

    def __init__(self, minutes: int) -> None:
        super().__init__(f"A comment can be edited for {minutes} minutes.")
        self.minutes = minutes


class CommentNotEditableError(InvalidStateError):
    """A moderator refused the comment; rewriting it would not bring it back."""

    code = "comment_not_editable"

    def __init__(self) -> None:
        super().__init__("This comment was refused and cannot be edited.")


class CommentService:
    @staticmethod
    async def add_comment(
        post_id: PydanticObjectId,
        *,
        content: str,
        viewer: Viewer | None,
        settings: Settings,
        guest: Guest | None = None,
        parent_id: PydanticObjectId | None = None,
        client: ClientInfo | None = None,
        now: datetime | None = None,
    ) -> CommentRead:
        """Write a comment under a published post, or under an approved comment of it, as `viewer` or else as `guest`.

        It waits for a moderator, unless none is wanted (`comments_moderated`) or its author is one, or wrote the post. Raises
        InvalidCommentError, PostNotFoundError, CommentNotFoundError for the parent, CommentTooDeepError and
        BannedFromCommentingError.
        """
        comment = _draft(content, viewer, guest, client, post_id)
        post = await get_published_post(post_id, {"author_id": 1})
        if viewer is None or not viewer.can(Permission.MODERATE_COMMENTS):
            await BanService.check_not_banned(
                user_id=comment.author_id, email=comment.author_email, address=comment.address, now=now
            )
        if parent_id is not None:
            _place_under(await _approved_parent(parent_id, post_id), comment)
        if not settings.comments_moderated or may_moderate(viewer, post["author_id"]):
            comment.status = CommentStatus.APPROVED

        async def work(session: Session) -> None:
            await comment.store_later(session=session)
            subject, payload = f"comment:{comment.id}", event_payload(comment)
            await EventService.record(session, EventType.COMMENT_CREATED, subject, actor_id=comment.author_id, payload=payload)
            if comment.status is CommentStatus.APPROVED:
                await count_comment(comment, 1, session=session)
                await EventService.record(
                    session, EventType.COMMENT_APPROVED, subject, actor_id=comment.author_id, payload=payload
                )

        # One that waits changes nothing that others write.
        await run_transaction(work, hot=[post_id] if comment.status is CommentStatus.APPROVED else [])
        return await _own(comment)

    @staticmethod
    async def list_threads(
        post_id: PydanticObjectId, *, cursors: CursorCodec, cursor: str | None = None, limit: int = 20
    ) -> CursorPage[CommentThread]:
        """The threads under a published post, newest first, each with its first 10 replies of every depth, oldest first.

        Only approved comments are shown; one that was withdrawn after it was answered keeps its place without text. Three
        commands, two when there are no comments, and one more for names the cache lacks. Raises PostNotFoundError and
        InvalidCursorError.
        """
        PageRequest(limit=limit)
        listing = f"threads:{post_id}"
        before = cursors.decode(listing, cursor)[0] if cursor else None
        await get_published_post(post_id, {})
        roots = await Comment.aggregate_rows(roots_pipeline(post_id, before=before, limit=limit + 1))
        roots, follow = roots[:limit], len(roots) > limit
        answered = [row["_id"] for row in roots if row["descendants_count"] > 0]
        grouped = await Comment.aggregate_rows(first_replies_pipeline(answered)) if answered else []
        replies: dict[PydanticObjectId, list[Row]] = {row["_id"]: row["replies"] for row in grouped}
        names = await names_of([*roots, *(reply for group in replies.values() for reply in group)])

        def thread(root: Row) -> CommentThread:
            found = replies.get(root["_id"], [])
            shown = found[:REPLIES_SHOWN]
            rest = cursors.encode(_replies_listing(root["_id"]), shown[-1]["_id"]) if len(found) > REPLIES_SHOWN else None
            return to_thread(root, shown, names, replies_cursor=rest)

        return CursorPage[CommentThread].model_construct(
            items=[thread(root) for root in roots],
            next_cursor=cursors.encode(listing, roots[-1]["_id"]) if follow else None,
        )

    @staticmethod
    async def list_replies(
        root_id: PydanticObjectId, *, cursors: CursorCodec, cursor: str | None = None, limit: int = 20
    ) -> CursorPage[CommentRead]:
        """The shown replies in the thread of this root comment, of every depth, oldest first.

        Raises CommentNotFoundError for what is no shown root under a published post, and InvalidCursorError.
        """
        PageRequest(limit=limit)
        listing = _replies_listing(root_id)
        after = cursors.decode(listing, cursor)[0] if cursor else None
        root = await Comment.find_row({"_id": root_id}, {"post_id": 1, "parent_id": 1, "status": 1, "descendants_count": 1})
        if root is None or root["parent_id"] is not None:
            raise CommentNotFoundError(root_id)
        if root["status"] != CommentStatus.APPROVED and root["descendants_count"] == 0:
            raise CommentNotFoundError(root_id)
        await get_published_post(root["post_id"], {})
        rows = await Comment.aggregate_rows(replies_pipeline(root_id, after=after, limit=limit + 1))
        shown, follow = rows[:limit], len(rows) > limit
        names = await names_of(shown)
        return CursorPage[CommentRead].model_construct(
            items=[to_comment(row, names) for row in shown],
            next_cursor=cursors.encode(listing, shown[-1]["_id"]) if follow else None,
        )

    @staticmethod
    async def update_comment(
        comment_id: PydanticObjectId,
        *,
        content: str,
        viewer: Viewer,
        settings: Settings,
        revision: int | None = None,
        now: datetime | None = None,
    ) -> CommentRead:
        """Rewrite one's own comment within `comment_edit_minutes` of writing it; `revision` guards against a lost edit.

        An approved one waits for a moderator again where comments are moderated, unless its author may approve it. Raises
        InvalidCommentError, CommentNotFoundError (also for other people's), CommentEditWindowClosedError,
        CommentNotEditableError and PreconditionError.
        """
        text = _checked_text(content)
        comment = await get_comment(comment_id)
        if comment.author_id != viewer.user_id or comment.status is CommentStatus.DELETED:
            raise CommentNotFoundError(comment_id)
        now = now or present()
        if now - comment.created_at > timedelta(minutes=settings.comment_edit_minutes):
            raise CommentEditWindowClosedError(settings.comment_edit_minutes)
        waits_again = settings.comments_moderated and not await moderates(comment, viewer)
        edit = {"content": text, "content_html": render_comment(text), "edited_at": now}

        async def work(session: Session) -> Comment:
            for before in (CommentStatus.APPROVED, CommentStatus.PENDING):
                after = CommentStatus.PENDING if waits_again else before
                condition = {"_id": comment_id, "status": before} | ({} if revision is None else {"revision": revision})
                update = {"$set": {**edit, "status": after}, "$inc": {"revision": 1}}
                edited = await Comment.change(condition, update, session=session)
                if edited is not None:
                    disappeared = -1 if before is CommentStatus.APPROVED and waits_again else 0
                    await count_comment(edited, disappeared, session=session)
                    await record_move(edited, disappeared, viewer=viewer, is_moderation=False, session=session)
                    return edited
            raise await _why_not_edited(comment_id, session)

        return await _own(await run_transaction(work, hot=[comment.post_id]))

    @staticmethod
    async def delete_comment(comment_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """Delete a comment, its text and what is known of its author; for its author and those who moderate it.

        Below it the thread stays as it is. Raises CommentNotFoundError, also for a deleted one and for other people's.
        """
        comment = await get_comment(comment_id)
        is_own = comment.author_id == viewer.user_id
        if not is_own and not await moderates(comment, viewer):
            raise CommentNotFoundError(comment_id)
        try:
            if comment.status is CommentStatus.DELETED:
                raise CommentDeletedError
            await move_comment(comment, CommentStatus.DELETED, viewer=viewer, is_moderation=not is_own)
        except CommentDeletedError as error:
            raise CommentNotFoundError(comment_id) from error


def _draft(
    content: str, viewer: Viewer | None, guest: Guest | None, client: ClientInfo | None, post_id: PydanticObjectId
) -> Comment:
    """The comment as it is written, by the viewer whoever the request says it is from. Raises InvalidCommentError."""
    text = _checked_text(content)
    comment = Comment(post_id=post_id, content=text, content_html=render_comment(text))
    if client is not None:
        comment.address = client.address
        comment.user_agent = client.user_agent[:MAX_USER_AGENT_LENGTH]
    if viewer is not None:
        comment.author_id = viewer.user_id
        return comment
    if guest is None:
        raise InvalidCommentError("Sign in, or leave your name and mail address.")
    comment.author_name = _checked_name(guest.name)
    comment.author_email = _checked_email(guest.email)
    comment.author_website = _checked_website(guest.website)
    return comment


def _checked_text(content: str) -> str:
    text = content.strip()
    if not 1 <= len(text) <= MAX_LENGTH:
        raise InvalidCommentError(f"A comment has 1 to {MAX_LENGTH} characters.")
    return text


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not 1 <= len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidCommentError(f"A name has 1 to {MAX_NAME_LENGTH} characters.")
    return name


def _checked_email(email: str) -> str:
    try:
        return normalize_email(email).normalized
    except InvalidEmailError as error:
        raise InvalidCommentError(error.detail) from error


def _checked_website(website: str | None) -> str | None:
    """Only what is safe as the target of a link: http or https, a host, no credentials."""
    if website is None:
        return None
    try:
        parts = urlsplit(website)
        is_link = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        is_link = False
    if not is_link or not website.isprintable() or " " in website or len(website) > MAX_WEBSITE_LENGTH:
        raise InvalidCommentError("A website is an http or https address.")
    return website


async def _approved_parent(parent_id: PydanticObjectId, post_id: PydanticObjectId) -> Row:
    row = await Comment.find_row({"_id": parent_id}, {"post_id": 1, "status": 1, "depth": 1, "ancestor_ids": 1})
    if row is None or row["post_id"] != post_id or row["status"] != CommentStatus.APPROVED:
        raise CommentNotFoundError(parent_id)
    if row["depth"] >= MAX_DEPTH:
        raise CommentTooDeepError
    return row


def _place_under(parent: Row, comment: Comment) -> None:
    comment.parent_id = parent["_id"]
    comment.ancestor_ids = [*parent["ancestor_ids"], parent["_id"]]
    comment.root_id = comment.ancestor_ids[0]
    comment.depth = len(comment.ancestor_ids)


def _replies_listing(root_id: PydanticObjectId) -> str:
    return f"replies:{root_id}"


async def _own(comment: Comment) -> CommentRead:
    row = comment.row()
    return to_own_comment(row, await names_of([row]))


async def _why_not_edited(comment_id: PydanticObjectId, session: Session) -> AppError:
    row = await Comment.find_row({"_id": comment_id}, {"status": 1}, session=session)
    if row is None or row["status"] == CommentStatus.DELETED:
        return CommentNotFoundError(comment_id)
    if row["status"] in (CommentStatus.REJECTED, CommentStatus.SPAM):
        return CommentNotEditableError()
    return PreconditionError()
