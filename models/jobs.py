"""Leased background work: who runs it now, when it ran, when it runs next."""

from datetime import datetime
from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
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


class JobState(StrEnum):
    IDLE = "idle"  # its time has not come
    DUE = "due"  # a worker takes it up any moment
    RUNNING = "running"  # some worker holds its lease
    OVERDUE = "overdue"  # due for a minute and more: no worker is at work, or all are stuck


class JobRead(BaseModel):
    """A recurring job, as those who keep the system see it."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(examples=["publish_due_posts"])
    state: JobState
    owner: PydanticObjectId | None = Field(description="Of the run under way; a new one for every run")
    owned_since: datetime | None = Field(description="When the run under way began")
    last_started_at: datetime | None
    last_finished_at: datetime | None
    last_result: str | None = Field(examples=["3 posts published or archived"])
    last_error: str | None
    run_count: int = Field(description="Runs that finished", examples=[42])
    next_run_at: datetime
