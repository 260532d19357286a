"""A payment gateway to try Agora with: a small HTTP server on loopback that plays a provider, well or badly as the token says.

`make run` starts one in development. Its books are shown at its own address; play money only.
"""

import asyncio
import contextlib
import json
import os
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs

import httpx2
import typer
import uvicorn
from standardwebhooks import Webhook

from scripts.sandbox.books import Books, Refused, SandboxEvent, SandboxPayment

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

MAX_BODY = 65_536
RETRY_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
SECRET_VARIABLE = "AGORA_SANDBOX_GATEWAY_SECRET"

# Agora is on loopback. Reading the machine's certificates for each webhook would cost 26 ms of processor time.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

_PAYMENT = re.compile(r"/v1/payments/(\w+)(?:/(capture|void|refunds|decide))?")


class DroppedLine(Exception):
    """The caller is left without an answer."""


class SandboxGatewayServer:
    """The sandbox as an ASGI application. Webhooks go to `webhook_url`, or nowhere; they stay in `books.events` either way."""

    def __init__(self, secret: str, books: Books, *, webhook_url: str | None = None, pause: float = 2.0) -> None:
        self.books = books
        self.webhook_url = webhook_url
        self.pause = pause  # how long `slow` and `late` take
        self._secret = secret
        self._busy: set[str] = set()
        self._answers: dict[str, tuple[str, int, dict[str, Any]]] = {}
        self._told = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            status, answer = await self._answer(scope, await _body(receive))
        except Refused as refused:
            status, answer = refused.status, {"error": {"code": refused.code, "message": refused.message}}
        except DroppedLine:
            self._tell_all()
            # A length that is never reached: uvicorn closes the connection on the caller.
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            return
        raw = json.dumps(answer).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": raw})
        self._tell_all()

    async def _answer(self, scope: dict[str, Any], raw: bytes) -> tuple[int, dict[str, Any]]:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method, path = scope["method"], scope["path"]
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        if method == "GET" and path == "/":
            return 200, self.books.shown()
        if headers.get("authorization") != f"Bearer {self._secret}":
            raise Refused(401, "unauthorised")
        if method == "GET":
            return 200, self._read(path, query)
        key = headers.get("idempotency-key")
        if method != "POST" or not key:
            raise Refused(400, "idempotency_key_required")
        return await self._once(key, f"{path}\n{raw.decode(errors='replace')}", path, _json(raw))

    async def _once(self, key: str, fingerprint: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The first answer under a key, again and again."""
        if key in self._busy:
            raise Refused(409, "key_in_use")
        if key in self._answers:
            asked, status, answer = self._answers[key]
            if asked != fingerprint:
                raise Refused(400, "key_reused")
            return status, answer
        self._busy.add(key)
        try:
            answer, drops = await self._write(path, body)
            self._answers[key] = (fingerprint, 200, answer)
        except Refused as refused:
            self._answers[key] = (fingerprint, refused.status, {"error": {"code": refused.code, "message": refused.message}})
            raise
        finally:
            self._busy.discard(key)
        if drops:
            raise DroppedLine
        return 200, answer

    async def _write(self, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """Do it; the answer, and whether the caller gets it."""
        if path == "/v1/payments":
            return await self._charge(body)
        found = _PAYMENT.fullmatch(path)
        if found is None or found[2] is None:
            raise Refused(404, "no_such_path")
        payment = self.books.payment(found[1])
        if found[2] == "capture":
            self.books.capture(payment, int(body["amount"]))
            return payment.shown(), payment.token == "tok_capture_timeout"
        if found[2] == "void":
            self.books.void(payment)
            return payment.shown(), False
        if found[2] == "decide":
            self.books.decide(payment, approve=bool(body["approve"]))
            return payment.shown(), False
        refund = self.books.refund(payment, key=str(body["key"]), amount=int(body["amount"]))
        if refund.state == "pending":
            self._later(lambda: self.books.finish_refund(refund))
        return refund.shown(), payment.token == "tok_refund_timeout"

    async def _charge(self, body: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        token, key = body.get("token"), str(body["key"])
        if token == "tok_timeout_before" or (token == "tok_timeout_before_once" and key not in self.books.dropped):
            self.books.dropped.add(key)
            raise DroppedLine
        if token == "tok_slow":
            await asyncio.sleep(self.pause)
        payment = self.books.charge(
            key=key,
            amount=int(body["amount"]),
            currency=str(body["currency"]),
            method=str(body["method"]),
            token=token,
            capture=bool(body["capture"]),
            description=str(body.get("description", "")),
        )
        if token == "tok_late_webhook" and payment.state == "pending":
            self._later(lambda: self._decide_late(payment))
        if token == "tok_early_webhook":
            self._tell_all()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        return payment.shown(), token == "tok_timeout_after"

    def _decide_late(self, payment: SandboxPayment) -> None:
        if payment.state == "pending":
            self.books.decide(payment, approve=True)

    def _read(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        if path == "/v1/payments":
            payment = self.books.payment_of(query.get("key", ""))
            if payment is None:
                raise Refused(404, "absent")
            return payment.shown()
        if path == "/v1/refunds":
            refund = self.books.refund_of(query.get("key", ""))
            if refund is None:
                raise Refused(404, "absent")
            return refund.shown()
        if path == "/v1/report":
            since, until = datetime.fromisoformat(query["since"]), datetime.fromisoformat(query["until"])
            return {"lines": self.books.report(since, until)}
        found = _PAYMENT.fullmatch(path)
        if found is None or found[2] is not None:
            raise Refused(404, "no_such_path")
        return self.books.payment(found[1]).shown()

    def _later(self, change: Callable[[], None]) -> None:
        async def wait_and_change() -> None:
            await asyncio.sleep(self.pause)
            change()
            self._tell_all()

        self._begin(wait_and_change())

    def _tell_all(self) -> None:
        """Send the webhooks of what happened since the last time."""
        fresh, self._told = self.books.events[self._told :], len(self.books.events)
        for event in fresh if self.webhook_url else ():
            for _ in range(event.copies):
                self._begin(self._deliver(event))

    def _begin(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, event: SandboxEvent) -> None:
        """Post one webhook, signed anew for each try, until it is taken."""
        async with httpx2.AsyncClient(timeout=10, trust_env=False, verify=_NO_TLS) as client:
            for pause in RETRY_SECONDS:
                await asyncio.sleep(pause)
                with contextlib.suppress(httpx2.HTTPError):
                    headers = {"content-type": "application/json", **signed(self._secret, event.id, event.body)}
                    answer = await client.post(str(self.webhook_url), content=event.body, headers=headers)
                    if answer.status_code < 300:
                        return


def signed(secret: str, event_id: str, body: bytes, *, at: datetime | None = None) -> dict[str, str]:
    """The Standard Webhooks headers of a body."""
    at = at or datetime.now(UTC)
    signature = Webhook(secret).sign(event_id, at, body.decode())
    return {"webhook-id": event_id, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if sum(map(len, parts)) > MAX_BODY:
            raise Refused(413, "too_large")
        if not message.get("more_body"):
            return b"".join(parts)


def _json(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        raise Refused(400, "no_json") from None
    if not isinstance(body, dict):
        raise Refused(400, "no_object")
    return body


def make_server(application: SandboxGatewayServer) -> uvicorn.Server:
    config = uvicorn.Config(application, lifespan="off", access_log=False, log_config=None, server_header=False)
    return uvicorn.Server(config)


def main(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: any that is free")] = 0,
    listener: Annotated[int | None, typer.Option(help="An open, listening socket to take over, instead of a port")] = None,
    books: Annotated[Path | None, typer.Option(help="Where the books are kept; without, they end with the process")] = None,
    webhook_url: Annotated[str | None, typer.Option(help="Where webhooks go: .../api/v1/payments/webhooks/sandbox")] = None,
) -> None:
    """Serve on 127.0.0.1 until SIGINT or SIGTERM. The shared secret is read from AGORA_SANDBOX_GATEWAY_SECRET."""
    application = SandboxGatewayServer(os.environ[SECRET_VARIABLE], Books(books), webhook_url=webhook_url)
    taken = socket.create_server(("127.0.0.1", port)) if listener is None else socket.socket(fileno=listener)
    with taken, contextlib.suppress(KeyboardInterrupt):
        print(f"listening on 127.0.0.1:{taken.getsockname()[1]}", flush=True)
        asyncio.run(make_server(application).serve([taken]))


if __name__ == "__main__":
    typer.run(main)
