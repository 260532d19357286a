import asyncio
from collections.abc import Awaitable
from datetime import timedelta

import pytest

from models.audit import AuditEntry
from models.base import now as present
from models.database import Database
from models.events import Event
from models.users import Registration, Role, User
from services.errors import AppError
from services.mail import MemoryMailer
from services.settings import Settings
from services.users.accounts import UserService
from services.users.identity import EmailTakenError, UsernameTakenError
from services.users.inputs import NewUser
from services.users.passwords import PasswordService, WeakPasswordError
from services.users.permissions import SYSTEM
from services.users.registrations import VERIFY_PURPOSE, InvalidTokenError, RegistrationService
from services.users.tokens import mail_token
from tests.factories.users import CLIENT, PASSWORD, create_user, deliver_mail, new_account, token_in


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"register_attempts": 100_000})


async def outcome(call: Awaitable[object]) -> str:
    try:
        await call
    except AppError as error:
        return error.code
    return "done"


async def register(settings: Settings, **over: object) -> str:
    """Register and return the token that is mailed."""
    before = {row["_id"] for row in await Registration.find_rows({})}
    await RegistrationService.register(new_account(**over), client=CLIENT, settings=settings)
    (wish,) = [row for row in await Registration.find_rows({}) if row["_id"] not in before]
    return mail_token(VERIFY_PURPOSE, wish["_id"], settings=settings)


class TestRegister:
    async def test_it_is_stored_hashed_and_normalised_with_its_event(self, database: Database, settings: Settings) -> None:
        """USR-S1, USR-S6: the source stored the plain password."""
        await register(settings, username="JaneDoe", email="Jane@Example.com")
        (wish,) = await Registration.find_rows({})
        assert (wish["username"], wish["email_normalized"]) == ("janedoe", "jane@example.com")
        assert PASSWORD not in str(wish)
        assert wish["password_hash"].startswith("$argon2id$")
        (event,) = await Event.find_rows({})
        assert (event["type"], event["payload"]) == ("registration.requested", {"registration_id": str(wish["_id"])})
        assert await User.count_rows({}) == 0

    async def test_one_password_gives_two_hashes(self, database: Database, settings: Settings) -> None:
        """USR-S6: a salt per user."""
        await register(settings)
        await register(settings)
        assert len({row["password_hash"] for row in await Registration.find_rows({})}) == 2

    async def test_a_weak_password_is_refused_and_nothing_stored(self, database: Database, settings: Settings) -> None:
        for password in ("short", "password1", "janedoe-x", "jane.doe.long"):
            account = new_account(username="janedoe-x", email="jane.doe.long@example.com", password=password)
            with pytest.raises(WeakPasswordError):
                await RegistrationService.register(account, client=CLIENT, settings=settings)
        assert await Registration.count_rows({}) == 0
        assert await Event.count_rows({}) == 0

    async def test_reserved_names_are_taken(self, database: Database, settings: Settings) -> None:
        for name in ("admin", "Root", "deleted-1"):
            assert await outcome(register(settings, username=name)) == "username_taken"

    async def test_an_expired_registration_gives_its_name_free(self, database: Database, settings: Settings) -> None:
        """The TTL monitor is late."""
        start = present()
        old, new = new_account(username="jane"), new_account(username="jane")
        await RegistrationService.register(old, client=CLIENT, settings=settings, now=start)
        early = RegistrationService.register(new, client=CLIENT, settings=settings, now=start + timedelta(hours=23))
        assert await outcome(early) == "username_taken"
        await RegistrationService.register(new, client=CLIENT, settings=settings, now=start + timedelta(hours=24))
        (row,) = await Registration.find_rows({})
        assert row["email"] == new.email

    async def test_usr_m6_fifty_of_one_name_are_one(self, database: Database, settings: Settings) -> None:
        """The source looked first and then inserted, by the raw value."""
        for number in range(5):
            names = [f"Jane{number}" if n % 2 else f"jANE{number}" for n in range(50)]
            calls = [RegistrationService.register(new_account(username=name), client=CLIENT, settings=settings) for name in names]
            outcomes = await asyncio.gather(*(outcome(call) for call in calls))
            assert sorted(outcomes) == ["done"] + ["username_taken"] * 49
        assert await Registration.count_rows({}) == 5
        assert await Event.count_rows({}) == 5

    async def test_a_name_reserved_by_a_registration_is_taken_for_staff_too(self, database: Database, settings: Settings) -> None:
        await register(settings, username="jane")
        new = NewUser(username="jane", email="x@example.com", first_name="J", last_name="D", password=PASSWORD)
        with pytest.raises(UsernameTakenError):
            await UserService.create_user(new, viewer=SYSTEM, settings=settings)


class TestVerify:
    async def test_the_account_is_a_verified_reader(self, database: Database, settings: Settings) -> None:
        """USR-S1: the caller has no say in the role."""
        token = await register(settings, username="jane")
        user = await RegistrationService.verify(token, client=CLIENT)
        (row,) = await User.find_rows({})
        stored = User.from_row(row)
        assert stored == user
        assert (stored.role, stored.is_active, stored.is_verified) == (Role.USER, True, True)
        assert (await PasswordService.verify(PASSWORD, stored.password_hash, settings=settings)).is_right
        assert await Registration.count_rows({}) == 0
        assert await AuditEntry.count_rows({"action": "user.registered", "subject": f"user:{user.id}"}) == 1
        assert await Event.count_rows({"type": "user.created"}) == 1

    async def test_fifty_uses_of_one_token_make_one_account(self, database: Database, settings: Settings) -> None:
        for number in range(1, 6):
            token = await register(settings)
            outcomes = await asyncio.gather(*(outcome(RegistrationService.verify(token)) for _ in range(50)))
            assert sorted(outcomes) == ["done"] + ["invalid_token"] * 49
            assert await User.count_rows({}) == number

    async def test_unknown_and_expired_tokens_open_nothing(self, database: Database, settings: Settings) -> None:
        token = await register(settings)
        for wrong, now in ((token[:-1], present()), ("", present()), (token, present() + timedelta(hours=24))):
            with pytest.raises(InvalidTokenError):
                await RegistrationService.verify(wrong, now=now)
        assert await User.count_rows({}) == 0

    async def test_s18_fifty_spellings_of_one_address_make_one_account(
        self, database: Database, settings: Settings, mailer: MemoryMailer
    ) -> None:
        spellings = [_spelling(number) for number in range(50)]
        assert len(set(spellings)) == 50
        accounts = [new_account(email=email) for email in spellings]
        await asyncio.gather(*(RegistrationService.register(account, client=CLIENT, settings=settings) for account in accounts))
        tokens = [token_in(mail) for mail in await deliver_mail(settings, mailer)]
        assert len(tokens) == 50
        outcomes = await asyncio.gather(*(outcome(RegistrationService.verify(token)) for token in tokens))
        assert sorted(outcomes) == ["done"] + ["email_taken"] * 49
        (row,) = await User.find_rows({})
        assert row["email_normalized"] == "jane.doe@xn--mnchen-3ya.example"
        assert await Registration.count_rows({}) == 0

    async def test_an_address_taken_meanwhile_is_told_to_its_owner(self, database: Database, settings: Settings) -> None:
        token = await register(settings, email="jane@example.com")
        await create_user(email="jane@example.com")
        with pytest.raises(EmailTakenError):
            await RegistrationService.verify(token)
        assert await User.count_rows({}) == 1
        assert await Registration.count_rows({}) == 0


@pytest.fixture
def mailer() -> MemoryMailer:
    return MemoryMailer()


def _spelling(number: int) -> str:
    """One of many ways to write jane.doe@münchen.example: case, full-width letters, blanks, composed and IDNA forms."""
    local = "".join(letter.upper() if (number * 5) >> bit & 1 else letter for bit, letter in enumerate("jane.doe"))
    if number % 3 == 1:
        local = local.replace("d", "\uff44").replace("D", "\uff24")
    domain = ("münchen.example", "MU\u0308NCHEN.Example", "xn--mnchen-3ya.example", "XN--MNCHEN-3YA.EXAMPLE")[number % 4]
    return f" {local}@{domain}" if number % 5 == 0 else f"{local}@{domain}"
