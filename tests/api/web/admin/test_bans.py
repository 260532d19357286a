"""Bans from commenting: made, refused and lifted."""

from datetime import timedelta

from models.audit import AuditEntry
from models.base import now
from models.blog.comments import CommentBan
from tests.api.web.admin.conftest import Clerk
from tests.factories.users import create_user

LIST = "/admin/bans"


async def test_a_guest_is_banned_for_some_days_and_let_in_again(editor: Clerk) -> None:
    said = {"kind": "email", "value": "Troll@Example.com", "days": "30", "reason": "Casinos"}

    made = await editor.send(f"{LIST}/ban", **said)
    again = await editor.send(f"{LIST}/ban", **said)

    assert (made.status_code, made.headers["location"]) == (303, f"{LIST}?done=ban")
    assert again.status_code == 409
    assert "There is a ban for this one already" in again.text
    assert 'value="Troll@Example.com"' in again.text
    ban = await CommentBan.find_row({"key": "email:troll@example.com"})
    assert ban is not None
    assert timedelta(days=29) < ban["expires_at"] - now() <= timedelta(days=30)
    page = await editor.page(LIST)
    assert all(part in page for part in ("troll@example.com", "Casinos"))
    assert (await editor.send(f"{LIST}/{ban['_id']}/lift")).status_code == 303
    assert await CommentBan.count_rows({}) == 0
    noted = await AuditEntry.find_rows({"subject": "email:troll@example.com"}, sort=[("_id", 1)])
    assert [(one["action"], one["actor_id"]) for one in noted] == [
        ("comment_ban.created", editor.user.id),
        ("comment_ban.deleted", editor.user.id),
    ]


async def test_what_names_nobody_is_refused(editor: Clerk) -> None:
    moderator = str(editor.user.id)
    for kind, value, days, status in [
        ("address", "not an address", "", 400),
        ("user", moderator, "", 400),
        ("user", str((await create_user()).id), "0", 422),
        ("planet", "x", "", 422),
        ("email", "", "", 422),
    ]:
        assert (await editor.send(f"{LIST}/ban", kind=kind, value=value, days=days)).status_code == status, (kind, value)
    assert await CommentBan.count_rows({}) == 0
