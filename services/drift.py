"""What a recount reports: a place where what is stored is not what follows from the rest."""

import dataclasses

from beanie import PydanticObjectId


@dataclasses.dataclass(frozen=True, slots=True)
class Drift:
    """One place where what is stored is not what follows from the rest.

    What is derived from other rows can be stored anew. Where money or stock would have to be invented for it, or it is not plain
    which of two truths is wrong, a person must look.
    """

    collection: str
    id: PydanticObjectId
    field: str
    stored: int | str | None
    counted: int | str
    is_derived: bool = dataclasses.field(default=True, compare=False)
