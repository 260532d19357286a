"""How an account comes to be: somebody asks, the address is confirmed, and only then is there an account.

Asking never looks at whether the address has an account: the answer, and the work, are the same. The mail that follows is the
first to know, and only the address's owner reads it.
"""

from datetime import datetime, timedelta

from models.base import now as present
from models.clock import new_id
from models.database import DuplicateKeyError, Session, duplicate_index, run_transaction
from models.events import EventType
from models.users import Registration, User
from services.audit import AuditService
from services.errors import RuleViolatedError
from services.events import EventService
from services.ratelimits import RateLimitService, RatePolicy
from services.settings import Settings
from services.users.identity import EmailTakenError, UsernameTakenError, choose_username, normalize_email
from services.users.inputs import NewAccount
from services.users.passwords import PasswordService
from services.users.sessions import ClientInfo, hash_token
from services.users.tokens import mail_token

VERIFY_PURPOSE = "verify"


class InvalidTokenError(RuleViolatedError):
    """The token is unknown, used or too old."""

    code = "invalid_token"

    def __init__(self) -> None:
        super().__init__("This link is not valid any more: ask for a new one.")


class RegistrationService:
    @staticmethod
    async def register(account: NewAccount, *, client: ClientInfo, settings: Settings, now: datetime | None = None) -> None:
        """Note a wish for an account; a mail says how to go on.

        Raises UsernameTakenError (names are public), WeakPasswordError, InvalidUsernameError, InvalidEmailError and
        TooManyAttemptsError; never a word on the address.
        """
        now = now or present()
        username, email = choose_username(account.username), normalize_email(account.email)
        policy = RatePolicy("register", settings.register_attempts, 1800)
        await RateLimitService.require(policy, client.address, now=now)
        await RateLimitService.require(policy, email.normalized, now=now)
        PasswordService.check_policy(account.password, username=username, email=email.normalized)
        wish_id = new_id()
        wish = Registration(
            id=wish_id,
            username=username,
            email=email.written,
            email_normalized=email.normalized,
            first_name=account.first_name,
            last_name=account.last_name,
            password_hash=await PasswordService.hash(account.password, settings=settings),
            token_hash=hash_token(mail_token(VERIFY_PURPOSE, wish_id, settings=settings)),
            expires_at=now + timedelta(hours=settings.registration_hours),
        )

        async def work(session: Session) -> None:
            await require_free_username(session, username, now=now)
            await wish.store(session=session)
            await EventService.record(
                session,
                EventType.REGISTRATION_REQUESTED,
                f"registration:{wish_id}",
                payload={"registration_id": str(wish_id)},
            )

        try:
            await run_transaction(work, hot=[f"username:{username}"])
        except DuplicateKeyError as error:
            raise UsernameTakenError(username) from error

    @staticmethod
    async def verify(token: str, *, client: ClientInfo | None = None, now: datetime | None = None) -> User:
        """Turn the registration of a mailed token into an account. Raises InvalidTokenError.

        Of several registrations of one address the first that is confirmed gets the account; the others raise EmailTakenError.
        """
        now = now or present()
        row = await Registration.find_row({"token_hash": hash_token(token)})
        if row is None or row["expires_at"] <= now:
            raise InvalidTokenError
        wish = Registration.from_row(row)
        user = User(
            username=wish.username,
            email=wish.email,
            email_normalized=wish.email_normalized,
            first_name=wish.first_name,
            last_name=wish.last_name,
            password_hash=wish.password_hash,
            is_verified=True,
        )

        async def work(session: Session) -> User:
            deleted = await Registration.collection().delete_one({"_id": wish.id}, session=session)
            if not deleted.deleted_count:
                raise InvalidTokenError
            await user.store(session=session)
            await EventService.record(session, EventType.USER_CREATED, f"user:{user.id}", actor_id=user.id)
            address = client.address if client else None
            await AuditService.record(session, "user.registered", subject=f"user:{user.id}", actor_id=user.id, address=address)
            return user

        try:
            return await run_transaction(work, hot=[wish.id, f"email:{wish.email_normalized}"])
        except DuplicateKeyError as error:
            await Registration.collection().delete_one({"_id": wish.id})  # it can never succeed: its name is free again
            if duplicate_index(error) == "username_unique":
                raise UsernameTakenError(wish.username) from error
            raise EmailTakenError from error


async def require_free_username(session: Session, username: str, *, now: datetime) -> None:
    """Raises UsernameTakenError when an account or a live registration has the name; an expired registration gives way.

    The unique indexes decide between rivals; this decides what the TTL monitor has yet to remove.
    """
    if await User.find_row({"username": username}, {"_id": 1}, session=session):
        raise UsernameTakenError(username)
    reserved = await Registration.find_row({"username": username}, {"expires_at": 1}, session=session)
    if reserved is None:
        return
    if now < reserved["expires_at"]:
        raise UsernameTakenError(username)
    await Registration.collection().delete_one({"_id": reserved["_id"]}, session=session)
