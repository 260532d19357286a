"""The first answer to a request that carried an Idempotency-Key, kept to be given again."""

from beanie import PydanticObjectId
from pymongo import ASCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime


class IdempotentAnswer(AgoraDocument):
    """Claimed when the request starts; the answer is written in the same transaction as the request's effect."""

    scope: str  # digest of caller, method, path and key
    fingerprint: str  # keyed digest of the request's query and body
    claim_id: PydanticObjectId  # whose turn it is; a new one each time an abandoned claim is taken over
    holder_id: PydanticObjectId | None = None  # the process that works on it; None in rows of before claims named theirs
    claimed_until: UtcDatetime  # so long the claim stands by itself, and then for as long as its holder lives
    status: int | None = None
    headers: dict[str, str] | None = None
    body: bytes | None = None
    expires_at: UtcDatetime

    class Settings:
        name = "idempotent_answers"
        indexes = [
            # One claim per key: the twin's insert is refused here.
            IndexModel([("scope", ASCENDING)], name="scope_unique", unique=True),
            # Answers are forgotten after a day; readers check `expires_at` themselves, since this sweep is late.
            IndexModel([("expires_at", ASCENDING)], name="expires_at_ttl", expireAfterSeconds=0),
        ]


class KeyHolder(AgoraDocument):
    """One life of a process that has worked on a request for long. Fallen silent, its claims are free."""

    alive_until: UtcDatetime

    class Settings:
        name = "key_holders"
        # The dead are forgotten; who reads looks at the time, since this sweep is late.
        indexes = [IndexModel([("alive_until", ASCENDING)], name="alive_until_ttl", expireAfterSeconds=0)]
