"""What a recount reports: a place where what is stored is not what follows from the rest."""

import dataclasses

from beanie import PydanticObjectId


@dataclasses.dataclass(frozen=True, slots=True)
class Drift:
    """One place where what is stored is not what follows from the rest."""

    collection: str
    id: PydanticObjectId
    field: str
    stored: int | str | None
    counted: int | str
