"""What stands in the logs when somebody turns everything on: no secret that a request brought or the database holds."""

import logging
import secrets
from collections.abc import Callable, Iterator

import httpx2
import pytest
import structlog
from fastapi import FastAPI

from models.payments import Payment
from models.users import LoginSession, User
from services.logs import hold_back_wires
from services.payments.gateways import Gateways
from services.settings import Settings
from tests.factories.carts import create_cart
from tests.factories.checkout import DoubleGateway, create_stocked
from tests.factories.customers import make_place
from tests.factories.users import PASSWORD, create_login_user

Lines = Callable[[], list[str]]

NOISY = ("", "pymongo", "pymongo.command", "pymongo.connection", "stripe", "uvicorn", "uvicorn.error", "httpcore2", "httpx2")


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """Everything that was logged so far, by Agora and by the libraries, at DEBUG and at full length."""
    monkeypatch.setenv("MONGOB_LOG_MAX_DOCUMENT_LENGTH", "1000000")
    kept: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(f"{record.name}: {self.format(record)}")

    before = {name: logging.getLogger(name).level for name in NOISY}
    keeper = Keeper()
    logging.getLogger().addHandler(keeper)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        with structlog.testing.capture_logs() as own:
            yield lambda: [*kept, *map(repr, own)]
    finally:
        logging.getLogger().removeHandler(keeper)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


async def buy(client: httpx2.AsyncClient, app: FastAPI, settings: Settings, *, token: str) -> set[str]:
    """Sign in, and check out with that token, which the gateway takes; the secrets that passed through the process."""
    app.state.gateways = Gateways([DoubleGateway()])
    user = await create_login_user(settings=settings)
    await create_cart((await create_stocked(), 1), user=user)
    login = await client.post("/api/v1/auth/login", json={"login": user.username, "password": PASSWORD})
    session_token = login.json()["token"]
    headers = {"Authorization": f"Bearer {session_token}", "Idempotency-Key": "once"}
    body = {"payment_token": token, "shipping_address": make_place().model_dump()}
    placed = await client.post("/api/v1/shop/checkout", json=body, headers=headers)
    assert placed.status_code == 201, placed.text
    assert len(await Payment.find_rows({})) == 1
    row = await User.find_row({"_id": user.id})
    session = await LoginSession.find_row({"user_id": user.id})
    assert row is not None
    assert session is not None
    return {token, PASSWORD, session_token, row["password_hash"], session["token_hash"]}


async def test_no_line_holds_a_secret(client: httpx2.AsyncClient, app: FastAPI, settings: Settings, lines: Lines) -> None:
    planted = await buy(client, app, settings, token=f"tok_{secrets.token_hex(12)}")

    assert [line for line in lines() if any(secret in line for secret in planted)] == []
    assert not any(line.startswith("pymongo.command") for line in lines())
    assert any(line.startswith("pymongo.connection") for line in lines())  # what the driver says of itself stays


async def test_driver_would_write_them_down(
    client: httpx2.AsyncClient, app: FastAPI, settings: Settings, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why they are held back, and that the test above would see one."""
    monkeypatch.setattr(logging.getLogger("pymongo.command"), "filters", [])

    planted = await buy(client, app, settings, token=f"tok_{secrets.token_hex(12)}")

    told = {secret for secret in planted if any(secret in line for line in lines())}
    assert told >= {secret for secret in planted if secret.startswith(("tok_", "$argon2"))}


@pytest.mark.parametrize("name", ["pymongo.command", "stripe", "uvicorn.error"])
def test_wires_keep_what_is_more_than_debug(name: str, caplog: pytest.LogCaptureFixture) -> None:
    hold_back_wires()
    hold_back_wires()

    with caplog.at_level(logging.DEBUG, logger=name):
        logging.getLogger(name).debug("a secret")
        logging.getLogger(name).info("ready")

    assert caplog.messages == ["ready"]
    assert len(logging.getLogger(name).filters) == 1


async def test_caller_who_leaves_while_sending_is_no_failure(app: FastAPI, lines: Lines) -> None:
    """Nobody is answered, and no error is told of: 499 is what the access log says."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"20")]
    scope = {"type": "http", "method": "POST", "path": "/api/v1/auth/login", "query_string": b"", "headers": headers}

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        pytest.fail(f"nobody is there to be sent {message}")

    await app(scope, receive, send)
    told = [line for line in lines() if "'request'" in line or "unexpected_error" in line]
    assert len(told) == 1
    assert "'status': 499" in told[0]
