"""Imports over HTTP: staff looks at runs and their dead letters."""

import httpx2
import pytest
from beanie import PydanticObjectId

from models.imports import FailureKind, ImportCount, ImportedKind
from models.users import Role
from tests.api.conftest import Headers, SignIn
from tests.commands import CommandLog
from tests.factories.imports import create_failure, create_run


@pytest.fixture
async def manager(as_role: SignIn) -> Headers:
    return await as_role(Role.MANAGER)


class TestListImports:
    async def test_the_newest_comes_first(self, client: httpx2.AsyncClient, manager: Headers) -> None:
        count = ImportCount(kind=ImportedKind.ORDERS, created=193)
        older = await create_run(counts=[count], rows_count=4000, failures_count=10)
        newer = await create_run(file_name="shirts.csv")

        answer = await client.get("/api/v1/imports", headers=manager)

        assert answer.status_code == 200
        assert [item["id"] for item in answer.json()["items"]] == [str(newer.id), str(older.id)]
        item = answer.json()["items"][1]
        assert (item["format"], item["rows_count"], item["failures_count"], item["state"]) == ("retail", 4000, 10, "running")
        assert item["counts"] == [{"kind": "orders", "created": 193, "updated": 0, "unchanged": 0, "refused": 0}]

    async def test_there_may_be_none(self, client: httpx2.AsyncClient, manager: Headers) -> None:
        assert (await client.get("/api/v1/imports", headers=manager)).json()["items"] == []

    async def test_sellers_do_not_see_them(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        run = await create_run()
        headers = await as_role(Role.VENDOR)

        answers = [await client.get(f"/api/v1/imports{path}", headers=headers) for path in ("", f"/{run.id}/failures")]

        assert [answer.status_code for answer in answers] == [403, 403]


class TestListImportFailures:
    async def test_they_come_in_their_order_a_stretch_at_a_time(self, client: httpx2.AsyncClient, manager: Headers) -> None:
        run, other = await create_run(), await create_run()
        await create_failure(other, number=1)
        for number in (3, 1, 2):
            await create_failure(run, number=number, line=number + 10, kind=FailureKind.LEFT_OUT, raw="a,b")
        path = f"/api/v1/imports/{run.id}/failures"

        first = (await client.get(path, params={"limit": 2}, headers=manager)).json()
        rest = (await client.get(path, params={"cursor": first["next_cursor"]}, headers=manager)).json()

        assert [(item["line"], item["kind"], item["reason"], item["raw"]) for item in first["items"]] == [
            (11, "left_out", "broken", "a,b"),
            (12, "left_out", "broken", "a,b"),
        ]
        assert ([item["line"] for item in rest["items"]], rest["next_cursor"]) == ([13], None)

    async def test_a_cursor_of_another_run_is_refused(self, client: httpx2.AsyncClient, manager: Headers) -> None:
        run, other = await create_run(), await create_run()
        for number in (1, 2):
            await create_failure(run, number=number)
        cursor = (await client.get(f"/api/v1/imports/{run.id}/failures?limit=1", headers=manager)).json()["next_cursor"]

        answer = await client.get(f"/api/v1/imports/{other.id}/failures", params={"cursor": cursor}, headers=manager)

        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")

    async def test_an_unknown_import_is_not_found(self, client: httpx2.AsyncClient, manager: Headers) -> None:
        answer = await client.get(f"/api/v1/imports/{PydanticObjectId()}/failures", headers=manager)

        assert (answer.status_code, answer.json()["code"]) == (404, "import_not_found")

    async def test_two_reads_are_enough(self, client: httpx2.AsyncClient, manager: Headers, commands: CommandLog) -> None:
        run = await create_run()
        await client.get("/api/v1/imports", headers=manager)

        with commands.counting() as sent:
            await client.get(f"/api/v1/imports/{run.id}/failures", headers=manager)

        assert [one for one in sent.sent if "import" in one] == ["find import_runs", "find import_failures"]
