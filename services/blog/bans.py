"""Who may not comment: bans by user, by guests' mail address, by network address."""

from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

from beanie import PydanticObjectId
from bson.errors import InvalidId

from models.base import now as present
from models.blog.comments import BanKind, CommentBan, CommentBanRead
from models.database import DuplicateKeyError, Session, after_commit, run_transaction
from models.users import User
from services.audit import AuditService
from services.cache import Cache
from services.errors import ConflictError, NotFoundError, PermissionDeniedError, RuleViolatedError
from services.pagination import Page, PageRequest, page_of
from services.users.identity import InvalidEmailError, normalize_email
from services.users.permissions import ROLE_PERMISSIONS, Permission, Viewer


class BannedFromCommentingError(PermissionDeniedError):
    """The author, their address or their network is banned from commenting."""

    code = "banned_from_commenting"

    def __init__(self) -> None:
        super().__init__("You may not comment here.")


class BanNotFoundError(NotFoundError):
    """There is no such ban."""

    code = "ban_not_found"

    def __init__(self, ban_id: object = None) -> None:
        super().__init__("ban", ban_id)


class AlreadyBannedError(ConflictError):
    """There is a ban for this user or address already."""

    code = "already_banned"

    def __init__(self, key: str) -> None:
        super().__init__("There is a ban for this one already: lift it first.")
        self.key = key


class InvalidBanError(RuleViolatedError):
    """A ban of nobody, of somebody who cannot be banned, or one that is over before it starts."""

    code = "invalid_ban"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)


# Every comment asks for its author's bans. One is felt at once by the process that made it, by the others within this second.
_bans: Cache[tuple[str, ...], list[Mapping[str, Any]]] = Cache("comment_bans", ttl=1.0, size=10_000)


class BanService:
    @staticmethod
    async def create_ban(
        kind: BanKind,
        value: str,
        *,
        viewer: Viewer,
        reason: str = "",
        expires_at: datetime | None = None,
        now: datetime | None = None,
    ) -> CommentBanRead:
        """Ban a user, a guests' mail address or a network address until `expires_at`, or for ever; for moderators.

        An IPv6 address stands for its /64. Raises InvalidBanError, AlreadyBannedError and PermissionDeniedError.
        """
        viewer.require(Permission.MODERATE_COMMENTS)
        now = now or present()
        key = ban_key(kind, value)
        if expires_at is not None and expires_at <= now:
            raise InvalidBanError("This ban would be over already.")
        if kind is BanKind.USER:
            await _check_bannable(PydanticObjectId(value))
        ban = CommentBan(key=key, reason=reason, banned_by=viewer.user_id, expires_at=expires_at)

        async def work(session: Session) -> None:
            # Looked up rather than tried: a duplicate would abort the transaction around an Idempotency-Key.
            known = await CommentBan.find_row({"key": key}, {"expires_at": 1}, session=session)
            if known is not None:
                if known["expires_at"] is None or known["expires_at"] > now:
                    raise AlreadyBannedError(key)
                await CommentBan.collection().delete_one({"_id": known["_id"]}, session=session)
            await ban.store(session=session)
            await AuditService.record(session, "comment_ban.created", subject=key, actor_id=viewer.user_id)

        try:
            await run_transaction(work, hot=[key])
        except DuplicateKeyError as error:
            raise AlreadyBannedError(key) from error
        after_commit(_bans.invalidate)
        return _read(ban)

    @staticmethod
    async def list_bans(page: PageRequest, *, viewer: Viewer) -> Page[CommentBanRead]:
        """All bans, newest first, expired ones included until they are swept. Raises PermissionDeniedError."""
        viewer.require(Permission.MODERATE_COMMENTS)
        rows = await CommentBan.find_rows({}, sort=[("_id", -1)], skip=page.skip, limit=page.limit)
        total_count = await CommentBan.collection().estimated_document_count()
        return page_of([_read(CommentBan.from_row(row)) for row in rows], page, total_count)

    @staticmethod
    async def delete_ban(ban_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """Lift a ban. Raises BanNotFoundError and PermissionDeniedError."""
        viewer.require(Permission.MODERATE_COMMENTS)

        async def work(session: Session) -> None:
            row = await CommentBan.collection().find_one_and_delete({"_id": ban_id}, session=session)
            if row is None:
                raise BanNotFoundError(ban_id)
            await AuditService.record(session, "comment_ban.deleted", subject=row["key"], actor_id=viewer.user_id)

        await run_transaction(work)
        after_commit(_bans.invalidate)

    @staticmethod
    async def check_not_banned(
        *,
        user_id: PydanticObjectId | None = None,
        email: str | None = None,
        address: str | None = None,
        now: datetime | None = None,
    ) -> None:
        """Raises BannedFromCommentingError when any of these is banned. One command, none within a second of the last."""
        keys: list[str] = []
        if user_id is not None:
            keys.append(ban_key(BanKind.USER, str(user_id)))
        if email is not None:
            keys.append(ban_key(BanKind.EMAIL, email))
        if address is not None and (network := _network(address)) is not None:
            keys.append(f"{BanKind.ADDRESS}:{network}")
        if not keys:
            return

        async def load() -> list[Mapping[str, Any]]:
            return list(await CommentBan.find_rows({"key": {"$in": keys}}, {"expires_at": 1}))

        now = now or present()
        for ban in await _bans.get_or_load(tuple(keys), load):
            if ban["expires_at"] is None or ban["expires_at"] > now:
                raise BannedFromCommentingError


def ban_key(kind: BanKind, value: str) -> str:
    """What the ban is stored under, the same for every spelling of the value. Raises InvalidBanError."""
    if kind is BanKind.USER:
        try:
            return f"{kind}:{PydanticObjectId(value)}"
        except InvalidId as error:
            raise InvalidBanError("This is not a user's id.") from error
    if kind is BanKind.EMAIL:
        try:
            return f"{kind}:{normalize_email(value).normalized}"
        except InvalidEmailError as error:
            raise InvalidBanError(error.detail) from error
    network = _network(value)
    if network is None:
        raise InvalidBanError("This is not a network address.")
    return f"{kind}:{network}"


def _network(address: str) -> str | None:
    """The address in its one spelling, an IPv6 one cut to the /64 its holder can choose from; None for what is no address."""
    try:
        parsed: IPv4Address | IPv6Address = ip_address(address.strip().removesuffix("/64"))
    except ValueError:
        return None
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed), 64), strict=False))


async def _check_bannable(user_id: PydanticObjectId) -> None:
    row = await User.find_row({"_id": user_id}, {"role": 1})
    if row is None:
        raise InvalidBanError("There is no such user.")
    if Permission.MODERATE_COMMENTS in ROLE_PERMISSIONS[row["role"]]:
        raise InvalidBanError("Moderators cannot be banned from commenting.")


def _read(ban: CommentBan) -> CommentBanRead:
    kind, _, value = ban.key.partition(":")
    return CommentBanRead(
        id=ban.id,
        kind=BanKind(kind),
        value=value,
        reason=ban.reason,
        banned_by=ban.banned_by,
        created_at=ban.created_at,
        expires_at=ban.expires_at,
    )
