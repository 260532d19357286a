"""The moderation queue of comments."""

from beanie import PydanticObjectId

from api.web.admin.desk import ADMIN, Desk, Form
from api.web.admin.layout import Action, Page, Row, Table, Text, Value
from api.web.admin.subjects import post_link
from api.web.admin.views import Group, Move, Queue, View
from models.blog.comments import CommentModeration, CommentStatus, ModerationAction
from services.blog.desk import post_titles
from services.blog.moderation import ModerationService
from services.users.permissions import Permission, Viewer
from services.waiting import Waiting

_PATH = f"{ADMIN}/comments"
_LABELS = {ModerationAction.APPROVE: "Approve", ModerationAction.REJECT: "Reject", ModerationAction.SPAM: "Spam"}
_OUTCOMES = {
    ModerationAction.APPROVE: CommentStatus.APPROVED,
    ModerationAction.REJECT: CommentStatus.REJECTED,
    ModerationAction.SPAM: CommentStatus.SPAM,
}


async def _queue(desk: Desk) -> Page:
    status = desk.choice("status", CommentStatus) or CommentStatus.PENDING
    found = await ModerationService.list_queue(viewer=desk.viewer, cursors=desk.cursors, status=status, cursor=desk.cursor)
    titles = await post_titles(one.post_id for one in found.items)
    columns = ["Written", "By", "On", "Comment"]
    rows = [_row(one, titles, desk.viewer) for one in found.items]
    return Page(
        title="Comments",
        tabs=desk.tabs("status", CommentStatus, status, has_all=False),
        tables=[Table("Oldest first", columns, rows, "No comment waits here.")],
        paging=desk.further(found.next_cursor, status=status),
    )


def _row(comment: CommentModeration, titles: dict[PydanticObjectId, str], viewer: Viewer) -> Row:
    name = comment.author.full_name if comment.author else comment.author_name
    sender = [name, comment.author_email, comment.address, "guest" if comment.author is None else None]
    cells: list[Value] = [
        comment.created_at,
        Text("\n".join(part for part in sender if part)),
        post_link(comment.post_id, titles.get(comment.post_id, "gone"), viewer),
        Text(comment.content),
    ]
    actions = [
        Action(
            f"{_PATH}/{comment.id}/{action}",
            label,
            # What was read is what is judged: an edit meanwhile is refused.
            hidden={"revision": str(comment.revision)},
            about=f"the comment by {name}",
        )
        for action, label in _LABELS.items()
        if comment.status is not CommentStatus.DELETED and comment.status is not _OUTCOMES[action]
    ]
    return Row(cells, actions)


def _moderation(action: ModerationAction, done: str) -> Move:
    async def act(desk: Desk, form: Form) -> None:
        await ModerationService.moderate(desk.id(), action, viewer=desk.viewer, revision=form.number("revision"))

    return Move(act, _queue, done)


COMMENTS = View(
    "comments",
    "Comments",
    "what waits for a moderator",
    Group.CONTENT,
    Permission.MODERATE_COMMENTS,
    pages={"": _queue},
    moves={
        f"/{{id}}/{ModerationAction.APPROVE}": _moderation(ModerationAction.APPROVE, "The comment is public now."),
        f"/{{id}}/{ModerationAction.REJECT}": _moderation(ModerationAction.REJECT, "The comment was rejected."),
        f"/{{id}}/{ModerationAction.SPAM}": _moderation(ModerationAction.SPAM, "The comment was marked as spam."),
    },
    queues=[Queue(Waiting.COMMENTS, "Comments to moderate")],
)
