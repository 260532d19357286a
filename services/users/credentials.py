"""Changing what one signs in with: the password, known or forgotten, and the e-mail address."""

import hashlib
from datetime import datetime, timedelta

from beanie import PydanticObjectId

from models.base import now as present
from models.clock import new_id
from models.database import DuplicateKeyError, Session, run_transaction
from models.events import EventType
from models.users import AccountToken, TokenPurpose, User
from services.audit import AuditService
from services.errors import PermissionDeniedError, UnauthenticatedError
from services.events import EventService
from services.ratelimits import RateLimitService, RatePolicy
from services.settings import Settings
from services.users.identity import EmailTakenError, normalize_email
from services.users.passwords import PasswordService
from services.users.permissions import Viewer
from services.users.registrations import InvalidTokenError
from services.users.sessions import ClientInfo, SessionService, hash_token
from services.users.tokens import mail_token


class WrongPasswordError(PermissionDeniedError):
    """The current password is needed for this, and it is not the one given."""

    code = "wrong_password"

    def __init__(self) -> None:
        super().__init__("The current password is wrong.")


class PasswordResetService:
    @staticmethod
    async def request(email: str, *, client: ClientInfo, settings: Settings, now: datetime | None = None) -> None:
        """Note that somebody forgot the password of this address; a mail follows if there is an account.

        Does the same for any address. Raises InvalidEmailError and TooManyAttemptsError.
        """
        address = normalize_email(email).normalized
        policy = RatePolicy("reset", settings.reset_attempts, 1800)
        await RateLimitService.require(policy, client.address, now=now)
        await RateLimitService.require(policy, address, now=now)
        digest = hashlib.sha256(address.encode()).hexdigest()[:24]

        async def work(session: Session) -> None:
            await EventService.record(
                session, EventType.PASSWORD_RESET_REQUESTED, f"address:{digest}", payload={"email": address}
            )

        await run_transaction(work)

    @staticmethod
    async def reset(
        token: str, new_password: str, *, client: ClientInfo, settings: Settings, now: datetime | None = None
    ) -> None:
        """Set a new password with a mailed token, which then is used up, and end every session.

        Raises InvalidTokenError and WeakPasswordError; a weak password leaves the token good for another try.
        """
        now = now or present()
        mailed = await find_token(token, TokenPurpose.PASSWORD_RESET, now=now)
        user = await _require_active(mailed.user_id)
        PasswordService.check_policy(new_password, username=user.username, email=user.email_normalized)
        new_hash = await PasswordService.hash(new_password, settings=settings)

        async def work(session: Session) -> list[str]:
            await _use_up(session, mailed)
            changes = {"password_hash": new_hash, "failed_login_attempts": 0, "locked_until": None}
            if await User.change({"_id": user.id, "is_active": True}, {"$set": changes}, session=session) is None:
                raise InvalidTokenError
            await _note(session, "user.password_reset", EventType.PASSWORD_CHANGED, user.id, client)
            return await SessionService.revoke_within(session, user.id, actor_id=user.id)

        SessionService.forget(await run_transaction(work, hot=[user.id]))


class CredentialService:
    @staticmethod
    async def change_password(
        current_password: str,
        new_password: str,
        *,
        viewer: Viewer,
        client: ClientInfo,
        settings: Settings,
        now: datetime | None = None,
    ) -> None:
        """Replace the viewer's password and end their other sessions. Raises WrongPasswordError and WeakPasswordError."""
        user = await CredentialService.require_password(current_password, viewer=viewer, settings=settings, now=now)
        PasswordService.check_policy(new_password, username=user.username, email=user.email_normalized)
        new_hash = await PasswordService.hash(new_password, settings=settings)

        async def work(session: Session) -> list[str]:
            unchanged = {"_id": user.id, "is_active": True, "password_hash": user.password_hash}
            if await User.change(unchanged, {"$set": {"password_hash": new_hash}}, session=session) is None:
                raise WrongPasswordError
            await AccountToken.collection().delete_many({"user_id": user.id}, session=session)
            await _note(session, "user.password_changed", EventType.PASSWORD_CHANGED, user.id, client)
            return await SessionService.revoke_within(session, user.id, keep=viewer.session_id, actor_id=user.id)

        SessionService.forget(await run_transaction(work, hot=[user.id]))

    @staticmethod
    async def request_email_change(
        new_email: str,
        password: str,
        *,
        viewer: Viewer,
        client: ClientInfo,
        settings: Settings,
        now: datetime | None = None,
    ) -> None:
        """Have a link mailed to the new address and a notice to the old one; nothing changes until the link is followed.

        Answers the same whether or not the new address has an account. Raises WrongPasswordError and InvalidEmailError.
        """
        now = now or present()
        address = normalize_email(new_email)
        user = await CredentialService.require_password(password, viewer=viewer, settings=settings, now=now)
        lifetime = timedelta(hours=settings.email_change_hours)

        async def work(session: Session) -> None:
            token = await issue_token(
                session,
                user.id,
                TokenPurpose.EMAIL_CHANGE,
                expires_at=now + lifetime,
                settings=settings,
                new_email=address.written,
            )
            await EventService.record(
                session,
                EventType.EMAIL_CHANGE_REQUESTED,
                f"user:{user.id}",
                actor_id=user.id,
                payload={"token_id": str(token.id)},
            )
            await AuditService.record(
                session,
                "user.email_change_requested",
                subject=f"user:{user.id}",
                actor_id=user.id,
                address=client.address,
            )

        await run_transaction(work, hot=[user.id])

    @staticmethod
    async def confirm_email_change(
        token: str, *, viewer: Viewer | None = None, client: ClientInfo, now: datetime | None = None
    ) -> None:
        """Make the address to which the token was mailed the account's own, and end all sessions but the viewer's.

        Raises InvalidTokenError, and EmailTakenError when another account got the address first.
        """
        now = now or present()
        mailed = await find_token(token, TokenPurpose.EMAIL_CHANGE, now=now)
        assert mailed.new_email is not None
        address = normalize_email(mailed.new_email)
        user_id = mailed.user_id
        keep = viewer.session_id if viewer is not None and viewer.user_id == user_id else None

        async def work(session: Session) -> list[str]:
            await _use_up(session, mailed)
            update = {"$set": {"email": address.written, "is_verified": True}, "$inc": {"revision": 1}}
            if await User.change({"_id": user_id, "is_active": True}, update, session=session) is None:
                raise InvalidTokenError
            await User.rekey({"_id": user_id}, {"email_normalized": address.normalized}, session=session)
            # A reset link on its way to the old address must not open the account any more.
            await AccountToken.collection().delete_many({"user_id": user_id}, session=session)
            await _note(session, "user.email_changed", EventType.USER_UPDATED, user_id, client)
            return await SessionService.revoke_within(session, user_id, keep=keep, actor_id=user_id)

        try:
            ended = await run_transaction(work, hot=[user_id])
        except DuplicateKeyError as error:
            raise EmailTakenError from error
        SessionService.forget(ended)

    @staticmethod
    async def require_password(password: str, *, viewer: Viewer, settings: Settings, now: datetime | None = None) -> User:
        """The viewer's account, if the password is theirs. Raises WrongPasswordError and TooManyAttemptsError.

        Counted apart from logins: whoever found an open session must neither guess on nor lock the owner out.
        """
        policy = RatePolicy("password", settings.password_checks, 3600)
        await RateLimitService.require(policy, str(viewer.user_id), now=now)
        row = await User.find_row({"_id": viewer.user_id})
        if row is None or not row["is_active"]:
            raise UnauthenticatedError
        user = User.from_row(row)
        verdict = await PasswordService.verify(password, user.password_hash, settings=settings)
        if not verdict.is_right:
            raise WrongPasswordError
        return user


async def find_token(token: str, purpose: TokenPurpose, *, now: datetime) -> AccountToken:
    """The live token of this purpose. Raises InvalidTokenError."""
    row = await AccountToken.find_row({"token_hash": hash_token(token)})
    if row is None or row["purpose"] != purpose or row["expires_at"] <= now:
        raise InvalidTokenError
    return AccountToken.from_row(row)


async def issue_token(
    session: Session,
    user_id: PydanticObjectId,
    purpose: TokenPurpose,
    *,
    expires_at: datetime,
    settings: Settings,
    new_email: str | None = None,
) -> AccountToken:
    """A new token in place of any earlier one of this person and purpose."""
    token_id = new_id()
    await AccountToken.collection().delete_many({"user_id": user_id, "purpose": purpose}, session=session)
    token = AccountToken(
        id=token_id,
        user_id=user_id,
        purpose=purpose,
        token_hash=hash_token(mail_token(purpose, token_id, settings=settings)),
        new_email=new_email,
        expires_at=expires_at,
    )
    return await token.store(session=session)


async def _use_up(session: Session, token: AccountToken) -> None:
    """Of several uses at once one deletes the row; the others raise InvalidTokenError."""
    deleted = await AccountToken.collection().delete_one({"_id": token.id}, session=session)
    if not deleted.deleted_count:
        raise InvalidTokenError


async def _require_active(user_id: PydanticObjectId) -> User:
    row = await User.find_row({"_id": user_id})
    if row is None or not row["is_active"]:
        raise InvalidTokenError
    return User.from_row(row)


async def _note(session: Session, action: str, event: EventType, user_id: PydanticObjectId, client: ClientInfo) -> None:
    subject = f"user:{user_id}"
    await EventService.record(session, event, subject, actor_id=user_id)
    await AuditService.record(session, action, subject=subject, actor_id=user_id, address=client.address)
