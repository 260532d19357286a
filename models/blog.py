"""The publication: categories, tags, posts with their history, and the comments under them."""

from datetime import datetime
from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime


class Category(AgoraDocument):
    """A section of the publication; a post is in one or none."""

    name: str
    slug: str
    description: str = ""
    color: str = "#000000"
    is_active: bool = True
    posts_count: int = 0  # published posts
    revision: int = 1

    class Settings:
        name = "blog_categories"
        indexes = [
            IndexModel([("slug", ASCENDING)], name="slug_unique", unique=True),
            # The public list: active ones, fullest first.
            IndexModel([("is_active", ASCENDING), ("posts_count", DESCENDING), ("_id", ASCENDING)], name="active_fullest"),
        ]


class Tag(AgoraDocument):
    """A word posts are marked with; made on first use."""

    name: str
    slug: str
    usage_count: int = 0  # published posts

    class Settings:
        name = "tags"
        indexes = [
            IndexModel([("slug", ASCENDING)], name="slug_unique", unique=True),
            # Popular tags.
            IndexModel([("usage_count", DESCENDING), ("_id", ASCENDING)], name="most_used"),
        ]


class PostStatus(StrEnum):
    DRAFT = "draft"  # seen by its author and editors
    SCHEDULED = "scheduled"  # a draft that publishes itself at `scheduled_at`
    PUBLISHED = "published"  # public
    ARCHIVED = "archived"  # was public, is kept
    TRASHED = "trashed"  # deleted; can be restored until it is purged


class SearchTerm(BaseModel):
    """A normalised word of a document and its weight in it."""

    term: str
    weight: int


class Post(AgoraDocument):
    """An article. `content` is Markdown; `content_html` is what it renders to, sanitised, made when the content is written."""

    title: str
    slug: str
    content: str
    content_html: str
    excerpt: str = ""
    featured_image: str | None = None
    meta_title: str | None = None
    meta_description: str | None = None
    author_id: PydanticObjectId
    category_id: PydanticObjectId | None = None
    tag_ids: list[PydanticObjectId] = Field(default_factory=list)  # at most 20
    status: PostStatus = PostStatus.DRAFT
    published_at: UtcDatetime | None = None  # the first publication; kept when archived
    scheduled_at: UtcDatetime | None = None
    unpublish_at: UtcDatetime | None = None  # archives itself then
    trashed_at: UtcDatetime | None = None
    reading_minutes: int = 1
    views_count: int = 0  # sum of its PostViews
    likes_count: int = 0
    comments_count: int = 0  # approved ones
    revision: int = 1  # moves with every edit of the content; the ETag's first half
    terms: list[SearchTerm] = Field(default_factory=list)

    class Settings:
        name = "posts"
        indexes = [
            # The page of a post.
            IndexModel([("slug", ASCENDING)], name="slug_unique", unique=True),
            # Newest published posts; and the job's drafts due for publication have their own below.
            IndexModel([("status", ASCENDING), ("published_at", DESCENDING), ("_id", DESCENDING)], name="status_newest"),
            # Newest published posts of an author, of several (the feed), of a category, with a tag.
            IndexModel(
                [("author_id", ASCENDING), ("status", ASCENDING), ("published_at", DESCENDING), ("_id", DESCENDING)],
                name="author_status_newest",
            ),
            IndexModel(
                [("category_id", ASCENDING), ("status", ASCENDING), ("published_at", DESCENDING), ("_id", DESCENDING)],
                name="category_status_newest",
            ),
            IndexModel(
                [("tag_ids", ASCENDING), ("status", ASCENDING), ("published_at", DESCENDING), ("_id", DESCENDING)],
                name="tag_status_newest",
            ),
            # An author's own posts of every status, last touched first.
            IndexModel([("author_id", ASCENDING), ("_id", DESCENDING)], name="author_created"),
            # Most viewed and most liked of the published ones.
            IndexModel([("status", ASCENDING), ("views_count", DESCENDING), ("_id", DESCENDING)], name="status_views"),
            IndexModel([("status", ASCENDING), ("likes_count", DESCENDING), ("_id", DESCENDING)], name="status_likes"),
            # What is due: scheduled posts to publish, published ones to take down, the trash to purge.
            IndexModel([("status", ASCENDING), ("scheduled_at", ASCENDING)], name="status_scheduled"),
            IndexModel([("status", ASCENDING), ("unpublish_at", ASCENDING)], name="status_unpublish"),
            IndexModel([("status", ASCENDING), ("trashed_at", ASCENDING)], name="status_trashed"),
            # Search looks up its rarest term here.
            IndexModel([("terms.term", ASCENDING)], name="terms"),
        ]


class PostSlug(AgoraDocument):
    """Every slug a post has or had. Old ones redirect, and nobody else can take them."""

    slug: str
    post_id: PydanticObjectId

    class Settings:
        name = "post_slugs"
        indexes = [
            IndexModel([("slug", ASCENDING)], name="slug_unique", unique=True),
            # Released when the post is purged.
            IndexModel([("post_id", ASCENDING)], name="post"),
        ]


class PostRevision(AgoraDocument):
    """What a post's content was at one revision; the current one is among them."""

    post_id: PydanticObjectId
    number: int
    editor_id: PydanticObjectId | None
    title: str
    content: str
    excerpt: str = ""

    class Settings:
        name = "post_revisions"
        indexes = [
            IndexModel([("post_id", ASCENDING), ("number", DESCENDING)], name="post_number_unique", unique=True),
        ]


class PostViews(AgoraDocument):
    """Views of one post on one UTC day, each visitor counted once per half hour; the truth behind `views_count`."""

    post_id: PydanticObjectId
    day: datetime  # midnight UTC
    views_count: int = 0

    class Settings:
        name = "post_views"
        indexes = [
            IndexModel([("post_id", ASCENDING), ("day", ASCENDING)], name="post_day_unique", unique=True),
            # Popularity: all posts' views since a day.
            IndexModel([("day", ASCENDING)], name="day"),
        ]


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
    depth: int = 0
    content: str
    content_html: str
    status: CommentStatus = CommentStatus.PENDING
    author_id: PydanticObjectId | None = None
    author_name: str  # the user's full name when written, or what the guest gave
    author_email: str | None = None  # guests only; seen by moderators alone
    author_website: str | None = None
    address: str | None = None  # seen by moderators alone
    user_agent: str | None = None
    likes_count: int = 0
    replies_count: int = 0  # approved direct replies
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
            # A person's comments, newest first.
            IndexModel([("author_id", ASCENDING), ("_id", DESCENDING)], name="author_newest"),
        ]


class CommentBan(AgoraDocument):
    """Who may not comment: a user, a guest's address by mail, or a network address."""

    key: str  # "user:65f0...", "email:troll@example.com", "address:203.0.113.7"
    reason: str = ""
    banned_by: PydanticObjectId
    expires_at: UtcDatetime | None = None  # None is for ever

    class Settings:
        name = "comment_bans"
        indexes = [IndexModel([("key", ASCENDING)], name="key_unique", unique=True)]
