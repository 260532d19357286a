"""What all inputs share."""

from typing import Annotated

from beanie import PydanticObjectId
from pydantic import BaseModel, BeforeValidator, ConfigDict


def _given(value: object) -> object:
    if value is None:
        raise ValueError("an id is needed")
    return value


Id = Annotated[PydanticObjectId, BeforeValidator(_given)]
"""An id in a request. The bare type takes null for "make a new one"."""


class Input(BaseModel):
    """A request body. Unknown fields are refused, so that nothing is accepted and quietly dropped."""

    model_config = ConfigDict(extra="forbid")
