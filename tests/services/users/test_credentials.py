import asyncio
from collections.abc import Awaitable
from datetime import timedelta

import pytest

from models.audit import AuditEntry
from models.base import now as present
from models.database import Database, Session, run_transaction
from models.events import Event
from models.users import AccountToken, LoginSession, TokenPurpose, User
from services.errors import AppError, UnauthenticatedError
from services.mail import MemoryMailer
from services.ratelimits import TooManyAttemptsError
from services.settings import Settings
from services.users.credentials import (
    CredentialService,
    PasswordResetService,
    WrongPasswordError,
    issue_token,
)
from services.users.identity import EmailTakenError, InvalidEmailError
from services.users.passwords import PasswordService, WeakPasswordError
from services.users.registrations import InvalidTokenError
from services.users.sessions import SessionService, hash_token
from services.users.tokens import mail_token
from tests.factories.users import (
    CLIENT,
    PASSWORD,
    create_login_user,
    create_session,
    create_user,
    deliver_mail,
    open_session,
    token_in,
    viewer_of,
)

NEW_PASSWORD = "another horse battery"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"reset_attempts": 100_000, "password_checks": 100_000})


@pytest.fixture
def mailer() -> MemoryMailer:
    return MemoryMailer()


async def outcome(call: Awaitable[object]) -> str:
    try:
        await call
    except AppError as error:
        return error.code
    return "done"


async def stored(user: User) -> User:
    row = await User.find_row({"_id": user.id})
    assert row is not None
    return User.from_row(row)


async def issue(user: User, settings: Settings, *, hours: int = 1) -> str:
    async def work(session: Session) -> AccountToken:
        expires_at = present() + timedelta(hours=hours)
        return await issue_token(session, user.id, TokenPurpose.PASSWORD_RESET, expires_at=expires_at, settings=settings)

    token = await run_transaction(work)
    return mail_token(TokenPurpose.PASSWORD_RESET, token.id, settings=settings)


async def reset(token: str, settings: Settings, password: str = NEW_PASSWORD) -> None:
    await PasswordResetService.reset(token, password, client=CLIENT, settings=settings)


class TestReset:
    async def test_a_new_password_ends_all_sessions_and_a_lock(self, database: Database, settings: Settings) -> None:
        later = present() + timedelta(minutes=5)
        user = await create_login_user(settings=settings, locked_until=later, failed_login_attempts=9)
        session = await create_session(user)
        await SessionService.find_viewer(session)
        await reset(await issue(user, settings), settings)
        after = await stored(user)
        assert (await PasswordService.verify(NEW_PASSWORD, after.password_hash, settings=settings)).is_right
        assert (after.locked_until, after.failed_login_attempts) == (None, 0)
        assert await SessionService.find_viewer(session) is None
        assert await AuditEntry.count_rows({"action": "user.password_reset", "subject": f"user:{user.id}"}) == 1
        revoked = await Event.find_rows({"type": "user.sessions_revoked"})
        assert [event["payload"] for event in revoked] == [{}]

    async def test_s5_twenty_uses_at_once_succeed_once(self, database: Database, settings: Settings) -> None:
        for _ in range(5):
            user = await create_login_user(settings=settings)
            token = await issue(user, settings)
            calls = [outcome(reset(token, settings, f"new password {n}")) for n in range(50)]
            assert sorted(await asyncio.gather(*calls)) == ["done"] + ["invalid_token"] * 49
            assert await AuditEntry.count_rows({"subject": f"user:{user.id}"}) == 1

    async def test_usr_s10_the_token_is_hashed_typed_and_expires(self, database: Database, settings: Settings) -> None:
        user = await create_login_user(settings=settings)
        token = await issue(user, settings)
        (row,) = await AccountToken.find_rows({})
        assert row["token_hash"] == hash_token(token)
        assert token not in str(row)
        with pytest.raises(InvalidTokenError):
            await CredentialService.confirm_email_change(token, client=CLIENT)
        late = present() + timedelta(hours=1)
        with pytest.raises(InvalidTokenError):
            await PasswordResetService.reset(token, NEW_PASSWORD, client=CLIENT, settings=settings, now=late)
        with pytest.raises(InvalidTokenError):
            await reset(token[:-1], settings)
        assert (await stored(user)).password_hash == user.password_hash

    async def test_a_weak_password_leaves_the_token_good(self, database: Database, settings: Settings) -> None:
        user = await create_login_user(settings=settings)
        token = await issue(user, settings)
        with pytest.raises(WeakPasswordError):
            await reset(token, settings, "password")
        await reset(token, settings)

    async def test_a_newer_request_makes_the_older_link_void(
        self, database: Database, settings: Settings, mailer: MemoryMailer
    ) -> None:
        user = await create_login_user(settings=settings)
        for _ in range(2):
            await PasswordResetService.request(user.email, client=CLIENT, settings=settings)
        first, second = [token_in(mail) for mail in await deliver_mail(settings, mailer)]
        assert await outcome(reset(first, settings)) == "invalid_token"
        assert await outcome(reset(second, settings)) == "done"

    async def test_deactivated_and_unknown_addresses_get_no_mail(
        self, database: Database, settings: Settings, mailer: MemoryMailer
    ) -> None:
        await create_user(email="gone@example.com", is_active=False)
        for email in ("gone@example.com", "unknown@example.com"):
            await PasswordResetService.request(email, client=CLIENT, settings=settings)
        assert await deliver_mail(settings, mailer) == []
        with pytest.raises(InvalidEmailError):
            await PasswordResetService.request("no address", client=CLIENT, settings=settings)

    async def test_one_address_is_mailed_five_times_in_half_an_hour(self, database: Database, settings: Settings) -> None:
        settings = settings.model_copy(update={"reset_attempts": 5})
        now = present().replace(minute=0)
        calls = [
            outcome(PasswordResetService.request(email, client=CLIENT, settings=settings, now=now))
            for email in ["jane@example.com"] * 6
        ]
        assert sorted(await asyncio.gather(*calls)).count("done") <= 5


class TestChangePassword:
    async def test_pending_reset_links_die_with_the_old_password(self, database: Database, settings: Settings) -> None:
        user = await create_login_user(settings=settings)
        token = await issue(user, settings)
        opened = await open_session(user)
        await CredentialService.change_password(
            PASSWORD, NEW_PASSWORD, viewer=viewer_of(user, opened.session), client=CLIENT, settings=settings
        )
        assert await outcome(reset(token, settings)) == "invalid_token"
        assert await LoginSession.count_rows({"user_id": user.id}) == 1

    async def test_the_owner_is_told_by_mail(self, database: Database, settings: Settings, mailer: MemoryMailer) -> None:
        user = await create_login_user(settings=settings)
        await CredentialService.change_password(PASSWORD, NEW_PASSWORD, viewer=viewer_of(user), client=CLIENT, settings=settings)
        (mail,) = await deliver_mail(settings, mailer)
        assert mail.to == user.email
        assert NEW_PASSWORD not in mail.text

    async def test_fifty_at_once_from_one_password_change_it_once(self, database: Database, settings: Settings) -> None:
        for _ in range(3):
            user = await create_login_user(settings=settings)
            calls = [
                outcome(
                    CredentialService.change_password(
                        PASSWORD, f"new password {n}", viewer=viewer_of(user), client=CLIENT, settings=settings
                    )
                )
                for n in range(50)
            ]
            assert sorted(await asyncio.gather(*calls)) == ["done"] + ["wrong_password"] * 49

    async def test_a_stolen_session_cannot_guess_on(self, database: Database, settings: Settings) -> None:
        settings = settings.model_copy(update={"password_checks": 10})
        user = await create_login_user(settings=settings)
        now = present().replace(minute=0)
        for _ in range(10):
            with pytest.raises(WrongPasswordError):
                await CredentialService.require_password("wrong one", viewer=viewer_of(user), settings=settings, now=now)
        with pytest.raises(TooManyAttemptsError):
            await CredentialService.require_password(PASSWORD, viewer=viewer_of(user), settings=settings, now=now)
        assert (await stored(user)).failed_login_attempts == 0

    async def test_a_deactivated_person_is_nobody(self, database: Database, settings: Settings) -> None:
        user = await create_login_user(settings=settings, is_active=False)
        with pytest.raises(UnauthenticatedError):
            await CredentialService.require_password(PASSWORD, viewer=viewer_of(user), settings=settings)


class TestEmailChange:
    async def test_a_taken_address_is_only_told_to_its_owner(
        self, database: Database, settings: Settings, mailer: MemoryMailer
    ) -> None:
        user = await create_login_user(settings=settings, email="jane@example.com")
        await create_user(email="taken@example.com")
        await CredentialService.request_email_change(
            "Taken@example.com", PASSWORD, viewer=viewer_of(user), client=CLIENT, settings=settings
        )
        to_new, to_old = await deliver_mail(settings, mailer)
        assert "already" in to_new.subject
        assert (to_new.to, to_old.to) == ("Taken@example.com", "jane@example.com")

    async def test_of_rivals_for_one_address_one_gets_it(self, database: Database, settings: Settings) -> None:
        """Each with a session of its own to end, so that nothing but the address is common to them."""
        users = [await create_login_user(settings=settings) for _ in range(50)]
        for user in users:
            await CredentialService.request_email_change(
                "wanted@example.com", PASSWORD, viewer=viewer_of(user), client=CLIENT, settings=settings
            )
        tokens = [mail_token("email_change", row["_id"], settings=settings) for row in await AccountToken.find_rows({})]
        calls = [outcome(CredentialService.confirm_email_change(token, client=CLIENT)) for token in tokens]
        assert sorted(await asyncio.gather(*calls)) == ["done"] + ["email_taken"] * 49
        assert await User.count_rows({"email_normalized": "wanted@example.com"}) == 1

    async def test_a_reset_link_to_the_old_address_is_void(self, database: Database, settings: Settings) -> None:
        user = await create_login_user(settings=settings)
        await CredentialService.request_email_change(
            "new@example.com", PASSWORD, viewer=viewer_of(user), client=CLIENT, settings=settings
        )
        (row,) = await AccountToken.find_rows({})
        reset_token = await issue(user, settings)
        await CredentialService.confirm_email_change(mail_token("email_change", row["_id"], settings=settings), client=CLIENT)
        assert await outcome(reset(reset_token, settings)) == "invalid_token"
        after = await stored(user)
        assert (after.email, after.email_normalized, after.revision) == ("new@example.com", "new@example.com", 2)

    async def test_it_needs_the_password(self, database: Database, settings: Settings) -> None:
        user = await create_login_user(settings=settings)
        with pytest.raises(WrongPasswordError):
            await CredentialService.request_email_change(
                "new@example.com", "wrong one", viewer=viewer_of(user), client=CLIENT, settings=settings
            )
        assert await AccountToken.count_rows({}) == 0
        assert await Event.count_rows({}) == 0

    async def test_an_address_taken_meanwhile_leaves_everything_as_it_was(self, database: Database, settings: Settings) -> None:
        user = await create_login_user(settings=settings)
        session = await create_session(user)
        await CredentialService.request_email_change(
            "new@example.com", PASSWORD, viewer=viewer_of(user), client=CLIENT, settings=settings
        )
        (row,) = await AccountToken.find_rows({})
        await create_user(email="new@example.com")
        with pytest.raises(EmailTakenError):
            await CredentialService.confirm_email_change(mail_token("email_change", row["_id"], settings=settings), client=CLIENT)
        assert (await stored(user)).email == user.email
        assert await SessionService.find_viewer(session) is not None
