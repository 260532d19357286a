"""Saved dashboards as pages: saved from any page, shown as it would, put in order by buttons, one's own alone."""

import re
from datetime import UTC, date, datetime, timedelta

import httpx2
import pytest
from beanie import PydanticObjectId

from api.web.dashboard.controls import RANGES
from api.web.dashboard.views import VIEWS
from models.analytics.dashboards import DashboardRange, DashboardWidget, SavedDashboard
from models.base import now as present
from models.users import Role, User
from services.settings import Settings
from tests.api.conftest import SignIn
from tests.api.web.sales import sell
from tests.api.web.signing import LOGIN, SESSION, form_token_in
from tests.commands import CommandLog
from tests.factories.dashboards import create_dashboard
from tests.factories.users import create_user, open_session

SAVED = "/dashboard/saved"
NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
TILES = [DashboardWidget.TILE_NET, DashboardWidget.TILE_ORDERS, DashboardWidget.TILE_UNITS]


@pytest.fixture
async def owner(client: httpx2.AsyncClient, settings: Settings) -> User:
    """Signed in with the cookies of `client`."""
    user = await create_user(role=Role.MANAGER)
    client.cookies.set(SESSION, (await open_session(user, settings=settings)).token)
    return user


async def send(client: httpx2.AsyncClient, path: str, **fields: str) -> httpx2.Response:
    """A form of a page that this client was shown."""
    token = form_token_in((await client.get(SAVED)).text)
    return await client.post(path, data={"form_token": token, **fields})


async def change(client: httpx2.AsyncClient, one: SavedDashboard, do: str, **fields: str) -> httpx2.Response:
    return await send(client, f"{SAVED}/{one.id}", **{"do": do, "revision": "1", **fields})


async def stored(dashboard_id: PydanticObjectId | str) -> SavedDashboard:
    row = await SavedDashboard.find_row({"_id": PydanticObjectId(dashboard_id)})
    assert row is not None
    return SavedDashboard.from_row(row)


def shown(page: str) -> list[str]:
    """The keys of what stands on the page, in its order."""
    return re.findall(r'(?:class="card tile" data-live|data-chart|<section class="card[^"]*" aria-labelledby)="([^"]+)"', page)


def told(page: str) -> str:
    found = re.search(r'role="alert">([^<]+)<', page)
    return found.group(1) if found else ""


class TestSave:
    async def test_view_is_kept_with_what_was_asked_for(self, client: httpx2.AsyncClient, owner: User) -> None:
        await sell(NOON, 12_345)
        query = "?range=custom&from=2026-11-02&to=2026-11-08&zone=Asia%2FKathmandu&per=week&compare=none&currency=USD"
        page = (await client.get(f"/dashboard/sales{query}")).text
        carried = re.search(r'name="query" value="([^"]*)"', page)
        assert carried is not None

        answer = await send(client, SAVED, name="  Our week ", view="sales", query=carried.group(1).replace("&amp;", "&"))

        assert answer.status_code == 303
        kept = await stored(answer.headers["location"].rpartition("/")[2])
        assert (kept.owner_id, kept.name) == (owner.id, "Our week")
        assert kept.range == DashboardRange(last_days=None, start=date(2026, 11, 2), end=date(2026, 11, 9))
        assert (kept.timezone, kept.granularity, kept.is_compared, kept.currency) == ("Asia/Kathmandu", "week", False, "USD")
        sales = next(view for view in VIEWS if view.name == "sales")
        assert kept.widgets == [widget.name for widget in sales.widgets]
        again = (await client.get(answer.headers["location"])).text
        assert shown(again) == shown(page)
        assert "$123.45" in again
        assert "<h1>Our week</h1>" in again

    async def test_named_range_stays_relative(self, client: httpx2.AsyncClient, owner: User) -> None:
        answer = await send(client, SAVED, name="Lately", view="overview", query="?range=7d")

        kept = await stored(answer.headers["location"].rpartition("/")[2])
        assert (kept.range.last_days, kept.timezone, kept.currency, kept.is_compared) == (7, None, None, True)
        assert '<option value="7d" selected>' in (await client.get(answer.headers["location"])).text

    @pytest.mark.parametrize(
        ("fields", "status", "words"),
        [
            ({"name": "MONDAY morning"}, 409, "You have a dashboard of this name already."),
            ({"name": "  "}, 422, "A dashboard needs a name of at most 60 characters."),
            ({"name": "x" * 61}, 422, "A dashboard needs a name of at most 60 characters."),
            ({"name": "New", "view": "secrets"}, 422, "That cannot be done with a saved dashboard"),
            ({"name": "New", "query": "?zone=Nowhere"}, 422, "There is no such time zone"),
            ({"name": "New", "query": "?range=90d&per=hour"}, 422, "Hours are told of 14 days at most."),
        ],
    )
    async def test_refusal_says_why_and_keeps_the_form(
        self, client: httpx2.AsyncClient, owner: User, fields: dict[str, str], status: int, words: str
    ) -> None:
        await create_dashboard(owner=owner)

        answer = await send(client, SAVED, **{"view": "overview", "query": "?range=7d", **fields})

        assert answer.status_code == status
        assert told(answer.text).startswith(words)
        assert f'name="name" value="{fields["name"]}"' in answer.text
        assert len(await SavedDashboard.find_rows({})) == 1


class TestShow:
    async def test_list_is_ones_own_by_name(self, client: httpx2.AsyncClient, owner: User) -> None:
        assert "Nothing is saved yet" in (await client.get(SAVED)).text
        november = DashboardRange(last_days=None, start=date(2026, 11, 1), end=date(2026, 12, 1))
        await create_dashboard(owner=owner, name="<b>", range=november, widgets=TILES[:1])
        await create_dashboard(owner=owner, name="a", place=1)
        await create_dashboard(name="Somebody's")

        page = (await client.get(SAVED)).text

        assert re.findall(r'/dashboard/saved/[0-9a-f]+">([^<]+)</a><span>([^<]+)<', page) == [
            ("&lt;b&gt;", "Nov 1 – Nov 30, 2026, 1 thing shown"),
            ("a", "Last 7 days, 2 things shown"),
        ]

    async def test_shows_its_widgets_of_its_range_until_another_is_asked_for(
        self, client: httpx2.AsyncClient, owner: User, commands: CommandLog
    ) -> None:
        await sell(present() - timedelta(days=10), 1_000)
        mine = await create_dashboard(
            owner=owner, range=DashboardRange(last_days=14, start=None, end=None), widgets=[*reversed(TILES)]
        )
        assert 14 not in [days for _, days in RANGES.values()]

        with commands.counting() as sent:
            saved = (await client.get(f"{SAVED}/{mine.id}")).text
        other = (await client.get(f"{SAVED}/{mine.id}?range=7d&compare=none")).text

        assert shown(saved) == shown(other) == ["tile-units", "tile-orders", "tile-net"]
        assert "$10.00" in saved
        assert "not the range that was saved" not in saved
        assert "$10.00" not in other
        assert "not the range that was saved" in other
        assert len(sent) <= 8

    async def test_part_follows_the_page(self, client: httpx2.AsyncClient, owner: User) -> None:
        mine = await create_dashboard(owner=owner, widgets=TILES)
        page = (await client.get(f"{SAVED}/{mine.id}")).text
        path = re.search(r'data-part="([^"]+)"', page)
        assert path is not None

        part = await client.get(path.group(1).replace("&amp;", "&"))
        same = await client.get(path.group(1).replace("&amp;", "&"), headers={"If-None-Match": part.headers["ETag"]})

        assert (part.status_code, same.status_code) == (200, 304)
        assert shown(part.text) == [*map(str, TILES)]

    async def test_what_is_not_ones_own_is_not_there(self, client: httpx2.AsyncClient, owner: User, settings: Settings) -> None:
        foreign = await create_dashboard()

        for path in (f"{SAVED}/{foreign.id}", f"{SAVED}/{PydanticObjectId()}", f"{SAVED}/nothing"):
            page = await client.get(path)
            assert page.status_code == 404
            assert told(page.text) == "There is no such saved dashboard."
            assert (await client.get(path.replace("/saved", "/parts/saved"))).status_code == 404
        for do in ("rename", "delete", "remove tile-net"):
            assert (await change(client, foreign, do, name="Stolen")).status_code == 404
        assert await stored(foreign.id) == foreign


class TestWho:
    async def test_strangers_are_led_to_the_form(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        mine = await create_dashboard()

        page = await client.get(f"{SAVED}/{mine.id}")

        assert (page.status_code, page.headers["location"]) == (303, f"{LOGIN}?next=/dashboard/saved/{mine.id}")
        assert (await client.get(f"/dashboard/parts/saved/{mine.id}")).status_code == 401
        assert (await client.post(f"{SAVED}/{mine.id}", data={"do": "delete"})).status_code == 303
        assert await stored(mine.id) == mine

    async def test_who_lost_the_role_is_told_so(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.EDITOR, username="edith")
        client.cookies.set(SESSION, headers["Authorization"].removeprefix("Bearer "))

        for path in (SAVED, f"{SAVED}/{PydanticObjectId()}"):
            assert (await client.get(path)).status_code == 403
            assert (await client.post(path)).status_code == 403

    async def test_form_of_another_site_changes_nothing(self, client: httpx2.AsyncClient, owner: User) -> None:
        mine = await create_dashboard(owner=owner)

        without = await client.post(f"{SAVED}/{mine.id}", data={"do": "delete", "revision": "1"})
        made = await client.post(SAVED, data={"name": "Theirs", "view": "overview"})

        assert (without.status_code, made.status_code) == (403, 403)
        assert [row["_id"] for row in await SavedDashboard.find_rows({})] == [mine.id]


class TestChange:
    @pytest.mark.parametrize(
        ("do", "fields", "widgets"),
        [
            ("later tile-net", {}, [TILES[1], "chart-paid", TILES[0], TILES[2]]),
            ("earlier tile-units", {}, [TILES[0], "chart-paid", TILES[2], TILES[1]]),
            ("earlier tile-net", {}, [TILES[0], "chart-paid", TILES[1], TILES[2]]),
            ("remove chart-paid", {}, TILES),
            ("add", {"widget": "table-coupons"}, [TILES[0], "chart-paid", TILES[1], TILES[2], "table-coupons"]),
        ],
    )
    async def test_widgets_move_among_their_kind_come_and_go(
        self, client: httpx2.AsyncClient, owner: User, do: str, fields: dict[str, str], widgets: list[str]
    ) -> None:
        mine = await create_dashboard(owner=owner, widgets=[TILES[0], "chart-paid", TILES[1], TILES[2]])

        answer = await change(client, mine, do, **fields)

        assert answer.status_code == 303
        place = "arrange" if do.startswith("remove") else f"widget-{fields.get('widget') or do.partition(' ')[2]}"
        assert answer.headers["location"] == f"{SAVED}/{mine.id}?arrange=on#{place}"
        assert (await stored(mine.id)).widgets == widgets
        assert f'id="{place}"' in (await client.get(answer.headers["location"])).text

    async def test_renamed_ranged_and_deleted(self, client: httpx2.AsyncClient, owner: User) -> None:
        mine = await create_dashboard(owner=owner)

        assert (await change(client, mine, "rename", name="Evening")).status_code == 303
        assert (await change(client, mine, "keep", revision="2", query="?range=90d&zone=Asia/Tokyo")).status_code == 303
        kept = await stored(mine.id)
        assert (kept.name, kept.range.last_days, kept.timezone, kept.revision) == ("Evening", 90, "Asia/Tokyo", 3)

        gone = await change(client, mine, "delete", revision="3")
        assert (gone.status_code, gone.headers["location"]) == (303, SAVED)
        assert await SavedDashboard.find_rows({}) == []

    @pytest.mark.parametrize(
        ("do", "fields", "status", "words"),
        [
            ("rename", {"name": "Late", "revision": "7"}, 412, "It has changed since you read it"),
            ("rename", {"name": ""}, 422, "A dashboard needs a name"),
            ("rename", {"name": "Taken"}, 409, "You have a dashboard of this name already."),
            ("add", {"widget": "tile-net"}, 422, "That cannot be done"),
            ("add", {"widget": "tile-of-somebody"}, 422, "That cannot be done"),
            ("remove table-coupons", {}, 422, "That cannot be done"),
            ("sell tile-net", {}, 422, "That cannot be done"),
            ("remove tile-net", {"revision": "one"}, 422, "That cannot be done"),
        ],
    )
    async def test_refusal_says_why_and_changes_nothing(
        self, client: httpx2.AsyncClient, owner: User, do: str, fields: dict[str, str], status: int, words: str
    ) -> None:
        mine = await create_dashboard(owner=owner)
        await create_dashboard(owner=owner, place=1, name="Taken")

        answer = await send(client, f"{SAVED}/{mine.id}", **{"do": do, "revision": "1", **fields})

        assert answer.status_code == status
        assert told(answer.text).startswith(words)
        assert await stored(mine.id) == mine
