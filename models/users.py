"""The one identity of Agora, its sessions, and what leads to an account: registrations and mailed tokens."""

from datetime import datetime
from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime

USERNAME_PATTERN = r"[a-z0-9_-]{3,50}"


class Role(StrEnum):
    """What a person may do, highest rank first; `services.users.permissions` gives each role its permissions."""

    SUPER_ADMIN = "super_admin"  # everything; the last one stays
    ADMIN = "admin"  # people, roles below their own, and everything editors may
    MANAGER = "manager"  # reports and the day's business
    EDITOR = "editor"  # everyone's posts, categories, moderation
    AUTHOR = "author"  # their own posts
    VENDOR = "vendor"  # their own products
    USER = "user"  # reads, comments, likes, follows, buys


class User(AgoraDocument):
    """A person. Author, customer and the like are roles or profiles on this identity, never another login."""

    username: str = Field(pattern=rf"^{USERNAME_PATTERN}$")  # lower case; what people see and link to; never changes
    email: str  # as its owner writes it
    email_normalized: str  # what uniqueness and login go by
    first_name: str = Field(max_length=50)
    last_name: str = Field(max_length=50)
    password_hash: str
    role: Role = Role.USER
    is_active: bool = True
    is_verified: bool = False
    # Login
    last_login_at: UtcDatetime | None = None
    login_count: int = 0
    failed_login_attempts: int = 0  # since the last success or lock; attempts refused by a lock are counted on
    locked_until: UtcDatetime | None = None  # by failures; a device known to the owner is counted apart
    suspended_until: UtcDatetime | None = None  # by staff; holds on every device
    # Public profile
    bio: str = ""
    avatar_url: str | None = None
    website: str | None = None
    social_links: dict[str, str] = Field(default_factory=dict)
    # Counters: each moves in the transaction of its cause; `scripts.reconcile` recounts them
    posts_count: int = 0  # published posts
    followers_count: int = 0
    following_count: int = 0
    # Written by whatever may remove a super_admin, on all of them, so that two such acts collide and are decided one by one.
    guard: int = 0
    revision: int = 1  # of what the owner may edit; counters do not move it

    class Settings:
        name = "users"
        indexes = [
            # Profile by name, and no two people of one name.
            IndexModel([("username", ASCENDING)], name="username_unique", unique=True),
            # Login and reset by address, and one account per address.
            IndexModel([("email_normalized", ASCENDING)], name="email_unique", unique=True),
            # Administration: people of a role, active or not, newest first.
            IndexModel([("role", ASCENDING), ("is_active", ASCENDING), ("_id", DESCENDING)], name="role_active_newest"),
            # Administration: all active (or all inactive) people, newest first.
            IndexModel([("is_active", ASCENDING), ("_id", DESCENDING)], name="active_newest"),
            # Reports: who joined within a time.
            IndexModel([("created_at", ASCENDING)], name="created"),
        ]

    @property
    def full_name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()

    def is_locked(self, now: UtcDatetime) -> bool:
        """Whether a login from a strange device is refused, be it for failures or by staff."""
        return self.is_suspended(now) or (self.locked_until is not None and now < self.locked_until)

    def is_suspended(self, now: UtcDatetime) -> bool:
        return self.suspended_until is not None and now < self.suspended_until


class Registration(AgoraDocument):
    """A wish for an account, held until its address is confirmed.

    It is stored the same whether or not the address has an account already, so that nothing a stranger sees tells which. The
    name is reserved meanwhile.
    """

    username: str
    email: str
    email_normalized: str
    first_name: str
    last_name: str
    password_hash: str
    token_hash: str
    expires_at: UtcDatetime

    class Settings:
        name = "registrations"
        indexes = [
            IndexModel([("username", ASCENDING)], name="username_unique", unique=True),
            # Confirmation by the mailed token.
            IndexModel([("token_hash", ASCENDING)], name="token_unique", unique=True),
            IndexModel([("expires_at", ASCENDING)], name="expires_at_ttl", expireAfterSeconds=0),
        ]


class TokenPurpose(StrEnum):
    PASSWORD_RESET = "password_reset"
    EMAIL_CHANGE = "email_change"


class AccountToken(AgoraDocument):
    """A single-use secret sent by mail; only its hash is stored."""

    user_id: PydanticObjectId
    purpose: TokenPurpose
    token_hash: str
    new_email: str | None = None  # for EMAIL_CHANGE
    expires_at: UtcDatetime

    class Settings:
        name = "account_tokens"
        indexes = [
            IndexModel([("token_hash", ASCENDING)], name="token_unique", unique=True),
            # A new request replaces the old one: one live token per person and purpose.
            IndexModel([("user_id", ASCENDING), ("purpose", ASCENDING)], name="user_purpose_unique", unique=True),
            IndexModel([("expires_at", ASCENDING)], name="expires_at_ttl", expireAfterSeconds=0),
        ]


class LoginSession(AgoraDocument):
    """One signed-in device. Holds what authorisation needs, so that a request costs one read.

    The copies of name and role cannot go stale: a username never changes, and changing the role ends the sessions in the same
    transaction.
    """

    user_id: PydanticObjectId
    username: str
    role: Role
    token_hash: str
    device_id: str
    address: str
    user_agent: str
    last_seen_at: UtcDatetime
    expires_at: UtcDatetime

    class Settings:
        name = "login_sessions"
        indexes = [
            # Every authenticated request.
            IndexModel([("token_hash", ASCENDING)], name="token_unique", unique=True),
            # A person's list of devices, and revoking them all.
            IndexModel([("user_id", ASCENDING), ("_id", DESCENDING)], name="user_newest"),
            IndexModel([("expires_at", ASCENDING)], name="expires_at_ttl", expireAfterSeconds=0),
        ]

    def is_expired(self, now: UtcDatetime) -> bool:
        return now >= self.expires_at


class LoginRecord(AgoraDocument):
    """One attempt to sign in; kept 90 days. Attempts on accounts that do not exist are kept alike, under an id nobody has."""

    user_id: PydanticObjectId
    succeeded: bool
    has_locked: bool = False  # this failure was the one that locked the account
    address: str
    user_agent: str
    expires_at: UtcDatetime

    class Settings:
        name = "login_records"
        indexes = [
            # A person's login history, newest first.
            IndexModel([("user_id", ASCENDING), ("_id", DESCENDING)], name="user_newest"),
            # Reports: who signed in within a time.
            IndexModel([("created_at", ASCENDING)], name="created"),
            IndexModel([("expires_at", ASCENDING)], name="expires_at_ttl", expireAfterSeconds=0),
        ]


class DeviceLock(AgoraDocument):
    """Failed logins from one known device of one account; kept apart from strangers' failures, so that theirs cannot lock it."""

    device_id: str
    failed_login_attempts: int = 0
    locked_until: UtcDatetime | None = None
    expires_at: UtcDatetime

    class Settings:
        name = "device_locks"
        indexes = [
            IndexModel([("device_id", ASCENDING)], name="device_unique", unique=True),
            IndexModel([("expires_at", ASCENDING)], name="expires_at_ttl", expireAfterSeconds=0),
        ]


class AuthorName(BaseModel):
    """A person as other things show them."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    username: str = Field(examples=["janedoe"])
    full_name: str = Field(examples=["Jane Doe"])
    avatar_url: str | None


class UserProfile(AuthorName):
    """A person as everyone may see them."""

    bio: str
    website: str | None
    social_links: dict[str, str]
    role: Role
    posts_count: int = Field(description="Published posts")
    followers_count: int
    following_count: int
    created_at: datetime


class UserAccount(UserProfile):
    """A person as they see themselves, and as user administration sees them."""

    email: str
    first_name: str
    last_name: str
    is_active: bool
    is_verified: bool
    locked_until: datetime | None = Field(description="Too many failed logins: strange devices are refused until then")
    suspended_until: datetime | None = Field(description="Suspended by staff until then")
    last_login_at: datetime | None
    login_count: int
    updated_at: datetime
    revision: int


class SessionRead(BaseModel):
    """One signed-in device, as its owner sees it."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    is_current: bool = Field(description="True for the session that asks")
    address: str = Field(description="The network address it was opened from", examples=["203.0.113.7"])
    user_agent: str
    created_at: datetime
    last_seen_at: datetime = Field(description="To five minutes")
    expires_at: datetime


class LoginRecordRead(BaseModel):
    """One attempt to sign in, as the account's owner sees it."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    succeeded: bool
    has_locked: bool = Field(description="True for the failure that locked the account")
    address: str = Field(examples=["203.0.113.7"])
    user_agent: str
    created_at: datetime
