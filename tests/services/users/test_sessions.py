from datetime import timedelta

from models.base import now as present
from models.database import Session, run_transaction
from models.users import LoginSession
from services.cache import clear_all_caches
from services.users.permissions import Viewer
from services.users.sessions import SessionService, hash_token
from tests.commands import CommandLog
from tests.factories.users import create_session, create_user, open_session


class TestFindViewer:
    async def test_a_token_names_its_owner(self, database: object) -> None:
        user = await create_user(username="jane")
        opened = await open_session(user)
        assert await SessionService.find_viewer(opened.token) == Viewer(user.id, "jane", user.role, opened.session.id)

    async def test_it_costs_one_read_and_then_none(self, database: object, commands: CommandLog) -> None:
        token = await create_session(await create_user())
        with commands.counting() as sent:
            await SessionService.find_viewer(token)
        assert sent.sent == ["find login_sessions"]
        with commands.counting() as sent:
            await SessionService.find_viewer(token)
        assert sent.sent == []

    async def test_unknown_tokens_are_nobody(self, database: object) -> None:
        token = await create_session(await create_user())
        for wrong in ("", "x", token[:-1], token + "A", token[::-1], "é" * 43, "\ud800" * 43):
            assert await SessionService.find_viewer(wrong) is None

    async def test_an_expired_session_is_nobody_even_before_the_ttl_monitor_came(self, database: object) -> None:
        """USR-S9: readers check expiry themselves."""
        start = present()
        token = await create_session(await create_user(), now=start)
        assert await SessionService.find_viewer(token, now=start + timedelta(hours=24, milliseconds=-1)) is not None
        assert await SessionService.find_viewer(token, now=start + timedelta(hours=24)) is None  # from the cache
        clear_all_caches()
        assert await SessionService.find_viewer(token, now=start + timedelta(hours=24)) is None  # from the database

    async def test_last_seen_moves_every_five_minutes_only(self, database: object) -> None:
        start = present()
        token = await create_session(await create_user(), now=start)
        for minutes, seen in ((4, start), (6, start + timedelta(minutes=6))):
            clear_all_caches()
            await SessionService.find_viewer(token, now=start + timedelta(minutes=minutes))
            row = await LoginSession.find_row({"token_hash": hash_token(token)})
            assert row is not None
            assert row["last_seen_at"] == seen


class TestRevoke:
    async def test_s8_within_a_longer_transaction_it_is_felt_with_the_commit(self, database: object) -> None:
        """As under an Idempotency-Key: until then the session lives, and whoever shows its token has it remembered again."""
        user = await create_user()
        opened = await open_session(user)
        viewer = Viewer(user.id, user.username, user.role, opened.session.id)

        async def longer(session: Session) -> None:
            await SessionService.revoke(opened.session.id, viewer=viewer)
            assert await SessionService.find_viewer(opened.token) == viewer

        await run_transaction(longer)

        assert await SessionService.find_viewer(opened.token) is None
