"""The pages of published posts, kept for a minute at most as the bytes that are sent.

Nothing on them belongs to one reader. A page is forgotten by this process the moment its post, or a name on it, changes here, and
follows what other processes change through their events; the minute is for the case that no event comes, and for the view count,
which is written in batches anyway.
"""

from dataclasses import dataclass
from typing import Any

from beanie import PydanticObjectId

from models.blog.posts import Post, PostRead, PostStatus
from models.events import Event, EventType
from services.blog.reading import READ_FIELDS, holds_names, stamp_of, to_read
from services.cache import Cache
from services.events import Consumer


@dataclass(frozen=True, slots=True)
class PostPage:
    """A post, as JSON too, with the stamp of its ETag."""

    post: PostRead
    body: bytes
    stamp: str


class NotPublicError(Exception):
    """There is no page for everyone under this slug; `row` is what there is, if anything."""

    def __init__(self, row: dict[str, Any] | None) -> None:
        super().__init__()
        self.row = row


_pages: Cache[str, PostPage] = Cache("blog_pages", ttl=60.0, size=2_000)
_slugs: Cache[PydanticObjectId, str] = Cache("blog_page_slugs", ttl=60.0, size=2_000)


async def get_public_page(slug: str) -> PostPage:
    """The page of a published post: no command when it is kept, else one, and one for the names if they are not.

    Raises NotPublicError.
    """
    return await _pages.get_or_load(slug, lambda: _load(slug))


def make_page(post: PostRead) -> PostPage:
    return PostPage(post, post.model_dump_json().encode(), stamp_of(post))


async def _load(slug: str) -> PostPage:
    row = await Post.find_row({"slug": slug}, READ_FIELDS)
    if row is None or row["status"] != PostStatus.PUBLISHED:
        raise NotPublicError(row)
    _slugs.put(row["_id"], slug)
    return make_page(await to_read(row))


def forget_page(post_id: PydanticObjectId | None) -> None:
    """Have the page of this post, or every page, made anew."""
    if post_id is None:
        _pages.invalidate()
        return
    slug = _slugs.peek(post_id)
    _pages.invalidate([slug] if slug is not None else [])


async def _forget_changed(event: Event) -> None:
    post_id = event.payload.get("post_id") or event.subject.partition(":")[2]
    forget_page(PydanticObjectId(post_id))


Post.watchers.append(forget_page)
holds_names(_pages)

PAGE_CONSUMER = Consumer(
    "blog_pages",
    {
        EventType.POST_UPDATED,
        EventType.POST_PUBLISHED,
        EventType.POST_WITHDRAWN,
        EventType.POST_LIKED,
        EventType.POST_UNLIKED,
        EventType.COMMENT_APPROVED,
        EventType.COMMENT_WITHDRAWN,
    },
    _forget_changed,
)
"""Forgets the pages of posts that other processes changed."""
