"""The publication for feed readers and search engines: RSS 2.0, Atom (RFC 4287) and a sitemap (sitemaps.org 0.9)."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from models.blog.posts import Post, PostRead, PostStatus
from services.blog.reading import READ_FIELDS, to_read
from services.cache import Cache
from services.heavy import heavy_work
from services.settings import Settings

FEED_POSTS = 20
MAX_SITEMAP_URLS = 50_000  # what one sitemap file may hold; of more posts, the newest are named

_ATOM = "http://www.w3.org/2005/Atom"
_CONTENT = "http://purl.org/rss/1.0/modules/content/"
_CREATOR = "http://purl.org/dc/elements/1.1/"
_SITEMAP = "http://www.sitemaps.org/schemas/sitemap/0.9"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# What XML 1.0 cannot hold, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Syndicated:
    """A finished document. `tag` changes with its bytes, `modified_at` with the newest post or edit in it."""

    body: bytes
    tag: str
    modified_at: datetime


_documents: Cache[tuple[str, str, str], Syndicated] = Cache("blog_syndication", ttl=60, size=16)
_sitemaps: Cache[str, Syndicated] = Cache("blog_sitemap", ttl=600, size=4)


class SyndicationService:
    @staticmethod
    async def get_rss(*, settings: Settings) -> Syndicated:
        """The newest `FEED_POSTS` published posts, whole, newest first; a channel without items when there are none.

        Up to a minute old.
        """
        return await _feed("rss", _rss, settings)

    @staticmethod
    async def get_atom(*, settings: Settings) -> Syndicated:
        """As `get_rss`, in Atom. `updated` moves with edits of the content, not with views and likes."""
        return await _feed("atom", _atom, settings)

    @staticmethod
    async def get_sitemap(*, settings: Settings) -> Syndicated:
        """The addresses of all published posts, newest first, at most `MAX_SITEMAP_URLS`. Up to ten minutes old."""

        async def load() -> Syndicated:
            async with heavy_work():
                rows = await Post.find_rows(
                    {"status": PostStatus.PUBLISHED},
                    {"slug": 1, "published_at": 1, "edited_at": 1},
                    sort=[("published_at", -1), ("_id", -1)],
                    limit=MAX_SITEMAP_URLS,
                )
            return _sitemap(rows, settings)

        return await _sitemaps.get_or_load(settings.base_url, load)

    @staticmethod
    def forget() -> None:
        """Drop what this process remembers."""
        _documents.invalidate()
        _sitemaps.invalidate()


def post_url(slug: str, settings: Settings) -> str:
    """Where a post is read."""
    return f"{settings.base_url.rstrip('/')}/api/v1/blog/posts/{quote(slug)}"


async def _feed(
    kind: str, build: Callable[[Sequence[PostRead], Settings, datetime], ET.Element], settings: Settings
) -> Syndicated:
    async def load() -> Syndicated:
        async with heavy_work():
            rows = await Post.find_rows(
                {"status": PostStatus.PUBLISHED}, READ_FIELDS, sort=[("published_at", -1), ("_id", -1)], limit=FEED_POSTS
            )
        posts = [await to_read(row) for row in rows]
        modified_at = max((_changed_at(post.published_at, post.edited_at) for post in posts), default=_EPOCH)
        return _finished(ET.tostring(build(posts, settings, modified_at), "utf-8", xml_declaration=True), modified_at)

    return await _documents.get_or_load((kind, settings.base_url, settings.site_title), load)


def _rss(posts: Sequence[PostRead], settings: Settings, modified_at: datetime) -> ET.Element:
    home = settings.base_url.rstrip("/")
    root = ET.Element("rss", {"version": "2.0"})
    channel = ET.SubElement(root, "channel")
    _text(channel, "title", settings.site_title)
    _text(channel, "link", home + "/")
    _text(channel, "description", f"The latest from {settings.site_title}")
    ET.SubElement(channel, f"{{{_ATOM}}}link", {"href": f"{home}/feed.rss", "rel": "self", "type": "application/rss+xml"})
    if posts:
        _text(channel, "lastBuildDate", format_datetime(modified_at, usegmt=True))
    for post in posts:
        item = ET.SubElement(channel, "item")
        _text(item, "title", post.title)
        _text(item, "link", post_url(post.slug, settings))
        _text(item, "guid", _permanent_id(post, settings)).set("isPermaLink", "false")
        _text(item, "pubDate", format_datetime(_changed_at(post.published_at, None), usegmt=True))
        if post.author is not None:
            _text(item, f"{{{_CREATOR}}}creator", post.author.full_name)
        for name in _topics(post):
            _text(item, "category", name)
        _text(item, "description", post.excerpt)
        _text(item, f"{{{_CONTENT}}}encoded", post.content_html)
    return root


def _atom(posts: Sequence[PostRead], settings: Settings, modified_at: datetime) -> ET.Element:
    home = settings.base_url.rstrip("/")
    root = ET.Element(f"{{{_ATOM}}}feed")
    _text(root, f"{{{_ATOM}}}id", home + "/")
    _text(root, f"{{{_ATOM}}}title", settings.site_title)
    _text(root, f"{{{_ATOM}}}updated", modified_at.isoformat())
    ET.SubElement(root, f"{{{_ATOM}}}link", {"href": f"{home}/feed.atom", "rel": "self", "type": "application/atom+xml"})
    ET.SubElement(root, f"{{{_ATOM}}}link", {"href": home + "/", "rel": "alternate"})
    for post in posts:
        entry = ET.SubElement(root, f"{{{_ATOM}}}entry")
        _text(entry, f"{{{_ATOM}}}id", _permanent_id(post, settings))
        _text(entry, f"{{{_ATOM}}}title", post.title)
        _text(entry, f"{{{_ATOM}}}published", _changed_at(post.published_at, None).isoformat())
        _text(entry, f"{{{_ATOM}}}updated", _changed_at(post.published_at, post.edited_at).isoformat())
        ET.SubElement(entry, f"{{{_ATOM}}}link", {"href": post_url(post.slug, settings), "rel": "alternate"})
        author = ET.SubElement(entry, f"{{{_ATOM}}}author")  # required, so a post whose author is gone is the site's
        _text(author, f"{{{_ATOM}}}name", post.author.full_name if post.author is not None else settings.site_title)
        for name in _topics(post):
            ET.SubElement(entry, f"{{{_ATOM}}}category", {"term": _NOT_XML.sub("", name)})
        if post.excerpt:
            _text(entry, f"{{{_ATOM}}}summary", post.excerpt)
        _text(entry, f"{{{_ATOM}}}content", post.content_html).set("type", "html")
    return root


def _sitemap(rows: Sequence[dict[str, Any]], settings: Settings) -> Syndicated:
    # Joined by hand: a tree of 50,000 entries would hold the event loop for a third of a second.
    entries = []
    modified_at = _EPOCH
    for row in rows:
        changed_at = _changed_at(row["published_at"], row.get("edited_at"))
        modified_at = max(modified_at, changed_at)
        location = escape(post_url(row["slug"], settings))
        entries.append(f"<url><loc>{location}</loc><lastmod>{changed_at:%Y-%m-%dT%H:%M:%SZ}</lastmod></url>")
    head = f'<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="{_SITEMAP}">\n'
    return _finished((head + "\n".join(entries) + "\n</urlset>\n").encode(), modified_at)


def _finished(body: bytes, modified_at: datetime) -> Syndicated:
    return Syndicated(body, f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"', modified_at)


def _text(parent: ET.Element, name: str, text: str) -> ET.Element:
    child = ET.SubElement(parent, name)
    child.text = _NOT_XML.sub("", text)
    return child


def _topics(post: PostRead) -> list[str]:
    return [*([post.category.name] if post.category else []), *(tag.name for tag in post.tags)]


def _permanent_id(post: PostRead, settings: Settings) -> str:
    """A tag URI (RFC 4151): unlike the address, it stays when the slug changes."""
    return f"tag:{urlsplit(settings.base_url).hostname},2026:post:{post.id}"


def _changed_at(published_at: datetime | None, edited_at: datetime | None) -> datetime:
    """The later of the two; a draft's edits lie before its publication."""
    return max(published_at or _EPOCH, edited_at or _EPOCH).astimezone(UTC)


ET.register_namespace("atom", _ATOM)
ET.register_namespace("content", _CONTENT)
ET.register_namespace("dc", _CREATOR)
