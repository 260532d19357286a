"""How lists are cut: numbered pages where a person pages, signed cursors where data is endless."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from beanie import PydanticObjectId
from pydantic import BaseModel, Field

from models.base import AgoraDocument
from services.errors import RuleViolatedError

T = TypeVar("T")

MAX_LIMIT = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Page(BaseModel, Generic[T]):
    """One numbered page. Empty beyond the last one."""

    items: list[T]
    page: int = Field(description="The page's number, from 1", examples=[1])
    limit: int = Field(description="Items per page", examples=[20])
    total_count: int = Field(description="Items on all pages", examples=[42])
    total_pages: int = Field(description="Pages in all; 0 when there is nothing", examples=[3])


class CursorPage(BaseModel, Generic[T]):
    """One stretch of an endless list."""

    items: list[T]
    next_cursor: str | None = Field(description="Send it as `cursor` for what follows; null at the end")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page is wanted. Services refuse what the API would refuse, so that scripts meet the same limits."""

    page: int = 1
    limit: int = 20

    def __post_init__(self) -> None:
        if not (1 <= self.page <= 10_000 and 1 <= self.limit <= MAX_LIMIT):
            raise InvalidPageError(self.page, self.limit)

    @property
    def skip(self) -> int:
        return (self.page - 1) * self.limit


class InvalidPageError(RuleViolatedError):
    """A page below 1 or an impossible page size."""

    code = "invalid_page"

    def __init__(self, page: int, limit: int) -> None:
        super().__init__(f"Pages count from 1 to 10,000 and hold 1 to {MAX_LIMIT} items.")
        self.page = page
        self.limit = limit


class InvalidCursorError(RuleViolatedError):
    """A cursor that was not made here, or was made for another list."""

    code = "invalid_cursor"

    def __init__(self) -> None:
        super().__init__("This cursor is not one of ours: start without a cursor.")


def page_of(items: list[T], request: PageRequest, total_count: int) -> Page[T]:
    return Page[T].model_construct(
        items=items,
        page=request.page,
        limit=request.limit,
        total_count=total_count,
        total_pages=-(-total_count // request.limit),
    )


async def find_stretch(
    document: type[AgoraDocument],
    query: Mapping[str, Any],
    fields: Mapping[str, Any] | None = None,
    *,
    listing: str,
    cursors: "CursorCodec",
    cursor: str | None = None,
    limit: int = 20,
    direction: int = -1,
) -> tuple[list[dict[str, Any]], str | None]:
    """The rows of one stretch of a list that is sorted by id, newest first unless `direction` is 1, and the cursor of the next.

    `listing` names the list and whatever narrows it: a cursor is good for that alone. One command. Raises InvalidCursorError and
    InvalidPageError.
    """
    PageRequest(limit=limit)
    if cursor is not None:
        (last_id,) = cursors.decode(listing, cursor)
        query = {**query, "_id": {"$gt" if direction > 0 else "$lt": last_id}}
    rows = await document.find_rows(query, fields, sort=[("_id", direction)], limit=limit + 1)
    shown = rows[:limit]
    return shown, cursors.encode(listing, shown[-1]["_id"]) if len(rows) > limit else None


class CursorCodec:
    """Opaque, signed positions. A cursor is bound to the list it was made for, so it cannot be carried to another."""

    def __init__(self, secret: bytes) -> None:
        self._key = hashlib.blake2b(secret, person=b"agora-cursor").digest()

    def encode(self, listing: str, *position: datetime | PydanticObjectId | int | str) -> str:
        values = [_to_json(value) for value in position]
        body = json.dumps(values, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._sign(listing, body) + body).decode().rstrip("=")

    def decode(self, listing: str, cursor: str) -> list[Any]:
        """The position's values in order. Raises InvalidCursorError."""
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            signature, body = raw[:16], raw[16:]
            if not hmac.compare_digest(signature, self._sign(listing, body)):
                raise InvalidCursorError
            return [_from_json(value) for value in json.loads(body)]
        except ValueError as error:
            raise InvalidCursorError from error

    def _sign(self, listing: str, body: bytes) -> bytes:
        return hashlib.blake2b(listing.encode() + b"\0" + body, key=self._key, digest_size=16).digest()


def _to_json(value: datetime | PydanticObjectId | int | str) -> dict[str, Any]:
    if isinstance(value, datetime):
        return {"t": (value - _EPOCH) // timedelta(milliseconds=1)}
    if isinstance(value, int | str):
        return {"v": value}
    return {"o": str(value)}


def _from_json(value: dict[str, Any]) -> Any:
    if "t" in value:
        return _EPOCH + timedelta(milliseconds=value["t"])
    if "o" in value:
        return PydanticObjectId(value["o"])
    return value["v"]
