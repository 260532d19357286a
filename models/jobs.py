"""Leased background work: who runs it now, when it ran, when it runs next."""

from beanie import PydanticObjectId
from pymongo import ASCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime


class Job(AgoraDocument):
    """The one row of a recurring job. A worker owns it until `leased_until`; after that another may take it."""

    name: str
    owner: PydanticObjectId | None = None
    leased_until: UtcDatetime | None = None
    next_run_at: UtcDatetime
    last_started_at: UtcDatetime | None = None
    last_finished_at: UtcDatetime | None = None
    last_error: str | None = None
    last_result: str | None = None
    run_count: int = 0

    class Settings:
        name = "jobs"
        indexes = [IndexModel([("name", ASCENDING)], name="name_unique", unique=True)]
