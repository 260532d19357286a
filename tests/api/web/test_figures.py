"""The pages about customers, products, stock and content: what they show of a small world, as files, and what that costs."""

import httpx2
import pytest

from api.web.dashboard.customers import heat_level
from api.web.dashboard.views import VIEWS, WIDGETS
from models.analytics.dashboards import DashboardWidget
from models.users import Role
from services.analytics.exports.exports import EXPORTERS
from services.analytics.reports.funnel import FunnelService
from services.cache import clear_all_caches
from services.errors import UnprocessableError
from services.settings import Settings
from tests.api.conftest import SignIn
from tests.api.web.signing import LOGIN, enter
from tests.api.web.test_dashboard import rows, tile
from tests.api.web.world import WEEK, fill_the_world
from tests.commands import CommandLog, Commands

BUDGETS = {"overview": 12, "sales": 17, "customers": 11, "products": 19, "stock": 27, "content": 26}
"""Commands at most of a page of which nothing is held yet, that for the session among them."""


async def test_pages_show_what_happened(client: httpx2.AsyncClient, settings: Settings) -> None:
    await fill_the_world()
    await enter(client, settings)

    customers, products, stock, content = [
        (await client.get(f"/dashboard/{name}{WEEK}")).text for name in ("customers", "products", "stock", "content")
    ]

    assert tile(customers, "customers") == "Customers 2 none in the period before Who bought; guests are not among them"
    assert tile(customers, "new-customers").startswith("New 1 ")
    assert tile(customers, "returning-customers").startswith("Returning 1 ")
    assert tile(customers, "spend").startswith("Spend per customer $80.00 ")
    assert tile(customers, "lifetime") == "Value of a customer $330.00 To date, of 2 customers"
    assert [row for row in rows(customers, "chart-newcomers") if row[1:] != ["0", "0"]] == [
        ["Tue, Nov 3", "1", "1"],
        ["Wed, Nov 4", "1", "0"],
    ]
    assert rows(customers, "chart-segments")[2] == ["New: bought lately, for the first time", "0", "0.0%", "$0.00"]
    assert rows(customers, "table-cohorts") == [["Sep 2026", "1", "0.0% 0", "100.0% 1"], ["Nov 2026", "1"]]

    assert tile(products, "conversion").startswith("Visitors who paid 10.0% ")
    assert tile(products, "abandoned").startswith("Carts left alone 4 ")
    assert tile(products, "recovered").startswith("Bought after all 25.0% ")
    assert tile(products, "searches").startswith("Searches 7 ")
    assert rows(products, "chart-best-products") == [["Desk &lt;lamp&gt;", "$123.45", "3"]]
    assert rows(products, "chart-funnel") == [
        ["Looked at a product", "40", "–", "100.0%"],
        ["Put one into a cart", "10", "25.0%", "25.0%"],
        ["Went to the checkout", "5", "50.0%", "12.5%"],
        ["Paid", "4", "80.0%", "10.0%"],
    ]
    assert rows(products, "table-products") == [["Desk &lt;lamp&gt;", "Lamps", "1", "3", "0", "$123.45"]]
    assert rows(products, "table-terms") == [["desk lamp", "3", "5"]]

    assert tile(stock, "stock-value").startswith("Stock $340.00 ▼ 19.0% less than $420.00")
    assert tile(stock, "turnover").startswith("Turnover 0.21× ")
    assert tile(stock, "goods-sold").startswith("Cost of what was sold $80.00 ")
    assert tile(stock, "low-stock") == "Running low 2 Now; nothing is left of 1"
    assert rows(stock, "chart-cover") == [["Desk &lt;lamp&gt;, Red", "4", "4", "6"]]
    assert rows(stock, "table-low") == [
        ["GONE No longer in the shop, House", "0", "5", "–"],
        ["Desk &lt;lamp&gt;, Red SELLS, House", "4", "5", "–"],
    ]

    assert tile(content, "views") == "Views of posts 12 ▲ 50.0% more than 8 Each visitor once per half hour"
    assert tile(content, "likes").startswith("Likes 3 ")
    assert tile(content, "visitors").startswith("Visitors 60 ")
    assert tile(content, "signups").startswith("Sign-ups 1 ")
    assert rows(content, "chart-views")[1] == ["Tue, Nov 3", "12", "8"]
    assert rows(content, "chart-reactions")[1] == ["Tue, Nov 3", "3", "1"]
    assert rows(content, "table-posts") == [["On &lt;lamps&gt;", "12", "3", "1"]]
    assert rows(content, "table-authors") == [["Ada Writer", "1", "12", "3", "1"]]
    assert rows(content, "table-visit-sources") == [["letter", "12"]]


async def test_what_cannot_be_told_of_a_range_says_why_in_its_place(
    client: httpx2.AsyncClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the page stands. Hours of content are days."""
    await enter(client, settings)

    async def refuse(scope: object, *, viewer: object) -> None:
        raise UnprocessableError("Not of so many years.")

    monkeypatch.setattr(FunnelService, "get_cart_report", refuse)
    page = await client.get("/dashboard/products?range=custom&from=2024-11-02&to=2026-11-08")
    hours = await client.get("/dashboard/content?range=today")

    assert page.status_code == hours.status_code == 200
    assert tile(page.text, "abandoned") == "Carts left alone – Not of so many years."
    assert "Nothing happened in this period." in page.text
    assert "Nothing happened in this period." in hours.text


class TestCurrency:
    async def test_is_asked_for_where_there_are_several(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        await enter(client, settings)

        one = (await client.get("/dashboard")).text
        other = (await client.get("/dashboard?currency=JPY")).text
        wrong = await client.get("/dashboard?currency=XXQ")

        assert 'name="currency"' not in one
        assert '<option value="JPY" selected>JPY</option>' in other
        assert '<option value="USD">USD</option>' in other
        assert tile(other, "net").startswith("Net sales ¥0 ")
        assert 'href="/dashboard/sales?currency=JPY"' in other
        assert wrong.status_code == 422
        assert "There is no such currency" in wrong.text


class TestFiles:
    async def test_hold_what_the_page_shows(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        await fill_the_world()
        await enter(client, settings)

        page = (await client.get(f"/dashboard/products{WEEK}")).text
        file = await client.get(f"/dashboard/files/table-products.csv{WEEK}")
        book = await client.get(f"/dashboard/files/chart-funnel.xlsx{WEEK}")

        address = f"/dashboard/files/table-products.csv{WEEK}".replace("&", "&amp;")
        assert f'<a href="{address}" aria-label="Products as CSV" download>CSV</a>' in page
        assert file.headers["Content-Disposition"] == 'attachment; filename="products_2026-11-02_2026-11-08.csv"'
        assert file.headers["Cache-Control"] == "no-store"
        assert len(file.text.splitlines()) == 2
        assert '"Desk <lamp>"' in file.text
        assert "123.45" in file.text
        assert book.content.startswith(b"PK")

    async def test_are_for_those_who_see_the_page(self, client: httpx2.AsyncClient, settings: Settings, as_role: SignIn) -> None:
        path = "/dashboard/files/tile-net.csv"
        stranger = await client.get(path)
        headers = await as_role(Role.EDITOR, username="edith")
        client.cookies.set("agora_session", headers["Authorization"].removeprefix("Bearer "))
        editor = await client.get(path)
        bearer = await client.get(path, headers=headers)

        assert (stranger.status_code, stranger.headers["Location"]) == (303, f"{LOGIN}?next={path}")
        assert editor.status_code == bearer.status_code == 403

    async def test_are_not_made_for_other_sites_nor_of_what_there_is_not(
        self, client: httpx2.AsyncClient, settings: Settings
    ) -> None:
        await enter(client, settings)

        for site in ("cross-site", "same-site"):
            answer = await client.get("/dashboard/files/tile-net.csv", headers={"Sec-Fetch-Site": site})
            assert answer.status_code == 403, site
        for name in ("tile-net.pdf", "tile-net", "tile-nothing.csv", "sales.csv"):
            assert (await client.get(f"/dashboard/files/{name}")).status_code == 404, name


async def test_pages_cost_few_commands(client: httpx2.AsyncClient, settings: Settings, commands: CommandLog) -> None:
    await fill_the_world()
    await enter(client, settings)
    spent: dict[str, Commands] = {}

    for view in VIEWS:
        clear_all_caches()
        with commands.counting() as spent[view.name]:
            assert (await client.get(f"{view.part_path}{WEEK}")).status_code == 200

    assert {name: sent.sent for name, sent in spent.items() if len(sent) > BUDGETS[name]} == {}


def test_every_widget_has_one_name_that_saved_dashboards_know() -> None:
    for view in VIEWS:
        for widget in view.widgets:
            assert WIDGETS[widget.name] is widget
    assert set(WIDGETS) == set(DashboardWidget)


def test_every_file_is_a_report() -> None:
    assert {widget.file.report for widget in WIDGETS.values() if widget.file is not None} <= set(EXPORTERS)


def test_heat_grows_with_the_share() -> None:
    assert [heat_level(share) for share in (0, 1, 999, 1_000, 2_000, 3_500, 5_000, 10_000)] == [0, 1, 1, 2, 3, 4, 5, 5]
