"""`make fuzz`: a long Schemathesis run over every operation, as anonymous, as a reader and as an admin, and what it finds."""

import random
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import hypothesis
import requests
import typer
from hypothesis.errors import Unsatisfiable
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.errors import PROBLEM_JSON
from models.users import Role
from scripts.database.connection import explained
from scripts.database.embedded import EmbeddedServer
from scripts.fuzzing.caller import ROLES, Caller, Case, Operation, id_of, operations_of
from scripts.fuzzing.shop import known_as
from scripts.fuzzing.target import Target, generous, serving
from services.settings import Settings

MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
SHOWN_FAILURES = 40
LOOK_EVERY = 15  # operations, in a short run
NOTHING = "65f0c0ffee0ddba11ca7f00d"  # what is named where there is nothing of a kind

_PROBLEM_MEMBERS = {"type", "title", "status", "detail", "code", "instance", "request_id", "errors"}


@dataclass
class Outcome:
    """What became of one operation in one role."""

    cases: int = 0
    accepted: int = 0  # answered 2xx or 3xx
    statuses: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)


@dataclass
class Report:
    """What a run did and found, by role and operation; `failures` are told once each, however often they occurred."""

    outcomes: dict[tuple[str, str], Outcome]
    examples: dict[str, str] = field(default_factory=dict)  # of each failure the first request that showed it
    crawled: int = 0

    @property
    def cases(self) -> int:
        return sum(outcome.cases for outcome in self.outcomes.values())

    @property
    def untested(self) -> list[str]:
        return [f"{role}: {operation}" for (role, operation), outcome in self.outcomes.items() if not outcome.cases]

    @property
    def failures(self) -> list[str]:
        return list(self.examples)

    def fail(self, role: str, operation: str, what: str, example: str) -> None:
        self.outcomes.setdefault((role, operation), Outcome()).failures[what] += 1
        self.examples.setdefault(f"{operation} ({role}): {what}", example)


def fuzz(target: Target, *, cases: int, seed: int) -> Report:
    """Try every operation in every role, in rounds, until `cases` requests have been answered.

    A round gives each operation the same number of generated requests, half of them valid by the description and half not.
    Where few are asked for, each operation is sent one kind, and the kinds take turns.
    """
    load_all_checks()
    operations = operations_of(target)
    report = Report({(role, id_of(operation)): Outcome() for role in ROLES for operation in operations})
    dice = random.Random(seed)
    callers = {role: Caller(target, role, dice=dice) for role in ROLES}
    while report.cases < cases:
        before = report.cases
        share = max(1, -(-(cases - before) // (len(ROLES) * len(operations) * len(MODES))))
        sparing = 2 * (cases - before) <= len(ROLES) * len(operations) * len(MODES)
        for number, operation in enumerate(operations):
            for caller in callers.values():
                caller.renew()
            for mode in MODES if number % 2 else reversed(MODES):
                if sparing and all(report.outcomes[role, id_of(operation)].cases for role in callers):
                    break
                _try(operation, list(callers.values()), report, mode=mode, examples=share, seed=dice.getrandbits(32))
            if not sparing or number % LOOK_EVERY == 0:
                target.look_again()
        if report.cases == before:
            break
    return report


def _try(operation: Operation, callers: list[Caller], report: Report, *, mode: GenerationMode, examples: int, seed: int) -> None:
    """Each generated request in each role, one after the other: making them up costs more than sending them."""

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(operation.as_strategy(generation_mode=mode))
    def run(case: Case) -> None:
        for caller in callers:
            shoot(case, caller, report)

    try:
        run()
    except Unsatisfiable:
        return  # nothing about this operation can be got wrong


def shoot(case: Case, caller: Caller, report: Report) -> None:
    """Send one request and note all that is wrong with its answer."""
    operation = id_of(case.operation)
    outcome = report.outcomes[caller.name, operation]
    try:
        responses = caller.try_out(case)
    except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL, UnicodeError):
        return  # such a request cannot be sent
    except requests.RequestException as error:
        report.fail(caller.name, operation, f"no answer: {type(error).__name__}", case.as_curl_command())
        return
    for response in responses:
        if _went_elsewhere(response):
            continue
        outcome.cases += 1
        outcome.statuses[response.status_code] += 1
        outcome.accepted += response.status_code < 400
        for what in wrongs(case, response, caller):
            report.fail(caller.name, operation, what, _told(response))


def _told(response: Response) -> str:
    """A request and its answer, for a person."""
    request = response.request
    sent = request.body if isinstance(request.body, bytes) else str(request.body or "").encode()
    asked = f"{request.method} {request.url} {dict(request.headers)}\n{sent[:600]!r}"
    return f"{asked}\n{response.status_code} {response.content[:600]!r}"


def _went_elsewhere(response: Response) -> bool:
    """A value in the path was such that the path became another one, where there is nothing."""
    return response.status_code in (404, 405) and b'"code":"no_such_path"' in response.content.replace(b'": "', b'":"')


def wrongs(case: Case, response: Response, caller: Caller) -> Iterator[str]:
    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
    ]
    try:
        case.validate_response(response, checks=checks)
    except FailureGroup as group:
        for failure in group.exceptions:
            yield f"{response.status_code} {getattr(failure, 'title', failure)}: {str(getattr(failure, 'message', ''))[:160]}"
    yield from answer_wrongs(response)
    if response.status_code == 401 and caller.person and id_of(case.operation) != "login":
        yield "401 for a person who is signed in"
    staff = caller.role is Role.ADMIN
    yield from leaks(response, caller.target, operation=id_of(case.operation) if staff else None)


def answer_wrongs(response: Response) -> Iterator[str]:
    """Where an error is told otherwise than as a complete problem."""
    if response.status_code < 400:
        return
    kind = response.headers.get("content-type", [""])[0]
    if kind != PROBLEM_JSON:
        yield f"{response.status_code} is told as {kind or 'nothing'}"
        return
    told = response.json()
    if set(told) != _PROBLEM_MEMBERS or told["status"] != response.status_code or not told["code"]:
        yield f"{response.status_code} is no complete problem"
    elif told["request_id"] != response.headers["x-request-id"][0] and "idempotent-replayed" not in response.headers:
        yield "the problem names another request"


def leaks(response: Response, target: Target, *, operation: str | None) -> Iterator[str]:
    """Which planted secrets an answer holds; `operation` is named where staff was answered, who may see some."""
    seen = response.content + repr(response.headers).encode()
    for canary in target.canaries:
        if canary.value in seen and operation not in canary.operations:
            yield f"leaks the {canary.name}"


def leaking_lines(target: Target) -> list[str]:
    """Which planted secrets were logged."""
    logged = "\n".join(target.lines).encode(errors="replace")
    return [canary.name for canary in target.canaries if canary.value in logged]


def crawl(target: Target, report: Report, *, per_operation: int = 12) -> None:
    """Read everything that can be read, in every role, naming what exists and above all what is the victim's.

    Where one reading `per_operation` is asked for, the roles take turns at the filters of lists.
    """
    for turn, role in enumerate(ROLES):
        caller = Caller(target, role, dice=random.Random(0))
        share = slice(turn, None, len(ROLES)) if per_operation == 1 else slice(None)
        for operation in operations_of(target):
            if operation.method.upper() != "GET":
                continue
            for case in _readings(operation, caller, per_operation, share):
                response = caller.read(case)
                report.crawled += 1
                for what in wrongs(case, response, caller):
                    report.fail(role, id_of(operation), f"crawl: {what}", _told(response))


def _readings(operation: Operation, caller: Caller, most: int, share: slice) -> Iterator[Case]:
    def values(name: str) -> list[str]:
        known = caller.target.known.victim.get(known_as(operation.path, name), [])
        return [*known, *caller.choices(operation.Case(), name)[:most]] or [NOTHING]

    in_path = [parameter.name for parameter in operation.path_parameters]
    in_query = [parameter.name for parameter in operation.query]
    needed = {parameter.name: values(parameter.name)[0] for parameter in operation.query if parameter.is_required}
    lists = [values(name) for name in in_path]
    for at in range(max((len(found) for found in lists), default=1)):
        path = {name: found[min(at, len(found) - 1)] for name, found in zip(in_path, lists, strict=True)}
        if "limit" in in_query:
            yield operation.Case(path_parameters=path, query={**needed, "limit": "100"})
        if "limit" not in in_query or most > 1:
            yield operation.Case(path_parameters=path, query=dict(needed))
    if not in_path:
        for name in sorted(set(in_query) - {*needed, "limit"})[share]:
            for value in values(name)[:most]:
                yield operation.Case(path_parameters={}, query={**needed, name: value})


# What a person sees


def report_table(report: Report, seconds: float, *, seed: int) -> Table:
    table = Table("operation", "cases", "accepted", "failures", title=f"Seed {seed}, {seconds:.0f} s")
    for column in table.columns[1:]:
        column.justify = "right"
    for operation in sorted({operation for _, operation in report.outcomes}):
        rows = [outcome for (_, name), outcome in report.outcomes.items() if name == operation]
        failures = sum(sum(row.failures.values()) for row in rows)
        table.add_row(
            operation,
            " ".join(str(row.cases) for row in rows),
            " ".join(str(row.accepted) for row in rows),
            f"[red]{failures}" if failures else "0",
        )
    table.add_section()
    table.add_row("anonymous, reader, admin; all", f"{report.cases:,}", f"{report.crawled:,} crawled", str(len(report.failures)))
    return table


def main(
    cases: Annotated[int, typer.Option(min=1, help="Requests to be answered, over all operations and roles")] = 10_000,
    seed: Annotated[int | None, typer.Option(help="Repeat the run of this seed")] = None,
) -> None:
    """Exits 1 when an answer was wrong, a secret was seen, or an operation was not tried at all."""
    console = Console()
    seed = secrets.randbelow(2**31) if seed is None else seed
    console.print(f"Seed {seed}: {cases:,} cases or more.")
    began = time.perf_counter()
    with explained(), tempfile.TemporaryDirectory(prefix="agora-fuzz-") as folder:
        server = EmbeddedServer(Path(folder))
        server.start()
        try:
            settings = Settings(_env_file=None, secret_key=SecretStr(secrets.token_urlsafe(48)), mongodb_uri=server.uri)
            with serving(generous(settings)) as target:
                report = fuzz(target, cases=cases, seed=seed)
                crawl(target, report)
                logged = leaking_lines(target)
        finally:
            server.stop()
    console.print(report_table(report, time.perf_counter() - began, seed=seed))
    for failure in report.failures[:SHOWN_FAILURES]:
        console.print(f"\n{failure}\n{report.examples[failure]}", style="red", markup=False, highlight=False)
    for name in logged:
        console.print(f"The logs hold the {name}.", style="red")
    for name in report.untested:
        console.print(f"Not tried at all: {name}.", style="red")
    raise SystemExit(bool(report.failures or logged or report.untested))


if __name__ == "__main__":
    typer.run(main)
