"""Answers about events that are nothing stored."""

from pydantic import BaseModel, Field


class ReplayedLetters(BaseModel):
    """How many events are handled once more."""

    replayed_count: int = Field(examples=[3])
