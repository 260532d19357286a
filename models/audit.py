"""Who did what to whom: security acts and administration, written once and never changed."""

from datetime import datetime
from typing import Any

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument


class AuditEntry(AgoraDocument):
    """One act. `actor_id` is empty for the system; `details` never holds a secret."""

    action: str  # "user.role_changed"
    actor_id: PydanticObjectId | None = None
    subject: str  # "user:65f0..."
    address: str | None = None
    details: dict[str, Any] = Field(default_factory=dict)

    class Settings:
        name = "audit_entries"
        indexes = [
            # The log of one subject, newest first.
            IndexModel([("subject", ASCENDING), ("_id", DESCENDING)], name="subject_newest"),
            # The log of one person's acts, newest first.
            IndexModel([("actor_id", ASCENDING), ("_id", DESCENDING)], name="actor_newest"),
        ]


class AuditRead(BaseModel):
    """One act, as those who may read the log see it."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    action: str = Field(examples=["user.role_changed"])
    actor_id: PydanticObjectId | None = Field(description="Who did it; null for the system and for strangers")
    subject: str = Field(examples=["user:65f0c0ffee0ddba11ca7f00d"])
    address: str | None = Field(description="The network address it was done from", examples=["203.0.113.7"])
    details: dict[str, Any]
    created_at: datetime
