"""ETags and what callers do with them: If-None-Match for reads, If-Match for edits.

A tag is `"<revision>-<stamp>"`. The revision moves with every edit of the content, the stamp with everything the answer shows, a
counter or an author's name too. A read is unchanged only if both are the same; an edit is refused only if the revision moved, so
that a like does not cost an editor their work.
"""

import hashlib
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from services.errors import PreconditionError, PreconditionRequiredError

# The `responses=` of a read that is `tagged`.
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "The caller's copy is current."}}


def etag(revision: int, stamp: str) -> str:
    return f'"{revision}-{stamp}"'


def is_unchanged(request: Request, tag: str) -> bool:
    """True when the caller holds the answer of this tag already."""
    given = request.headers.get("if-none-match")
    if given is None:
        return False
    return given == "*" or tag in (part.strip().removeprefix("W/") for part in given.split(","))


def not_modified(tag: str) -> Response:
    return Response(status_code=304, headers={"ETag": tag, "Cache-Control": "no-cache"})


def tagged(request: Request, body: bytes, *, tag: str, status: int = 200) -> Response:
    """The JSON answer with its tag, or 304 without a body when the caller holds it already."""
    if request.method in ("GET", "HEAD") and is_unchanged(request, tag):
        return not_modified(tag)
    return Response(body, status, {"ETag": tag, "Cache-Control": "no-cache"}, "application/json")


def answer(request: Request, thing: BaseModel, *, status: int = 200) -> Response:
    """The thing as it is shown, tagged by its revision, if it has one, and by everything in it; or 304, as `tagged`."""
    body = thing.model_dump_json().encode()
    return tagged(request, body, tag=etag(getattr(thing, "revision", 0), digest_of(body)), status=status)


def digest_of(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=8).hexdigest()


async def named_revision(request: Request) -> int | None:
    """The revision of the If-Match header; None when there is none, or it is `*`. Raises PreconditionError for any other text."""
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return None
    revision = given.strip().strip('"').partition("-")[0]
    if not (revision.isascii() and revision.isdigit() and len(revision) < 10):
        raise PreconditionError
    return int(revision)


async def required_revision(request: Request) -> int | None:
    """As `named_revision`, but the header must be there. Raises PreconditionRequiredError."""
    if "if-match" not in request.headers:
        raise PreconditionRequiredError
    return await named_revision(request)
