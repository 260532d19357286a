"""A database that is killed, goes, or was away, and an application that ends: 503 and when to come back, never 500."""

import asyncio
from typing import Any

import pytest
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    CursorNotFound,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidOperation,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

from api.errors import problem_for
from api.middleware.edge import EdgeMiddleware
from models import database as seam
from models.database import Database, DatabaseUnavailableError, PyMongoError
from services.settings import Settings

SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": [], "state": {}}


def refused(code: int) -> OperationFailure:
    return OperationFailure(f"refused with {code}", code, {"code": code})


def bulk(*codes: int) -> BulkWriteError:
    return BulkWriteError({"writeErrors": [{"index": at, "code": code, "errmsg": ""} for at, code in enumerate(codes)]})


@pytest.fixture(autouse=True)
def open_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the test before did with its client."""
    monkeypatch.setattr(seam, "_bound", None)


class TestAnswers:
    @pytest.mark.parametrize(
        "error",
        [
            DatabaseUnavailableError("the outcome of a commit is unknown"),
            *(
                AutoReconnect("gone"),
                NetworkTimeout("slow"),
                ServerSelectionTimeoutError("nobody"),
                WaitQueueTimeoutError("full"),
            ),
            *(NotPrimaryError("ending"), ExecutionTimeout("late", 50)),
            CursorNotFound("of the life before", 43),
            *(refused(code) for code in (91, 206, 237, 262, 11601, 13436)),
            *(bulk(11600), bulk(43, 91)),
        ],
        ids=repr,
    )
    def test_r12_server_that_is_away_or_has_been(self, error: Exception) -> None:
        answer = problem_for(SCOPE, error)

        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        assert b'"database_unavailable"' in answer.body

    @pytest.mark.parametrize(
        "error",
        [
            *(refused(code) for code in (24, 112, 246, 251)),
            bulk(112),
            OperationFailure('Internal("transaction already closed")', 1),  # by the embedded server, when a worker starts
        ],
        ids=repr,
    )
    def test_write_that_lost_and_was_not_labelled(self, error: Exception) -> None:
        answer = problem_for(SCOPE, error)

        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert b'"too_much_at_once"' in answer.body

    @pytest.mark.parametrize(
        "error",
        [
            refused(1),
            refused(2),
            DuplicateKeyError("E11000", 11000),
            bulk(11000),
            bulk(112, 11000),
            bulk(),
            InvalidOperation("misused"),
        ],
        ids=repr,
    )
    def test_what_is_wrong_with_us_is_no_outage(self, error: Exception) -> None:
        assert problem_for(SCOPE, error).status_code == 500

    async def test_everything_is_once_the_client_is_closed(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is still at work when the application ends meets a client that is no more."""
        database = Database.connect(settings.mongodb_uri, settings.database)
        monkeypatch.setattr(seam, "_bound", database)
        await database.close()

        with pytest.raises(PyMongoError) as failed:
            await database.ping()

        assert problem_for(SCOPE, failed.value).status_code == 503


class TestEnd:
    async def test_r15_request_that_is_cut_off_by_the_end_is_told_to_come_back(self) -> None:
        sent, ended = await _cut_off(starts_answer=False)

        assert ended.cancelled()
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        assert sent[0]["status"] == 503
        assert (b"retry-after", b"2") in sent[0]["headers"]

    async def test_answer_that_has_begun_is_left_as_it_is(self) -> None:
        sent, ended = await _cut_off(starts_answer=True)

        assert ended.cancelled()
        assert [message["status"] for message in sent] == [200]


async def _cut_off(*, starts_answer: bool) -> tuple[list[dict[str, Any]], asyncio.Task[None]]:
    """What is sent for a request that is cancelled while it is worked on."""
    sent, at_work = list[Any](), asyncio.Event()

    async def work(scope: Any, receive: Any, send: Any) -> None:
        if starts_answer:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        at_work.set()
        await asyncio.Event().wait()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    edge = EdgeMiddleware(work, max_body_bytes=1000, transport_security=False)
    request = asyncio.create_task(edge({**SCOPE, "state": {}}, receive, send))
    await at_work.wait()
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    return sent, request
