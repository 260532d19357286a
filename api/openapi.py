"""The OpenAPI document: FastAPI's, with what operations have in common: errors, headers, conditions, keys and examples."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from api.carts import cart_holder
from api.conditional import named_revision, required_revision
from api.dependencies import Allows, guards_of, known_reader, known_viewer
from api.errors import PROBLEM_JSON, Problem
from api.examples import give_example, inherit_meaning
from api.orders import order_access
from api.routing import API_PREFIX, takes_idempotency_key

DESCRIPTION = """\
One backend for a shop, a publication and the community around them.

- **Sign in** with `POST /api/v1/auth/login` and send the token as `Authorization: Bearer ...`.
- **Errors** are `application/problem+json` (RFC 9457) with a stable `code`, and for 422 `errors[]` with a JSON pointer each.
- **Once.** Every POST but those of signing in, of webhooks and of visit events takes an `Idempotency-Key`: the first answer is
  kept for a day and given again, byte for byte, with `Idempotent-Replayed: true`. What is repeated while the first is worked on
  waits for its answer for up to two seconds; after that it gets 409 with `Retry-After`.
- **Changes** name what they are based on: reads carry an `ETag`; send it back as `If-Match` (412 when somebody was faster, 428
  where it must be there), or as `If-None-Match` to be told 304.
- **Lists** have `page` and `limit` with `total_count`, or, where they are endless, `cursor` and `limit` with `next_cursor`.
- **Money** is `{"amount": "19.99", "currency": "USD"}`, an exact decimal as text. **Times** are RFC 3339, answered in UTC.
  **Ids** are opaque strings.
- **Bodies** mean their JSON types: `"3"` and `true` are no number, `1` is no truth value. Unknown fields are refused.
- **Limits.** `RateLimit` says what is left of the window; 429 and 503 say in `Retry-After` when to come back.
- **Live.** `/ws` tells what happens as it happens, over a WebSocket.
"""

TAGS = {
    "Accounts: signing in": "Registration, sessions, passwords and addresses. Nothing here tells who is registered.",
    "Accounts: me": "One's own account and where it is signed in.",
    "Accounts: profiles": "People as everyone may see them.",
    "Accounts: administration": "Accounts, roles, locks and the audit log: for administrators.",
    "Social": "Who follows whom.",
    "Blog: posts": "Reading by slug, writing by id, and the steps from draft to trash.",
    "Blog: revisions": "What was changed when: for those who may edit the post.",
    "Blog: comments": "Threads, the moderation queue, and bans.",
    "Blog: likes": "Of posts and comments.",
    "Blog: categories and tags": "Public to read, kept by editors.",
    "Blog: discovery": "Search, popular and related posts, one's feed, statistics.",
    "Blog: syndication": "RSS, Atom and the sitemap.",
    "Shop: products": "Search with facets, product pages, recommendations; kept by sellers and staff.",
    "Shop: categories and attributes": "What products are sorted and filtered by.",
    "Shop: reviews": "Of bought products, with votes and moderation.",
    "Shop: wish lists": "And the wish to hear of it when something can be bought again.",
    "Shop: cart": "Of who is signed in, or of the guest who holds its `Cart-Token`.",
    "Shop: checkout": "From a cart to a paid order in one request.",
    "Shop: customers": "One's own profile and points; customers for staff.",
    "Shop: addresses": "One's own address book.",
    "Orders": "Placing, paying, reading and cancelling; guests send their `X-Order-Token`.",
    "Orders: staff": "Status, parcels, notes, holds and the export.",
    "Shop: returns": "Asked for by customers, decided, received and paid back by staff.",
    "Shop: coupons and promotions": "For staff; buyers give their codes to the cart.",
    "Shop: taxes and shipping": "Zones for staff, ways to send for everyone.",
    "Shop: reports": "Carts that were left alone.",
    "Shop: imports": "What became of imported files.",
    "Inventory: stock": "Levels, the ledger, corrections, stock as of a date and its value.",
    "Inventory: locations": "Warehouses and shops.",
    "Inventory: purchasing": "Suppliers and purchase orders.",
    "Inventory: transfers": "Stock on its way between locations.",
    "Inventory: stocktakes": "Counting what is there.",
    "Payments": "Captures, voids, refunds and reconciliation; what gateways tell.",
    "Payments: fraud": "Rules, and payments that wait for a person.",
    "Analytics: sales": "What was sold and given back, the best, coupons, sources, the way to an order.",
    "Analytics: customers": "New and returning ones, lifetime value, cohorts, segments.",
    "Analytics: inventory": "Turnover, cover and dead stock.",
    "Analytics: payments": "How payments went, and what fraud rules did.",
    "Analytics: content": "How the publication is read.",
    "Analytics: users": "Who joins and who signs in.",
    "Analytics: visits": "Views, searches and visitors, who are not known.",
    "Analytics: events": "What clients tell of visits.",
    "Analytics: export": "Reports as CSV and XLSX.",
    "Analytics: saved dashboards": "One's own choice of figures.",
    "System: jobs and events": "The worker's jobs, the consumers of events and their dead letters.",
    "System: outbound webhooks": "Endpoints, secrets, deliveries and replay.",
    "System: reconciliation": "Whether everything that is stored adds up.",
    "Operations": "Health, for load balancers and orchestrators.",
}
"""Every tag with what stands behind it, in the order of the documentation."""

_ALWAYS = {
    422: "`malformed_input`: the request is not well formed; `errors` says where",
    429: "`rate_limited`: too many requests; `Retry-After` says when to come back",
    503: "`database_unavailable`, `too_much_at_once` or `shutting_down`: try again in a moment; `Retry-After` says when",
}
_WITH_BODY = {
    400: "`malformed_body`: the body is not JSON",
    413: "`body_too_large`: the body is over the limit",
    415: "`unsupported_media_type`: send `application/json`",
}
_WITHOUT_KEY = {400: "`idempotency_key_required`: this request moves money, or takes more than one transaction: send a key"}
_WITH_KEY = {
    400: "`invalid_idempotency_key`: a key has 1 to 255 visible ASCII characters",
    409: "`idempotency_in_progress`: the first request with this key is still being worked on; ask again after `Retry-After`",
    422: "`idempotency_key_reused`: the key was used for a request that said something else",
}
_SIGNED_IN = {401: "`unauthenticated`: sign in first"}
_PERMITTED = {403: "`permission_denied`: you may not do this"}

_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Repeat a request under the same key and get the first answer again",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` that was read, or its `revision` in quotes: 412 if it was changed since. `*` is for any",
    "schema": {"type": "string", "maxLength": 100, "pattern": r'^(\*|"[0-9]{1,9}(-[0-9a-f]+)?")$'},
    "example": '"3"',
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` of one's copy: 304 while it is current",
    "schema": {"type": "string", "maxLength": 500},
}
_HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {
        "description": "Names what was answered, for `If-None-Match` and, on what can be changed, for `If-Match`",
        "schema": {"type": "string", "examples": ['"3-9f2c64be01d7a853"']},
    },
    "Idempotent-Replayed": {
        "description": "`true` when this answer was given before, under the same `Idempotency-Key`",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Location": {"description": "Where it is found now", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 0, "examples": [2]}},
}
_SESSION: dict[str, list[str]] = {"session": []}
_KNOWING = {known_viewer, known_reader, cart_holder, order_access}  # strangers are answered, too, and otherwise
_UNTOLD = "Successful Response"  # what FastAPI says where nobody said more
_TOLD = {200: "Done.", 201: "Made.", 202: "Accepted: it is done in a moment.", 204: "Done; there is nothing to tell."}


def build_openapi(app: FastAPI, base: dict[str, Any]) -> dict[str, Any]:
    """`base` completed in place and returned: errors, headers, examples and descriptions that every operation has."""
    components = base.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    inherit_meaning(schemas)
    components["securitySchemes"] = {"session": {"type": "http", "scheme": "bearer"}}
    components["headers"] = _HEADERS
    give_example(base["webhooks"]["message"]["post"]["requestBody"], schemas)
    base["tags"] = [{"name": name, "description": description} for name, description in TAGS.items()]
    for route in app.router.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                operation = base["paths"][route.path_format][method.lower()]
                if route.path.startswith(API_PREFIX):
                    _complete(operation, route, method)
                _tell_answers(operation["responses"], schemas)
                if (body := operation.get("requestBody")) is not None:
                    give_example(body, schemas)
    return base


def _complete(operation: dict[str, Any], route: APIRoute, method: str) -> None:
    responses = operation["responses"]
    parameters = operation.setdefault("parameters", [])
    _replace_validation_error(responses)
    _describe(responses, _ALWAYS)
    calls = _calls_of(route.dependant)
    is_guarded = not calls.isdisjoint({named_revision, required_revision})
    if is_guarded:
        parameters.append({**_IF_MATCH, "required": required_revision in calls})
    if "304" in responses:
        parameters.append(_IF_NONE_MATCH)
    is_keyed = takes_idempotency_key(method, route.path)
    if is_keyed:
        is_required = getattr(route.endpoint, "is_outside_transaction", False)
        parameters.append({**_IDEMPOTENCY_KEY, "required": is_required})
        if is_required:
            _describe(responses, _WITHOUT_KEY)
        _describe(responses, _WITH_KEY)
    if "requestBody" in operation or is_keyed:
        _describe(responses, _WITH_BODY)
    guards = guards_of(route.dependant)
    if guards:
        operation["security"] = [_SESSION]
        _describe(responses, _SIGNED_IN)
    elif not calls.isdisjoint(_KNOWING):
        operation["security"] = [_SESSION, {}]
    if any(isinstance(guard, Allows) for guard in guards):
        _describe(responses, _PERMITTED)
    _add_headers(responses, is_keyed=is_keyed, is_tagged=is_guarded or "304" in responses)


def _calls_of(dependant: Dependant) -> set[Any]:
    """Everything a handler depends on, however deep."""
    return {inner.call for inner in dependant.dependencies}.union(*map(_calls_of, dependant.dependencies))


def _replace_validation_error(responses: dict[str, Any]) -> None:
    """FastAPI documents its own 422 body, which Agora never sends."""
    if "application/json" in responses.get("422", {}).get("content", {}):
        del responses["422"]


def _describe(responses: dict[str, Any], errors: Mapping[int, str]) -> None:
    for status, text in errors.items():
        response = responses.setdefault(
            str(status),
            {"description": "", "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}},
        )
        if text.partition(":")[0] not in response["description"]:
            response["description"] = "\n\n".join(filter(None, [response["description"], text]))


def _add_headers(responses: dict[str, Any], *, is_keyed: bool, is_tagged: bool) -> None:
    for status, response in responses.items():
        is_success = status.startswith("2")
        told = {
            "ETag": is_tagged and status in ("200", "201", "304"),
            "Idempotent-Replayed": is_keyed and is_success,
            "Location": status == "308",
            "Retry-After": status in ("429", "503") or (is_keyed and status == "409"),
        }
        if headers := {name: {"$ref": f"#/components/headers/{name}"} for name, is_told in told.items() if is_told}:
            response["headers"] = headers


def _tell_answers(responses: dict[str, Any], schemas: Mapping[str, Any]) -> None:
    """In place of FastAPI's "Successful Response": what the answer's schema says of itself."""
    for status, response in responses.items():
        if response["description"] == _UNTOLD:
            (content,) = list(response.get("content", {}).values()) or [{}]
            name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
            response["description"] = schemas.get(name, {}).get("description") or _TOLD[int(status)]
