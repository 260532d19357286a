"""The pages of figures in Chromium: no error on the console, no other host, nothing wider than the window, and figures that move.

`make test-pages` runs these. With AGORA_SCREENSHOTS=<folder> every page is left there as a picture.
"""

from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from api.web.dashboard.views import VIEWS
from models.base import now as present
from models.database import Database
from models.users import Role
from services.analytics.reports.sales import SalesReportService
from services.analytics.rollups.rollups import RollupService
from services.settings import Settings
from tests.api.web.sales import give_back, sale, sell
from tests.api.web.signing import SESSION, send_form
from tests.api.web.world import fill_the_world
from tests.browser import Browser, Tab
from tests.factories.catalog import create_category, create_product
from tests.factories.users import PASSWORD, create_login_user
from tests.races import patiently

pytestmark = pytest.mark.browser

WIDTHS = (360, 768, 1440)
REDRAWN = """[...document.querySelectorAll('.drawing')].every(
    (place) => place.querySelector('.main-svg').clientWidth === place.clientWidth)"""
DRAWN = "document.querySelector('.drawing .main-svg') && !document.querySelector('[aria-busy]')"
LIVE = "document.querySelector('.pulse')?.dataset.state === 'live'"


async def fill_the_shop() -> None:
    """Five weeks in which every day sold something, with products of long and short names, and something for every page."""
    names = ["Linen shirt", "A very long name of a product that nobody would ever read to its end in a table", "Tea"]
    categories = [str((await create_category(name=name)).id) for name in ("Clothes", "Drinks", "Books and magazines")]
    products = [str((await create_product(name=name)).id) for name in names]
    today = present().replace(hour=0, minute=30)
    sold = []
    for day in range(60):
        for number in range(1 + day % 3):
            price, which = 1_999 + 7_351 * ((day * 7 + number * 3) % 11), (day + number) % 3
            at, source = today - timedelta(days=day), ["shop", "api"][number % 2]
            sold.append(
                sale(at, price, product=products[which], category=categories[which], source=source, discount=500 * number)
            )
    await RollupService.apply(sold)
    await give_back(today - timedelta(days=3), 9_350)
    await fill_the_world(today)


async def sign_in(tab: Tab, settings: Settings, role: Role = Role.MANAGER) -> None:
    user = await create_login_user(settings=settings, role=role, username=f"mona-{role}".replace("_", "-"))
    await tab.open("/dashboard")
    await tab.fill("#login", user.username)
    await tab.fill("#password", PASSWORD)
    await tab.press("button[type=submit]")


async def test_every_width_by_day_and_by_night(browser: Browser, origin: str, settings: Settings, database: Database) -> None:
    await fill_the_shop()
    async with browser.tab(origin) as tab:
        await sign_in(tab, settings)
        for view in VIEWS:
            await tab.look(width=WIDTHS[0], dark=False)
            await tab.open(view.path)
            await tab.until(DRAWN)
            await tab.until(LIVE)
            for width in WIDTHS:
                for dark in (False, True):
                    await tab.look(width=width, dark=dark)
                    await tab.until(REDRAWN)
                    assert await tab.overflow() == []
                    await tab.keep(f"{view.name}-{width}-{'dark' if dark else 'light'}")
        assert tab.problems == []


async def test_other_ranges_and_paper(browser: Browser, origin: str, settings: Settings, database: Database) -> None:
    await fill_the_shop()
    async with browser.tab(origin) as tab:
        await sign_in(tab, settings)
        for name, query in {
            "today": "range=today&compare=none",
            "90d": "range=90d&zone=Asia/Kathmandu",
            "year": "range=365d",
        }.items():
            await tab.open(f"/dashboard?{query}")
            await tab.until(DRAWN)
            await tab.keep(f"overview-{name}")
        await tab.look(width=360)
        for view in VIEWS:
            await tab.open(f"{view.path}?range=custom&from=2020-01-01&to=2020-03-01&currency=JPY")
            assert await tab.overflow() == []
            await tab.keep(f"{view.name}-empty-360")
        await tab.look(width=720, media="print")
        for view in VIEWS:
            await tab.open(view.path)
            await tab.until(DRAWN)
            assert await tab.overflow() == []
            await tab.keep(f"{view.name}-print")
        assert tab.problems == []


async def test_files_are_had_and_other_pages_move(browser: Browser, origin: str, settings: Settings, database: Database) -> None:
    await fill_the_world(present())
    async with browser.tab(origin) as tab:
        await sign_in(tab, settings)
        for view in VIEWS:
            await tab.open(view.path)
            await tab.until(LIVE)
            statuses = "[...document.querySelectorAll('.files a')].map((link) => fetch(link.href).then((file) => file.status))"
            assert set(await tab.evaluate(f"Promise.all({statuses})")) == {200}

        await tab.open("/dashboard/products?range=today")
        await tab.until(LIVE)
        await sell(present(), 1_000, units=5)
        assert await tab.until("document.querySelector('[data-live=tile-units] .value').textContent === '8'") < patiently(2)
        assert tab.problems == []


async def test_new_order_moves_the_figures_within_two_seconds(
    browser: Browser, origin: str, settings: Settings, database: Database
) -> None:
    await sell(present(), 1_000)
    async with browser.tab(origin) as tab:
        await sign_in(tab, settings)
        await tab.until(DRAWN)
        await tab.until(LIVE)
        await tab.evaluate("document.querySelector('.chart details').open = true")

        await sell(present(), 2_345)
        seconds = await tab.until("document.querySelector('[data-live=tile-net] .value').textContent === '$33.45'")

        assert seconds < patiently(2)
        await tab.until("document.querySelector('.pulse').textContent.startsWith('Moved at')")
        drawn = "document.querySelector('[data-chart=net-sales] .drawing').data[0].y.at(-1) === 33.45"
        await tab.until(drawn)
        assert await tab.evaluate("document.querySelector('.chart details').open")
        assert tab.problems == []


async def test_first_order_takes_the_place_of_the_empty_page(
    browser: Browser, origin: str, settings: Settings, database: Database
) -> None:
    async with browser.tab(origin) as tab:
        await sign_in(tab, settings)
        await tab.until(LIVE)
        assert await tab.evaluate("document.querySelectorAll('.chart').length") == 0

        await sell(present(), 1_000)

        await tab.until(DRAWN)
        assert tab.problems == []


async def test_says_so_when_the_session_is_over(
    browser: Browser, origin: str, client: httpx2.AsyncClient, settings: Settings, database: Database
) -> None:
    async with browser.tab(origin) as tab:
        tab.expected_statuses = {401}
        await sign_in(tab, settings)
        await tab.until(LIVE)

        fields = "new URLSearchParams(new FormData(document.querySelector('.person')))"
        await tab.evaluate(f"fetch('/dashboard/logout', {{method: 'POST', body: {fields}}}).then(() => true)")

        await tab.until("document.querySelector('#parted').textContent.includes('You are signed out')")
        await tab.keep("overview-signed-out")
        assert tab.problems == []


async def test_says_so_when_the_figures_cannot_be_reached(
    browser: Browser, origin: str, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sell(present(), 1_000)
    async with browser.tab(origin) as tab:
        tab.expected_statuses = {500}
        await sign_in(tab, settings)
        await tab.until(LIVE)

        async def away(*_: object, **__: object) -> None:
            raise RuntimeError("away")

        with monkeypatch.context() as patched:
            patched.setattr(SalesReportService, "get_sales_report", away)
            await tab.until("document.querySelector('.pulse').dataset.state === 'stale'")
            await tab.keep("overview-stale")
        await tab.until(LIVE)

        assert tab.problems == []


async def test_without_scripts_the_tables_stand_for_themselves(
    browser: Browser, origin: str, client: httpx2.AsyncClient, settings: Settings, database: Database
) -> None:
    await sell(datetime(2026, 11, 3, 12, tzinfo=UTC), 1_000)
    user = await create_login_user(settings=settings, role=Role.MANAGER)
    await send_form(client, user.username)
    async with browser.tab(origin, width=768) as tab:
        await tab.send("Network.setCookie", name=SESSION, value=client.cookies[SESSION], url=origin)
        await tab.send("Emulation.setScriptExecutionDisabled", value=True)
        await tab.open("/dashboard?range=custom&from=2026-11-02&to=2026-11-08")
        await tab.keep("overview-without-scripts")
        await tab.send("Emulation.setScriptExecutionDisabled", value=False)

        assert await tab.evaluate("document.querySelectorAll('.chart table tbody tr').length") == 14
        assert tab.problems == []


async def test_form_and_refusals(browser: Browser, origin: str, settings: Settings, database: Database) -> None:
    async with browser.tab(origin, width=360) as tab:
        tab.expected_statuses = {401, 403}
        await tab.open("/dashboard")
        assert await tab.overflow() == []
        await tab.keep("login-360")
        await tab.fill("#login", "nobody")
        await tab.fill("#password", "nothing")
        await tab.press("button[type=submit]")
        await tab.keep("login-refused-360")
        assert await tab.evaluate("document.querySelector('[role=alert]').textContent")
        await sign_in(tab, settings, Role.USER)
        await tab.keep("refused-360")
        assert "may not see reports" in await tab.evaluate("document.body.textContent")
        assert tab.problems == []
