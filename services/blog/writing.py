"""What writers hand in, and what a post stores because of it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from beanie import PydanticObjectId
from pydantic import BaseModel, Field, StringConstraints

from models.base import UtcDatetime
from models.blog.posts import Post, PostRevision, PostStatus
from models.database import Session
from services.blog.slugs import MAX_SLUG
from services.blog.tags import TagService, get_tags
from services.errors import RuleViolatedError
from services.markdown import render_post
from services.slugs import SLUG_PATTERN
from services.terms import post_terms

MAX_TAGS = 20
WORDS_PER_MINUTE = 200

Title = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Content = Annotated[str, StringConstraints(min_length=1, max_length=100_000, pattern=r"\S")]
Excerpt = Annotated[str, StringConstraints(max_length=500)]
Slug = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SLUG, pattern=SLUG_PATTERN)]
MetaTitle = Annotated[str, StringConstraints(max_length=60)]
MetaDescription = Annotated[str, StringConstraints(max_length=160)]
ImageUrl = Annotated[str, StringConstraints(max_length=500, pattern=r"^https?://")]
TagNames = Annotated[list[Annotated[str, StringConstraints(max_length=100)]], Field(max_length=MAX_TAGS)]
TagIds = Annotated[list[PydanticObjectId], Field(max_length=MAX_TAGS)]


class TooManyTagsError(RuleViolatedError):
    """More tags than a post may carry, those given by id and by name together."""

    code = "too_many_tags"

    def __init__(self, count: int) -> None:
        super().__init__(f"A post carries at most {MAX_TAGS} tags.")
        self.count = count


class ScheduleInPastError(RuleViolatedError):
    """A post can only be scheduled for a time that is still to come."""

    code = "schedule_in_past"

    def __init__(self, moment: datetime | None) -> None:
        super().__init__("Say a time that is still to come.")
        self.moment = moment


class PostDraft(BaseModel):
    """A post to be."""

    title: Title = Field(examples=["Indexes that serve"])
    content: Content = Field(description="Markdown", examples=["An index serves the query it was made for."])
    slug: Slug | None = Field(default=None, description="Made from the title when left out", examples=["indexes-that-serve"])
    excerpt: Excerpt = ""
    featured_image: ImageUrl | None = None
    meta_title: MetaTitle | None = None
    meta_description: MetaDescription | None = None
    category_id: PydanticObjectId | None = None
    tag_ids: TagIds = []
    tag_names: TagNames = Field(default=[], description="Tags by name; those that do not exist are made", examples=[["MongoDB"]])
    status: Literal[PostStatus.DRAFT, PostStatus.SCHEDULED, PostStatus.PUBLISHED] = PostStatus.DRAFT
    scheduled_at: UtcDatetime | None = Field(default=None, description="When it publishes itself; for status `scheduled`")
    unpublish_at: UtcDatetime | None = Field(default=None, description="When it archives itself once published")


class PostChanges(BaseModel):
    """What is to change. What is left out stays; null empties what can be empty."""

    title: Title = Field(default_factory=str)
    content: Content = Field(default_factory=str, description="Markdown")
    slug: Slug = Field(default_factory=str, description="The old one redirects from then on")
    excerpt: Excerpt = Field(default_factory=str)
    featured_image: ImageUrl | None = None
    meta_title: MetaTitle | None = None
    meta_description: MetaDescription | None = None
    category_id: PydanticObjectId | None = None
    tag_ids: TagIds = Field(default_factory=list, description="With `tag_names`, all the tags it has from then on")
    tag_names: TagNames = Field(default_factory=list)
    unpublish_at: UtcDatetime | None = None


def reading_minutes(content: str) -> int:
    """Minutes at 200 words a minute, halves rounded up, at least 1."""
    return max(1, (2 * len(content.split()) + WORDS_PER_MINUTE) // (2 * WORDS_PER_MINUTE))


async def derived_from_content(content: str) -> dict[str, Any]:
    """The stored fields that follow from the Markdown; rendered in a thread, because a long one takes a while."""
    html = await asyncio.to_thread(render_post, content)
    return {"content": content, "content_html": html, "reading_minutes": reading_minutes(content)}


async def resolve_tags(
    tag_ids: Sequence[PydanticObjectId], tag_names: Sequence[str], *, session: Session
) -> list[PydanticObjectId]:
    """Ids first, then names, each tag once; new names become tags in the same transaction.

    Raises TagNotFoundError, InvalidTagNameError, TooManyTagsError.
    """
    known = await get_tags(tag_ids, session=session)
    named = await TagService.get_or_create_tags(tag_names, session=session)
    tags = list(dict.fromkeys([*known, *named]))
    if len(tags) > MAX_TAGS:
        raise TooManyTagsError(len(tags))
    return tags


def terms_with(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """The stored search terms of a post whose texts are in `fields`."""
    terms = post_terms(title=fields["title"], excerpt=fields["excerpt"], content=fields["content"])
    return [term.model_dump() for term in terms]


async def keep_revision(post: Post, editor_id: PydanticObjectId, *, session: Session) -> None:
    """Write the post's present content into its history, in the transaction that changed it."""
    await PostRevision(
        post_id=post.id,
        number=post.revision,
        editor_id=editor_id,
        title=post.title,
        content=post.content,
        excerpt=post.excerpt,
    ).store(session=session)
