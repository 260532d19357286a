"""What all sample data is stored in: units of rows, with ids that are the same whenever they are made."""

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from beanie import PydanticObjectId

from models.base import AgoraDocument, to_milliseconds


@dataclass
class Unit:
    """The rows of one unit, and what they add to counters that units share: by document and field, then by id."""

    number: int
    documents: dict[type[AgoraDocument], list[Any]] = field(default_factory=lambda: defaultdict(list))
    moves: dict[tuple[type[AgoraDocument], str], Counter[PydanticObjectId]] = field(default_factory=lambda: defaultdict(Counter))

    def __len__(self) -> int:
        return sum(map(len, self.documents.values()))


def sample_id(kind: str, key: object, moment: datetime) -> PydanticObjectId:
    """The id of a sample: always the same, and in its place among the ids of its time, since lists are sorted by it."""
    digest = hashlib.blake2b(f"agora-sample:{kind}:{key}".encode(), digest_size=8).digest()
    return PydanticObjectId(int(moment.timestamp()).to_bytes(4, "big") + digest)


def moment_between(chance: Random, since: datetime, until: datetime, *, early: bool = False) -> datetime:
    share = chance.random()
    return to_milliseconds(since + (until - since) * (share**2 if early else share))


def day_of(moment: datetime) -> datetime:
    return datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
