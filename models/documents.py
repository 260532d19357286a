"""The list of all documents: what is bound to the database, and whose indexes are created."""

from models.audit import AuditEntry
from models.base import AgoraDocument
from models.blog.comments import Comment, CommentBan
from models.blog.posts import Post, PostRevision, PostSlug, PostViews
from models.blog.taxonomy import Category, Tag
from models.events import Checkpoint, DeadLetter, Event
from models.idempotency import IdempotentAnswer
from models.jobs import Job
from models.ratelimits import RateWindow
from models.social import Follow, Like
from models.users import AccountToken, DeviceLock, LoginRecord, LoginSession, Registration, User

DOCUMENTS: list[type[AgoraDocument]] = [
    AccountToken,
    AuditEntry,
    Category,
    Checkpoint,
    Comment,
    CommentBan,
    DeadLetter,
    DeviceLock,
    Event,
    Follow,
    IdempotentAnswer,
    Job,
    Like,
    LoginRecord,
    LoginSession,
    Post,
    PostRevision,
    PostSlug,
    PostViews,
    RateWindow,
    Registration,
    Tag,
    User,
]
