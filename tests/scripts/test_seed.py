"""The sample data: complete, consistent, the same every time."""

import io
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from models.analytics.purchases import CustomerDay, CustomerSale, CustomerTotals, CustomerValue
from models.analytics.rollups import FactMark, HourRollup, MonthRollup, Rollup, RollupGeneration
from models.audit import AuditEntry
from models.base import AgoraDocument
from models.blog.comments import Comment
from models.blog.posts import Post, PostRevision, PostSlug, PostStatus, PostViews
from models.blog.taxonomy import Category, Tag
from models.database import Database
from models.documents import DOCUMENTS
from models.ecommerce.catalog import Product
from models.ecommerce.customers import LoyaltyEntry
from models.ecommerce.orders import Order, OrderStatusHistory
from models.ecommerce.returns import ReturnRequest
from models.ecommerce.reviews import Review
from models.ecommerce.wishlists import StockNotice, WishlistItem
from models.inventory.stock import StockMovement
from models.payments import Payment, Refund
from models.social import Follow, Like
from models.users import Role, User
from scripts import demo, seed
from scripts.database.embedded import EmbeddedServer
from scripts.samples import orders, shop
from scripts.samples.publication import DEMO_ACCOUNTS, DemoAccount, make_unit
from scripts.seed import ProductionSeedError, SampleConflictError, accounts_table, ensure_seeded, summary_table
from services.ecommerce.listed_variants import VariantNow, variants_now
from services.reconcile import ReconcileService
from services.settings import Environment, Settings
from services.terms import post_terms
from services.users.passwords import PasswordService
from tests.factories.users import create_user
from tests.smallshop import tiny_samples

ANCHOR = datetime(2026, 11, 1, 12, tzinfo=UTC)
WRITTEN = [User, Category, Tag, PostSlug, PostRevision, Post, PostViews, Comment, Like, Follow]
SOLD = [Product, Order, OrderStatusHistory, Payment, Refund, StockMovement, LoyaltyEntry, ReturnRequest, Review]
# What follows from the samples.
COUNTED = (Rollup, MonthRollup, HourRollup, FactMark, RollupGeneration, CustomerSale, CustomerValue, CustomerDay, CustomerTotals)


async def everything() -> dict[str, list[dict[str, Any]]]:
    return {document.__name__: await document.find_rows({}, sort=[("_id", 1)]) for document in DOCUMENTS}


async def fill(settings: Settings, scale: int = 1) -> seed.SeedSummary:
    return await seed.seed(settings=settings, scale=scale, progress=False, now=ANCHOR)


async def variants_of(document: type[WishlistItem] | type[StockNotice]) -> list[VariantNow]:
    rows = await document.find_rows({})
    things = await variants_now([(row["product_id"], row["variant_id"]) for row in rows])
    return [things[row["variant_id"]] for row in rows]


@pytest.fixture
def small() -> Iterator[None]:
    """Units of a fraction of the size, for what does not depend on it."""
    with tiny_samples():
        yield


class TestSeed:
    async def test_blg_a5_the_story_is_in_it(self, database: Database, settings: Settings, small_shop: None) -> None:
        """The publication in its full size."""
        summary = await fill(settings)

        categories = await Category.find_rows({})
        assert {row["name"]: row["color"] for row in categories} == {
            "Technology": "#3498db",
            "Programming": "#e74c3c",
            "Design": "#9b59b6",
            "Lifestyle": "#f39c12",
        }
        roles = {row["username"]: row["role"] for row in await User.find_rows({})}
        assert (roles["johndoe"], roles["janedoe"], roles["admin"]) == (Role.AUTHOR, Role.AUTHOR, Role.ADMIN)
        names = {row["_id"]: row["username"] for row in await User.find_rows({})}
        tags = {row["_id"]: row["name"] for row in await Tag.find_rows({})}
        story = await Post.find_rows({"published_at": {"$gt": ANCHOR - timedelta(days=5)}, "author_id": {"$in": list(names)}})
        told = {row["title"]: (names[row["author_id"]], [tags[key] for key in row["tag_ids"]], row["status"]) for row in story}
        assert told["Getting Started with MongoDB"] == ("johndoe", ["MongoDB", "Database"], "published")
        assert told["Building Modern APIs with Python and FastAPI"] == (
            "janedoe",
            ["Python", "FastAPI", "Web Development"],
            "published",
        )
        assert told["Principles of Good Design"] == ("janedoe", ["Design", "UX"], "published")
        assert summary.inserted["users"] == 66
        assert summary.inserted["posts"] == 150
        assert summary.inserted["comments"] == 1000
        assert [row async for row in ReconcileService.drift()] == []

    def test_size_of_the_shop(self) -> None:
        assert (shop.PRODUCTS, shop.CUSTOMERS, orders.ORDERS) == (200, 500, 2000)

    async def test_people_wish_for_what_is_public_and_wait_for_what_is_sold_out(
        self, database: Database, settings: Settings, small: None
    ) -> None:
        await fill(settings)

        wishes = await variants_of(WishlistItem)
        awaited = await variants_of(StockNotice)
        assert (len(wishes) > 30, len(awaited) > 3) == (True, True)
        assert {thing.is_for_sale for thing in (*wishes, *awaited)} == {True}
        assert {thing.is_available for thing in awaited} == {False}

    async def test_a_second_run_changes_nothing(self, database: Database, settings: Settings, small: None) -> None:
        first = await fill(settings)
        before = await everything()

        second = await seed.seed(settings=settings, progress=False, now=ANCHOR + timedelta(days=3))

        assert first.inserted == {
            document.get_collection_name(): len(before[document.__name__])
            for document in DOCUMENTS
            if before[document.__name__] and document not in (AuditEntry, *COUNTED)
        }
        assert (second.total, second.inserted) == (0, {})
        assert await everything() == before

    @pytest.mark.parametrize("insertions", [1, 5, 9])
    async def test_a_killed_run_is_completed_to_the_same_data(
        self, database: Database, settings: Settings, small: None, monkeypatch: pytest.MonkeyPatch, insertions: int
    ) -> None:
        monkeypatch.setattr(seed, "BATCH", 40)
        named = {document.__name__: document for document in DOCUMENTS}
        await fill(settings, scale=1)
        expected = await everything()
        for name in expected:
            if expected[name]:
                await named[name].collection().delete_many({})
        whole = seed._insert_missing
        calls = 0

        async def dies(document: type[AgoraDocument], batch: Any) -> int:
            nonlocal calls
            calls += 1
            if calls == insertions:
                await whole(document, batch[: len(batch) // 2])
                raise KeyboardInterrupt
            return await whole(document, batch)

        with monkeypatch.context() as patched:
            patched.setattr(seed, "_insert_missing", dies)
            with pytest.raises(KeyboardInterrupt):
                await fill(settings)
        summary = await seed.seed(settings=settings, progress=False, now=ANCHOR + timedelta(days=3))

        assert summary.total > 0
        assert [row async for row in ReconcileService.drift()] == []
        assert _without_hashes(await everything()) == _without_hashes(expected)

    async def test_a_larger_scale_adds_units_and_leaves_the_first_alone(
        self, database: Database, settings: Settings, small: None
    ) -> None:
        await fill(settings)
        people = await User.find_rows({}, sort=[("_id", 1)])

        summary = await fill(settings, scale=3)

        assert (summary.inserted["users"], summary.inserted["posts"], summary.inserted["orders"]) == (2 * 36, 2 * 15, 2 * 40)
        assert "tags" not in summary.inserted
        assert await User.find_rows({"_id": {"$in": [row["_id"] for row in people]}}, sort=[("_id", 1)]) == people
        assert [row async for row in ReconcileService.drift()] == []

    async def test_what_is_taken_stops_it_with_one_sentence(self, database: Database, settings: Settings, small: None) -> None:
        await create_user(username="janedoe")

        with pytest.raises(SampleConflictError, match="users holds one of its names"):
            await fill(settings)

    async def test_never_in_production(self, database: Database, settings: Settings) -> None:
        production = settings.model_copy(update={"environment": Environment.PRODUCTION})

        with pytest.raises(ProductionSeedError):
            await fill(production)

        assert await User.find_rows({}) == []
        assert await AuditEntry.find_rows({}) == []


class TestEnsureSeeded:
    async def test_fills_an_empty_database_once(self, database: Database, settings: Settings, small: None) -> None:
        first = await ensure_seeded(settings=settings, progress=False)
        second = await ensure_seeded(settings=settings, progress=False)

        assert first is not None
        assert first.inserted["users"] == 36
        assert second is None

    async def test_leaves_a_database_with_people_alone(self, database: Database, settings: Settings, small: None) -> None:
        await create_user()

        assert await ensure_seeded(settings=settings, progress=False) is None
        assert len(await User.find_rows({})) == 1

    async def test_completes_what_was_begun(
        self, database: Database, settings: Settings, small: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def dies(*_: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(seed, "_complete", dies)
            with pytest.raises(KeyboardInterrupt):
                await ensure_seeded(settings=settings, progress=False)

        summary = await ensure_seeded(settings=settings, progress=False)

        assert summary is not None
        assert summary.total == 0
        assert [row async for row in ReconcileService.drift()] == []


class TestSamples:
    def test_the_same_anchor_gives_the_same_rows(self, database: Database, settings: Settings, small: None) -> None:
        first, second = (make_unit(1, ANCHOR, hashes={}, settings=settings) for _ in range(2))

        assert [[row.row() for row in rows] for rows in first.documents.values()] == [
            [row.row() for row in rows] for rows in second.documents.values()
        ]

    def test_times_lie_within_thirteen_months_and_posts_are_what_the_services_make(
        self, database: Database, settings: Settings, small_shop: None
    ) -> None:
        unit = make_unit(0, ANCHOR, hashes={}, settings=settings)

        for document in [*WRITTEN, *SOLD]:
            moments = [row.created_at for row in unit.documents[document]]
            assert ANCHOR - timedelta(days=396) <= min(moments)
            assert max(moments) <= ANCHOR
        posts: list[Post] = unit.documents[Post]
        assert all(post.terms == post_terms(title=post.title, excerpt=post.excerpt, content=post.content) for post in posts)
        assert set(Counter(post.status for post in posts)) == set(PostStatus)
        assert len({post.slug for post in posts}) == 150
        created = {user.id: user.created_at for user in unit.documents[User]}
        published = {post.id: post.published_at for post in posts}
        for comment in unit.documents[Comment]:
            assert comment.author_id is None or created[comment.author_id] <= comment.created_at
            assert published[comment.post_id] <= comment.created_at
            assert len(comment.ancestor_ids) == comment.depth

    @pytest.mark.parametrize("account", DEMO_ACCOUNTS, ids=lambda account: account.username)
    async def test_demo_passwords_pass_the_policy_and_open_the_account(
        self, database: Database, settings: Settings, small: None, account: DemoAccount
    ) -> None:
        PasswordService.check_policy(account.password, username=account.username, email=account.email)
        await fill(settings)

        row = await User.find_row({"username": account.username})

        assert row is not None
        assert row["role"] == account.role
        assert (await PasswordService.verify(account.password, row["password_hash"], settings=settings)).is_right


class TestTables:
    async def test_say_what_was_inserted_and_who_can_sign_in(self, database: Database, settings: Settings, small: None) -> None:
        console = Console(file=io.StringIO(), record=True, width=100)
        console.print(summary_table(await fill(settings)))
        console.print(accounts_table())

        text = console.export_text()

        assert "post_revisions" in text
        assert "agora-demo-reader" in text


class TestMain:
    def test_fills_in_says_so_and_does_nothing_the_second_time(
        self,
        embedded_server: EmbeddedServer,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        small_shop: None,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        for name, value in {
            "MONGODB_URI": embedded_server.uri,
            "AGORA_DATA": str(tmp_path),
            "AGORA_DATABASE": f"seed_{uuid.uuid4().hex[:12]}",
            "AGORA_PASSWORD_HASH_TIME_COST": "1",
            "AGORA_PASSWORD_HASH_MEMORY_KIB": "8",
        }.items():
            monkeypatch.setenv(name, value)
        printed = []
        for run in (seed.main, seed.main, demo.main):
            with pytest.raises(SystemExit) as ended:
                run()
            assert ended.value.code == 0
            printed.append(capsys.readouterr().out)

        assert "post_revisions" in printed[0]
        assert "agora-demo-reader" in printed[0]
        assert "nothing inserted" in printed[1]
        assert "johndoe follows janedoe" in printed[2]

    def test_another_scale_is_refused(self) -> None:
        with pytest.raises(typer.BadParameter, match="The scale is 1, 10 or 100"):
            seed.main(scale=7)


def _without_hashes(rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Salts differ; so do the times at which a run was marked complete and its sales were counted."""
    for user in rows["User"]:
        user.pop("password_hash")
    for entry in rows["AuditEntry"]:
        entry.pop("created_at")
        entry.pop("updated_at")
    for row in (*rows["Rollup"], *rows["MonthRollup"], *rows["HourRollup"], *rows["FactMark"]):
        row.pop("created_at")
        row.pop("updated_at")
    for kept in (CustomerSale, CustomerValue, CustomerDay, CustomerTotals):  # each run gives them ids of its own
        for row in rows[kept.__name__]:
            for name in ("_id", "created_at", "updated_at"):
                row.pop(name)
        rows[kept.__name__].sort(key=lambda row: [row.get(name) for name in ("customer_id", "currency", "order_id", "day")])
    return {**rows, "RollupGeneration": [{"number": row["number"]} for row in rows["RollupGeneration"]]}
