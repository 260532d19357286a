"""Counters of attempts within a window, shared by all processes."""

from pymongo import ASCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime


class RateWindow(AgoraDocument):
    """Attempts under one key since the window opened; the row goes when the window is over."""

    key: str  # "login:203.0.113.7:5813201": policy, subject, number of the window
    attempts_count: int = 0
    expires_at: UtcDatetime

    class Settings:
        name = "rate_windows"
        indexes = [
            IndexModel([("key", ASCENDING)], name="key_unique", unique=True),
            IndexModel([("expires_at", ASCENDING)], name="expires_at_ttl", expireAfterSeconds=0),
        ]
