"""The OpenAPI document: FastAPI's, with the errors every operation can give and how to sign in."""

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api.dependencies import Allows, guards_of
from api.errors import PROBLEM_JSON, Problem
from api.routing import API_PREFIX, takes_idempotency_key

DESCRIPTION = """\
One backend for a shop, a publication and the community around them.

Errors are `application/problem+json` with a stable `code`. Sign in with `POST /api/v1/auth/login` and send the token as
`Authorization: Bearer ...`. Every POST but those of signing in, of webhooks and of visit events takes an `Idempotency-Key`: the
first answer is kept for a day and given again.
Bodies mean their JSON types: `"3"` and `true` are no number, `1` is no truth value.
Reads of single things carry an `ETag`; send it back as `If-None-Match`, or as `If-Match` with an edit.
"""

_ALWAYS = {
    422: "`malformed_input`: the request is not well formed; `errors` says where",
    429: "`rate_limited`: too many requests; `Retry-After` says when to come back",
    503: "`database_unavailable` or `too_much_at_once`: try again in a moment; `Retry-After` says when",
}
_WITH_BODY = {
    400: "`malformed_body`: the body is not JSON",
    413: "`body_too_large`: the body is over the limit",
    415: "`unsupported_media_type`: send `application/json`",
}
_WITHOUT_KEY = {400: "`idempotency_key_required`: this request moves money, or takes more than one transaction: send a key"}
_WITH_KEY = {409: "`idempotency_in_progress`: the first request with this key is still being worked on"}
_SIGNED_IN = {401: "`unauthenticated`: sign in first"}
_PERMITTED = {403: "`permission_denied`: you may not do this"}


def build_openapi(app: FastAPI, base: dict[str, Any]) -> dict[str, Any]:
    """`base` completed in place and returned: common errors, the bearer scheme, the Idempotency-Key header."""
    components = base.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {"session": {"type": "http", "scheme": "bearer"}}
    for route in app.router.routes:
        if isinstance(route, APIRoute) and route.include_in_schema and route.path.startswith(API_PREFIX):
            for method in route.methods or ():
                _complete(base["paths"][route.path_format][method.lower()], route, method)
    return base


def _complete(operation: dict[str, Any], route: APIRoute, method: str) -> None:
    responses = operation["responses"]
    _replace_validation_error(responses)
    _describe(responses, _ALWAYS)
    is_keyed = takes_idempotency_key(method, route.path)
    if is_keyed:
        is_required = getattr(route.endpoint, "is_outside_transaction", False)
        operation.setdefault("parameters", []).append({**_IDEMPOTENCY_KEY, "required": is_required})
        if is_required:
            _describe(responses, _WITHOUT_KEY)
        _describe(responses, _WITH_KEY)
    if "requestBody" in operation or is_keyed:
        _describe(responses, _WITH_BODY)
    guards = guards_of(route.dependant)
    if guards:
        operation["security"] = [{"session": []}]
        _describe(responses, _SIGNED_IN)
    if any(isinstance(guard, Allows) for guard in guards):
        _describe(responses, _PERMITTED)


_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Repeat a request under the same key and get the first answer again",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def _replace_validation_error(responses: dict[str, Any]) -> None:
    """FastAPI documents its own 422 body, which Agora never sends."""
    if "application/json" in responses.get("422", {}).get("content", {}):
        del responses["422"]


def _describe(responses: dict[str, Any], errors: dict[int, str]) -> None:
    for status, text in errors.items():
        response = responses.setdefault(
            str(status),
            {"description": "", "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}},
        )
        response["description"] = "\n\n".join(filter(None, [response["description"], text]))
