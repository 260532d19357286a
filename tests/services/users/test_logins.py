import asyncio
from collections.abc import Awaitable
from datetime import datetime, timedelta

import pytest

from models.base import now as present
from models.database import Database
from models.users import DeviceLock, LoginRecord, LoginSession, Role, User
from services.pagination import CursorCodec
from services.ratelimits import TooManyAttemptsError
from services.settings import Settings
from services.users import passwords
from services.users.accounts import account_of
from services.users.administration import UserAdministration
from services.users.logins import InvalidCredentialsError, Login, LoginService
from services.users.passwords import PasswordService, Verdict
from services.users.sessions import ClientInfo, SessionService, hash_token
from tests.factories.users import CLIENT, PASSWORD, create_login_user, create_user, viewer_of

STRANGER = ClientInfo("198.51.100.1", "curl")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The limits per network address are tested on their own."""
    return settings.model_copy(update={"login_attempts": 100_000, "account_login_attempts": 100_000})


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One entry per password that was compared with a real hash; false ones compared nothing but did the work."""
    made: list[bool] = []
    verify = passwords._verify

    def counted(password: str, stored: str | None, settings: Settings) -> Verdict:
        made.append(stored is not None)
        return verify(password, stored, settings)

    monkeypatch.setattr(passwords, "_verify", counted)
    return made


async def outcome(attempt: Awaitable[Login]) -> str:
    try:
        await attempt
    except InvalidCredentialsError:
        return "refused"
    return "entered"


async def stored(user: User) -> User:
    row = await User.find_row({"_id": user.id})
    assert row is not None
    return User.from_row(row)


class TestAuthenticate:
    async def test_a_right_password_opens_a_session(self, database: Database, settings: Settings) -> None:
        user = await create_login_user(settings=settings, username="jane", email="jane@example.com", failed_login_attempts=4)
        start = present()
        for login in ("jane", "JANE", " jane ", "Jane@Example.COM"):
            entered = await LoginService.authenticate(login, PASSWORD, client=CLIENT, settings=settings, now=start)
            viewer = await SessionService.find_viewer(entered.opened.token)
            assert viewer is not None
            assert viewer.user_id == user.id
        after = await stored(user)
        assert (after.login_count, after.last_login_at, after.failed_login_attempts) == (4, start, 0)
        assert await LoginRecord.count_rows({"user_id": user.id, "succeeded": True}) == 4

    async def test_usr_s7_tokens_are_long_random_and_stored_only_as_hashes(self, database: Database, settings: Settings) -> None:
        await create_login_user(settings=settings, username="jane")
        tokens = set()
        for _ in range(3):
            entered = await LoginService.authenticate("jane", PASSWORD, client=CLIENT, settings=settings)
            tokens.add(entered.opened.token)
        assert len(tokens) == 3
        assert all(len(token) == 43 for token in tokens)
        rows = await LoginSession.find_rows({})
        assert {row["token_hash"] for row in rows} == {hash_token(token) for token in tokens}
        assert not any(token in str(rows) for token in tokens)

    async def test_usr_s4_the_fifth_failure_locks_for_30_minutes(self, database: Database, settings: Settings) -> None:
        user = await create_login_user(settings=settings, username="jane")
        start = present()
        for number in range(1, 6):
            assert await self._try(settings, "wrong password", start) == "refused"
            after = await stored(user)
            assert after.failed_login_attempts == number
            assert after.locked_until == (start + timedelta(minutes=30) if number == 5 else None)
        assert await self._try(settings, PASSWORD, start + timedelta(minutes=29, seconds=59)) == "refused"
        assert await self._try(settings, PASSWORD, start + timedelta(minutes=30)) == "entered"
        after = await stored(user)
        assert (after.failed_login_attempts, after.locked_until) == (0, None)
        records = await LoginRecord.find_rows({"user_id": user.id}, sort=[("_id", 1)])
        assert [row["has_locked"] for row in records] == [False] * 4 + [True, False, False]

    async def test_usr_s3_after_the_lock_counting_starts_anew(self, database: Database, settings: Settings) -> None:
        """The source kept the old count, so that one more miss locked again."""
        user = await create_login_user(settings=settings, username="jane")
        start = present()
        for _ in range(5):
            await self._try(settings, "wrong password", start)
        later = start + timedelta(minutes=31)
        await self._try(settings, "wrong password", later)
        after = await stored(user)
        assert (after.failed_login_attempts, after.locked_until) == (1, None)
        assert await self._try(settings, PASSWORD, later) == "entered"

    async def test_usr_s4_fifty_parallel_guesses_get_five_checks(
        self, database: Database, settings: Settings, checks: list[bool]
    ) -> None:
        """The source read, compared and saved, so parallel guesses all passed the limit."""
        for number in range(5):
            user = await create_login_user(settings=settings, username=f"jane{number}")
            guesses = [
                outcome(LoginService.authenticate(user.username, f"guess number {n}", client=STRANGER, settings=settings))
                for n in range(50)
            ]
            checks.clear()
            assert set(await asyncio.gather(*guesses)) == {"refused"}
            assert (len(checks), checks.count(True)) == (50, 5)
            after = await stored(user)
            assert after.failed_login_attempts == 50  # refused ones are counted on
            assert after.is_locked(present())

    async def test_s6_every_failure_computes_one_hash(self, database: Database, settings: Settings, checks: list[bool]) -> None:
        later = present() + timedelta(minutes=5)
        await create_login_user(settings=settings, username="wrong")
        await create_login_user(settings=settings, username="locked", locked_until=later, failed_login_attempts=5)
        await create_login_user(settings=settings, username="unverified", is_verified=False)
        await create_user(username="unusable")
        for login in ("wrong", "unknown", "locked", "unverified", "unusable", "no name at all", "@"):
            checks.clear()
            attempt = LoginService.authenticate(login, "wrong password", client=STRANGER, settings=settings)
            assert await outcome(attempt) == "refused"
            assert len(checks) == 1, login

    async def test_s7_who_locks_the_account_does_not_lock_out_the_known_device(
        self, database: Database, settings: Settings
    ) -> None:
        settings = settings.model_copy(update={"account_login_attempts": 25})
        user = await create_login_user(settings=settings, username="jane")
        known = (await LoginService.authenticate("jane", PASSWORD, client=CLIENT, settings=settings)).device_token
        for _ in range(20):
            with pytest.raises((InvalidCredentialsError, TooManyAttemptsError)):
                await LoginService.authenticate("jane", "wrong password", client=STRANGER, settings=settings)
            await LoginService.authenticate("jane", PASSWORD, device=known, client=CLIENT, settings=settings)
        after = await stored(user)
        assert after.is_locked(present())
        assert (after.failed_login_attempts, after.login_count) == (20, 21)

    async def test_s7_a_known_device_has_five_tries_too(self, database: Database, settings: Settings) -> None:
        user = await create_login_user(settings=settings, username="jane")
        start = present()
        first = await LoginService.authenticate("jane", PASSWORD, client=CLIENT, settings=settings, now=start)
        guesses = [self._try(settings, "wrong password", start, first.device_token) for _ in range(50)]
        assert set(await asyncio.gather(*guesses)) == {"refused"}
        (lock,) = await DeviceLock.find_rows({})
        assert (lock["failed_login_attempts"], lock["locked_until"]) == (50, start + timedelta(minutes=30))
        assert await self._try(settings, PASSWORD, start, first.device_token) == "refused"
        assert (await stored(user)).failed_login_attempts == 0
        later = start + timedelta(minutes=30)
        assert await self._try(settings, PASSWORD, later, first.device_token) == "entered"
        assert await DeviceLock.count_rows({}) == 0

    async def test_a_device_is_known_to_one_account_only(self, database: Database, settings: Settings) -> None:
        await create_login_user(settings=settings, username="mallory")
        token = (await LoginService.authenticate("mallory", PASSWORD, client=STRANGER, settings=settings)).device_token
        user = await create_login_user(settings=settings, username="jane")
        for forged in (token, token[:-1], "x", ".", "", "é", f"{token}x"):
            await self._try(settings, "wrong password", present(), forged)
        after = await stored(user)
        assert after.failed_login_attempts == 7
        assert await DeviceLock.count_rows({}) == 0

    async def test_a_suspension_holds_on_known_devices_too(self, database: Database, settings: Settings) -> None:
        user = await create_login_user(settings=settings, username="jane")
        entered = await LoginService.authenticate("jane", PASSWORD, client=CLIENT, settings=settings)
        admin = await create_user(role=Role.ADMIN)
        await UserAdministration.lock(user.id, viewer=viewer_of(admin), settings=settings)
        assert await self._try(settings, PASSWORD, present(), entered.device_token) == "refused"

    async def test_usr_s6_a_hash_of_an_older_cost_is_renewed(self, database: Database, settings: Settings) -> None:
        user = await create_login_user(settings=settings, username="jane")
        dearer = settings.model_copy(update={"password_hash_time_cost": 2})
        await LoginService.authenticate("jane", PASSWORD, client=CLIENT, settings=dearer)
        after = await stored(user)
        assert "t=1" in user.password_hash
        assert "t=2" in after.password_hash
        assert (await PasswordService.verify(PASSWORD, after.password_hash, settings=dearer)).is_right

    async def test_s7_a_typed_name_has_25_tries_an_hour_from_wherever(self, database: Database, settings: Settings) -> None:
        settings = settings.model_copy(update={"account_login_attempts": 25})
        now = present().replace(minute=0)
        results = []
        for number in range(26):
            client = ClientInfo(f"198.51.100.{number}")
            try:
                await LoginService.authenticate("nobody", "wrong password", client=client, settings=settings, now=now)
            except (InvalidCredentialsError, TooManyAttemptsError) as error:
                results.append(type(error))
        assert results == [InvalidCredentialsError] * 25 + [TooManyAttemptsError]

    async def test_a_login_that_races_with_a_role_change_leaves_no_session_of_the_old_role(
        self, database: Database, settings: Settings
    ) -> None:
        admin = viewer_of(await create_user(role=Role.SUPER_ADMIN))
        for number in range(5):
            user = await create_login_user(settings=settings, username=f"editor{number}", role=Role.EDITOR)
            logins = [
                outcome(LoginService.authenticate(user.username, PASSWORD, client=CLIENT, settings=settings)) for _ in range(10)
            ]
            await asyncio.gather(*logins, UserAdministration.change_role(user.id, Role.USER, viewer=admin))
            rows = await LoginSession.find_rows({"user_id": user.id})
            assert {row["role"] for row in rows} <= {"user"}

    async def test_a_login_that_races_with_deactivation_leaves_no_session(self, database: Database, settings: Settings) -> None:
        admin = viewer_of(await create_user(role=Role.SUPER_ADMIN))
        for number in range(5):
            user = await create_login_user(settings=settings, username=f"jane{number}")
            logins = [
                outcome(LoginService.authenticate(user.username, PASSWORD, client=CLIENT, settings=settings)) for _ in range(10)
            ]
            await asyncio.gather(*logins, UserAdministration.delete_user(user.id, viewer=admin))
            assert await LoginSession.count_rows({"user_id": user.id}) == 0

    @staticmethod
    async def _try(settings: Settings, password: str, now: datetime, device: str | None = None) -> str:
        attempt = LoginService.authenticate(
            "jane",
            password,
            device=device,
            client=STRANGER,
            settings=settings,
            now=now,
        )
        return await outcome(attempt)


class TestListLogins:
    async def test_one_sees_ones_own_newest_first(self, database: Database, settings: Settings) -> None:
        user = await create_login_user(settings=settings, username="jane")
        await create_login_user(settings=settings, username="other")
        for login, password in (("jane", "wrong password"), ("other", PASSWORD), ("jane", PASSWORD), ("jane", PASSWORD)):
            await outcome(LoginService.authenticate(login, password, client=CLIENT, settings=settings))
        cursors, viewer = CursorCodec(b"k" * 32), viewer_of(user)
        first = await LoginService.list_logins(viewer=viewer, cursors=cursors, limit=2)
        rest = await LoginService.list_logins(viewer=viewer, cursors=cursors, limit=2, cursor=first.next_cursor)
        assert [record.succeeded for record in first.items + rest.items] == [True, True, False]
        assert rest.next_cursor is None
        assert first.items[0].address == "203.0.113.7"


class TestIsLocked:
    @pytest.mark.parametrize(("until", "expected"), [(None, False), (-1, False), (0, False), (1, True)])
    def test_usr_m2_it_is_a_bool(self, until: int | None, expected: bool) -> None:
        """The source answered None, or a datetime and a bool."""
        now = present()
        moment = None if until is None else now + timedelta(seconds=until)
        user = User.model_construct(locked_until=moment, suspended_until=None)
        assert user.is_locked(now) is expected
        assert User.model_construct(locked_until=None, suspended_until=moment).is_locked(now) is expected


async def test_an_account_shows_no_secret(database: Database) -> None:
    account = account_of(await create_user())
    assert not {"password_hash", "email_normalized", "failed_login_attempts", "guard"} & account.model_dump().keys()
