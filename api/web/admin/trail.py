"""The audit log, to look at: nothing in it ever changes."""

from beanie import PydanticObjectId
from bson import ObjectId

from api.web.admin.desk import BadFormError, Desk
from api.web.admin.layout import Field, Page, Row, Table, Text
from api.web.admin.subjects import subject_link, user_link
from api.web.admin.views import Group, View
from models.audit import AuditRead
from services.audit import AuditService
from services.users.permissions import Permission


async def _list(desk: Desk) -> Page:
    subject, actor = desk.asked("subject", max_length=100), desk.asked("actor", max_length=24)
    if actor is not None and not ObjectId.is_valid(actor):
        raise BadFormError("The person is named by an id of 24 hexadecimal digits.")
    found = await AuditService.list_entries(
        viewer=desk.viewer,
        cursors=desk.cursors,
        subject=subject,
        actor_id=PydanticObjectId(actor) if actor else None,
        cursor=desk.cursor,
    )
    return Page(
        title="Audit log",
        path=desk.path,
        search=[
            Field("subject", "What it is about, as user:<id>", "search", subject or "", max_length=100),
            Field("actor", "Who did it, by id", "search", actor or "", max_length=24),
        ],
        tables=[
            Table(
                "Newest first",
                ["When", "Act", "About", "By", "From", "Details"],
                [_row(one) for one in found.items],
                "Nothing is noted.",
            )
        ],
        paging=desk.further(found.next_cursor, subject=subject, actor=actor),
    )


def _row(entry: AuditRead) -> Row:
    details = "\n".join(f"{name}: {value}" for name, value in entry.details.items())
    return Row(
        [
            entry.created_at,
            entry.action,
            subject_link(entry.subject),
            user_link(entry.actor_id),
            entry.address,
            Text(details) if details else None,
        ]
    )


AUDIT = View("audit", "Audit log", "who did what", Group.PEOPLE, Permission.READ_AUDIT, pages={"": _list})
