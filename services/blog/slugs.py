"""The registry of post slugs: one owner per slug for ever, until the post is purged."""

import secrets

from beanie import PydanticObjectId

from models.blog.posts import PostSlug
from models.database import DuplicateKeyError, Session, start_again
from services.errors import ConflictError
from services.slugs import slug_of

MAX_SLUG = 200
_ROOM_FOR_SUFFIX = 8

RESERVED = frozenset({"mine", "preview"})
"""Slugs that would hide a route of the same path."""


class SlugTakenError(ConflictError):
    """The slug belongs, or once belonged, to another post."""

    code = "slug_taken"

    def __init__(self, slug: str) -> None:
        super().__init__("This slug belongs to another post, now or by redirect.")
        self.slug = slug


async def claim_slug(slug: str, post_id: PydanticObjectId, *, session: Session) -> None:
    """Give `slug` to the post, which may have owned it before. Raises SlugTakenError."""
    owner = await PostSlug.find_row({"slug": slug}, {"post_id": 1}, session=session)
    if slug in RESERVED or (owner is not None and owner["post_id"] != post_id):
        raise SlugTakenError(slug)
    if owner is None:
        await _register(slug, post_id, session)


async def claim_slug_of_title(title: str, post_id: PydanticObjectId, *, session: Session) -> str:
    """Give the post the first free of `a-title`, `a-title-2`, `a-title-3` and `a-title-<random>`, and return it."""
    base = slug_of(title, max_length=MAX_SLUG - _ROOM_FOR_SUFFIX) or "post"
    wishes = [base, f"{base}-2", f"{base}-3"]
    rows = await PostSlug.find_rows({"slug": {"$in": wishes}}, {"slug": 1}, session=session)
    taken = RESERVED | {row["slug"] for row in rows}
    slug = next((wish for wish in wishes if wish not in taken), f"{base}-{secrets.token_hex(3)}")
    await _register(slug, post_id, session)
    return slug


async def _register(slug: str, post_id: PydanticObjectId, session: Session) -> None:
    try:
        await PostSlug(slug=slug, post_id=post_id).store(session=session)
    except DuplicateKeyError as error:
        # Taken between our look and our insert: look again in a fresh transaction.
        raise start_again("a slug was taken meanwhile") from error
