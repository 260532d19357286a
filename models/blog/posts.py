"""Posts, the history of their content and addresses, and how often they are read."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime
from models.blog.taxonomy import CategoryName, TagName
from models.search import SearchTerm
from models.users import AuthorName


class PostStatus(StrEnum):
    DRAFT = "draft"  # seen by its author and editors
    SCHEDULED = "scheduled"  # a draft that publishes itself at `scheduled_at`
    PUBLISHED = "published"  # public
    ARCHIVED = "archived"  # was public, is kept
    TRASHED = "trashed"  # deleted; can be restored until it is purged


class Post(AgoraDocument):
    """An article. `content` is Markdown; `content_html` is what it renders to, sanitised, made when the content is written."""

    watchers: ClassVar[list[Callable[[PydanticObjectId | None], None]]] = []

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
    edited_at: UtcDatetime | None = None  # when the revision last moved; counters move only `updated_at`
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
            # Editors: posts of a status, last created first.
            IndexModel([("status", ASCENDING), ("_id", DESCENDING)], name="status_created"),
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
    day: UtcDatetime  # midnight
    views_count: int = 0

    class Settings:
        name = "post_views"
        indexes = [
            IndexModel([("post_id", ASCENDING), ("day", ASCENDING)], name="post_day_unique", unique=True),
            # Popularity: all posts' views since a day.
            IndexModel([("day", ASCENDING)], name="day"),
        ]


class PostSummary(BaseModel):
    """A post as lists show it. Author or category are null when they are gone."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    title: str = Field(examples=["Indexes that serve"])
    slug: str = Field(examples=["indexes-that-serve"])
    excerpt: str
    featured_image: str | None
    status: PostStatus
    published_at: datetime | None
    reading_minutes: int = Field(description="Minutes at 200 words a minute, at least 1", examples=[4])
    views_count: int
    likes_count: int
    comments_count: int = Field(description="Approved comments")
    author: AuthorName | None
    category: CategoryName | None
    tags: list[TagName]


class PostRead(PostSummary):
    """A post as its page shows it."""

    content_html: str = Field(description="Rendered from Markdown and sanitised")
    meta_title: str | None
    meta_description: str | None
    created_at: datetime
    updated_at: datetime = Field(description="Moves with everything, counters too")
    edited_at: datetime | None = Field(description="When the content last changed; null when it never did")
    revision: int


class PostEdit(PostRead):
    """A post as its author and editors see it."""

    content: str = Field(description="Markdown")
    scheduled_at: datetime | None
    unpublish_at: datetime | None
    trashed_at: datetime | None


class RevisionSummary(BaseModel):
    """One entry of a post's history."""

    model_config = ConfigDict(frozen=True)

    number: int = Field(examples=[3])
    title: str
    editor_id: PydanticObjectId | None
    created_at: datetime


class RevisionRead(RevisionSummary):
    """What a post's content was at one revision."""

    content: str = Field(description="Markdown")
    excerpt: str


class RevisionDiff(BaseModel):
    """What changed between two revisions, as a unified diff by lines; empty when nothing did."""

    model_config = ConfigDict(frozen=True)

    from_number: int
    to_number: int
    title_changed: bool
    diff: str = Field(examples=["--- revision 1\n+++ revision 2\n@@ -1 +1 @@\n-Old.\n+New.\n"])


class PreviewLink(BaseModel):
    """A link with which anyone can read a post that is not public, until it expires."""

    model_config = ConfigDict(frozen=True)

    token: str
    url: str
    expires_at: datetime
