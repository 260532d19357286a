"""What all inputs share."""

from typing import Annotated, Any

from beanie import PydanticObjectId
from pydantic import BeforeValidator, ConfigDict

from models.base import UtcDatetime
from services.inputs import InputPart


def _given(value: object) -> object:
    if value is None:
        raise ValueError("an id is needed")
    return value


Id = Annotated[PydanticObjectId, BeforeValidator(_given)]
"""An id in a request. The bare type takes null for "make a new one"."""


def _spelt_out(value: object) -> object:
    if isinstance(value, str) and "T" not in value.upper():
        raise ValueError("a time such as 2026-11-01T00:00:00Z is needed")
    return value


Moment = Annotated[UtcDatetime, BeforeValidator(_spelt_out)]
"""A time in a query. The bare type takes any number for seconds since 1970."""


class Input(InputPart):
    """A request's body."""


def with_example(**body: Any) -> ConfigDict:
    """The configuration of a body whose example in the documentation is this one, where those of its fields make none."""
    return ConfigDict(json_schema_extra={"examples": [body]})
