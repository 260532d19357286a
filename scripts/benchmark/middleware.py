"""What the middleware costs: CPU per request of a route that does nothing, with and without Agora's layers, in this process."""

import asyncio
import os
import sys
import time
from typing import Any

from fastapi import FastAPI

from api.app import create_app
from services.logs import configure_logs
from services.settings import Settings

REQUESTS = 5_000


async def nothing() -> dict[str, Any]:
    return {}


async def _cost(app: Any) -> float:
    """CPU microseconds per request."""
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/api/nothing",
        "raw_path": b"/api/nothing",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"agora"), (b"user-agent", b"bench"), (b"accept", b"*/*")],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8000),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None: ...

    started = time.process_time()
    for _ in range(REQUESTS):
        await app({**scope, "state": {}}, receive, send)
    return (time.process_time() - started) / REQUESTS * 1e6


def middleware_cost(settings: Settings) -> tuple[float, float]:
    """CPU microseconds per request without and with the layers; the access log is written, to nowhere."""
    plain = FastAPI()
    plain.get("/api/nothing")(nothing)
    agora = create_app(settings.model_copy(update={"anonymous_requests": 10**9}))
    # In front of all others, so that the layers are measured and not the routes that are tried before it.
    agora.get("/api/nothing")(nothing)
    agora.router.routes.insert(0, agora.router.routes.pop())
    terminal = sys.stderr
    with open(os.devnull, "w") as sys.stderr:
        configure_logs("INFO", style="json")
        try:
            without, layered = (min(asyncio.run(_cost(app)) for _ in range(3)) for app in (plain, agora))
            return without, layered
        finally:
            sys.stderr = terminal
