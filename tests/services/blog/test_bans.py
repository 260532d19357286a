"""Who may not comment, for how long, and who decides that."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from beanie import PydanticObjectId

from models.audit import AuditEntry
from models.blog.comments import BanKind, CommentBan, CommentBanRead
from models.database import Database
from models.users import Role
from services.blog.bans import (
    AlreadyBannedError,
    BannedFromCommentingError,
    BanNotFoundError,
    BanService,
    InvalidBanError,
)
from services.errors import PermissionDeniedError
from services.pagination import PageRequest
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.comments import create_ban
from tests.factories.users import create_user, viewer_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def someone(role: Role = Role.EDITOR) -> Viewer:
    return viewer_of(await create_user(role=role))


class TestCreateBan:
    async def test_blg_s9_is_kept_with_its_reason_and_in_the_audit_log(self, database: Database) -> None:
        editor = await someone()
        expires_at = NOW + timedelta(days=7)

        ban = await BanService.create_ban(
            BanKind.EMAIL, " Troll@Example.com", viewer=editor, reason="Insults", expires_at=expires_at, now=NOW
        )

        row = await CommentBan.find_row({})
        assert row is not None
        assert (row["key"], row["reason"], row["banned_by"], row["expires_at"]) == (
            "email:troll@example.com",
            "Insults",
            editor.user_id,
            expires_at,
        )
        assert ban == CommentBanRead(
            id=row["_id"],
            kind=BanKind.EMAIL,
            value="troll@example.com",
            reason="Insults",
            banned_by=editor.user_id,
            created_at=row["created_at"],
            expires_at=expires_at,
        )
        entries = await AuditEntry.find_rows({})
        assert [(row["action"], row["subject"], row["actor_id"]) for row in entries] == [
            ("comment_ban.created", "email:troll@example.com", editor.user_id)
        ]

    async def test_is_felt_at_once(self, database: Database) -> None:
        await BanService.check_not_banned(address="203.0.113.7")  # remembered for a second

        await BanService.create_ban(BanKind.ADDRESS, "203.0.113.7", viewer=await someone())

        with pytest.raises(BannedFromCommentingError):
            await BanService.check_not_banned(address="203.0.113.7")

    @pytest.mark.parametrize("spelling", ["2001:db8:0:1::1", "2001:DB8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"])
    async def test_ipv6_address_stands_for_its_64(self, database: Database, spelling: str) -> None:
        ban = await BanService.create_ban(BanKind.ADDRESS, spelling, viewer=await someone())

        assert ban.value == "2001:db8:0:1::/64"
        with pytest.raises(BannedFromCommentingError):
            await BanService.check_not_banned(address="2001:db8:0:1:2:3:4:5")
        await BanService.check_not_banned(address="2001:db8:0:2::1")

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            (BanKind.USER, "nobody"),
            (BanKind.USER, "65f0c0ffee0ddba11ca7f00d"),
            (BanKind.EMAIL, "nobody"),
            (BanKind.ADDRESS, "example.com"),
            (BanKind.ADDRESS, "203.0.113.0/24"),
        ],
    )
    async def test_nobody_cannot_be_banned(self, database: Database, kind: BanKind, value: str) -> None:
        with pytest.raises(InvalidBanError):
            await BanService.create_ban(kind, value, viewer=await someone())

        assert await CommentBan.find_rows({}) == []

    async def test_moderators_cannot_be_banned(self, database: Database) -> None:
        other = await create_user(role=Role.EDITOR)

        with pytest.raises(InvalidBanError):
            await BanService.create_ban(BanKind.USER, str(other.id), viewer=await someone())

    async def test_ban_that_is_over_already_is_refused(self, database: Database) -> None:
        with pytest.raises(InvalidBanError):
            await BanService.create_ban(BanKind.ADDRESS, "203.0.113.7", viewer=await someone(), expires_at=NOW, now=NOW)

    async def test_second_ban_is_refused_unless_the_first_is_over(self, database: Database) -> None:
        editor = await someone()
        await create_ban("address:203.0.113.7", expires_at=NOW)

        with pytest.raises(AlreadyBannedError):
            await BanService.create_ban(BanKind.ADDRESS, "203.0.113.7", viewer=editor, now=NOW - timedelta(milliseconds=1))
        ban = await BanService.create_ban(BanKind.ADDRESS, "203.0.113.7", viewer=editor, now=NOW)

        assert [row["_id"] for row in await CommentBan.find_rows({})] == [ban.id]

    async def test_fifty_moderators_ban_one_address_once(self, database: Database) -> None:
        editor = await someone()

        async def ban() -> bool:
            try:
                await BanService.create_ban(BanKind.ADDRESS, "203.0.113.7", viewer=editor)
            except AlreadyBannedError:
                return False
            return True

        outcomes = await asyncio.gather(*(ban() for _ in range(50)))

        assert outcomes.count(True) == 1
        assert len(await CommentBan.find_rows({})) == len(await AuditEntry.find_rows({})) == 1

    async def test_is_for_moderators(self, database: Database) -> None:
        with pytest.raises(PermissionDeniedError):
            await BanService.create_ban(BanKind.ADDRESS, "203.0.113.7", viewer=await someone(Role.AUTHOR))

        assert await CommentBan.find_rows({}) == []


class TestListBans:
    async def test_newest_first_by_pages(self, database: Database) -> None:
        made = [await create_ban(f"address:203.0.113.{n}") for n in range(3)]

        page = await BanService.list_bans(PageRequest(page=2, limit=2), viewer=await someone())

        assert [ban.id for ban in page.items] == [made[0].id]
        assert (page.total_count, page.total_pages) == (3, 2)

    async def test_empty(self, database: Database) -> None:
        page = await BanService.list_bans(PageRequest(), viewer=await someone())

        assert (page.items, page.total_count, page.total_pages) == ([], 0, 0)

    async def test_is_for_moderators(self, database: Database) -> None:
        with pytest.raises(PermissionDeniedError):
            await BanService.list_bans(PageRequest(), viewer=await someone(Role.AUTHOR))


class TestDeleteBan:
    async def test_lifts_it_at_once_and_is_audited(self, database: Database) -> None:
        editor = await someone()
        ban = await create_ban("address:203.0.113.7")
        with pytest.raises(BannedFromCommentingError):
            await BanService.check_not_banned(address="203.0.113.7")

        await BanService.delete_ban(ban.id, viewer=editor)

        await BanService.check_not_banned(address="203.0.113.7")
        assert [row["action"] for row in await AuditEntry.find_rows({})] == ["comment_ban.deleted"]
        with pytest.raises(BanNotFoundError):
            await BanService.delete_ban(ban.id, viewer=editor)
        assert len(await AuditEntry.find_rows({})) == 1

    async def test_is_for_moderators(self, database: Database) -> None:
        ban = await create_ban()

        with pytest.raises(PermissionDeniedError):
            await BanService.delete_ban(ban.id, viewer=await someone(Role.AUTHOR))

        assert len(await CommentBan.find_rows({})) == 1


class TestCheckNotBanned:
    async def test_asks_once_for_all_keys_and_remembers_for_a_moment(self, database: Database, commands: CommandLog) -> None:
        who = PydanticObjectId()

        with commands.counting() as sent:
            for _ in range(3):
                await BanService.check_not_banned(user_id=who, email="ada@example.com", address="203.0.113.7")

        assert sent.sent == ["find comment_bans"]

    async def test_unknown_address_asks_nothing(self, database: Database, commands: CommandLog) -> None:
        with commands.counting() as sent:
            await BanService.check_not_banned(address="testclient")

        assert sent.sent == []
