"""Examples of requests' bodies, put together from those of their fields."""

from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

_NONE: Final = object()  # no example can be given; null may be one


def inherit_meaning(schemas: dict[str, Any]) -> None:
    """What a field of a change means, it means in what is made, too: description and example of `XCreate` hold for `XUpdate`."""
    for name, schema in schemas.items():
        made = schemas.get(name.removesuffix("Update") + "Create", {}) if name.endswith("Update") else {}
        for field, told in schema.get("properties", {}).items():
            before = made.get("properties", {}).get(field, {})
            for key in ("description", "examples"):
                if key in before and "$ref" not in told:
                    told.setdefault(key, before[key])


def give_example(body: dict[str, Any], schemas: Schema) -> None:
    """Give a request's JSON body its example."""
    content = body["content"].get("application/json")
    if content is not None and (example := _example(content["schema"], schemas)) is not _NONE:
        content["example"] = example


def _own(schema: Schema) -> Any:
    return schema.get("examples", [schema.get("example", _NONE)])[0]


def _example(schema: Schema, schemas: Schema) -> Any:
    """A value of this schema: its own example, or what can be made up without one."""
    if (own := _own(schema)) is not _NONE:
        return own
    if "$ref" in schema:
        return _example(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        if choice.get("type") != "null" and (found := _example(choice, schemas)) is not _NONE:
            return found
    match schema.get("type"):
        case "array":
            item = _example(schema["items"], schemas)
            return _NONE if item is _NONE else [item]
        case "object":
            return _object(schema, schemas)
        case "boolean":
            return True
        case "integer":
            return schema.get("minimum", 1)
    return _NONE


def _object(schema: Schema, schemas: Schema) -> Any:
    """What is required, and beside it what has an example of its own other than null."""
    found = {}
    for name, field in schema.get("properties", {}).items():
        if name in schema.get("required", ()):
            found[name] = _example(field, schemas)
        elif _own(field) not in (_NONE, None):
            found[name] = _own(field)
    return _NONE if _NONE in found.values() else found
