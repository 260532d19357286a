"""Who visits, without knowing who: hashes under a secret of the day that is thrown away, and nothing of those who object."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

from models.analytics.events import SALT_LIVES, VisitorSalt, day_of
from models.database import DuplicateKeyError
from services.views import is_bot


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who makes a request, as far as the network tells. Held in memory only, and for no longer than it takes to hash it."""

    address: str
    user_agent: str
    is_willing: bool = True  # False: asks not to be counted (`DNT`, `Sec-GPC`), or a browser that loads ahead of its reader

    @property
    def is_counted(self) -> bool:
        return self.is_willing and not is_bot(self.user_agent)


class VisitorSalts:
    """The salts of today and yesterday, one object per process. All processes come to the same salt of a day."""

    def __init__(self, *, site: str) -> None:
        self._site = site
        self._known: dict[datetime, bytes] = {}

    async def hash_of(self, visitor: Visitor, *, day: datetime, now: datetime) -> str:
        """The visitor's name on that day. Another day gives another one, and no one can tell that they belong together."""
        return _digest(await self._secret(day, now), "visitor", visitor.address, visitor.user_agent, self._site)

    async def address_hash(self, visitor: Visitor, *, now: datetime) -> str:
        """What limits count a network address by, today."""
        return _digest(await self._secret(day_of(now), now), "address", visitor.address)

    async def key_hash(self, key: str, *, day: datetime, now: datetime) -> str:
        """What an event is called by whose key stands elsewhere too, as a checkout's does on its order."""
        return _digest(await self._secret(day, now), "key", key)

    async def _secret(self, day: datetime, now: datetime) -> bytes:
        for old in [known for known in self._known if known + SALT_LIVES <= now]:
            del self._known[old]
        if day not in self._known:
            self._known[day] = await _secret_of(day, now)
        return self._known[day]


async def _secret_of(day: datetime, now: datetime) -> bytes:
    """The salt that the first process made; the old ones go when a new one is made, whether or not the server's sweep came by."""
    row = await VisitorSalt.find_row({"day": day})
    if row is None:
        await VisitorSalt.collection().delete_many({"expires_at": {"$lte": now}})
        try:
            made = await VisitorSalt(day=day, secret=secrets.token_bytes(32), expires_at=day + SALT_LIVES).store()
        except DuplicateKeyError:
            return await _secret_of(day, now)
        return made.secret
    return VisitorSalt.from_row(row).secret


def _digest(secret: bytes, *parts: str) -> str:
    """A keyed digest (BLAKE2b as a MAC) of the parts, each preceded by its length so that no two lists of parts run together."""
    digest = hashlib.blake2b(key=secret, digest_size=16)
    for part in parts:
        raw = part.encode(errors="replace")
        digest.update(len(raw).to_bytes(4, "big") + raw)
    return digest.hexdigest()
