"""The mail of accounts, sent by a consumer of the outbox. Only here is known whether an address has an account."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from urllib.parse import urlencode

from beanie import PydanticObjectId

from models.base import now as present
from models.database import Session, run_transaction
from models.events import Event, EventType
from models.users import AccountToken, Registration, TokenPurpose, User
from services.events import Consumer
from services.mail import Mailer, Message
from services.settings import Settings
from services.users.credentials import issue_token
from services.users.identity import normalize_email
from services.users.registrations import VERIFY_PURPOSE
from services.users.tokens import mail_token

_GREETING = "Hello {name},\n\n"
_UNASKED = "\n\nIf this was not you, ignore this mail: nothing happens.\n"


def account_mail_consumer(settings: Settings, mailer: Mailer) -> Consumer:
    """Sends what registrations, forgotten passwords, changed addresses and changed passwords call for.

    At least once: a consumer that dies after sending sends again. A repeated reset mail makes the link of the first one void.
    """
    senders: dict[EventType, Callable[[Event, Settings, Mailer], Awaitable[None]]] = {
        EventType.REGISTRATION_REQUESTED: _registration,
        EventType.PASSWORD_RESET_REQUESTED: _password_reset,
        EventType.EMAIL_CHANGE_REQUESTED: _email_change,
        EventType.PASSWORD_CHANGED: _password_changed,
    }

    async def handle(event: Event) -> None:
        await senders[event.type](event, settings, mailer)

    return Consumer("account_mail", frozenset(senders), handle)


async def _registration(event: Event, settings: Settings, mailer: Mailer) -> None:
    row = await Registration.find_row({"_id": PydanticObjectId(event.payload["registration_id"])})
    if row is None:
        return
    wish = Registration.from_row(row)
    if await User.find_row({"email_normalized": wish.email_normalized}, {"_id": 1}):
        await mailer.send(_has_account(wish.email, settings))
        return
    link = _link(settings, "verify", mail_token(VERIFY_PURPOSE, wish.id, settings=settings))
    text = (
        _GREETING.format(name=wish.first_name)
        + f"please confirm your address to open your account {wish.username}:\n\n{link}\n\n"
        + f"The link works for {settings.registration_hours} hours."
        + _UNASKED
    )
    await mailer.send(Message(wish.email, f"Confirm your address for {settings.site_title}", text))


async def _password_reset(event: Event, settings: Settings, mailer: Mailer) -> None:
    row = await User.find_row({"email_normalized": event.payload["email"]})
    if row is None or not row["is_active"]:
        return
    user = User.from_row(row)
    expires_at = present() + timedelta(minutes=settings.reset_minutes)

    async def work(session: Session) -> AccountToken:
        return await issue_token(session, user.id, TokenPurpose.PASSWORD_RESET, expires_at=expires_at, settings=settings)

    token = await run_transaction(work, hot=[user.id])
    link = _link(settings, "reset", mail_token(TokenPurpose.PASSWORD_RESET, token.id, settings=settings))
    text = (
        _GREETING.format(name=user.first_name)
        + f"choose a new password for {user.username} here:\n\n{link}\n\n"
        + f"The link works once, for {settings.reset_minutes} minutes."
        + _UNASKED
    )
    await mailer.send(Message(user.email, f"Your password for {settings.site_title}", text))


async def _email_change(event: Event, settings: Settings, mailer: Mailer) -> None:
    row = await AccountToken.find_row({"_id": PydanticObjectId(event.payload["token_id"])})
    if row is None or row["new_email"] is None:
        return  # replaced by a later request, or used
    token = AccountToken.from_row(row)
    owner = await User.find_row({"_id": token.user_id})
    assert token.new_email is not None
    if owner is None or not owner["is_active"]:
        return
    user = User.from_row(owner)
    if await User.find_row({"email_normalized": normalize_email(token.new_email).normalized}, {"_id": 1}):
        await mailer.send(_has_account(token.new_email, settings))
    else:
        link = _link(settings, "email", mail_token(TokenPurpose.EMAIL_CHANGE, token.id, settings=settings))
        text = (
            _GREETING.format(name=user.first_name)
            + f"confirm this as the new address of {user.username}:\n\n{link}\n\n"
            + f"The link works for {settings.email_change_hours} hours."
            + _UNASKED
        )
        await mailer.send(Message(token.new_email, f"Confirm your new address for {settings.site_title}", text))
    notice = (
        _GREETING.format(name=user.first_name)
        + f"somebody who is signed in as {user.username} and knows the password asked to change the account's address.\n\n"
        + "If this was not you, change your password now.\n"
    )
    await mailer.send(Message(user.email, f"Your address at {settings.site_title} is about to change", notice))


async def _password_changed(event: Event, settings: Settings, mailer: Mailer) -> None:
    row = await User.find_row({"_id": PydanticObjectId(event.subject.removeprefix("user:"))})
    if row is None or not row["is_active"]:
        return
    user = User.from_row(row)
    text = (
        _GREETING.format(name=user.first_name)
        + f"the password of {user.username} was changed.\n\n"
        + "If this was not you, ask for a new one now: your address still works.\n"
    )
    await mailer.send(Message(user.email, f"Your password at {settings.site_title} was changed", text))


def _has_account(address: str, settings: Settings) -> Message:
    text = (
        "Hello,\n\nsomebody, perhaps you, wants to use this address for an account. It has one already: sign in with it,\n"
        f"or ask for a new password at {settings.base_url}." + _UNASKED
    )
    return Message(address, f"You have an account at {settings.site_title} already", text)


def _link(settings: Settings, page: str, token: str) -> str:
    return f"{settings.base_url.rstrip('/')}/account/{page}?{urlencode({'token': token})}"
