"""Attempts per window, counted in the database: limits hold across processes and restarts."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pymongo import ReturnDocument

from models.base import now as present
from models.database import DuplicateKeyError
from models.ratelimits import RateWindow
from services.errors import RateLimitedError, UnavailableError


@dataclass(frozen=True, slots=True)
class RatePolicy:
    """At most `limit` attempts per subject in each window of `seconds`; windows start at multiples of their length."""

    name: str
    limit: int
    seconds: int


@dataclass(frozen=True, slots=True)
class RateState:
    """Where a subject stands after an attempt."""

    limit: int
    remaining: int
    retry_after: int  # seconds until the window is over
    is_allowed: bool


class TooManyAttemptsError(RateLimitedError):
    """Too many attempts within the window."""

    code = "too_many_attempts"

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after, "Too many attempts: wait a while and try again.")


class RateLimitService:
    @staticmethod
    async def hit(policy: RatePolicy, subject: str, *, now: datetime | None = None) -> RateState:
        """Count one attempt of `subject` and tell where it stands. One atomic command, never part of a transaction."""
        now = now or present()
        window = int(now.timestamp()) // policy.seconds
        ends_at = datetime.fromtimestamp((window + 1) * policy.seconds, UTC)
        count = await _count(f"{policy.name}:{_digest(subject)}:{window}", ends_at, now)
        seconds_left = max(1, -int((now - ends_at) // timedelta(seconds=1)))
        return RateState(policy.limit, max(0, policy.limit - count), seconds_left, count <= policy.limit)

    @staticmethod
    async def require(policy: RatePolicy, subject: str, *, now: datetime | None = None) -> RateState:
        """As `hit`, but raises TooManyAttemptsError beyond the limit."""
        state = await RateLimitService.hit(policy, subject, now=now)
        if not state.is_allowed:
            raise TooManyAttemptsError(state.retry_after)
        return state


async def _count(key: str, ends_at: datetime, now: datetime) -> int:
    update = {
        "$inc": {"attempts_count": 1},
        "$set": {"updated_at": now},
        "$setOnInsert": {"created_at": now, "expires_at": ends_at},
    }
    for _ in range(3):
        try:
            row = await RateWindow.collection().find_one_and_update(
                {"key": key}, update, {"attempts_count": 1}, upsert=True, return_document=ReturnDocument.AFTER
            )
            # The embedded server counts every one of several callers who open a window at once, but answers some with nothing.
            # They take the count as it then stands: never too low, so none slips through.
            row = row or await RateWindow.find_row({"key": key}, {"attempts_count": 1})
            if row is not None:
                return int(row["attempts_count"])
        except DuplicateKeyError:  # another caller opened the window first; the next try finds it
            continue
    raise UnavailableError  # others open and remove it by turns, or the server is not itself: never let through uncounted


def _digest(subject: str) -> str:
    """Subjects may be long, or personal: only a digest is kept."""
    return hashlib.sha256(subject.encode(errors="replace")).hexdigest()[:32]
