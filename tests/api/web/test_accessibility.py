"""Every page and state as everybody meets it: nothing that axe-core objects to, Tab leads everywhere and shows where it is, no
error on the console and no other host; by day and by night, on a telephone and on a wide screen.

`make test-pages` runs this.
"""

import json
from collections.abc import Awaitable, Callable

import pytest

from api.web.admin.register import VIEWS as ADMIN_VIEWS
from api.web.dashboard.views import VIEWS
from models.analytics.dashboards import DashboardWidget
from models.base import now as present
from models.database import Database
from models.users import Role, User
from services.settings import Settings
from tests.accessibility import axe, lost_stops, press, type_in, violations
from tests.api.web.admin.world import World
from tests.api.web.sales import sell
from tests.api.web.signing import SESSION
from tests.api.web.test_in_browser import DRAWN, LIVE, fill_the_shop
from tests.browser import Browser, Tab
from tests.factories.dashboards import create_dashboard
from tests.factories.users import PASSWORD, create_login_user, create_user, open_session

pytestmark = pytest.mark.browser

READY = "document.readyState === 'complete' && !document.querySelector('[aria-busy]')"
OPEN = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
EMPTY = "?range=custom&from=2026-01-01&to=2026-01-31"
# Pages that nobody has to sign in for, and what a form or an address leads to.
OUTSIDE = ["/", "/dashboard/login", "/account/verify?token=none", "/account/reset?token=none", "/account/email?token=none"]
STATES = [
    "/dashboard?zone=Nowhere",
    "/dashboard?range=today&compare=none",
    "/admin/orders/nothing",
    "/admin/comments?cursor=nonsense",
]


async def figures(user: User) -> list[str]:
    """All of the dashboard, busy and quiet."""
    await fill_the_shop()
    return [view.path + query for view in VIEWS for query in ("", EMPTY)]


async def own_dashboards(user: User) -> list[str]:
    await fill_the_shop()
    saved = await create_dashboard(owner=user, widgets=[*DashboardWidget])
    blank = await create_dashboard(owner=user, widgets=[], name="Blank", place=1)
    own = [f"/dashboard/saved{path}" for path in ("", f"/{saved.id}", f"/{blank.id}", f"/{blank.id}?range=90d")]
    return [*own, *STATES]


async def half_the_admin(user: User) -> list[str]:
    world = await World.made("A remark of somebody")
    return ["/admin", *(path for view in ADMIN_VIEWS[::2] for path in world.pages(view))]


async def other_half(user: User) -> list[str]:
    world = await World.made("A remark of somebody")
    return [path for view in ADMIN_VIEWS[1::2] for path in world.pages(view)]


async def faults(tab: Tab, path: str, script: str) -> list[str]:
    """What is wrong with one page, at both widths, by day and by night.

    What changes by night is colours alone, so there only those are looked at again.
    """
    await tab.look(width=1440, dark=False)
    await tab.open(path)
    await tab.until(READY)
    await tab.evaluate(OPEN)
    found = [f"{path}: {one}" for one in await lost_stops(tab)]
    for width in (1440, 360):
        for dark in (False, True):
            await tab.look(width=width, dark=dark)
            for one in await violations(tab, script, rules=("color-contrast",) if dark else ()):
                found.append(f"{path} at {width}{' by night' if dark else ''}: {one}")
    return found


async def test_every_page_outside_is_for_everybody(browser: Browser, origin: str, database: Database) -> None:
    script, wrong = axe(), list[str]()
    async with browser.tab(origin) as tab:
        tab.expected_statuses = {400, 401, 403, 404, 422}
        for path in OUTSIDE:
            wrong += await faults(tab, path, script)
        await tab.open("/dashboard/login")
        await tab.fill("#login", "nobody")
        await tab.fill("#password", "nothing")
        await tab.press("button[type=submit]")
        wrong += await violations(tab, script)

        assert wrong == []
        assert tab.problems == []


@pytest.mark.parametrize("made", [figures, own_dashboards, half_the_admin, other_half], ids=lambda made: made.__name__)
async def test_every_page_is_for_everybody(
    browser: Browser, origin: str, settings: Settings, database: Database, made: Callable[[User], Awaitable[list[str]]]
) -> None:
    """For somebody who may see everything, and all of it."""
    user = await create_user(role=Role.ADMIN)
    opened, script, wrong = await open_session(user, settings=settings), axe(), list[str]()
    paths = await made(user)
    async with browser.tab(origin) as tab:
        tab.expected_statuses = {400, 401, 403, 404, 422}
        await tab.send("Network.setCookie", name=SESSION, value=opened.token, url=origin)
        for path in paths:
            wrong += await faults(tab, path, script)

        assert wrong == []
        assert tab.problems == []


async def test_signs_in_and_skips_by_keyboard_and_hears_of_new_figures(
    browser: Browser, origin: str, settings: Settings, database: Database
) -> None:
    user = await create_login_user(settings=settings, role=Role.MANAGER)
    await sell(present(), 1_000)
    async with browser.tab(origin) as tab:
        await tab.open("/dashboard/login")
        await type_in(tab, user.username)  # the first field has the focus
        await press(tab, "Tab")
        await type_in(tab, PASSWORD)
        before = tab.loads
        await press(tab, "Enter")
        await tab.loaded(after=before)
        await tab.until(DRAWN)
        await tab.until(LIVE)

        await press(tab, "Tab")
        assert await tab.evaluate("document.activeElement.className") == "skip"
        await press(tab, "Enter")
        await tab.until("document.activeElement.id === 'main'")

        await tab.evaluate("window.region = document.querySelector('.pulse'); true")
        await sell(present(), 2_345)
        await tab.until("document.querySelector('.pulse').textContent.startsWith('Moved at')")
        assert await tab.evaluate("window.region === document.querySelector('[role=status]')")
        assert await tab.evaluate("document.activeElement.id") == "main"
        assert tab.problems == []


async def test_view_is_saved_and_put_in_order_by_keyboard(
    browser: Browser, origin: str, settings: Settings, database: Database
) -> None:
    opened = await open_session(await create_user(role=Role.MANAGER), settings=settings)
    tiles = "[...document.querySelectorAll('.tile')].map((one) => one.dataset.live)"
    async with browser.tab(origin) as tab:
        await tab.send("Network.setCookie", name=SESSION, value=opened.token, url=origin)

        async def enter_on(selector: str) -> None:
            before = tab.loads
            await tab.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
            await press(tab, "Enter")
            await tab.loaded(after=before)

        await tab.open("/dashboard")
        await tab.evaluate("document.querySelector('.keeping summary').focus()")
        await press(tab, "Enter")
        await press(tab, "Tab")
        await type_in(tab, "Monday morning")
        await enter_on("#name")
        assert await tab.evaluate("document.querySelector('h1').textContent") == "Monday morning"

        await tab.evaluate("document.querySelector('.keeping summary').focus()")
        await press(tab, "Enter")
        for number in (1, 2):
            await enter_on("[value='later tile-net']")
            await tab.until("document.activeElement.id === 'widget-tile-net'")
            assert (await tab.evaluate(tiles)).index("tile-net") == number
        await enter_on("[value='remove tile-net']")
        await tab.until("document.activeElement.id === 'arrange'")
        assert "tile-net" not in await tab.evaluate(tiles)
        for width in (360, 1440):
            await tab.look(width=width)
            assert await tab.overflow() == []
            await tab.keep(f"saved-arranged-{width}")
        await tab.open("/dashboard/saved")
        await tab.keep("saved-list")
        assert tab.problems == []
