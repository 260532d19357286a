"""The admin in Chromium: no error on the console, no other host, nothing wider than the window, and a comment let through.

`make test-pages` runs this. With AGORA_SCREENSHOTS=<folder> every page is left there as a picture.
"""

import pytest

from api.web.admin.register import VIEWS
from models.blog.comments import Comment, CommentStatus
from tests.api.web.admin.conftest import Clerk
from tests.api.web.admin.world import World
from tests.api.web.signing import SESSION
from tests.api.web.test_in_browser import WIDTHS
from tests.browser import Browser, Tab

pytestmark = pytest.mark.browser

LONG = "A remark of somebody who has much to say: " + "https://example.com/" + "x" * 60


async def sit_down(tab: Tab, clerk: Clerk, address: str) -> None:
    name, _, value = clerk.cookies["Cookie"].partition("=")
    assert name == SESSION
    await tab.send("Network.setCookie", name=name, value=value, url=address)


async def test_every_page_at_every_width_by_day_and_by_night(browser: Browser, origin: str, admin: Clerk) -> None:
    world = await World.made(LONG)
    paths = {"front": "/admin"}
    for view in VIEWS:
        for number, path in enumerate(world.pages(view)):
            paths[f"{view.name}-{number}"] = path
    async with browser.tab(origin) as tab:
        await sit_down(tab, admin, origin)
        for name, path in paths.items():
            await tab.open(path)
            await tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            for width in WIDTHS:
                for dark in (False, True):
                    await tab.look(width=width, dark=dark)
                    await tab.until(f"document.documentElement.clientWidth === {width}")
                    assert await tab.overflow() == [], (path, width)
                    await tab.keep(f"admin-{name}-{width}-{'dark' if dark else 'light'}")
        assert tab.problems == []


async def test_a_comment_is_let_through_by_its_button(browser: Browser, origin: str, editor: Clerk) -> None:
    await World.made("Let me through")
    async with browser.tab(origin) as tab:
        await sit_down(tab, editor, origin)
        await tab.open("/admin/comments")

        await tab.press("form[action$='/approve'] button")

        assert await tab.evaluate("document.querySelector('[role=status]').textContent") == "The comment is public now."
        row = await Comment.find_row({"content": "Let me through"})
        assert row is not None
        assert row["status"] == CommentStatus.APPROVED
        assert tab.problems == []
