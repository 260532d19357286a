"""The sandbox gateway, served for real on loopback for the whole run; its books stay within reach of the tests."""

import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from scripts.sandbox.books import Books
from scripts.sandbox.gateway import SandboxGatewayServer, make_server
from services.payments.gateways import Gateways
from services.payments.sandbox import SandboxGateway
from tests.races import patiently

SANDBOX_SECRET = "whsec_c2FuZGJveC1zZWNyZXQtZm9yLXRlc3RzLW9ubHk="


@dataclass
class RunningSandbox:
    """`books` may be read and, by a test that wants a gateway of its own mind, changed."""

    url: str
    books: Books
    application: SandboxGatewayServer


@pytest.fixture(scope="session")
def sandbox() -> Iterator[RunningSandbox]:
    """One for all tests, so a test looks only at what it paid itself. `slow` and `late` take 0.2 seconds."""
    books = Books()
    application = SandboxGatewayServer(SANDBOX_SECRET, books, pause=0.2)
    server = make_server(application)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        yield RunningSandbox(f"http://127.0.0.1:{listener.getsockname()[1]}", books, application)
        server.should_exit = True
        thread.join(patiently(5))


@pytest.fixture
async def gateways(sandbox: RunningSandbox) -> AsyncIterator[Gateways]:
    """The gateways of a shop that has the sandbox alone."""
    async with Gateways([SandboxGateway(sandbox.url, SANDBOX_SECRET, timeout=patiently(2))]) as made:
        yield made
