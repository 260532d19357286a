"""Reconciliation over the API: what `make reconcile` tells and mends, for administrators."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from beanie import PydanticObjectId

from models.audit import AuditEntry
from models.blog.posts import Post, PostStatus
from models.blog.taxonomy import Tag
from models.database import in_transaction
from models.payments import Payment
from models.users import Role
from services import reconcile
from services.heavy import AT_ONCE, QUEUE, heavy_work
from services.reconcile import CHECKS, Check, Drift
from tests.api.conftest import Headers, SignIn
from tests.factories.blog import create_post
from tests.factories.payments import make_payment

REPORT = "/api/v1/system/reconciliation"
REPAIRS = "/api/v1/system/reconciliation/repairs"


@pytest.fixture
async def admin(as_role: SignIn) -> Headers:
    return await as_role(Role.ADMIN)


@pytest.fixture
async def post(client: httpx2.AsyncClient) -> Post:
    """Says that five people like it; nobody does."""
    return await create_post(status=PostStatus.PUBLISHED, likes_count=5)


@pytest.fixture
async def payment(client: httpx2.AsyncClient) -> Payment:
    """Says that seven cents were taken; it was never sent to its gateway."""
    return await make_payment(captured=7).store()


def found(answer: httpx2.Response) -> dict[str, list[dict[str, Any]]]:
    """The differences by check, of those that have one."""
    assert answer.status_code == 200, answer.text
    report = answer.json()
    assert [check["name"] for check in report["checks"]] == [check.name for check in CHECKS]
    assert report["drift_count"] == sum(check["drift_count"] for check in report["checks"])
    assert report["repaired_count"] == sum(check["repaired_count"] for check in report["checks"])
    return {check["name"]: check["drift"] for check in report["checks"] if check["drift_count"]}


def likes_drift(post: Post, *, is_repaired: bool) -> dict[str, Any]:
    place = {"collection": "posts", "id": str(post.id), "field": "likes_count", "stored": 5, "counted": 0}
    return {**place, "is_derived": True, "is_repaired": is_repaired}


def money_drift(payment: Payment) -> dict[str, Any]:
    place = {"collection": "payments", "id": str(payment.id), "field": "captured", "stored": 7, "counted": 0}
    return {**place, "is_derived": False, "is_repaired": False}


async def rows(post: Post, payment: Payment) -> list[dict[str, Any] | None]:
    return [await Post.find_row({"_id": post.id}), await Payment.find_row({"_id": payment.id})]


class TestReportDrift:
    async def test_all_adds_up(self, client: httpx2.AsyncClient, admin: Headers) -> None:
        answer = await client.get(REPORT, headers=admin)

        assert found(answer) == {}
        assert (answer.json()["drift_count"], answer.json()["for_people_count"]) == (0, 0)
        assert answer.json()["started_at"] <= answer.json()["finished_at"]

    async def test_tells_what_differs_and_changes_nothing(
        self, client: httpx2.AsyncClient, admin: Headers, post: Post, payment: Payment
    ) -> None:
        before = await rows(post, payment)

        answer = await client.get(REPORT, headers=admin)

        assert found(answer) == {
            "posts.likes_count": [likes_drift(post, is_repaired=False)],
            "payments": [money_drift(payment)],
        }
        totals = {name: answer.json()[name] for name in ("drift_count", "repaired_count", "for_people_count")}
        assert totals == {"drift_count": 2, "repaired_count": 0, "for_people_count": 1}
        assert await rows(post, payment) == before
        assert await AuditEntry.find_rows({"action": "drift.repaired"}) == []

    async def test_shows_a_hundred_of_a_check_and_counts_them_all(self, client: httpx2.AsyncClient, admin: Headers) -> None:
        tags = [Tag(name=f"Tag {n}", slug=f"tag-{n}", usage_count=1) for n in range(103)]
        await Tag.collection().insert_many([tag.row() for tag in tags])

        checks = (await client.get(REPORT, headers=admin)).json()["checks"]

        (check,) = [check for check in checks if check["drift_count"]]
        assert (check["name"], check["drift_count"], len(check["drift"])) == ("tags.usage_count", 103, 100)

    async def test_beyond_the_queue_of_heavy_work_it_is_refused(self, client: httpx2.AsyncClient, admin: Headers) -> None:
        release = asyncio.Event()

        async def other_work() -> None:
            async with heavy_work():
                await release.wait()

        others = [asyncio.create_task(other_work()) for _ in range(AT_ONCE + QUEUE)]
        await asyncio.sleep(0)
        key = {**admin, "Idempotency-Key": "once"}
        refused = [await client.get(REPORT, headers=admin), await client.post(REPAIRS, headers=key)]
        release.set()
        await asyncio.gather(*others)
        later = await client.post(REPAIRS, headers=key)

        told = [(answer.status_code, answer.json()["code"], answer.headers["retry-after"]) for answer in refused]
        assert told == [(503, "overloaded", "5")] * 2
        assert later.status_code == 200  # nothing was kept under the key


class TestRepairDrift:
    async def test_mends_what_is_derived_and_leaves_the_rest_to_people(
        self, client: httpx2.AsyncClient, admin: Headers, post: Post, payment: Payment
    ) -> None:
        page = f"/api/v1/blog/posts/{post.slug}"
        assert (await client.get(page)).json()["likes_count"] == 5

        answer = await client.post(REPAIRS, headers={**admin, "Idempotency-Key": "once"})

        assert found(answer) == {
            "posts.likes_count": [likes_drift(post, is_repaired=True)],
            "payments": [money_drift(payment)],
        }
        assert answer.json()["repaired_count"] == 1
        [mended, money] = await rows(post, payment)
        assert mended is not None
        assert money is not None
        assert (mended["likes_count"], money["captured"]) == (0, 7)
        assert (await client.get(page)).json()["likes_count"] == 0  # also where the page was kept
        assert found(await client.get(REPORT, headers=admin)) == {"payments": [money_drift(payment)]}
        me = (await client.get("/api/v1/users/me", headers=admin)).json()["id"]
        (entry,) = await AuditEntry.find_rows({"action": "drift.repaired"})
        assert (entry["subject"], str(entry["actor_id"])) == (f"posts:{post.id}", me)
        assert entry["details"] == {"field": "likes_count", "stored": 5, "counted": 0}

    async def test_repeated_request_is_answered_as_before(self, client: httpx2.AsyncClient, admin: Headers, post: Post) -> None:
        key = {**admin, "Idempotency-Key": "once"}
        first = await client.post(REPAIRS, headers=key)
        await Post.collection().update_one({"_id": post.id}, {"$set": {"likes_count": 9}})

        again = await client.post(REPAIRS, headers=key)

        assert again.content == first.content
        assert again.headers["idempotent-replayed"] == "true"
        row = await Post.find_row({"_id": post.id})
        assert row is not None
        assert row["likes_count"] == 9

    @pytest.mark.parametrize("role", [None, Role.USER, Role.VENDOR, Role.EDITOR, Role.MANAGER])
    async def test_others_are_refused_and_nothing_changes(
        self, client: httpx2.AsyncClient, as_role: SignIn, post: Post, payment: Payment, role: Role | None
    ) -> None:
        headers = await as_role(role) if role else {}
        before = await rows(post, payment)

        answers = [
            await client.get(REPORT, headers=headers),
            await client.post(REPAIRS, headers={**headers, "Idempotency-Key": "once"}),
        ]

        assert [answer.status_code for answer in answers] == ([403, 403] if role else [401, 401])
        assert all(str(post.id) not in answer.text for answer in answers)
        assert await rows(post, payment) == before
        assert await AuditEntry.find_rows({"action": "drift.repaired"}) == []

    async def test_no_transaction_spans_it(
        self, client: httpx2.AsyncClient, admin: Headers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One over all collections would stand in everybody's way, and hide what others write meanwhile."""
        seen = []

        async def look() -> AsyncIterator[Drift]:
            seen.append(in_transaction())
            yield Drift("posts", PydanticObjectId(), "likes_count", 1, 0)

        monkeypatch.setattr(reconcile, "CHECKS", (Check("posts.likes_count", look),))

        answer = await client.post(REPAIRS, headers={**admin, "Idempotency-Key": "once"})

        assert seen == [False]
        assert (answer.json()["drift_count"], answer.json()["repaired_count"]) == (1, 0)  # the post is gone
