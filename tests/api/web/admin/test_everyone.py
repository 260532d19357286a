"""What holds for every page and every form of the admin: who may, what never shows, and what no other site can send."""

import re
from html import escape
from typing import Any

import httpx2

from api.web.admin.register import VIEWS
from models.audit import AuditEntry
from models.base import AgoraDocument
from models.blog.comments import Comment, CommentBan
from models.blog.posts import Post
from models.documents import DOCUMENTS
from models.ecommerce.catalog import Product
from models.ecommerce.coupons import Coupon
from models.ecommerce.customers import Customer
from models.ecommerce.orders import Order, OrderStatusHistory
from models.ecommerce.returns import ReturnRequest
from models.ecommerce.reviews import Review
from models.events import DeadLetter
from models.fraud import FraudReview, FraudRule
from models.inventory.stock import StockLevel, StockMovement
from models.jobs import Job
from models.payments import Payment, Refund
from models.users import LoginSession, Role, User
from models.webhooks import WebhookDelivery, WebhookEndpoint
from services.settings import Settings
from services.webhooks.signing import endpoint_secret
from tests.api.web.admin.conftest import Clerk, SeatClerk
from tests.api.web.admin.world import World

_EVERYTHING = {view.name for view in VIEWS}
OPEN_TO: dict[Role, set[str]] = {
    Role.USER: set(),
    Role.AUTHOR: set(),
    Role.VENDOR: {"products"},
    Role.EDITOR: {"bans", "comments", "posts", "reviews"},
    Role.MANAGER: _EVERYTHING - {"audit", "events", "jobs", "webhooks"},
    Role.ADMIN: _EVERYTHING,
    Role.SUPER_ADMIN: _EVERYTHING,
}
WORDLESS = {f"/admin/{name}" for name in ("jobs", "orders", "payments", "returns")}  # nothing there is free text
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&{{7*7}}"


WATCHED: list[type[AgoraDocument]] = [
    Comment,
    CommentBan,
    Coupon,
    Customer,
    DeadLetter,
    FraudReview,
    FraudRule,
    Post,
    Product,
    ReturnRequest,
    Review,
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
    async def test_each_role_opens_its_views_and_no_other_and_is_led_nowhere_else(self, seat: SeatClerk) -> None:
        world = await World.made()
        clerks = {role: await seat(role) for role in Role}
        before = await everything()

        for role, clerk in clerks.items():
            mine = OPEN_TO[role]
            front = await clerk.get("/admin")
            assert front.status_code == (200 if mine else 403)
            texts = [front.text]
            for view in VIEWS:
                # A view asks for one permission, in one place: where it is refused, one page stands for the others.
                is_walked = role is Role.USER or (view.name in mine and role is not Role.SUPER_ADMIN)
                paths = world.pages(view) if is_walked else world.pages(view)[:1]
                answers = [await clerk.get(path) for path in paths]
                expected = [200 if view.name in mine else 403] * len(answers)
                if (role, view.name) == (Role.VENDOR, "products"):
                    expected[1] = 404  # somebody else's
                assert [answer.status_code for answer in answers] == expected, (role, view.name)
                texts += [answer.text for answer in answers]
                if view.name not in mine:
                    moves = world.moves(view) if role is Role.USER else world.moves(view)[:1]
                    assert {(await clerk.send(path)).status_code for path in moves} <= {403}, (role, view.name)
            assert set(re.findall(r'href="/admin/([a-z]+)', front.text)) == mine
            assert set(re.findall(r'(?:href|action)="/admin/([a-z]+)', "".join(texts))) == mine, role
            assert ('href="/dashboard"' in front.text) == (role in (Role.MANAGER, Role.ADMIN, Role.SUPER_ADMIN))

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


STRANGE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Content-Type": "text/plain"},
    {"Content-Type": "multipart/form-data; boundary=x"},
]


def test_the_last_words_of_a_views_moves_differ() -> None:
    """The page that is shown after a move is told that word, and says what was done."""
    for view in VIEWS:
        words = [path.rpartition("/")[2] for path in view.moves]
        assert len(set(words)) == len(words), view.name


class TestForms:
    async def test_no_form_works_without_its_sessions_token_or_from_another_site(self, admin: Clerk, seat: SeatClerk) -> None:
        world, other = await World.made(), await seat(Role.ADMIN)
        before = await everything()
        good = f"form_token={admin.token}&revision=1&role=editor&minutes=5"
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        tokens = [{}, {"form_token": ""}, {"form_token": other.token}, {"form_token": admin.token[:-2]}]
        paths = [path for view in VIEWS for path in world.moves(view)]

        # Every form in two strange ways, and each way with several forms.
        for number, path in enumerate(paths):
            fields, headers = tokens[number % len(tokens)], STRANGE[number % len(STRANGE)]
            answer = await admin.client.post(path, data={"note": "x", **fields}, headers=admin.cookies)
            assert answer.status_code == 403, (path, fields)
            answer = await admin.client.post(path, content=good, headers={**kind, **admin.cookies, **headers})
            assert answer.status_code == 403, (path, headers)

        assert await everything() == before

    async def test_no_move_answers_to_a_link(self, admin: Clerk) -> None:
        world = await World.made()
        before = await everything()

        for view in VIEWS:
            for path in world.moves(view):
                assert (await admin.get(path)).status_code in (404, 405), path

        assert await everything() == before

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
        # The key of a ban is whom it names, and every page asks for the session.
        secrets = [name for name in texts if secret(name) and document not in (CommentBan, LoginSession)]
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
            *(str(row["_id"]) for row in await LoginSession.find_rows({})),
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
                if path not in WORDLESS:
                    assert harmless.replace("'", "&#39;") in page or harmless in page, path

    async def test_no_page_runs_or_loads_anything_of_others_and_every_form_carries_the_token(self, admin: Clerk) -> None:
        world, forms = await World.made(), 0

        for path in ["/admin", *(path for view in VIEWS for path in world.pages(view))]:
            answer = await admin.get(path)
            assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self';"), path
            assert "unsafe" not in answer.headers["content-security-policy"]
            assert answer.headers["cache-control"] == "no-store"
            assert re.findall(r"<script|\sstyle=|\son[a-z]+=|javascript:|https?://", answer.text.replace(_ENDPOINT, "")) == [], (
                path
            )
            assert re.findall(r'<(?:link|img|iframe)[^>]+(?:href|src)="(?!/static/agora/|data:,")', answer.text) == [], path
            for form in re.findall(r'<form method="post".*?</form>', answer.text, re.DOTALL):
                forms += 1
                assert f'name="form_token" value="{admin.token}"' in form, path
        assert forms > 60

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
