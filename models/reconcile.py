"""What a recount of everything found, as those who keep the system see it. Nothing of it is stored: it is true of its moment."""

from datetime import datetime

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field

MAX_SHOWN = 100  # differences of one check; their number is told whole


class DriftRead(BaseModel):
    """One place where what is stored is not what follows from the rest."""

    model_config = ConfigDict(frozen=True)

    collection: str = Field(examples=["posts"])
    id: PydanticObjectId = Field(description="Of the document")
    field: str = Field(examples=["likes_count"])
    stored: int | str | None
    counted: int | str = Field(description="What follows from everything else")
    is_derived: bool = Field(
        description="Whether it can be stored anew; where money or stock would be invented a person must look"
    )
    is_repaired: bool


class CheckRead(BaseModel):
    """One check with what it found."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="A counter, or a set of books held against each other", examples=["posts.likes_count"])
    drift_count: int
    repaired_count: int
    drift: list[DriftRead] = Field(description=f"At most {MAX_SHOWN} of them")


class ReconcileReport(BaseModel):
    """Every check there is. All adds up when `drift_count` is 0."""

    model_config = ConfigDict(frozen=True)

    started_at: datetime
    finished_at: datetime
    drift_count: int
    repaired_count: int
    for_people_count: int = Field(description="Differences that no machine may repair")
    checks: list[CheckRead] = Field(description="Counters first, also those without a difference")
