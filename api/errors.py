"""From what services refuse to what HTTP says: the one table of statuses, and problem+json (RFC 9457) for every error."""

from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from models.database import DatabaseUnavailableError, PyMongoError, is_overtaken, is_unavailable
from services.errors import (
    AppError,
    ConflictError,
    InvalidStateError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    PreconditionRequiredError,
    RateLimitedError,
    RuleViolatedError,
    UnauthenticatedError,
    UnavailableError,
    UnprocessableError,
)

log = structlog.get_logger(__name__)

PROBLEM_JSON = "application/problem+json"

# The nearest ancestor decides, so a class may stand here beside its family.
STATUS_BY_FAMILY: dict[type[AppError], HTTPStatus] = {
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    InvalidStateError: HTTPStatus.CONFLICT,
    RuleViolatedError: HTTPStatus.BAD_REQUEST,
    UnprocessableError: HTTPStatus.UNPROCESSABLE_ENTITY,
    PermissionDeniedError: HTTPStatus.FORBIDDEN,
    UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    RateLimitedError: HTTPStatus.TOO_MANY_REQUESTS,
    PreconditionError: HTTPStatus.PRECONDITION_FAILED,
    PreconditionRequiredError: HTTPStatus.PRECONDITION_REQUIRED,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}


class FieldProblem(BaseModel):
    """What is wrong with one part of the request."""

    pointer: str = Field(description="JSON pointer into the body, or `#/query/page`", examples=["/title"])
    message: str = Field(examples=["String should have at most 200 characters"])
    code: str = Field(examples=["string_too_long"])


class Problem(BaseModel):
    """An error, as RFC 9457 has it. `code` is stable; `detail` is for people and may change."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no such post."])
    code: str = Field(examples=["post_not_found"])
    instance: str = Field(description="The path that was asked", examples=["/api/v1/blog/posts/no-such-post"])
    request_id: str = Field(description="Quote it when you report the problem; the logs carry it too")
    errors: list[FieldProblem] = Field(default_factory=list, description="Which parts of the request are wrong, for 422")


def status_of(error: type[AppError]) -> HTTPStatus:
    """The status of the nearest family in the class's ancestry."""
    for ancestor in error.__mro__:
        if ancestor in STATUS_BY_FAMILY:
            return STATUS_BY_FAMILY[ancestor]
    raise KeyError(error)


def problem(
    scope: Any,
    status: int,
    code: str,
    detail: str,
    *,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
        "instance": scope["path"].encode(errors="replace").decode(),
        "request_id": scope.get("state", {}).get("request_id", ""),
        "errors": errors or [],
    }
    return Response(orjson.dumps(body), int(status), headers, PROBLEM_JSON)


def problem_for(scope: Any, error: Exception) -> Response:
    """The answer to any exception. What is not refused on purpose is logged and told to nobody."""
    if isinstance(error, AppError):
        headers = {}
        if error.retry_after is not None:
            headers["Retry-After"] = str(error.retry_after)
        if isinstance(error, UnauthenticatedError):
            headers["WWW-Authenticate"] = "Bearer"
        return problem(scope, status_of(type(error)), error.code, error.detail, headers=headers)
    if isinstance(error, RequestValidationError):
        errors = [_field_problem(item) for item in error.errors()[:50]]
        return problem(scope, 422, "malformed_input", "The request is not well formed.", errors=errors)
    if isinstance(error, HTTPException):
        return _framework_problem(scope, error)
    if isinstance(error, DatabaseUnavailableError) or (isinstance(error, PyMongoError) and is_unavailable(error)):
        log.warning("database_unavailable", reason=type(error).__name__)
        detail = "The database cannot be reached right now."
        return problem(scope, 503, "database_unavailable", detail, headers={"Retry-After": "2"})
    if is_overtaken(error):
        log.warning("transaction_overtaken", path=scope["path"])
        detail = "Too many changed this at once: try again in a moment."
        return problem(scope, 503, "too_much_at_once", detail, headers={"Retry-After": "1"})
    log.error("unexpected_error", path=scope["path"], exc_info=error)
    return problem(scope, 500, "internal_error", "Something went wrong on our side.")


def _field_problem(item: Any) -> dict[str, str]:
    """One finding of Pydantic's, without the input: it may be unprintable, huge or secret."""
    where, *path = item["loc"]
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)[:200]
    pointer = pointer if where == "body" else f"#/{where}{pointer}"
    pointer = pointer.encode(errors="replace").decode()
    return {"pointer": pointer, "message": item["msg"].encode(errors="replace").decode()[:300], "code": item["type"]}


_FRAMEWORK_CODES = {400: "malformed_body", 404: "no_such_path", 405: "method_not_allowed", 413: "body_too_large"}


def _framework_problem(scope: Any, error: HTTPException) -> Response:
    status = HTTPStatus(error.status_code)
    code = _FRAMEWORK_CODES.get(status, status.phrase.lower().replace(" ", "_"))
    headers = dict(error.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_allowed_methods(scope)))
    details = {404: "There is nothing at this path.", 405: "This path does not take this method."}
    return problem(scope, status, code, details.get(status, str(error.detail)), headers=headers)


def _allowed_methods(scope: Any) -> set[str]:
    """Every method any route takes on this path; the framework names only those of the first."""
    allowed: set[str] = set()
    for route in scope["app"].router.routes:
        pattern = getattr(route, "path_regex", None)
        if pattern is not None and pattern.match(scope["path"]):
            allowed |= getattr(route, "methods", None) or set()
    return allowed | {"HEAD"} if "GET" in allowed else allowed


def install(app: FastAPI) -> None:
    """Answer every exception raised below the middleware with a problem."""

    async def answer(request: Request, error: Exception) -> Response:
        return problem_for(request.scope, error)

    for kind in (AppError, RequestValidationError, HTTPException, DatabaseUnavailableError, PyMongoError):
        app.add_exception_handler(kind, answer)
