"""Malformed requests, made from what the OpenAPI document says of an operation, and what may be answered to them."""

import copy
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
from beanie import PydanticObjectId

from models.documents import DOCUMENTS
from models.ratelimits import RateWindow
from models.users import LoginRecord
from tests.api.operations import Call
from tests.api.world import OPERATIONS, Operation, resolved
from tests.races import rounds

CANARY = "canary7f3a91"  # stands in the values sent, and must not come back
OPERATORS: list[Any] = [{"$gt": CANARY}, {"$ne": None}, {"$where": f"'{CANARY}'"}, {"$regex": CANARY, "$options": "i"}]
OPERATOR_TEXTS = ['{"$gt": ""}', '{"$ne": null}', "$where", "[$ne]", "$eq", ".*", "'; db.users.drop()"]
PRIVILEGED = [
    "role",
    "is_active",
    "is_verified",
    "password_hash",
    "posts_count",
    "likes_count",
    "comments_count",
    "views_count",
    "status",
    "author_id",
    "user_id",
    "revision",
    "created_at",
    "locked_until",
    "id",
    "_id",
    "$set",
    "__proto__",
    # Of the shop: what is worked out, counted or decided there.
    "price",
    "unit_price",
    "cost_price",
    "subtotal",
    "discount",
    "discounts",
    "shipping",
    "tax",
    "total",
    "totals",
    "amount",
    "currency",
    "payment_status",
    "payment_id",
    "captured",
    "refundable",
    "refunded",
    "is_stock_taken",
    "on_hand",
    "reserved",
    "available",
    "usage_count",
    "sales_count",
    "rating_average",
    "is_approved",
    "loyalty_points",
    "total_spent",
    "customer_id",
    "seller_id",
    "secret",
]
UNWRITTEN = [document for document in DOCUMENTS if document not in (RateWindow, LoginRecord)]

SHORT = {"record_events"}  # operations whose bodies may hold less than others'

WITH_BODY = [operation for operation in OPERATIONS if operation.body is not None]
T = TypeVar("T")
Body = dict[str, Any]
Path = tuple[str | int, ...]  # 0 stands for the first of a list


@dataclass(frozen=True)
class Bad:
    """One malformed body and what may be answered to it."""

    name: str
    content: bytes
    statuses: frozenset[int] = frozenset({422})
    content_type: str = "application/json"


def dumps(body: Any) -> bytes:
    return json.dumps(body).encode()


def leaves(schema: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, dict[str, Any], bool]]:
    """Every field of a body with its schema and whether it may be null: those of objects within it too, and of its lists."""
    for name, declared in schema.get("properties", {}).items():
        choices = [resolved(choice) for choice in declared.get("anyOf", [declared])]
        nullable = any(choice.get("type") == "null" for choice in choices)
        (field, *others) = [choice for choice in choices if choice.get("type") != "null"]
        if others:
            field = {"type": "any", "types": {choice["type"] for choice in (field, *others)}}
        yield (*path, name), field, nullable
        yield from leaves(field, (*path, name))
        if field.get("type") == "array":
            yield from leaves(resolved(field["items"]), (*path, name, 0))


def with_value(body: Body, path: Path, value: Any) -> Body:
    changed = copy.deepcopy(body)
    inner: Any = changed
    for name, following in itertools.pairwise(path):
        if following == 0:
            if not inner.get(name):
                inner[name] = [{}]
        elif name != 0 and not isinstance(inner.get(name), dict):
            inner[name] = {}
        inner = inner[name]
    inner[path[-1]] = value
    return changed


def objects(schema: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, set[str]]]:
    """The body, every object within it and the first of every list of them, with the names of its fields."""
    yield path, set(schema["properties"])
    for name, declared in schema["properties"].items():
        for choice in [resolved(choice) for choice in declared.get("anyOf", [declared])]:
            place: Path = (*path, name)
            if choice.get("type") == "array":
                place, choice = (*place, 0), resolved(choice["items"])
            if "properties" in choice:
                yield from objects(choice, place)


def fields(operation: Operation) -> list[tuple[Path, dict[str, Any], bool]]:
    assert operation.body is not None
    return list(leaves(operation.body))


def broken(operation: Operation, body: Body) -> Iterator[Bad]:
    whole = dumps(body)
    for content in (
        b"",
        b"{",
        whole[:-1],
        whole + b"}",
        b"nope",
        str(body).encode(),
        json.dumps(body).encode("utf-16"),
        b"{'a': 1}",
    ):
        yield Bad(f"broken {content[-8:]!r}", content, frozenset({400, 422}))


def other_shapes(operation: Operation, body: Body) -> Iterator[Bad]:
    shapes: list[Any] = [[], [body], CANARY, 1, None, True, {}]
    for shape in shapes:
        # Where every field may be left out, an empty object says nothing and is no mistake.
        if shape != {} or (operation.body or {}).get("required"):
            yield Bad(f"shape {str(shape)[:20]}", dumps(shape))


def missing(operation: Operation, body: Body) -> Iterator[Bad]:
    for name in (operation.body or {}).get("required", []):
        yield Bad(f"without {name}", dumps({key: value for key, value in body.items() if key != name}))


def wrong_types(operation: Operation, body: Body) -> Iterator[Bad]:
    for turn, (path, field, nullable) in enumerate(fields(operation)):
        kinds = field.get("types", {field["type"]})
        values: list[Any] = [[[CANARY]], {"other": [CANARY]}]
        if "string" not in kinds:
            values.append(CANARY)
        if field.get("format") != "date-time":  # numbers are times: seconds since 1970
            values += [] if kinds & {"integer", "number"} else [12345, 1.5]
            values += [] if kinds & {"integer", "number", "boolean"} else [True]
        if not nullable:
            values.append(None)
        for value in by_turns(values, turn, 2):
            yield Bad(f"{path} = {value}", dumps(with_value(body, path, value)))


def operators(operation: Operation, body: Body) -> Iterator[Bad]:
    for turn, (path, field, _) in enumerate(fields(operation)):
        for operator in by_turns(OPERATORS, turn, 2):
            value = [operator] if field["type"] == "array" else operator
            yield Bad(f"{path} = {operator}", dumps(with_value(body, path, value)))


def by_turns(values: list[T], turn: int, few: int) -> list[T]:
    """Some of the values, others at the next turn; all of them in a thorough run."""
    count = rounds(few, len(values))
    return [values[(turn * count + at) % len(values)] for at in range(count)]


def no_numbers(operation: Operation, body: Body) -> Iterator[Bad]:
    for turn, (path, _, _) in enumerate(fields(operation)):
        for text in by_turns([b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 5000], turn, 2):
            yield Bad(
                f"{path} = {text[:9]!r}",
                dumps(with_value(body, path, CANARY)).replace(dumps(CANARY), text),
                frozenset({400, 422}),
            )


def no_texts(operation: Operation, body: Body) -> Iterator[Bad]:
    texts = [b"\\ud800", b"\\udfff\\ud800", b"\\u0000", b"a\\u0000b", b"\0", b"\xff", b"\xc0\x80", b"\xed\xa0\x80"]
    for turn, (path, field, _) in enumerate(fields(operation)):
        if field["type"] not in ("string", "array"):
            continue
        for text in by_turns(texts, turn, 3):
            value = [CANARY] if field["type"] == "array" else CANARY
            content = dumps(with_value(body, path, value)).replace(CANARY.encode(), text)
            yield Bad(f"{path} = {text!r}", content, frozenset({400, 422}))


def too_long(operation: Operation, body: Body) -> Iterator[Bad]:
    statuses = frozenset({413 if operation.id in SHORT else 422})
    for path, field, _ in fields(operation):
        if field["type"] == "string" and "format" not in field:
            yield Bad(f"{path} too long", dumps(with_value(body, path, CANARY * 20_000)), statuses)
        if field["type"] == "array":
            yield Bad(f"{path} too many", dumps(with_value(body, path, ["65f0c0ffee0ddba11ca7f00d"] * 20_000)), statuses)


def too_deep(operation: Operation, body: Body) -> Iterator[Bad]:
    depth = 50_000
    statuses = frozenset({400, 422})
    yield Bad("arrays", b"[" * depth + b"]" * depth, statuses)
    yield Bad("open arrays", b"[" * depth, statuses)
    yield Bad("objects", b'{"a":' * depth + b"1" + b"}" * depth, statuses)
    for path, _, _ in fields(operation)[:2]:
        nested = b"[" * depth + b"]" * depth
        yield Bad(f"{path} deep", dumps(with_value(body, path, CANARY)).replace(dumps(CANARY), nested), statuses)


def other_types(operation: Operation, body: Body) -> Iterator[Bad]:
    kinds = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", ""]
    for kind in [*kinds, "application/jsonp", "json", "text/json"]:
        yield Bad(f"as {kind}", dumps(body), frozenset({415}), kind)


KINDS: list[Callable[[Operation, Body], Iterator[Bad]]] = [
    broken,
    other_shapes,
    missing,
    wrong_types,
    operators,
    no_numbers,
    no_texts,
    too_long,
    too_deep,
    other_types,
]


def show(faults: dict[str, str]) -> str:
    """All of them, however many."""
    return "\n" + "\n".join(f"{name}\n    {what}" for name, what in faults.items())


def keyed(call: Call, headers: dict[str, str]) -> dict[str, str]:
    """These headers, with a new Idempotency-Key where the operation does not go without."""
    return {**headers, "Idempotency-Key": str(PydanticObjectId())} if call.is_keyed else headers


async def contents() -> dict[str, Any]:
    """Everything stored but what counts requests: a session's last sight is noted every five minutes."""
    return {document.__name__: await document.find_rows({}, sort=[("_id", 1)]) for document in UNWRITTEN}


def fault(answer: httpx2.Response, statuses: frozenset[int]) -> str | None:
    """What is wrong with the answer to bad input; None when nothing is."""
    if answer.status_code not in statuses:
        return f"{answer.status_code}: {answer.text[:200]}"
    if answer.headers["content-type"] != "application/problem+json" or not answer.json()["code"]:
        return "no problem"
    told = {key: value for key, value in answer.json().items() if key != "instance"}
    if CANARY in json.dumps(told) or len(answer.content) > 20_000:
        return f"echoes: {answer.text[:200]}"
    return None


def is_free_text(schema: dict[str, Any]) -> bool:
    """Whether any text may stand for the parameter."""
    choices = [resolved(choice) for choice in schema.get("anyOf", [schema])]
    choices += [resolved(choice["items"]) for choice in choices if choice.get("type") == "array"]
    return any(choice.get("type") == "string" and not {"enum", "pattern", "format"} & choice.keys() for choice in choices)
