"""One message to one endpoint: the request, and what came back."""

import asyncio
import ssl
import time
from dataclasses import dataclass

import httpx2

from services.settings import Settings
from services.webhooks.guard import GuardedTransport, OutboundPolicy, Resolver, UnsafeUrlError, resolve_name

KEPT_BYTES = 1024  # of an answer; no more than that is read
_PHASE_SECONDS = 5.0  # to connect, and to take the message
_REST_SECONDS = 1.0  # for the beginning of an answer whose status is known


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt came to. Without `status` nothing answered, and `error` says why."""

    duration_ms: int
    status: int | None = None
    answer: str = ""
    error: str | None = None
    retry_after: int | None = None  # seconds, as the receiver asked

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class WebhookSender:
    """Sends to checked addresses only, follows no redirect, and waits for nothing longer than the settings say."""

    def __init__(self, settings: Settings, *, resolver: Resolver = resolve_name, tls: ssl.SSLContext | None = None) -> None:
        self.total_seconds = settings.webhook_timeout_seconds
        # No connection is kept: one pool serves all endpoints, and two names behind one address must not share TLS.
        inner = httpx2.AsyncHTTPTransport(
            verify=tls or ssl.create_default_context(), trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0)
        )
        phase = min(_PHASE_SECONDS, self.total_seconds)
        self._client = httpx2.AsyncClient(
            transport=GuardedTransport(inner, policy=OutboundPolicy.of(settings), resolver=resolver),
            timeout=httpx2.Timeout(self.total_seconds, connect=phase, write=phase),
            follow_redirects=False,
            trust_env=False,
            headers={"user-agent": "Agora-Webhooks/1", "accept": "*/*", "accept-encoding": "identity"},
        )

    async def send(self, url: str, *, body: str, headers: dict[str, str]) -> Outcome:
        """Never raises for what the receiver or the network does."""
        began = time.monotonic()
        status: int | None = None
        retry_after: int | None = None
        received = bytearray()
        error: str | None = None
        try:
            async with asyncio.timeout(self.total_seconds):
                sent = {**headers, "content-type": "application/json"}
                async with self._client.stream("POST", url, content=body.encode(), headers=sent) as response:
                    status = response.status_code
                    retry_after = _seconds(response.headers.get("retry-after", ""))
                    async with asyncio.timeout(_REST_SECONDS):
                        await _read_beginning(response, received)
        except UnsafeUrlError as refused:
            error = refused.reason
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, UnicodeError) as failed:
            # Once the status is known, an answer that breaks off or trickles changes nothing.
            error = None if status is not None else type(failed).__name__
        answer = bytes(received[:KEPT_BYTES]).decode("utf-8", "replace").replace("\0", "\ufffd")
        return Outcome(round((time.monotonic() - began) * 1000), status, answer, error, retry_after)

    async def aclose(self) -> None:
        await self._client.aclose()


async def _read_beginning(response: httpx2.Response, received: bytearray) -> None:
    async for chunk in response.aiter_raw():
        received += chunk
        if len(received) >= KEPT_BYTES:
            return


def _seconds(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
