"""Tags: made on first use, counted by the published posts that carry them."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from beanie import PydanticObjectId
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from models.blog.taxonomy import Tag, TagRead
from models.database import DuplicateKeyError, Session, after_commit, run_transaction, start_again
from models.events import EventType
from services.blog.reading import forget_references
from services.cache import Cache
from services.errors import ConflictError, NotFoundError, RuleViolatedError
from services.events import EventService
from services.slugs import slug_of
from services.users.permissions import Permission, Viewer

MAX_NAME = 30
_DUPLICATE_KEY = 11000

_popular: Cache[int, list[TagRead]] = Cache("blog_popular_tags", ttl=10.0, size=16)


class TagNotFoundError(NotFoundError):
    """There is no such tag."""

    code = "tag_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("tag", key)


class InvalidTagNameError(RuleViolatedError):
    """A tag's name is empty, over-long, or holds no letter or digit."""

    code = "invalid_tag_name"

    def __init__(self, name: str) -> None:
        super().__init__(f"A tag's name has 1 to {MAX_NAME} characters, a letter or digit among them.")
        self.name = name


class TagTakenError(ConflictError):
    """Another tag has this name, or one that reads the same in an address."""

    code = "tag_taken"

    def __init__(self, name: str) -> None:
        super().__init__("Another tag has this name.")
        self.name = name


class TagService:
    @staticmethod
    async def get_or_create_tags(names: Iterable[str], *, session: Session | None = None) -> list[PydanticObjectId]:
        """The ids of the tags of these names, in their order, each once; those that do not exist are made.

        Names that give the same slug are the same tag. One command when all are known, three otherwise. With a session the new
        ones are part of its transaction. Raises InvalidTagNameError.
        """
        wanted: dict[str, str] = {}
        for name, slug in map(_checked, names):
            wanted.setdefault(slug, name)
        slugs = list(wanted)
        known = await _ids_by_slug(slugs, session)
        missing = [slug for slug in slugs if slug not in known]
        if missing:
            await _create_missing([Tag(name=wanted[slug], slug=slug) for slug in missing], session)
            known |= await _ids_by_slug(missing, session)
        return [known[slug] for slug in slugs]

    @staticmethod
    async def get_popular_tags(limit: int = 20) -> list[TagRead]:
        """The tags of the most published posts, fullest first, then oldest; unused ones are left out. Up to 10 s old."""

        async def load() -> list[TagRead]:
            rows = await Tag.find_rows({"usage_count": {"$gt": 0}}, sort=[("usage_count", -1), ("_id", 1)], limit=limit)
            return [TagRead.model_validate({**row, "id": row["_id"]}) for row in rows]

        return await _popular.get_or_load(limit, load)

    @staticmethod
    async def rename_tag(tag_id: PydanticObjectId, *, name: str, viewer: Viewer) -> TagRead:
        """Name and slug of the tag changed, on all its posts.

        Raises PermissionDeniedError, InvalidTagNameError, TagNotFoundError, TagTakenError.
        """
        viewer.require(Permission.MANAGE_TAXONOMY)
        name, slug = _checked(name)

        async def work(session: Session) -> Tag:
            tag = await Tag.change({"_id": tag_id}, {"$set": {"name": name, "slug": slug}}, session=session)
            if tag is None:
                raise TagNotFoundError(tag_id)
            await EventService.record(session, EventType.TAG_CHANGED, f"tag:{tag_id}", actor_id=viewer.user_id)
            return tag

        try:
            tag = await run_transaction(work, hot=[tag_id])
        except DuplicateKeyError as error:
            raise TagTakenError(name) from error
        after_commit(partial(forget_references, tags=[tag_id]))
        after_commit(forget_popular_tags)
        return TagRead.model_validate(tag.model_dump())


def forget_popular_tags() -> None:
    """Have the popular tags read again, after a publication here."""
    _popular.invalidate()


async def get_tags(tag_ids: Sequence[PydanticObjectId], *, session: Session | None = None) -> list[PydanticObjectId]:
    """These ids, each once and in order; all of them exist. Raises TagNotFoundError."""
    wanted = list(dict.fromkeys(tag_ids))
    rows = await Tag.find_rows({"_id": {"$in": wanted}}, {"_id": 1}, session=session) if wanted else []
    known = {row["_id"] for row in rows}
    for tag_id in wanted:
        if tag_id not in known:
            raise TagNotFoundError(tag_id)
    return wanted


def _checked(name: str) -> tuple[str, str]:
    """The name with single spaces, and its slug."""
    name = " ".join(name.split())
    slug = slug_of(name, max_length=MAX_NAME)
    if not slug or len(name) > MAX_NAME:
        raise InvalidTagNameError(name)
    return name, slug


async def _ids_by_slug(slugs: Sequence[str], session: Session | None) -> dict[str, PydanticObjectId]:
    if not slugs:
        return {}
    rows = await Tag.find_rows({"slug": {"$in": slugs}}, {"slug": 1}, session=session)
    return {row["slug"]: row["_id"] for row in rows}


async def _create_missing(tags: Sequence[Tag], session: Session | None) -> None:
    """Insert those that are still missing, in one command; who comes second finds the first one's."""
    # The server gives the ids: the embedded one refuses `_id` in an upsert that loses a race.
    upserts = [UpdateOne({"slug": tag.slug}, {"$setOnInsert": _without_id(tag)}, upsert=True) for tag in tags]
    try:
        await Tag.collection().bulk_write(upserts, ordered=False, session=session)
    except BulkWriteError as error:
        codes = {failure["code"] for failure in error.details.get("writeErrors", [])}
        if codes != {_DUPLICATE_KEY}:
            raise
        if session is not None:
            raise start_again("a tag was made meanwhile") from error


def _without_id(tag: Tag) -> dict[str, Any]:
    return {field: value for field, value in tag.row().items() if field not in ("_id", "slug")}
