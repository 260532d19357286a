"""Sales reports over HTTP: who may ask, what is refused, and that many who ask at once cost one look."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from models.base import now
from models.users import Role
from tests.api.conftest import SignIn
from tests.commands import CommandLog
from tests.factories.catalog import create_product
from tests.factories.sales import count_everything, make_sale, make_sold_line

REPORTS = ("sales", "revenue", "products", "categories", "coupons", "sources", "funnel", "carts")
NOVEMBER = {"start": "2026-11-01", "end": "2026-12-01"}


def path_of(report: str) -> str:
    return f"/api/v1/analytics/{report}"


async def sell(*, paid_at: datetime, price: int = 1990) -> None:
    product = await create_product()
    await make_sale([make_sold_line(product, quantity=2, price=price)], paid_at=paid_at).store()
    await count_everything()


class TestGetSalesReport:
    async def test_manager_reads_exact_figures(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        await sell(paid_at=datetime(2026, 11, 10, 12, tzinfo=UTC))

        answer = await client.get(path_of("sales"), params=NOVEMBER, headers=await as_role(Role.MANAGER))

        assert answer.status_code == 200
        body = answer.json()
        assert body["window"] == {
            "start": "2026-11-01",
            "end": "2026-12-01",
            "timezone": "UTC",
            "starts_at": "2026-11-01T00:00:00Z",
            "ends_at": "2026-12-01T00:00:00Z",
        }
        assert body["figures"]["total"] == {"amount": "39.80", "currency": "USD"}
        assert (body["figures"]["orders_count"], body["figures"]["units_count"]) == (1, 2)

    async def test_nothing_asked_for_is_the_last_thirty_days(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        await sell(paid_at=now() - timedelta(days=29))
        await sell(paid_at=now())

        body = (await client.get(path_of("sales"), headers=await as_role(Role.MANAGER))).json()

        assert body["figures"]["orders_count"] == 2

    async def test_who_holds_the_answer_is_told_so(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.MANAGER)
        first = await client.get(path_of("sales"), params=NOVEMBER, headers=headers)

        again = await client.get(path_of("sales"), params=NOVEMBER, headers={**headers, "If-None-Match": first.headers["ETag"]})
        other = await client.get(
            path_of("sales"), params={**NOVEMBER, "currency": "EUR"}, headers={**headers, "If-None-Match": first.headers["ETag"]}
        )

        assert (first.status_code, again.status_code, other.status_code) == (200, 304, 200)
        assert again.content == b""

    async def test_an_order_moves_the_figures_within_two_seconds(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.MANAGER)
        before = (await client.get(path_of("sales"), params=NOVEMBER, headers=headers)).json()
        await sell(paid_at=datetime(2026, 11, 10, 12, tzinfo=UTC))

        await asyncio.sleep(1.01)
        after = (await client.get(path_of("sales"), params=NOVEMBER, headers=headers)).json()

        assert (before["figures"]["orders_count"], after["figures"]["orders_count"]) == (0, 1)

    async def test_thirty_two_at_once_cost_one_look(
        self, client: httpx2.AsyncClient, as_role: SignIn, commands: CommandLog
    ) -> None:
        headers = await as_role(Role.MANAGER)
        await sell(paid_at=datetime(2026, 11, 10, 12, tzinfo=UTC))
        await client.get(path_of("sales"), params={"start": "2026-11-02", "end": "2026-11-03"}, headers=headers)

        with commands.counting() as sent:
            answers = await asyncio.gather(
                *(client.get(path_of("products"), params=NOVEMBER, headers=headers) for _ in range(32))
            )

        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        looked = [command for command in sent.sent if command == "aggregate analytics_months"]
        assert len(looked) == 1, sent.sent


class TestRefusals:
    async def test_who_may_not_see_reports_is_refused(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        editor = await as_role(Role.EDITOR)

        for report in REPORTS:
            assert (await client.get(path_of(report))).status_code == 401
            assert (await client.get(path_of(report), headers=editor)).status_code == 403

    async def test_kept_answer_is_not_told_to_who_may_not_see_it(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        told = await client.get(path_of("sales"), params=NOVEMBER, headers=await as_role(Role.MANAGER))
        refused = await client.get(path_of("sales"), params=NOVEMBER, headers=await as_role(Role.USER))

        assert (told.status_code, refused.status_code) == (200, 403)

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ({"start": "2026-11-02", "end": "2026-11-01"}, "invalid_period"),
            ({"start": "2020-01-01", "end": "2026-11-01"}, "invalid_period"),
            ({"start": "2026-11-01", "end": "2026-12-01", "granularity": "hour"}, "invalid_period"),
            ({"start": "0001-01-01"}, "invalid_period"),
            ({"end": "9999-12-31"}, "invalid_period"),
            ({"timezone": "Mars/Olympus"}, "unknown_time_zone"),
            ({"timezone": "../../etc/passwd"}, "unknown_time_zone"),
            ({"timezone": "localtime"}, "unknown_time_zone"),
            ({"timezone": "x" * 65}, "malformed_input"),
            ({"start": "1700000000"}, "malformed_input"),
            ({"start": "2026-11-01T00:00:00Z"}, "malformed_input"),
            ({"start": "yesterday"}, "malformed_input"),
            ({"currency": "usd"}, "malformed_input"),
            ({"currency": "ZZZ"}, "malformed_input"),
            ({"granularity": "year"}, "malformed_input"),
            ({"compare": "next"}, "malformed_input"),
        ],
    )
    async def test_impossible_question_is_a_422(
        self, client: httpx2.AsyncClient, as_role: SignIn, query: dict[str, str], code: str
    ) -> None:
        answer = await client.get(path_of("revenue"), params=query, headers=await as_role(Role.MANAGER))

        assert (answer.status_code, answer.json()["code"]) == (422, code)

    @pytest.mark.parametrize("limit", ["0", "101", "ten"])
    async def test_impossible_limit_is_a_422(self, client: httpx2.AsyncClient, as_role: SignIn, limit: str) -> None:
        answer = await client.get(path_of("products"), params={"limit": limit}, headers=await as_role(Role.MANAGER))

        assert answer.status_code == 422


class TestEmpty:
    async def test_com_s28_every_report_of_nothing_is_whole(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        """COM-S28: zeros, no missing keys."""
        headers, query = await as_role(Role.MANAGER), {**NOVEMBER, "compare": "previous"}
        bodies = {}
        for report in REPORTS:
            answer = await client.get(path_of(report), params=query, headers=headers)
            assert answer.status_code == 200, answer.text
            bodies[report] = answer.json()

        assert [(stage["stage"], stage["visitors_count"], stage["step_rate"]) for stage in bodies["funnel"]["stages"]] == [
            ("view", 0, None),
            ("cart", 0, None),
            ("checkout", 0, None),
            ("paid", 0, None),
        ]
        assert (bodies["carts"]["current"]["abandoned_count"], bodies["carts"]["previous"]["recovery_rate"]) == (0, 0)
        assert len(bodies["revenue"]["points"]) == len(bodies["revenue"]["previous"]) == 30
        assert bodies["sales"]["figures"]["average_order_value"] == {"amount": "0.00", "currency": "USD"}
        assert [bodies[report]["rows"] for report in ("products", "categories", "coupons", "sources")] == [[]] * 4
