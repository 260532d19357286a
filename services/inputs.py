"""What all inputs share: the bodies of requests, and the objects within them, which the services declare."""

from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticKnownError
from pydantic_core.core_schema import no_info_before_validator_function

# Where a schema holds the schemas that it is made of.
_INNER = ("schema", "fields", "items_schema", "values_schema", "choices", "steps")


def _day(value: Any) -> Any:
    """The bare type takes times at midnight, too, and any number for seconds since 1970."""
    if value is not None and not (isinstance(value, date) or (isinstance(value, str) and len(value) == 10 and value[4] == "-")):
        raise ValueError("a date such as 2026-11-01 is needed")
    return value


Day = Annotated[date, BeforeValidator(_day)]


def _number(value: object) -> object:
    if isinstance(value, (bool, str)):
        raise PydanticKnownError("int_type")
    return value


def _be_exact(schema: Any) -> None:
    """Make the numbers and truth values within take nothing else. Other models, which are referred to, are left as they are."""
    for key in _INNER:
        inner = schema.get(key)
        if isinstance(inner, list):
            schema[key] = [_exact(one) for one in inner]
        elif isinstance(inner, dict):
            schema[key] = _exact(inner) if "type" in inner else {name: _exact(one) for name, one in inner.items()}


def _exact(schema: Any) -> Any:
    if not isinstance(schema, dict) or schema.get("function", {}).get("function") is _number:
        return schema
    if schema["type"] == "int":
        return no_info_before_validator_function(_number, schema)
    if schema["type"] == "bool":
        return {**schema, "strict": True}
    _be_exact(schema)
    return schema


class InputPart(BaseModel):
    """An object that a caller sends as JSON: a body, or a part of one.

    Unknown fields are refused, so that nothing is accepted and quietly dropped. A number is a JSON number and a truth value is
    `true` or `false`: left to itself, Pydantic takes `true` and `"1"` for 1, and `1` and `"yes"` for true. `3.0` is 3, as JSON
    Schema has it. Text stays what times, ids and enums are read from, which is why this is not Pydantic's strict mode.
    """

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        _be_exact(handler.resolve_ref_schema(schema))
        return schema
