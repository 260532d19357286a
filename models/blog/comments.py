"""Comments under posts, and who may not write any."""

from datetime import datetime
from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime
from models.users import AuthorName


class CommentStatus(StrEnum):
    PENDING = "pending"  # waits for a moderator
    APPROVED = "approved"  # public; the only status that counts
    REJECTED = "rejected"
    SPAM = "spam"
    DELETED = "deleted"  # by its author or a moderator; the text is gone, the place in the thread stays


class Comment(AgoraDocument):
    """A remark under a post, or under another comment of it. Written by a user, or by a guest who leaves name and address."""

    post_id: PydanticObjectId
    parent_id: PydanticObjectId | None = None
    root_id: PydanticObjectId | None = None  # the comment its thread hangs from; None for that one itself
    ancestor_ids: list[PydanticObjectId] = Field(default_factory=list)  # from the root down to the parent, so `depth` of them
    depth: int = 0
    content: str
    content_html: str
    status: CommentStatus = CommentStatus.PENDING
    author_id: PydanticObjectId | None = None
    author_name: str = ""  # what a guest gave; a user's name is read from the account, which may change or be anonymised
    author_email: str | None = None  # guests only; seen by moderators alone
    author_website: str | None = None
    address: str | None = None  # seen by moderators alone
    user_agent: str | None = None
    likes_count: int = 0
    replies_count: int = 0  # approved direct replies
    descendants_count: int = 0  # approved comments anywhere below; a withdrawn one that has any keeps its place
    edited_at: UtcDatetime | None = None
    revision: int = 1

    class Settings:
        name = "comments"
        indexes = [
            # The public threads of a post: approved roots, newest first.
            IndexModel(
                [("post_id", ASCENDING), ("parent_id", ASCENDING), ("status", ASCENDING), ("_id", DESCENDING)],
                name="post_parent_status_newest",
            ),
            # The replies of the threads on a page, oldest first.
            IndexModel([("root_id", ASCENDING), ("status", ASCENDING), ("_id", ASCENDING)], name="root_status_oldest"),
            # The moderation queue, oldest first.
            IndexModel([("status", ASCENDING), ("_id", ASCENDING)], name="status_oldest"),
            # The moderation queue of one post, oldest first.
            IndexModel([("post_id", ASCENDING), ("status", ASCENDING), ("_id", ASCENDING)], name="post_status_oldest"),
            # A person's comments, newest first.
            IndexModel([("author_id", ASCENDING), ("_id", DESCENDING)], name="author_newest"),
            # Reports: what was written within a time.
            IndexModel([("created_at", ASCENDING)], name="created"),
        ]


class BanKind(StrEnum):
    USER = "user"  # by id
    EMAIL = "email"  # guests who give this address
    ADDRESS = "address"  # a network address; for IPv6 its /64, which one subscriber holds


class CommentBan(AgoraDocument):
    """Who may not comment: a user, a guest's address by mail, or a network address."""

    key: str  # "user:65f0...", "email:troll@example.com", "address:203.0.113.7"
    reason: str = ""
    banned_by: PydanticObjectId
    expires_at: UtcDatetime | None = None  # None is for ever

    class Settings:
        name = "comment_bans"
        indexes = [
            # One ban per key, and the look-up before every comment.
            IndexModel([("key", ASCENDING)], name="key_unique", unique=True),
            # Only tidies up: whether a ban has expired is decided by the clock, not by its absence.
            IndexModel([("expires_at", ASCENDING)], name="expires_at_ttl", expireAfterSeconds=0),
        ]


class CommentRead(BaseModel):
    """A comment as everyone sees it; one that was withdrawn after it was answered keeps its place with empty text."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    post_id: PydanticObjectId
    parent_id: PydanticObjectId | None
    depth: int
    status: CommentStatus
    content_html: str
    author_name: str
    author_website: str | None
    author: AuthorName | None = Field(description="Null for guests")
    likes_count: int
    replies_count: int = Field(description="Approved direct replies")
    created_at: datetime
    edited_at: datetime | None
    revision: int = Field(description="Moves with every edit", examples=[1])


class CommentThread(CommentRead):
    """A root comment with the first of the replies in its thread, of every depth, oldest first."""

    descendants_count: int = Field(description="Approved comments anywhere in the thread below this one")
    replies: list[CommentRead]
    has_more_replies: bool
    replies_cursor: str | None = Field(description="Send it as `cursor` to the thread's replies for what follows")


class CommentModeration(CommentRead):
    """A comment as moderators see it."""

    content: str = Field(description="Markdown as written")
    author_email: str | None
    address: str | None
    user_agent: str | None


class ModerationAction(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    SPAM = "spam"
    DELETE = "delete"


class ModerationResult(BaseModel):
    """What became of one comment of a bulk action."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    status: CommentStatus | None = Field(description="The comment's status now; null when the action was refused")
    error: str | None = Field(description="The refusal's code", examples=["comment_not_found"])
    detail: str | None = Field(description="The refusal in words")


class CommentBanRead(BaseModel):
    """A ban as moderators see it."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    kind: BanKind
    value: str = Field(description="A user's id, a mail address, or a network address", examples=["203.0.113.7"])
    reason: str
    banned_by: PydanticObjectId
    created_at: datetime
    expires_at: datetime | None = Field(description="Null is for ever")
