"""What holds for every page and every form of the admin: who may, what never shows, and what no other site can send."""

import re
from html import escape
from typing import Any

import httpx2
import pytest

from api.web.admin.pages import VIEWS
from models.audit import AuditEntry
from models.base import AgoraDocument
from models.blog.comments import Comment
from models.documents import DOCUMENTS
from models.ecommerce.orders import Order, OrderStatusHistory
from models.fraud import FraudReview
from models.inventory.stock import StockLevel, StockMovement
from models.jobs import Job
from models.payments import Payment, Refund
from models.users import LoginSession, Role, User
from models.webhooks import WebhookDelivery, WebhookEndpoint
from services.settings import Settings
from services.webhooks.signing import endpoint_secret
from tests.api.web.admin.conftest import Clerk, SeatClerk
from tests.api.web.admin.world import World

OPEN_TO: dict[Role, set[str]] = {
    Role.USER: set(),
    Role.AUTHOR: set(),
    Role.VENDOR: set(),
    Role.EDITOR: {"comments"},
    Role.MANAGER: {"comments", "fraud", "orders", "payments", "stock", "products", "users"},
    Role.ADMIN: {view.name for view in VIEWS},
    Role.SUPER_ADMIN: {view.name for view in VIEWS},
}
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&{{7*7}}"


WATCHED: list[type[AgoraDocument]] = [
    Comment,
    FraudReview,
    Job,
    Order,
    OrderStatusHistory,
    Payment,
    Refund,
    StockLevel,
    StockMovement,
    User,
    WebhookDelivery,
    AuditEntry,
]


async def everything() -> dict[str, list[dict[str, Any]]]:
    return {document.__name__: await document.find_rows({}, sort=[("_id", 1)]) for document in WATCHED}


class TestWhoMay:
    @pytest.mark.parametrize("role", list(Role))
    async def test_each_role_opens_its_views_and_no_other(self, seat: SeatClerk, role: Role) -> None:
        clerk, world = await seat(role), await World.made()

        for view in VIEWS:
            expected = 200 if view.name in OPEN_TO[role] else 403
            assert [(await clerk.get(path)).status_code for path in world.pages(view)] == [expected] * len(view.pages), view
        front = await clerk.get("/admin")
        assert front.status_code == (200 if OPEN_TO[role] else 403)
        menu = set(re.findall(r'<li><a href="/admin/([a-z]+)"', front.text))
        assert menu == OPEN_TO[role]

    @pytest.mark.parametrize("role", [role for role in Role if role not in (Role.ADMIN, Role.SUPER_ADMIN)])
    async def test_who_may_not_open_a_view_may_not_send_its_forms(self, seat: SeatClerk, role: Role) -> None:
        clerk, world = await seat(role), await World.made()
        before = await everything()

        for view in VIEWS:
            if view.name not in OPEN_TO[role]:
                assert [(await clerk.send(path)).status_code for path in world.moves(view)] == [403] * len(view.moves), view

        assert await everything() == before

    async def test_strangers_are_sent_to_the_sign_in(self, client: httpx2.AsyncClient, database: object) -> None:
        world = await World.made()
        before = await everything()

        for view in VIEWS:
            for path in world.pages(view):
                answer = await client.get(path)
                assert (answer.status_code, answer.headers["location"]) == (303, f"/dashboard/login?next={path}")
            for path in world.moves(view):
                answer = await client.post(path, data={"note": "x"})
                assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/login?next=/admin")

        assert await everything() == before

    async def test_a_bearer_token_opens_no_page(self, client: httpx2.AsyncClient, admin: Clerk) -> None:
        token = admin.cookies["Cookie"].partition("=")[2]

        answer = await client.get("/admin/users", headers={"Authorization": f"Bearer {token}"})

        assert answer.status_code == 303


class TestForms:
    async def test_no_form_works_without_its_sessions_token(self, admin: Clerk, seat: SeatClerk) -> None:
        world, other = await World.made(), await seat(Role.ADMIN)
        before = await everything()

        for view in VIEWS:
            for path in world.moves(view):
                for fields in ({}, {"form_token": ""}, {"form_token": other.token}, {"form_token": admin.token[:-2]}):
                    answer = await admin.client.post(path, data={"note": "x", **fields}, headers=admin.cookies)
                    assert answer.status_code == 403, (path, fields)

        assert await everything() == before

    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Content-Type": "text/plain"},
            {"Content-Type": "multipart/form-data; boundary=x"},
        ],
    )
    async def test_no_form_works_from_another_site(self, admin: Clerk, headers: dict[str, str]) -> None:
        world = await World.made()
        before = await everything()

        for view in VIEWS:
            for path in world.moves(view):
                body = f"form_token={admin.token}&revision=1&role=editor&minutes=5"
                kind = {"Content-Type": "application/x-www-form-urlencoded"}
                answer = await admin.client.post(path, content=body, headers={**kind, **admin.cookies, **headers})
                assert answer.status_code == 403, path

        assert await everything() == before

    async def test_no_move_answers_to_a_link(self, admin: Clerk) -> None:
        world = await World.made()
        before = await everything()

        for view in VIEWS:
            for path in world.moves(view):
                assert (await admin.get(path)).status_code in (404, 405), path

        assert await everything() == before

    async def test_every_form_on_every_page_carries_the_token(self, admin: Clerk) -> None:
        world = await World.made()
        forms = 0

        for view in VIEWS:
            for path in world.pages(view):
                for form in re.findall(r'<form method="post".*?</form>', (await admin.get(path)).text, re.DOTALL):
                    forms += 1
                    assert f'name="form_token" value="{admin.token}"' in form, path

        assert forms > 30

    async def test_a_nul_character_is_refused(self, admin: Clerk) -> None:
        world = await World.made()
        path = f"/admin/orders/{world.ids['orders']['id']}/hold"

        assert (await admin.send(path, reason="a\0b")).status_code == 422


def secret(field: str) -> bool:
    """What is no page's business: digests, tokens, keys under which things are done once."""
    return bool(re.search(r"hash|token|secret|password|placement_key|customer_key|^key$|cost|fingerprint", field))


async def plant(canary: str) -> list[str]:
    """Put a canary into every text field of every stored document whose name speaks of a secret; returns which."""
    planted = []
    for document in DOCUMENTS:
        texts = [name for name, field in document.model_fields.items() if field.annotation in (str, str | None)]
        secrets = [name for name in texts if secret(name) and document is not LoginSession]
        for row in await document.find_rows({}) if secrets else []:
            values = {name: f"{canary}-{document.__name__}-{name}-{row['_id']}" for name in secrets}
            await document.change_many({"_id": row["_id"]}, {"$set": values})
            planted += [f"{document.__name__}.{name}" for name in secrets]
    return planted


class TestWhatShows:
    async def test_no_page_shows_a_secret(self, admin: Clerk, settings: Settings) -> None:
        world = await World.made()
        assert {
            "User.password_hash",
            "Order.guest_token_hash",
            "Order.placement_key",
            "Payment.token",
            "Payment.key",
            "Payment.customer_key",
            "Refund.key",
        } <= set(await plant("CANARY"))
        endpoint = await WebhookEndpoint.find_row({})
        assert endpoint is not None
        hidden = [
            "CANARY",
            endpoint_secret(endpoint["_id"], 1, settings=settings),
            settings.secret_key.get_secret_value(),
            admin.cookies["Cookie"].partition("=")[2],
        ]

        for view in VIEWS:
            for path in world.pages(view):
                page = await admin.page(path)
                assert [word for word in hidden if word in page] == [], path

    async def test_what_people_wrote_is_text_on_every_page(self, admin: Clerk) -> None:
        world = await World.made(HOSTILE)
        harmless = escape(HOSTILE[:20], quote=False)

        for view in VIEWS:
            for path in world.pages(view):
                page = (await admin.get(path)).text
                assert re.findall("<script|<img", page) == [], path
                if not (view.name in ("stock", "jobs") and path == view.path) and path not in (
                    "/admin/orders",
                    "/admin/payments",
                ):
                    assert harmless.replace("'", "&#39;") in page or harmless in page, path

    async def test_no_page_runs_or_loads_anything_of_others(self, admin: Clerk) -> None:
        world = await World.made()

        for path in ["/admin", *(path for view in VIEWS for path in world.pages(view))]:
            answer = await admin.get(path)
            assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self';"), path
            assert "unsafe" not in answer.headers["content-security-policy"]
            assert answer.headers["cache-control"] == "no-store"
            assert re.findall(r"<script|\sstyle=|\son[a-z]+=|javascript:|https?://", answer.text.replace(_ENDPOINT, "")) == [], (
                path
            )
            assert re.findall(r'<(?:link|img|iframe)[^>]+(?:href|src)="(?!/static/agora/|data:,")', answer.text) == [], path

    async def test_every_link_and_style_leads_somewhere(self, admin: Clerk) -> None:
        world = await World.made()
        targets: set[str] = set()

        for path in ["/admin", *(path for view in VIEWS for path in world.pages(view))]:
            targets |= {target.replace("&amp;", "&") for target in re.findall(r'href="(/[^"]*)"', (await admin.get(path)).text)}

        assert len(targets) > 40
        assert {target for target in targets if (await admin.get(target)).status_code != 200} == set()

    async def test_the_address_cannot_make_a_page_say_anything(self, admin: Clerk) -> None:
        page = (await admin.get("/admin/comments?done=<b>Pwned</b>")).text

        assert "Pwned" not in page
        assert 'role="status"' not in page

    async def test_the_bundled_charts_of_starlette_admin_are_nowhere(self, client: httpx2.AsyncClient) -> None:
        """Their licence is bound to revenue (ECOSYSTEM): nothing of that package is served."""
        for path in ("/admin/statics/js/vendor/apexcharts.min.js", "/admin/static/js/vendor/apexcharts.min.js"):
            assert (await client.get(path)).status_code == 404


_ENDPOINT = "https://hooks.example.com/"
