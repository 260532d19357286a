"""What visitors did, as raw rows that name nobody: told by clients, or seen by the API itself."""

import hashlib
from datetime import datetime, timedelta
from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime

SALT_LIVES = timedelta(days=2)  # from the beginning of its day: as long as an event of that day may still come in


class VisitKind(StrEnum):
    # Told by clients: the API does not see them.
    PAGE_VIEW = "page_view"
    CHECKOUT_STARTED = "checkout_started"  # the page on which people order was opened
    # Seen by the API, and taken from nobody else: so nothing is counted twice.
    PRODUCT_VIEW = "product_view"  # counted as views are: each visitor once per half hour
    POST_VIEW = "post_view"
    SEARCH = "search"  # its first page, of products or posts
    CART_ADD = "cart_add"
    CART_REMOVE = "cart_remove"
    CHECKOUT = "checkout"  # an order was asked for
    PAID = "paid"  # the checkout was answered with an order that is paid


class ClientKind(StrEnum):
    """What clients may tell of."""

    PAGE_VIEW = "page_view"
    CHECKOUT_STARTED = "checkout_started"


class Screen(StrEnum):
    SMALL = "small"  # a telephone
    MEDIUM = "medium"  # a tablet
    LARGE = "large"


class VisitEvent(AgoraDocument):
    """One thing a visitor did. Its id is a digest of the id it came with (`event_key`), so the same event cannot be kept twice.

    Times are cut to the quarter of an hour, those of the row as well, and ids follow no order: who placed an order at a certain
    second cannot be looked up here. There is no account, address, user agent or order in it.
    """

    kind: VisitKind
    at: UtcDatetime  # the quarter of an hour that it belongs to
    visitor: str  # a hash under the salt of its day: nobody can turn it back or follow it to another day
    path: str = ""  # without query and fragment; what looks like a secret is masked
    referrer: str = ""  # the host; empty for none and for the shop's own
    source: str = ""  # utm_source, utm_medium, utm_campaign
    medium: str = ""
    campaign: str = ""
    subject: str = ""  # `product:<id>`, `post:<id>`
    term: str = ""  # what was searched for, normalised
    screen: Screen | None = None
    is_rolled: bool = False  # is in the rollups
    expires_at: UtcDatetime

    class Settings:
        name = "analytics_events"
        indexes = [
            # What is still to be rolled up.
            IndexModel([("is_rolled", ASCENDING)], name="rolled"),
            IndexModel([("expires_at", ASCENDING)], name="expires_at_ttl", expireAfterSeconds=0),
        ]


class VisitorSalt(AgoraDocument):
    """The secret of one day, under which its visitors are hashed. It is deleted two days after the day began."""

    day: UtcDatetime
    secret: bytes
    expires_at: UtcDatetime

    class Settings:
        name = "analytics_salts"
        indexes = [
            IndexModel([("day", ASCENDING)], name="day_unique", unique=True),
            IndexModel([("expires_at", ASCENDING)], name="expires_at_ttl", expireAfterSeconds=0),
        ]


class EventsTaken(BaseModel):
    """What became of the events of a batch."""

    model_config = ConfigDict(frozen=True)

    accepted: int = Field(description="Events that are kept", examples=[2])
    duplicates: int = Field(description="Events whose id was known", examples=[0])
    ignored: int = Field(
        description="Events that nobody wants: older than a day, or of a robot, or of somebody who does not want to be counted "
        "(`DNT`, `Sec-GPC`)",
        examples=[0],
    )


class SearchedTerm(BaseModel):
    """What visitors searched for."""

    model_config = ConfigDict(frozen=True)

    term: str = Field(description="In lower case, its spaces single", examples=["linen shirt"])
    searches_count: int = Field(examples=[41])
    visitors_count: int = Field(description="Visitors who did, each once a day; three or more", examples=[30])


def event_key(teller: str, key: str) -> PydanticObjectId:
    """The id of the event that `teller` (`client`, or the kind of what the API saw) calls `key`."""
    return PydanticObjectId(hashlib.blake2b(f"{teller}\0{key}".encode(), digest_size=12).digest())


def day_of(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def quarter_of(moment: datetime) -> datetime:
    return moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)
