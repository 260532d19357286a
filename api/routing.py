"""How Agora's routers are made, and what every route does before and around its handler."""

import re
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from api.dependencies import Guard, guards_of
from api.errors import PROBLEM_JSON, problem_for, status_of
from services.errors import AppError, RuleViolatedError, UnprocessableError
from services.idempotency import Answer, IdempotencyService, KeyedRequest, Operation

API_PREFIX = "/api/v1"

# Answers here hold tokens and secrets, failures must stay counted, names are looked up outside: nothing is stored to be repeated,
# nothing is undone as a whole. Events carry ids of their own, under which each counts once.
_UNKEYED = (f"{API_PREFIX}/auth/", f"{API_PREFIX}/webhooks", f"{API_PREFIX}/analytics/events")

Handler = Callable[[Request], Awaitable[Response]]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Awaitable[Any]])

# An escaped NUL whose backslash is not itself escaped.
_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)


class NulCharacterError(UnprocessableError):
    """A NUL character in a path, query or body: no text of ours holds one."""

    code = "nul_character"

    def __init__(self) -> None:
        super().__init__("The request holds a NUL character.")


class AgoraRoute(APIRoute):
    """Refuses bodies that are no JSON and NUL characters anywhere; gives Idempotency-Key its meaning on every POST."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self._beginning = path.partition("{")[0]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        # Routes are tried one after the other, and nearly all that are tried in vain differ before their first parameter.
        if not scope["path"].startswith(self._beginning):
            return Match.NONE, {}
        return super().matches(scope)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        is_outside = getattr(self.endpoint, "is_outside_transaction", False)
        takes_body = self.body_field is not None
        guards = guards_of(self.dependant)

        async def guarded(request: Request) -> Response:
            scope = request.scope
            if b"%00" in scope["query_string"] or b"\0" in scope["path"].encode(errors="replace"):
                raise NulCharacterError
            if request.method in ("GET", "HEAD", "DELETE") and not takes_body:
                return await handle(request)
            body = await request.body()
            if body:
                _check_body(request, body)
            key = request.headers.get("idempotency-key")
            if is_outside:
                await _ask(guards, request)
                return await _answer_outside(request, key, body, handle)
            if key is None or not takes_idempotency_key(request.method, scope["path"]):
                return await handle(request)
            await _ask(guards, request)
            return await _answer_once(request, key, body, handle)

        return guarded


def outside_transaction(endpoint: Endpoint) -> Endpoint:
    """Mark a handler that speaks to the outside, such as a payment gateway, or works for long: it runs in no transaction.

    Its callers must send an Idempotency-Key; it takes `OperationKey` and keeps what it does under that.
    """
    endpoint.is_outside_transaction = True  # type: ignore[attr-defined]  # read by AgoraRoute when the route is made
    return endpoint


class IdempotencyKeyRequiredError(RuleViolatedError):
    """This request moves money, or takes more than one transaction, so it needs an Idempotency-Key."""

    code = "idempotency_key_required"

    def __init__(self) -> None:
        super().__init__("Send an Idempotency-Key, a random one for each new request: a repeated request is then harmless.")


def takes_idempotency_key(method: str, path: str) -> bool:
    return method == "POST" and not path.startswith(_UNKEYED)


def _check_body(request: Request, body: bytes) -> None:
    if not _JSON_TYPE.fullmatch(request.headers.get("content-type", "")):
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the body as application/json.")
    if b"\0" in body or (b"\\u0000" in body and _ESCAPED_NUL.search(body)):
        raise NulCharacterError


async def _ask(guards: list[Guard], request: Request) -> None:
    """Before the key is looked at: who may not do this learns nothing about keys, and gets no stored answer."""
    for guard in guards:
        await guard(request)


async def _answer_once(request: Request, key: str, body: bytes, handle: Handler) -> Response:
    """Answer the first request under this key and give the same bytes to every later one."""

    async def work() -> Answer:
        return _to_answer(await handle(request))

    keyed = _keyed(request, key, body)
    return _to_response(await IdempotencyService.run(keyed, work=work, secret=request.app.state.settings.secret_bytes))


async def _answer_outside(request: Request, key: str | None, body: bytes, handle: Handler) -> Response:
    """As `_answer_once` for handlers marked with `outside_transaction`; a final refusal is kept as an answer, too."""
    if key is None:
        raise IdempotencyKeyRequiredError

    async def work(operation: Operation) -> Answer:
        request.state.operation = operation
        try:
            return _to_answer(await handle(request))
        except AppError as error:
            if not error.is_final:
                raise
            return _to_answer(problem_for(request.scope, error))

    keyed = _keyed(request, key, body)
    return _to_response(await IdempotencyService.run_outside(keyed, work=work, secret=request.app.state.settings.secret_bytes))


def _keyed(request: Request, key: str, body: bytes) -> KeyedRequest:
    viewer = request.state.viewer
    caller = str(viewer.user_id) if viewer else request.state.client.address
    return KeyedRequest(key, caller, request.method, request.scope["path"], request.scope["query_string"], body)


def _to_answer(response: Response) -> Answer:
    headers = {
        name.decode("latin-1"): value.decode("latin-1") for name, value in response.raw_headers if name != b"content-length"
    }
    return Answer(response.status_code, headers, bytes(response.body))


def _to_response(answer: Answer) -> Response:
    response = Response(answer.body, answer.status)
    response.raw_headers = [
        *((name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()),
        (b"content-length", str(len(answer.body)).encode()),
    ]
    if answer.is_replay:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def make_router(path: str, tag: str) -> APIRouter:
    """A router below the API's prefix. The app takes its routes over as they are: nesting routers costs on every request."""
    return APIRouter(
        prefix=API_PREFIX + path,
        tags=[tag],
        route_class=AgoraRoute,
        generate_unique_id_function=lambda route: route.name,
    )


def refuses(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that can raise these errors: one entry per status, naming the codes."""
    by_status: dict[int | str, list[type[AppError]]] = {}
    for error in errors:
        by_status.setdefault(int(status_of(error)), []).append(error)
    return {status: problem_response(kinds) for status, kinds in by_status.items()}


def problem_response(errors: list[type[AppError]]) -> dict[str, Any]:
    lines = [f"`{error.code}`: {(error.__doc__ or '').strip().splitlines()[0]}" for error in errors]
    return {
        "description": "\n\n".join(lines),
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
