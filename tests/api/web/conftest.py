"""Chromium, and the application where Chromium can open it. `make test-pages` runs what needs them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import uvicorn
from fastapi import FastAPI

from tests.browser import Browser, chromium


@pytest.fixture(scope="session")
def chromium_address() -> Iterator[str]:
    """One process for all tests: a tab of theirs shares nothing with others."""
    with chromium() as address:
        yield address


@pytest.fixture
async def browser(chromium_address: str) -> AsyncIterator[Browser]:
    async with Browser(chromium_address) as connected:
        yield connected


@pytest.fixture
async def origin(app: FastAPI) -> AsyncIterator[str]:
    """The application on a port of this machine."""
    listening = socket.create_server(("127.0.0.1", 0))  # from here on the browser may connect, and waits if need be
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    await serving
