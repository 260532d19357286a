"""How stored posts become what readers get: the fields to ask for, and the names of authors, categories and tags.

A list or a page needs one find. The names come from a small cache; those it lacks are fetched together in one command, so a cold
read costs two commands and a warm one one.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

from beanie import PydanticObjectId

from models.base import AgoraDocument
from models.blog.posts import Post, PostEdit, PostRead, PostStatus, PostSummary
from models.blog.taxonomy import Category, CategoryName, Tag, TagName
from models.database import Session
from models.events import Event, EventType
from models.users import AuthorName, User
from services.cache import Cache
from services.errors import NotFoundError
from services.events import Consumer
from services.users.permissions import Permission, Viewer

Row = Mapping[str, Any]

_SUMMARY = (
    "title",
    "slug",
    "excerpt",
    "featured_image",
    "status",
    "published_at",
    "reading_minutes",
    "views_count",
    "likes_count",
    "comments_count",
)
_READ = (*_SUMMARY, "content_html", "meta_title", "meta_description", "created_at", "updated_at", "edited_at", "revision")
_EDIT = (*_READ, "content", "scheduled_at", "unpublish_at", "trashed_at")
_REFERENCES = ("author_id", "category_id", "tag_ids")

SUMMARY_FIELDS: Final = dict.fromkeys((*_SUMMARY, *_REFERENCES), 1)
"""What `to_summaries` needs of a post; `_id` comes along."""

READ_FIELDS: Final = dict.fromkeys((*_READ, *_REFERENCES), 1)
"""What `to_read` needs of a post."""

EDIT_FIELDS: Final = dict.fromkeys((*_EDIT, *_REFERENCES), 1)
"""What `to_edit` needs of a post."""


class PostNotFoundError(NotFoundError):
    """There is no such post, or it is not public and not the caller's."""

    code = "post_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("post", key)


async def get_published_post(
    post_id: PydanticObjectId, fields: Mapping[str, Any] | None = None, *, session: Session | None = None
) -> dict[str, Any]:
    """The stored row of a public post, projected to `fields` (and `status`). Raises PostNotFoundError.

    Asks by the id alone and checks the status here: the embedded server serves `{_id, status}` by a scan.
    """
    wanted = None if fields is None else {**fields, "status": 1}
    row = await Post.find_row({"_id": post_id}, wanted, session=session)
    if row is None or row["status"] != PostStatus.PUBLISHED:
        raise PostNotFoundError(post_id)
    return row


async def get_editable_post(post_id: PydanticObjectId, *, viewer: Viewer, session: Session | None = None) -> Post:
    """A post of any status that the viewer may change: a writer their own, an editor all. Raises PostNotFoundError."""
    row = await Post.find_row({"_id": post_id}, session=session)
    if row is None or not may_edit(row["author_id"], viewer):
        raise PostNotFoundError(post_id)
    return Post.from_row(row)


def may_edit(author_id: PydanticObjectId, viewer: Viewer) -> bool:
    return viewer.can(Permission.EDIT_ANY_POST) or (viewer.user_id == author_id and viewer.can(Permission.WRITE_POSTS))


async def to_summaries(rows: Sequence[Row]) -> list[PostSummary]:
    """The posts of `rows` (read with `SUMMARY_FIELDS`), in their order."""
    names = await _names_for(rows)
    return [PostSummary.model_validate(_shown(row, _SUMMARY, names)) for row in rows]


async def to_read(row: Row) -> PostRead:
    """The post of a row read with `READ_FIELDS`."""
    return PostRead.model_validate(_shown(row, _READ, await _names_for([row])))


async def to_edit(row: Row) -> PostEdit:
    """The post of a row read with `EDIT_FIELDS`, or of a whole one."""
    return PostEdit.model_validate(_shown(row, _EDIT, await _names_for([row])))


async def author_names(author_ids: Iterable[PydanticObjectId]) -> dict[PydanticObjectId, AuthorName]:
    """The people of these ids by id, without those who are gone. No command when the cache knows them all, else one."""
    rows = [{"author_id": author_id, "category_id": None, "tag_ids": ()} for author_id in author_ids]
    names = await _names_for(rows)
    return {key: name for key, name in names.items() if isinstance(name, AuthorName)}


def stamp_of(post: PostSummary) -> str:
    """The ETag's second half: moves whenever anything shown but the content does; the content moves the revision."""
    shown = post.model_dump_json(exclude={"content", "content_html"})
    return hashlib.blake2b(shown.encode(), digest_size=8).hexdigest()


# Names


class _Gone(Enum):
    """Remembered for an id that has no name to show (any more), so that it is not asked for again at once."""

    GONE = "gone"


_Name: TypeAlias = AuthorName | CategoryName | TagName | _Gone
_Names: TypeAlias = Mapping[PydanticObjectId, _Name]

_TTL = 30.0
_authors: Cache[PydanticObjectId, AuthorName | _Gone] = Cache("blog_authors", ttl=_TTL, size=5_000)
_categories: Cache[PydanticObjectId, CategoryName | _Gone] = Cache("blog_categories", ttl=_TTL, size=1_000)
_tags: Cache[PydanticObjectId, TagName | _Gone] = Cache("blog_tags", ttl=_TTL, size=10_000)


@dataclass
class _Generation:
    """Moves with every invalidation: names loaded before one are used once and not kept."""

    number: int = 0


_generation = _Generation()
_holders: list[Cache[Any, Any]] = []


def forget_references(
    *,
    authors: Iterable[PydanticObjectId] = (),
    categories: Iterable[PydanticObjectId] = (),
    tags: Iterable[PydanticObjectId] = (),
) -> None:
    """Drop names from this process's cache after they changed; other processes follow the event, or the 30 s of life."""
    _generation.number += 1
    _authors.invalidate(authors)
    _categories.invalidate(categories)
    _tags.invalidate(tags)
    for cache in _holders:
        cache.invalidate()


def holds_names(cache: Cache[Any, Any]) -> None:
    """Have this cache emptied whenever a name changes, because what it keeps shows names."""
    _holders.append(cache)


async def _forget_changed(event: Event) -> None:
    kind, _, key = event.subject.partition(":")
    changed = [PydanticObjectId(key)]
    if kind == "user":
        forget_references(authors=changed)
    elif kind == "category":
        forget_references(categories=changed)
    else:
        forget_references(tags=changed)


REFERENCE_CONSUMER = Consumer(
    "blog_references",
    {EventType.USER_UPDATED, EventType.USER_DEACTIVATED, EventType.CATEGORY_CHANGED, EventType.TAG_CHANGED},
    _forget_changed,
)
"""Forgets the names of people, categories and tags that changed."""


def _shown(row: Row, fields: Sequence[str], names: _Names) -> dict[str, Any]:
    """The row's own fields and its names; one that is gone is null, and a tag that is gone is left out."""
    shown = {field: row.get(field) for field in fields}
    author, category = names.get(row["author_id"]), names.get(row["category_id"])
    shown["id"] = row["_id"]
    shown["author"] = None if author is _Gone.GONE else author
    shown["category"] = None if category is _Gone.GONE else category
    shown["tags"] = [name for tag_id in row["tag_ids"] if (name := names.get(tag_id)) and name is not _Gone.GONE]
    return shown


async def _names_for(rows: Sequence[Row]) -> _Names:
    """The name, or its absence, of everything the rows refer to, by id."""
    authors = {row["author_id"] for row in rows}
    categories = {row["category_id"] for row in rows if row["category_id"] is not None}
    tags = {tag_id for row in rows for tag_id in row["tag_ids"]}
    names: dict[PydanticObjectId, _Name] = {}
    lacking: list[tuple[type[AgoraDocument], list[PydanticObjectId], dict[str, int]]] = []
    if missing := _take(_authors, authors, names):
        lacking.append((User, missing, {"username": 1, "first_name": 1, "last_name": 1, "avatar_url": 1, "is_active": 1}))
    if missing := _take(_categories, categories, names):
        lacking.append((Category, missing, {"name": 1, "slug": 1, "color": 1}))
    if missing := _take(_tags, tags, names):
        lacking.append((Tag, missing, {"name": 1, "slug": 1}))
    if not lacking:
        return names

    generation = _generation.number
    loaded = {row["_id"]: row for row in await lacking[0][0].aggregate_rows(_names_pipeline(lacking))}
    keep = generation == _generation.number
    for document, ids, _ in lacking:
        for key in ids:
            name: _Name
            if document is User:
                name = author = _author_name(loaded.get(key))
                if keep:
                    _authors.put(key, author)
            elif document is Category:
                name = category = CategoryName.model_validate(_named(loaded[key])) if key in loaded else _Gone.GONE
                if keep:
                    _categories.put(key, category)
            else:
                name = tag = TagName.model_validate(_named(loaded[key])) if key in loaded else _Gone.GONE
                if keep:
                    _tags.put(key, tag)
            names[key] = name
    return names


def _take(cache: Cache[PydanticObjectId, Any], ids: set[Any], names: dict[PydanticObjectId, _Name]) -> list[PydanticObjectId]:
    """Move what the cache holds into `names` and return the ids it lacks."""
    missing = []
    for key in ids:
        name = cache.get(key)
        if name is None:
            missing.append(key)
        else:
            names[key] = name
    return missing


def _names_pipeline(
    lacking: Sequence[tuple[type[AgoraDocument], list[PydanticObjectId], dict[str, int]]],
) -> list[dict[str, Any]]:
    """One command for names of up to three collections; it starts in the first one's.

    A row is `{"_id": ..., "username": "jane", ...}`, `{"_id": ..., "name": "Design", "slug": "design", "color": "#9b59b6"}` or
    `{"_id": ..., "name": "C++", "slug": "c-plus-plus"}`.
    """
    parts: list[tuple[str, list[dict[str, Any]]]] = [
        (document.get_collection_name(), [{"$match": {"_id": {"$in": ids}}}, {"$project": fields}])
        for document, ids, fields in lacking
    ]
    (_, first), *others = parts
    return [*first, *({"$unionWith": {"coll": name, "pipeline": stages}} for name, stages in others)]


def _author_name(row: Row | None) -> AuthorName | _Gone:
    """A deactivated person is anonymised, so their posts stand without an author."""
    if row is None or not row["is_active"]:
        return _Gone.GONE
    return AuthorName(
        id=row["_id"],
        username=row["username"],
        full_name=f"{row['first_name']} {row['last_name']}".strip(),
        avatar_url=row["avatar_url"],
    )


def _named(row: Row) -> dict[str, Any]:
    return {**row, "id": row["_id"]}
