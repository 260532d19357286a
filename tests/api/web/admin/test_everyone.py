"""What holds for every page and every form of the admin: who may, what never shows, and what no other site can send."""

import re
from datetime import timedelta
from html import escape
from typing import Any

import httpx2
import pytest
from beanie import PydanticObjectId

from api.web.admin.pages import VIEWS
from api.web.admin.views import View
from models.audit import AuditEntry
from models.base import AgoraDocument, now
from models.blog.comments import Comment, CommentStatus
from models.documents import DOCUMENTS
from models.ecommerce.orders import Order, OrderStatus, OrderStatusHistory
from models.fraud import FraudReview
from models.inventory.stock import StockLevel, StockMovement
from models.jobs import Job
from models.payments import Payment, Refund, Transaction, TransactionKind, TransactionStatus
from models.users import LoginSession, Role, User
from models.webhooks import DeliveryState, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from services.settings import Settings
from services.webhooks.signing import endpoint_secret
from tests.api.web.admin.conftest import Clerk, SeatClerk
from tests.factories.blog import create_post
from tests.factories.catalog import create_product
from tests.factories.comments import create_comment
from tests.factories.inventory import stock
from tests.factories.orders import create_order, make_line
from tests.factories.payments import captured_payment, create_payment
from tests.factories.users import create_user
from tests.factories.webhooks import create_delivery, create_endpoint

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


class World:
    """One of everything that a page shows, and the paths of all pages."""

    def __init__(self, ids: dict[str, dict[str, str]]) -> None:
        self.ids = ids

    @classmethod
    async def made(cls, text: str = "plain") -> "World":
        """`text` stands wherever people may write."""
        person = await create_user(first_name=text[:50], last_name=text[:50])
        comment = await create_comment(
            post=await create_post(), status=CommentStatus.PENDING, content=text, author_name=text, user_agent=text
        )
        order = await create_order(
            status=OrderStatus.CONFIRMED,
            lines=[make_line(name=text, sku=text)],
            customer_notes=text,
            admin_notes=text,
            is_held=True,
            hold_reason=text,
            user_id=person.id,
            email=f"{text}@example.com",
        )
        await OrderStatusHistory(
            order_id=order.id, old_status=None, new_status=OrderStatus.CONFIRMED, changed_at=now(), changed_by=text, reason=text
        ).store()
        payment = await captured_payment(subject=f"order:{order.id}", failure_message=text, instrument=text)
        await Refund(
            payment_id=payment.id,
            subject=payment.subject,
            gateway="sandbox",
            key=str(PydanticObjectId()),
            amount=payment.amount,
            reason=text,
            failure_message=text,
            check_at=now(),
        ).store()
        await Transaction(
            payment_id=payment.id,
            kind=TransactionKind.CHARGE,
            status=TransactionStatus.SUCCEEDED,
            amount=payment.amount,
            gateway="sandbox",
            gateway_reference=text,
            gateway_data={"said": text},
            duration_ms=3,
        ).store()
        held = await create_payment(subject=payment.subject)
        review = await FraudReview(
            payment_id=held.id, subject=text, rule=text, amount=held.amount, method="card", note=text
        ).store()
        product = await create_product(name=text)
        level = await stock(product.variants[0], 5, product=product)
        await StockMovement.change({"variant_id": level.variant_id}, {"$set": {"reason": text, "reference": text}})
        endpoint = await create_endpoint(description=text, url=f"https://hooks.example.com/{text}")
        delivery = await create_delivery(
            endpoint,
            state=DeliveryState.FAILED,
            body=text,
            last_error=text,
            attempts=[WebhookAttempt(at=now(), status=500, duration_ms=2, answer=text, error=text)],
        )
        await Job(name="tidy_up", next_run_at=now() + timedelta(hours=1), last_error=text, last_result=text).store()
        await AuditEntry(action="made", subject=text, address=text, details={"note": text}).store()
        return cls(
            {
                "comments": {"id": str(comment.id)},
                "fraud": {"id": str(review.id)},
                "orders": {"id": str(order.id)},
                "payments": {"id": str(payment.id)},
                "stock": {"id": str(level.id)},
                "users": {"id": str(person.id)},
                "webhooks": {"id": str(endpoint.id), "delivery_id": str(delivery.id)},
                "jobs": {"name": "tidy_up"},
                "products": {},
                "audit": {},
            }
        )

    def pages(self, view: View) -> list[str]:
        return [view.path + path.format(**self.ids[view.name]) for path in view.pages]

    def moves(self, view: View) -> list[str]:
        return [view.path + path.format(**self.ids[view.name]) for path in view.moves]


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
            assert re.findall(r'<(?:link|img|iframe)[^>]+(?:href|src)="(?!/static/agora/)', answer.text) == [], path

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
