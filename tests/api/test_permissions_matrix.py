"""Every operation as every kind of caller against the checked-in table (RELIABILITY S2)."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from services.mail import MemoryMailer
from services.settings import Settings
from tests.api.operations import Call, absent_call, valid_call
from tests.api.world import OPERATIONS, ROLES, Operation, World

TABLE: dict[str, Any] = json.loads(Path(__file__).with_name("permissions.json").read_text())
CALLERS = ["anonymous", *ROLES]
# A row names the callers whose answer differs from that of the rest, which stands under "*".
ROWS: dict[str, dict[str, int]] = {
    name: {caller: row.get(caller, row["*"]) for caller in CALLERS} for name, row in TABLE["operations"].items()
}
BY_ID: dict[str, Operation] = {operation.id: operation for operation in OPERATIONS}


@pytest.fixture
def world(settings: Settings, mailer: MemoryMailer) -> World:
    return World(settings, mailer)


def case(row: str) -> tuple[Operation, str]:
    """The operation of a row and the variant it is tried on, as in `get_post_by_slug (draft)`."""
    name, _, variant = row.partition(" ")
    return BY_ID[name], variant.strip("()")


def test_s2_table_has_a_row_for_every_operation_and_no_other() -> None:
    assert {row.partition(" ")[0] for row in ROWS} == BY_ID.keys()


def test_s2_rows_name_callers_and_no_other() -> None:
    assert {name for row in TABLE["operations"].values() for name in row} <= {*CALLERS, "*"}


def test_s2_paths_outside_the_document_are_listed(app: FastAPI) -> None:
    documented = {operation.path for operation in OPERATIONS}
    paths = {str(vars(route)["path"]) for route in app.router.routes}

    assert sorted(paths - documented) == sorted(TABLE["outside the document"])


def test_operations_that_need_a_session_refuse_the_anonymous_alone() -> None:
    """The document's word on who must sign in is the table's."""
    for row, expected in ROWS.items():
        operation, _ = case(row)
        refused = [name for name, status in expected.items() if status == 401]
        assert refused == (["anonymous"] if operation.needs_session else []), row


@pytest.mark.parametrize("caller", CALLERS)
async def test_s2_every_operation_answers_as_the_table_says(client: httpx2.AsyncClient, world: World, caller: str) -> None:
    different: dict[str, str] = {}

    for row, expected in ROWS.items():
        operation, variant = case(row)
        call = await valid_call(operation, world, variant=variant)
        answer = await call.send(client, await world.headers(caller))
        if answer.status_code != expected[caller]:
            different[row] = f"{answer.status_code} instead of {expected[caller]}: {answer.text[:200]}"
        elif answer.status_code in operation.tagged and "etag" not in answer.headers:
            different[row] = f"{answer.status_code} without its ETag"
        elif 304 in operation.tagged and caller == "admin" and answer.status_code == 200:
            headers = {**await world.headers(caller), "If-None-Match": answer.headers["etag"]}
            if (again := await call.send(client, headers)).status_code != 304 or again.content:
                different[row] = f"{again.status_code} for what is unchanged"
        if operation.method != "GET" and answer.status_code < 400:
            world.spoil()

    assert different == {}


def said(answer: httpx2.Response) -> dict[str, Any]:
    return {key: value for key, value in answer.json().items() if key not in ("instance", "request_id")}


@pytest.mark.parametrize("caller", CALLERS)
async def test_s3_what_is_foreign_and_what_is_absent_answer_alike(client: httpx2.AsyncClient, world: World, caller: str) -> None:
    """Who is refused something that exists learns nothing by it: the answer is that for something that does not exist."""
    headers = await world.headers(caller)
    compared = 0

    for row, expected in ROWS.items():
        operation, variant = case(row)
        may_know = caller in TABLE["told apart"].get(row, {}).get("callers", [])
        if expected[caller] < 400 or not operation.path_parameters or may_know:
            continue
        call = await valid_call(operation, world, variant=variant)
        foreign = await call.send(client, headers)
        absent = await absent_call(operation, call).send(client, headers)
        assert (foreign.status_code, said(foreign)) == (absent.status_code, said(absent)), row
        compared += 1

    assert compared >= 10


@pytest.mark.parametrize("caller", CALLERS)
async def test_s3_nothing_is_done_to_what_does_not_exist(client: httpx2.AsyncClient, world: World, caller: str) -> None:
    headers = await world.headers(caller)

    for operation in OPERATIONS:
        if not operation.path_parameters:
            continue
        call: Call = await valid_call(operation, world)
        answer = await absent_call(operation, call).send(client, headers)
        allowed = {401} if caller == "anonymous" and operation.needs_session else {403, 404}
        assert answer.status_code in allowed, (operation.id, answer.text)
