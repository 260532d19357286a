"""The bounded form of `make fuzz`: every operation in every role, a fixed seed, and nothing that was planted is ever seen."""

import contextlib
import random
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from schemathesis.core.transport import Response

from scripts.database.embedded import EmbeddedServer
from scripts.fuzz import Outcome, Report, answer_wrongs, crawl, fuzz, leaking_lines, leaks, main, shoot
from scripts.fuzzing.caller import ROLES, Caller, id_of, operations_of
from scripts.fuzzing.target import Canary, Target, generous, serving
from services.cache import clear_all_caches
from services.errors import ConflictError
from services.settings import Settings
from services.users.accounts import UserService
from tests.conftest import TEST_SECRET
from tests.smallshop import tiny_samples

CASES = 500
SEED = 20_261_121


@pytest.fixture(scope="module")
def target(embedded_server: EmbeddedServer) -> Iterator[Target]:
    clear_all_caches()
    name = f"test_{uuid.uuid4().hex[:16]}"
    settings = Settings(_env_file=None, secret_key=TEST_SECRET, mongodb_uri=embedded_server.uri, database=name)
    with tiny_samples(), serving(generous(settings)) as served:
        yield served
        served.do(served.database.drop())
    clear_all_caches()


@pytest.fixture(scope="module")
def report(target: Target) -> Report:
    made = fuzz(target, cases=CASES, seed=SEED)
    crawl(target, made, per_operation=1)
    return made


class TestRun:
    def test_s1_no_answer_is_wrong(self, report: Report) -> None:
        assert [f"{failure}\n{report.examples[failure]}" for failure in report.failures] == []

    @pytest.mark.parametrize("role", ROLES)
    def test_s1_no_operation_is_left_untested(self, target: Target, report: Report, role: str) -> None:
        tested = {operation for (name, operation), outcome in report.outcomes.items() if name == role and outcome.cases}

        assert tested == {id_of(operation) for operation in operations_of(target)}
        assert report.untested == []

    def test_s1_the_run_gets_past_the_check_of_inputs(self, report: Report) -> None:
        accepted = {operation for (_, operation), outcome in report.outcomes.items() if outcome.accepted}

        assert report.cases >= CASES
        assert len(accepted) > 60

    def test_s4_no_planted_secret_is_logged(self, target: Target, report: Report) -> None:
        requests_logged = sum("'event': 'request'" in line for line in target.lines)

        assert requests_logged >= report.cases + report.crawled
        assert leaking_lines(target) == []

    def test_s4_staff_alone_see_an_address_and_only_with_the_account_or_the_guests_comment(self, target: Target) -> None:
        """READ_USER shows accounts with their address, MODERATE_COMMENTS what a guest left: there, and nowhere else."""
        victim = target.known.victim["user_id"][0]
        address = next(canary.value for canary in target.canaries if canary.name == "address of an account").decode()
        seen = {}
        for role in ROLES:
            caller = Caller(target, role, dice=random.Random(0))
            answer = requests.get(f"{target.url}/api/v1/users/{victim}", headers=caller.headers, timeout=10)
            seen[role] = (answer.status_code, address in answer.text)

        assert seen == {"anonymous": (401, False), "reader": (403, False), "admin": (200, True)}


class Odd(ConflictError):
    """What no route says it could answer."""

    code = "odd"


class TestShoot:
    """The application is broken on purpose, and the run says so."""

    def fails(self, target: Target, monkeypatch: pytest.MonkeyPatch, error: Exception) -> set[str]:
        async def broken(_username: str) -> None:
            raise error

        monkeypatch.setattr(UserService, "get_profile", broken)
        operation = next(found for found in operations_of(target) if id_of(found) == "get_profile")
        caller = Caller(target, "anonymous", dice=random.Random(SEED))
        found = Report({("anonymous", "get_profile"): Outcome()})
        shoot(operation.Case(path_parameters={"username": "janedoe"}), caller, found)

        assert found.outcomes["anonymous", "get_profile"].cases  # some are repeated, or spoilt
        return {failure.partition(": ")[2].partition(":")[0] for failure in found.failures}

    def test_500(self, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.fails(target, monkeypatch, KeyError("janedoe")) == {"500 Undocumented status code", "500 Server error"}

    def test_undocumented_status(self, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.fails(target, monkeypatch, Odd("Odd.")) == {"409 Undocumented status code"}

    def test_leak(self, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
        secret = next(canary.value for canary in target.canaries if canary.name == "session token").decode()

        assert self.fails(target, monkeypatch, Odd(secret)) == {"409 Undocumented status code", "leaks the session token"}


class TestMain:
    @pytest.fixture
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> Report:
        """A run that tries nothing, whatever it is asked for, and reports this."""
        made = Report({("anonymous", "livez"): Outcome(cases=1, accepted=1)})
        monkeypatch.setattr("scripts.fuzz.fuzz", lambda target, **_: made)
        monkeypatch.setattr("scripts.fuzz.crawl", lambda target, report: None)
        return made

    def code(self) -> int | str | None:
        with pytest.raises(SystemExit) as ended:
            main(cases=1, seed=7)
        return ended.value.code

    def test_clean_run_exits_0(self, quick: Report, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.code() == 0
        assert "Seed 7: 1 cases or more." in capsys.readouterr().out

    def test_failure_or_untested_operation_exits_1_and_is_told(
        self, quick: Report, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("scripts.fuzz.serving", lambda settings: contextlib.nullcontext(_holding()))
        quick.fail("anonymous", "livez", "500 Server error", "GET /livez")
        quick.outcomes["admin", "livez"] = Outcome()

        assert self.code() == 1
        told = capsys.readouterr().out
        assert "livez (anonymous): 500 Server error" in told
        assert "Not tried at all: admin: livez." in told


class TestLeaks:
    @pytest.mark.parametrize(
        ("content", "headers"),
        [(b'{"note":"the canary sings"}', {}), (b"", {"x-note": ["canary"]})],
        ids=["body", "header"],
    )
    def test_secret_in_an_answer_is_told(self, content: bytes, headers: dict[str, list[str]]) -> None:
        answer = _response(200, content, headers)

        assert list(leaks(answer, _holding(), operation=None)) == ["leaks the bird"]
        assert list(leaks(answer, _holding(), operation="get_user")) == ["leaks the bird"]
        assert list(leaks(answer, _holding(), operation="list_birds")) == []

    def test_secret_in_the_logs_is_told(self) -> None:
        assert leaking_lines(_holding(lines=["request", "a canary was heard"])) == ["bird"]
        assert leaking_lines(_holding(lines=["request"])) == []


class TestAnswerWrongs:
    COMPLETE = (
        b'{"type":"about:blank","title":"Not Found","status":404,"detail":"No.","code":"no","instance":"/","request_id":"r",'
        b'"errors":[]}'
    )

    def test_complete_problem_is_right(self) -> None:
        assert list(answer_wrongs(_problem(404, self.COMPLETE))) == []

    def test_problem_that_is_told_again_names_the_request_that_it_was_told_to_first(self) -> None:
        answer = _problem(404, self.COMPLETE.replace(b'"r"', b'"q"'))
        answer.headers["idempotent-replayed"] = ["true"]

        assert list(answer_wrongs(answer)) == []

    @pytest.mark.parametrize(
        ("status", "content", "kind", "told"),
        [
            (404, b'{"detail":"Not Found"}', "application/json", "404 is told as application/json"),
            (404, b'{"detail":"Not Found"}', "application/problem+json", "404 is no complete problem"),
            (403, COMPLETE, "application/problem+json", "403 is no complete problem"),
            (404, COMPLETE.replace(b'"r"', b'"q"'), "application/problem+json", "the problem names another request"),
        ],
        ids=["framework", "incomplete", "another status", "another request"],
    )
    def test_anything_else_is_told(self, status: int, content: bytes, kind: str, told: str) -> None:
        assert [told] == list(answer_wrongs(_problem(status, content, kind)))


def _holding(*, lines: list[str] | None = None) -> Any:
    return SimpleNamespace(canaries=[Canary("bird", b"canary", frozenset({"list_birds"}))], lines=lines or [])


def _problem(status: int, content: bytes, kind: str = "application/problem+json") -> Response:
    return _response(status, content, {"content-type": [kind], "x-request-id": ["r"]})


def _response(status: int, content: bytes, headers: dict[str, list[str]]) -> Response:
    request = requests.Request("GET", "http://agora.test/").prepare()
    return Response(status, headers, content, request, 0.0, False)
