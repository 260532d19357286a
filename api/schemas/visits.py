"""What clients tell of visits."""

from pydantic import Field

from api.schemas.base import Input, Moment
from services.analytics.visits.intake import MAX_EVENTS, ClientEventDraft


class ClientEventCreate(ClientEventDraft, Input):
    """One thing a visitor did."""

    at: Moment = Field(description="When; later than now is now", examples=["2026-11-21T10:30:00Z"])


class ClientEventBatch(Input):
    """What a visitor did since the last batch."""

    events: list[ClientEventCreate] = Field(min_length=1, max_length=MAX_EVENTS)
