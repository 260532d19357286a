"""The OpenAPI document: the committed snapshot, and what every operation must say of itself."""

import json
import re
from collections.abc import Iterator
from typing import Any

from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from api.app import create_app
from api.openapi import TAGS
from api.schemas.webhooks import WebhookMessage
from models.webhooks import WebhookTopic
from scripts.openapi import REGISTER, SNAPSHOT, current_document, current_register
from services.settings import Settings

DOCUMENT: dict[str, Any] = json.loads(SNAPSHOT.read_text("utf-8"))
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if path.startswith("/api/")
]


def test_snapshot_is_current() -> None:
    assert json.loads(current_document()) == DOCUMENT, "run make openapi"


def test_register_of_codes_is_current() -> None:
    assert REGISTER.read_text("utf-8") == current_register(), "run make openapi"


def test_register_has_what_no_service_refuses() -> None:
    told = {
        code
        for path in (SNAPSHOT.parents[1] / "api").rglob("*.py")
        for code in re.findall(r'problem\(scope, \d+, "(\w+)"', path.read_text("utf-8"))
    }

    assert {"internal_error", "shutting_down"} < told
    assert {code for code in told if f"| `{code}` |" not in REGISTER.read_text("utf-8")} == set()


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for _, operation in OPERATIONS]

    assert len(set(ids)) == len(ids)


def wrongs(operation: dict[str, Any]) -> Iterator[str]:
    """What an operation does not say of itself."""
    if len(operation["description"].split()) < 3:
        yield "no description"
    if len(operation["tags"]) != 1:
        yield "not one tag"
    for parameter in operation["parameters"]:
        if not parameter.get("description"):
            yield f"{parameter['name']} has no description"
    if not {"422", "429", "503"} <= operation["responses"].keys():
        yield "refusals that any operation can give are missing"
    for status, answer in operation["responses"].items():
        if answer["description"] in ("", "Successful Response"):
            yield f"{status} has no description"
        if int(status) >= 400 and "application/problem+json" not in answer["content"]:
            yield f"{status} is no problem"


def test_every_operation_says_what_it_does_and_how_it_fails() -> None:
    found = {name: told for name, operation in OPERATIONS if (told := list(wrongs(operation)))}

    assert len(OPERATIONS) > 250
    assert found == {}


def test_every_tag_is_told_about() -> None:
    used = {tag for methods in DOCUMENT["paths"].values() for operation in methods.values() for tag in operation["tags"]}

    assert used == TAGS.keys() == {tag["name"] for tag in DOCUMENT["tags"]}


def test_what_asks_for_a_revision_says_so_and_tells_one() -> None:
    asking = [operation for _, operation in OPERATIONS if "412" in operation["responses"]]

    assert len(asking) >= 30
    for operation in asking:
        name = operation["operationId"]
        (header,) = [parameter for parameter in operation["parameters"] if parameter["name"] == "If-Match"] or [None]
        if name == "checkout":
            assert header is None, "the cart's revision is in the body"
            continue
        assert header is not None, name
        assert header["required"] == ("428" in operation["responses"]), name
        assert all(
            "ETag" in answer.get("headers", {}) for status, answer in operation["responses"].items() if status in ("200", "201")
        ), name


def test_receivers_of_webhooks_are_told_of_every_type() -> None:
    sent = DOCUMENT["webhooks"]["message"]["post"]["requestBody"]["content"]["application/json"]

    assert DOCUMENT["components"]["schemas"]["WebhookTopic"]["enum"] == list(WebhookTopic)
    assert WebhookMessage.model_validate(sent["example"]).type is WebhookTopic.POST_PUBLISHED


def test_example_of_every_body_is_accepted() -> None:
    settings = Settings(_env_file=None, secret_key="-" * 32, mongodb_uri="mongodb://127.0.0.1")
    taking: dict[str, Any] = {
        route.name: route.body_field.field_info.annotation
        for route in create_app(settings).routes
        if isinstance(route, APIRoute) and route.include_in_schema and route.body_field is not None
    }
    bodies = {operation["operationId"]: operation["requestBody"] for _, operation in OPERATIONS if "requestBody" in operation}

    assert taking.keys() == bodies.keys()
    for name, body in bodies.items():
        TypeAdapter(taking[name]).validate_json(json.dumps(body["content"]["application/json"]["example"]))


def test_no_answer_has_an_underscored_id_or_a_secret() -> None:
    fields = {
        field
        for schema in DOCUMENT["components"]["schemas"].values()
        for field in schema.get("properties", {})
        if "title" in schema
    }

    assert not {"_id", "password_hash", "token_hash", "email_normalized", "terms"} & fields
