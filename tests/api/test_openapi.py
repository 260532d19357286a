"""The OpenAPI document: the committed snapshot, and what every operation must say of itself."""

import json
from typing import Any

import pytest

from scripts.openapi import SNAPSHOT, current_document

DOCUMENT: dict[str, Any] = json.loads(current_document())
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if path.startswith("/api/")
]


def test_snapshot_is_current() -> None:
    assert json.loads(SNAPSHOT.read_text()) == DOCUMENT, "run make openapi"


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for _, operation in OPERATIONS]

    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_operation_says_what_it_does_and_how_it_fails(name: str, operation: dict[str, Any]) -> None:
    assert operation["description"]
    assert len(operation["tags"]) == 1
    failures = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
    assert {"422", "429", "503"} <= failures.keys()
    for answer in failures.values():
        assert answer["description"]
        assert "application/problem+json" in answer["content"]


def test_no_answer_has_an_underscored_id_or_a_secret() -> None:
    fields = {
        field
        for schema in DOCUMENT["components"]["schemas"].values()
        for field in schema.get("properties", {})
        if "title" in schema
    }

    assert not {"_id", "password_hash", "token_hash", "email_normalized", "terms"} & fields
