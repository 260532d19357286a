"""The pages of figures: who sees them, under which policy, and that they show what happened to the cent."""

import asyncio
import gzip
import re
from datetime import UTC, date, datetime, timedelta

import httpx2
import pytest
from starlette.datastructures import QueryParams

from api.web import chartlibrary
from api.web.dashboard.controls import controls_of, zones
from api.web.dashboard.views import VIEWS
from api.web.rendering import WEB
from models.database import DatabaseUnavailableError
from models.users import Role
from services.analytics.periods import Granularity, InvalidPeriodError
from services.analytics.reports.sales import SalesReportService
from services.analytics.scopes import UnknownTimeZoneError
from services.cache import clear_all_caches
from services.settings import Settings
from tests.api.conftest import SignIn
from tests.api.web.sales import give_back, sell
from tests.api.web.signing import LOGIN, enter
from tests.commands import CommandLog
from tests.factories.catalog import create_category, create_product

PART = "/dashboard/parts/overview"
WEEK = "?range=custom&from=2026-11-02&to=2026-11-08"
BUDGET = 17  # one for the session; the others for four reports, two of which compare, in days that the zone cuts
NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)


def tile(page: str, key: str) -> str:
    """The words of one tile, in one line."""
    found = re.search(rf'data-live="tile-{key}">(.*?)</div>', page, re.DOTALL)
    assert found is not None
    return " ".join(re.sub(r"<[^>]+>", " ", found.group(1)).split())


def rows(page: str, key: str) -> list[list[str]]:
    """The cells of the table with this key."""
    found = re.search(rf'data-live="{key}".*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    assert found is not None
    return [
        [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr>(.*?)</tr>", found.group(1), re.DOTALL)
    ]


class TestWhoSeesThem:
    async def test_strangers_are_led_to_the_form(self, client: httpx2.AsyncClient) -> None:
        for view in VIEWS:
            page = await client.get(view.path)
            part = await client.get(view.part_path)

            assert page.status_code == 303
            assert page.headers["Location"].startswith(LOGIN)
            assert (part.status_code, part.content) == (401, b"")

    async def test_who_lost_the_role_is_told_so(self, client: httpx2.AsyncClient, settings: Settings, as_role: SignIn) -> None:
        """A session without the permission, however it came about."""
        headers = await as_role(Role.EDITOR, username="edith")
        client.cookies.set("agora_session", headers["Authorization"].removeprefix("Bearer "))

        page = await client.get("/dashboard")
        part = await client.get(PART)

        assert page.status_code == 403
        assert "edith may not see reports" in page.text
        assert (part.status_code, part.content) == (403, b"")

    @pytest.mark.parametrize("role", [Role.MANAGER, Role.ADMIN, Role.SUPER_ADMIN])
    async def test_managers_and_above_see_them(self, client: httpx2.AsyncClient, settings: Settings, role: Role) -> None:
        await enter(client, settings, role)

        for view in VIEWS:
            assert (await client.get(view.path)).status_code == 200
            assert (await client.get(view.part_path)).status_code == 200


class TestPolicy:
    async def test_pages_run_files_of_ours_alone(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        await enter(client, settings)

        for view in VIEWS:
            headers = (await client.get(view.path)).headers
            policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
            assert policy == {
                "default-src": "'none'",
                "script-src": "'self'",
                "style-src": "'self'",
                "connect-src": "'self'",
                "img-src": "'self' data:",
                "form-action": "'self'",
                "base-uri": "'none'",
                "frame-ancestors": "'none'",
            }
            assert headers["Cache-Control"] == "no-store"
            assert headers.get_list("Referrer-Policy") == ["same-origin"]
            assert len(headers.get_list("X-Content-Type-Options")) == 1

    async def test_form_runs_no_script(self, client: httpx2.AsyncClient) -> None:
        policy = (await client.get(LOGIN)).headers["Content-Security-Policy"]

        assert policy.startswith("default-src 'none';")
        assert "script-src" not in policy

    def test_nothing_is_taken_from_another_host_or_written_inline(self) -> None:
        wrong = []
        for file in [*(WEB / "templates").rglob("*.html"), *(WEB / "static").rglob("*.*")]:
            text = file.read_text(encoding="utf-8")
            wrong += [f"{file.name}: {found}" for found in re.findall(r"https?://[^\s\"']+|(?:src|href)=\"//[^\"]+", text)]
            if file.suffix == ".html":
                wrong += [f"{file.name}: {found}" for found in re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:", text)]
                wrong += [f"{file.name}: {found}" for found in re.findall(r"<script(?![^>]*\ssrc=)", text)]

        assert wrong == []


class TestLibrary:
    async def test_is_served_from_its_package_for_good(self, client: httpx2.AsyncClient) -> None:
        small = await client.get(chartlibrary.URL)
        plain = await client.get(chartlibrary.URL, headers={"Accept-Encoding": "identity"})

        assert small.headers["Content-Encoding"] == "gzip"
        assert int(small.headers["Content-Length"]) < 1_700_000
        assert small.content == plain.content == chartlibrary.script_file().read_bytes()
        assert small.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert small.headers["Content-Type"].startswith("text/javascript")

    def test_makes_its_styles_where_the_page_has_a_sheet_for_them(self) -> None:
        """The ids are the package's own: with another version they may be others, and the policy would refuse what it makes."""
        script = chartlibrary.script_file().read_text(encoding="utf-8")

        assert f'getElementById("{chartlibrary.MAP_STYLE_ID}")' in script
        assert '"plotly.js-style-"+' in script

    def test_compressed_copy_is_the_script(self) -> None:
        assert gzip.decompress(chartlibrary._compressed()) == chartlibrary.script_file().read_bytes()


class TestOverview:
    async def test_shows_what_happened_to_the_cent(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        shirt = await create_product(name="Linen <b>shirt</b>")
        await sell(NOON, 123_456, units=3, product=str(shirt.id))
        await sell(NOON + timedelta(days=1), 1_000, source="import")
        await give_back(NOON + timedelta(days=2), 456)
        await sell(NOON - timedelta(days=7), 100_000)
        await enter(client, settings)

        page = (await client.get(f"/dashboard{WEEK}")).text

        assert "Nov 2 – Nov 8, 2026, compared with Oct 26 – Nov 1, 2026" in page
        assert tile(page, "net") == "Net sales $1,240.00 ▲ 24.0% more than $1,000.00 Paid, less what was given back"
        assert tile(page, "orders") == "Orders 2 ▲ 100.0% more than 1 Counted when they are paid"
        assert tile(page, "average") == "Average order $622.28 ▼ 37.8% less than $1,000.00 Before refunds"
        assert tile(page, "units") == "Pieces sold 4 ▲ 300.0% more than 1"
        assert tile(page, "refunds") == "Refunds $4.56 none in the period before 1 given"
        assert rows(page, "chart-net-sales") == [
            ["Mon, Nov 2", "$0.00", "$0.00"],
            ["Tue, Nov 3", "$1,234.56", "$1,000.00"],
            ["Wed, Nov 4", "$10.00", "$0.00"],
            ["Thu, Nov 5", "-$4.56", "$0.00"],
            ["Fri, Nov 6", "$0.00", "$0.00"],
            ["Sat, Nov 7", "$0.00", "$0.00"],
            ["Sun, Nov 8", "$0.00", "$0.00"],
        ]
        assert 'data-number="1234.56"' in page
        assert "The highest was $1,234.56, Tue, Nov 3." in page
        assert rows(page, "table-top-products") == [["Linen &lt;b&gt;shirt&lt;/b&gt;", "3", "$1,234.56"]]
        assert rows(page, "table-sources") == [["shop", "1", "$1,234.56"], ["import", "1", "$10.00"]]

    async def test_days_are_those_of_the_zone(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        await sell(datetime(2026, 11, 3, 23, 30, tzinfo=UTC), 1_000)
        await enter(client, settings)

        page = (await client.get(f"/dashboard{WEEK}&zone=Europe/Berlin&compare=none")).text

        assert [row for row in rows(page, "chart-orders") if row[1] != "0"] == [["Wed, Nov 4", "1"]]
        assert "compared with" not in page
        assert "more than" not in page

    async def test_nothing_sold_is_said(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        await enter(client, settings)

        page = (await client.get(f"/dashboard{WEEK}")).text

        assert "In this period (Nov 2 – Nov 8, 2026) nothing was sold or given back." in page
        assert tile(page, "net") == "Net sales $0.00 none in the period before Paid, less what was given back"
        assert "<figure" not in page

    async def test_impossible_wishes_are_told_beside_the_form_as_it_was_filled_in(
        self, client: httpx2.AsyncClient, settings: Settings
    ) -> None:
        await enter(client, settings)
        days = 'name="from" type="date" value="2026-11-08"', 'name="to" type="date" value="2026-11-02"'
        custom, hours = '<option value="custom" selected>', '<option value="hour" selected>'

        for query, told, kept in [
            ("?from=2026-11-08&to=2026-11-02", "The range begins on Nov 8, 2026, after its last day, Nov 2, 2026.", days),
            ("?from=2015-01-01&to=2026-11-02&compare=none", "A report is about 5 years at most.", (days[1], custom)),
            ("?range=30d&per=hour&zone=Asia/Tokyo", "Hours are told of 14 days at most.", (hours, ">Asia/Tokyo<")),
            ("?zone=Mars/Base&from=2026-11-08", "There is no such time zone: name one of IANA&#39;s", (days[0], custom)),
            ("?from=x&to=2026-11-02", "A day is written as 2026-11-21.", (days[1], custom)),
            ("?range=ever&currency=JPY", "There is no such range", ('<option value="JPY" selected>',)),
        ]:
            page = await client.get(f"/dashboard{query}")
            assert page.status_code == 422, query
            assert [part for part in ('role="alert"', told, *kept) if part not in page.text] == [], query
            assert "tile" not in page.text
            assert "compared with" not in page.text  # of days that are not shown
            assert (await client.get(f"{PART}{query}")).status_code == 422

    async def test_database_away_is_a_page(
        self, client: httpx2.AsyncClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await enter(client, settings)

        async def away(*_: object, **__: object) -> None:
            raise DatabaseUnavailableError

        monkeypatch.setattr(SalesReportService, "get_sales_report", away)
        page = await client.get("/dashboard")

        assert page.status_code == 503
        assert page.headers["Retry-After"] == "2"
        assert page.headers["Content-Type"].startswith("text/html")
        assert "The database cannot be reached right now." in page.text


class TestSales:
    async def test_tells_how_full_prices_became_net(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        shirts = await create_category(name="Shirts & more")
        await sell(NOON, 9_000, discount=1_000, category=str(shirts.id))
        await sell(NOON + timedelta(days=1), 2_550)
        await give_back(NOON + timedelta(days=1), 550)
        await sell(NOON - timedelta(days=7), 20_000)
        await enter(client, settings)

        page = (await client.get(f"/dashboard/sales{WEEK}")).text

        assert rows(page, "table-steps") == [
            ["Lines at full price", "$125.50", "$200.00"],
            ["Discounts taken off", "$10.00", "$0.00"],
            ["Tax", "$0.00", "$0.00"],
            ["Shipping", "$0.00", "$0.00"],
            ["Paid", "$115.50", "$200.00"],
            ["Given back", "$5.50", "$0.00"],
            ["Net sales", "$110.00", "$200.00"],
        ]
        assert tile(page, "net") == "Net sales $110.00 ▼ 45.0% less than $200.00 Paid, less what was given back"
        assert rows(page, "chart-categories") == [["Shirts &amp; more", "$90.00"]]
        assert rows(page, "chart-paid")[1:3] == [["Tue, Nov 3", "$90.00", "$200.00"], ["Wed, Nov 4", "$25.50", "$0.00"]]
        assert "No coupon was used." in page

    async def test_range_goes_along_from_page_to_page(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        await enter(client, settings)

        page = (await client.get("/dashboard/sales?range=7d&zone=Asia/Tokyo")).text

        assert '<a href="/dashboard?range=7d&amp;zone=Asia%2FTokyo">Overview</a>' in page
        assert '<a href="/dashboard/sales?range=7d&amp;zone=Asia%2FTokyo" aria-current="page">Sales</a>' in page


class TestPart:
    async def test_is_what_the_page_shows_until_something_happens(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        await sell(NOON, 1_000)
        await enter(client, settings)

        first = await client.get(f"{PART}{WEEK}")
        tag = {"If-None-Match": first.headers["ETag"]}
        same = await client.get(f"{PART}{WEEK}", headers=tag)
        await sell(NOON, 2_000)
        clear_all_caches()  # in place of half a second
        moved = await client.get(f"{PART}{WEEK}", headers=tag)

        assert (same.status_code, same.content) == (304, b"")
        assert moved.status_code == 200
        assert tile(first.text, "net").startswith("Net sales $10.00")
        assert tile(moved.text, "net").startswith("Net sales $30.00")

    async def test_page_that_reaches_into_the_present_names_it(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        await enter(client, settings)

        now = (await client.get("/dashboard?range=7d&zone=UTC&strange=%22%3E")).text
        past = (await client.get("/dashboard?range=custom&from=2020-01-01&to=2020-01-02")).text

        assert 'data-part="/dashboard/parts/overview?range=7d&amp;zone=UTC"' in now
        assert "data-part" not in past


class TestCost:
    async def test_overview_takes_few_commands_and_all_readers_of_a_moment_share_them(
        self, client: httpx2.AsyncClient, settings: Settings, commands: CommandLog
    ) -> None:
        shirt = await create_product()
        await sell(NOON, 1_000, product=str(shirt.id))
        await enter(client, settings)
        clear_all_caches()

        with commands.counting() as sent:
            asked = (client.get(f"{PART}{WEEK}&zone=Europe/Berlin") for _ in range(32))
            statuses = [answer.status_code for answer in await asyncio.gather(*asked)]

        assert statuses == [200] * 32
        assert len(sent) <= BUDGET, sent.sent


class TestControls:
    NOW = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)

    def test_nothing_asked_is_thirty_days_and_those_before(self, settings: Settings) -> None:
        controls = controls_of(QueryParams(""), settings=settings, now=self.NOW)

        assert (controls.first, controls.last) == (date(2026, 10, 23), date(2026, 11, 21))
        assert controls.previous_text == "Sep 23 – Oct 22, 2026"
        assert controls.is_live

    def test_today_is_the_zones(self, settings: Settings) -> None:
        controls = controls_of(QueryParams("range=today&zone=Asia/Tokyo"), settings=settings, now=self.NOW)

        assert (controls.first, controls.last) == (date(2026, 11, 22), date(2026, 11, 22))
        one_end = controls_of(QueryParams("to=2026-10-30"), settings=settings, now=self.NOW)
        assert (one_end.range, one_end.first, one_end.last) == ("custom", date(2026, 10, 1), date(2026, 10, 30))
        assert controls.scope.granularity is Granularity.HOUR

    @pytest.mark.parametrize(
        ("wish", "granularity"),
        [
            ("7d", Granularity.DAY),
            ("90d", Granularity.DAY),
            ("365d", Granularity.WEEK),
            ("custom&from=2023-01-01", Granularity.MONTH),
        ],
    )
    def test_charts_are_as_fine_as_can_be_seen(self, settings: Settings, wish: str, granularity: Granularity) -> None:
        assert controls_of(QueryParams(f"range={wish}"), settings=settings, now=self.NOW).scope.granularity is granularity

    @pytest.mark.parametrize(
        "query", ["range=ever", "range=custom&from=20261101", "range=custom&to=9999-12-31", "from=1970-01-01"]
    )
    def test_impossible_ranges(self, settings: Settings, query: str) -> None:
        with pytest.raises(InvalidPeriodError):
            controls_of(QueryParams(query), settings=settings, now=self.NOW)

    @pytest.mark.parametrize("zone", ["Mars/Base", "../etc/passwd", "Europe"])
    def test_impossible_zones(self, settings: Settings, zone: str) -> None:
        with pytest.raises(UnknownTimeZoneError):
            controls_of(QueryParams({"zone": zone}), settings=settings, now=self.NOW)

    def test_zones_are_cities(self) -> None:
        assert {"UTC", "Europe/Berlin", "Asia/Kathmandu"} <= set(zones())
        assert not {"EST", "posixrules", "Etc/GMT+1"} & set(zones())


def test_every_page_of_figures_is_in_the_wheel() -> None:
    """Templates in folders of their own are easily forgotten when the package is built."""
    declared = (WEB.parents[1] / "pyproject.toml").read_text(encoding="utf-8")

    assert '"web/templates/**/*"' in declared
