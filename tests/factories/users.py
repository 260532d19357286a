"""People and their sessions, with valid and deterministic defaults."""

import re
from datetime import datetime
from itertools import count
from typing import Any

from models.base import now as present
from models.database import Session, run_transaction
from models.users import LoginSession, Role, User
from services.events import EventService
from services.mail import MemoryMailer, Message
from services.settings import Settings
from services.users.inputs import NewAccount
from services.users.mails import account_mail_consumer
from services.users.passwords import UNUSABLE_HASH, PasswordService
from services.users.permissions import Viewer
from services.users.sessions import ClientInfo, NewSession, SessionService

_numbers = count(1)

CLIENT = ClientInfo("203.0.113.7", "Test/1.0")
PASSWORD = "correct horse battery"
_USUAL = Settings(_env_file=None, secret_key="x" * 32, mongodb_uri="mongodb://unused")


def make_user(**over: Any) -> User:
    """An active, verified reader, unsaved. Nobody can sign in as them by password unless `password_hash` is given."""
    number = next(_numbers)
    username = over.pop("username", f"person{number}")
    email = over.pop("email", f"{username}@example.com")
    defaults: dict[str, Any] = {
        "username": username,
        "email": email,
        "email_normalized": email.casefold(),
        "first_name": "Jane",
        "last_name": "Doe",
        "password_hash": UNUSABLE_HASH,
        "role": Role.USER,
        "is_verified": True,
    }
    return User(**{**defaults, **over})


async def create_user(**over: Any) -> User:
    return await make_user(**over).store()


async def open_session(user: User, *, settings: Settings | None = None, now: datetime | None = None) -> NewSession:
    """A session of `user`, opened without a password."""

    async def work(session: Session) -> NewSession:
        return await SessionService.create(
            session, user, device_id="test-device", client=CLIENT, settings=settings or _USUAL, now=now or present()
        )

    return await run_transaction(work)


async def create_session(user: User, *, now: datetime | None = None) -> str:
    """The bearer token of a new session of `user`."""
    return (await open_session(user, now=now)).token


def viewer_of(user: User, session: LoginSession | None = None) -> Viewer:
    return Viewer(user.id, user.username, user.role, session.id if session is not None else None)


async def create_login_user(*, settings: Settings, password: str = PASSWORD, **over: Any) -> User:
    """A person who can sign in with `PASSWORD`."""
    return await create_user(password_hash=await PasswordService.hash(password, settings=settings), **over)


def new_account(**over: Any) -> NewAccount:
    """A wish for an account."""
    number = next(_numbers)
    defaults = {
        "username": f"person{number}",
        "email": f"person{number}@example.com",
        "first_name": "Jane",
        "last_name": "Doe",
        "password": PASSWORD,
    }
    return NewAccount(**{**defaults, **over})


async def deliver_mail(settings: Settings, mailer: MemoryMailer) -> list[Message]:
    """Let the account mail consumer work off what is due; returns what it sent."""
    before = len(mailer.sent)
    await EventService.pump([account_mail_consumer(settings, mailer)])
    return mailer.sent[before:]


def token_in(message: Message) -> str:
    """The token of the link in a mail."""
    found = re.search(r"token=(\S+)", message.text)
    assert found is not None
    return found.group(1)
