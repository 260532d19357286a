"""The outermost layer: what every answer carries, and what is known of every request afterwards.

One pure ASGI layer instead of several, because each costs time on every request: request id, security headers, body limit,
metrics, access log, HEAD, and the last net under unexpected errors.
"""

import asyncio
import re
import time
import uuid

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem, problem_for
from api.metrics import observe_request

log = structlog.get_logger("api.access")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.\-]{8,64}")

_SECURITY_HEADERS: list[tuple[bytes, bytes]] = [
    # Answers of the API hold data: they are not to be framed, sniffed, or run as a page.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
_CALLER_LEFT = 499  # what logs and metrics call it since nginx did
_TRANSPORT_SECURITY = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


class EdgeMiddleware:
    """See the module. A header that an answer brings stands: pages have a policy of their own, all else the strictest."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, transport_security: bool) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.headers = [*_SECURITY_HEADERS, _TRANSPORT_SECURITY] if transport_security else _SECURITY_HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        method = scope["method"]
        if method == "HEAD":  # what GET would answer, without the body (RFC 9110, 9.3.2)
            scope = {**scope, "method": "GET"}
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.setdefault("headers", [])
                headers.append((b"x-request-id", request_id.encode()))
                own = {name for name, _ in headers}
                headers.extend(header for header in self.headers if header[0] not in own)
                limit = scope["state"].get("rate_limit")
                if limit is not None:
                    headers.extend(limit)
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        try:
            declared = _content_length(scope)
            if declared > self.max_body_bytes:
                refusal = problem(scope, 413, "body_too_large", f"A body may hold {self.max_body_bytes} bytes.")
                await refusal(scope, receive, send_with_headers)
            else:
                await self.app(scope, self._limited(receive) if declared < 0 else receive, send_with_headers)
        except asyncio.CancelledError:  # the server ends, and has waited long enough; it would answer 500 by itself
            if not status:
                refusal = problem(scope, 503, "shutting_down", "Agora is ending.", headers={"Retry-After": "2"})
                await refusal(scope, receive, send_with_headers)
            raise
        except ClientDisconnect:  # whoever asked has left: there is nobody to answer, and nothing failed
            status = status or _CALLER_LEFT
        except Exception as error:
            if status:  # the answer has begun: nothing true can be said any more
                log.error("answer_broken_off", exc_info=error)
                raise
            await problem_for(scope, error)(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", None) or "unmatched"
            observe_request(method, route, status, seconds)
            log.info("request", method=method, path=scope["path"], status=status, ms=round(seconds * 1000, 2))

    def _limited(self, receive: Receive) -> Receive:
        """Counts a body that does not say its length, and refuses it where it passes the limit."""
        taken = 0

        async def limited() -> Message:
            nonlocal taken
            message = await receive()
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                if taken > self.max_body_bytes:
                    raise HTTPException(413, f"A body may hold {self.max_body_bytes} bytes.")
            return message

        return limited


def _request_id(scope: Scope) -> str:
    """The caller's X-Request-ID when it is short and plain, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            given: str = value.decode()
            return given
    return uuid.uuid4().hex


def _content_length(scope: Scope) -> int:
    """Bytes the caller announces; -1 when it announces none."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value[:20]) if value.isdigit() else -1
    return -1
