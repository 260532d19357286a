"""What is kept of addresses, referrers and searches: enough to count by, and nothing that was somebody's."""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

MAX_PATH = 200
MAX_NAME = 60  # of a source, a medium, a campaign, a term
MASK = ":id"

_HOST = re.compile(r"(?=.{1,100}$)[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_HEX_OR_UUID = re.compile(r"[0-9a-f]{24,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{6,}", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"(?:\d[\s-]?){6,}")


@dataclass(frozen=True, slots=True)
class Place:
    """A page, and the campaign that led there."""

    path: str
    source: str = ""
    medium: str = ""
    campaign: str = ""


def place_of(address: str) -> Place:
    """A page's path with nothing of its query but the campaign: `/c/shirts?utm_source=letter&token=x` is `/c/shirts`, `letter`.

    Segments that look like ids, tokens, numbers of orders or mail addresses are masked.
    """
    try:
        parts = urlsplit(address)
        told = dict(parse_qsl(parts.query, max_num_fields=50))
    except ValueError:
        return Place("/")
    path = "/".join(MASK if _is_somebodys(segment) else segment for segment in parts.path.split("/"))
    return Place(
        ("/" + path.lstrip("/"))[:MAX_PATH],
        source=name_of(told.get("utm_source", "")),
        medium=name_of(told.get("utm_medium", "")),
        campaign=name_of(told.get("utm_campaign", "")),
    )


def host_of(referrer: str, *, own: Collection[str] = ()) -> str:
    """The host of another site's address, without `www.`; empty for one's own, and for what is no web address."""
    try:
        host = urlsplit(referrer).hostname or ""
    except ValueError:
        return ""
    host = host.removeprefix("www.")
    return host if _HOST.fullmatch(host) and host not in own else ""


def name_of(text: str) -> str:
    """A source, campaign or search as it is compared: folded, its spaces single, cut. Empty for what may be personal."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    folded = "".join(sign for sign in folded if sign.isprintable())
    if "@" in folded or _LONG_NUMBER.search(folded):  # addresses, numbers of telephones, cards and orders
        return ""
    return folded[:MAX_NAME].rstrip()


def _is_somebodys(segment: str) -> bool:
    plain = unquote(segment)
    if "@" in plain or _HEX_OR_UUID.fullmatch(plain):
        return True
    mixed = any(sign.isdigit() for sign in plain) and any(sign.isupper() for sign in plain)
    return len(plain) >= 16 and mixed
