"""Who may not comment: people, guests' mail addresses, network addresses."""

from datetime import timedelta

from beanie import PydanticObjectId

from api.schemas.comments import CommentBanCreate
from api.web.admin.desk import ADMIN, BadFormError, Desk, Form, filled
from api.web.admin.layout import Action, Field, Page, Row, Table, Text, Value, options
from api.web.admin.subjects import user_link
from api.web.admin.views import Group, Move, View
from models.base import now
from models.blog.comments import BanKind, CommentBanRead
from services.blog.bans import BanService
from services.users.permissions import Permission, Viewer

_PATH = f"{ADMIN}/bans"
_MAX_DAYS = 3_650


async def _list(desk: Desk) -> Page:
    found = await BanService.list_bans(desk.page, viewer=desk.viewer)
    columns = ["Whom", "Reason", "Since", "Until", "By"]
    fields = [
        Field("kind", "What it names", "select", BanKind.ADDRESS, options(BanKind)),
        Field(
            "value", "Whom", hint="The id of a user, an e-mail of guests, or a network address", max_length=254, is_required=True
        ),
        Field("days", "For days", "number", hint="Nothing for ever", max_length=4),
        Field("reason", "Reason", hint="For moderators"),
    ]
    return Page(
        title="Comment bans",
        actions=[Action(f"{_PATH}/ban", "Ban somebody", fields)],
        tables=[Table("Newest first", columns, [_row(one, desk.viewer) for one in found.items], "Nobody is banned.")],
        paging=desk.numbered(found.page, found.total_pages),
    )


def _row(ban: CommentBanRead, viewer: Viewer) -> Row:
    is_linked = viewer.can(Permission.READ_USER)
    cells: list[Value] = [
        user_link(PydanticObjectId(ban.value)) if is_linked and ban.kind is BanKind.USER else ban.value,
        Text(ban.reason) if ban.reason else None,
        ban.created_at,
        ban.expires_at or "for ever",
        user_link(ban.banned_by) if is_linked else f"user {str(ban.banned_by)[-6:]}",
    ]
    return Row(cells, [Action(f"{_PATH}/{ban.id}/lift", "Lift", about=f"the ban of {ban.value}")])


async def _ban(desk: Desk, form: Form) -> None:
    days = form.number("days")
    if days is not None and not 0 < days <= _MAX_DAYS:
        raise BadFormError(f"A ban is for 1 to {_MAX_DAYS:,} days, or for ever.")
    expires_at = None if days is None else now() + timedelta(days=days)
    said = {name: form.get(name) for name in ("kind", "value", "reason")}
    ban = filled(CommentBanCreate, {**said, "expires_at": expires_at})
    await BanService.create_ban(ban.kind, ban.value, viewer=desk.viewer, reason=ban.reason, expires_at=ban.expires_at)


async def _lift(desk: Desk, form: Form) -> None:
    await BanService.delete_ban(desk.id(), viewer=desk.viewer)


BANS = View(
    "bans",
    "Comment bans",
    "who may not comment",
    Group.CONTENT,
    Permission.MODERATE_COMMENTS,
    pages={"": _list},
    moves={
        "/ban": Move(_ban, _list, "They cannot comment from now on; what they wrote stays as it is."),
        "/{id}/lift": Move(_lift, _list, "They may comment again."),
    },
)
