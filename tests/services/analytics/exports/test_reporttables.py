"""The reports of customers, stock, payments, content and users as tables: rows by hand, and all of them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from beanie import PydanticObjectId

from models.blog.posts import PostViews
from models.database import Database
from models.inventory.stock import StockLevel
from models.money import Money
from models.payments import PaymentState
from services.analytics.exports import reporttables
from services.analytics.exports.exports import EXPORTERS, ExportService, Ranking
from services.analytics.exports.files import ExportFormat
from services.analytics.exports.tables import Cell
from services.analytics.periods import Period
from services.analytics.purchases.purchases import PurchaseService
from services.analytics.scopes import ReportScope
from services.users.permissions import SYSTEM
from tests.factories.blog import create_post
from tests.factories.orders import create_order
from tests.factories.payments import make_payment
from tests.factories.purchases import create_sale
from tests.factories.sales import count_everything
from tests.factories.users import create_user

NOVEMBER = ReportScope(Period(date(2026, 11, 1), date(2026, 12, 1), ZoneInfo("UTC")), "USD", is_compared=True)
NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)


async def table_of(report: str, scope: ReportScope = NOVEMBER, limit: int = 100) -> list[list[Cell]]:
    table = await EXPORTERS[report](scope, SYSTEM, Ranking(limit=limit))
    return [list(table.head), *[list(row) async for batch in table.batches for row in batch]]


async def test_customers_and_cohorts(database: Database) -> None:
    old, new = PydanticObjectId(), PydanticObjectId()
    await create_sale(old, NOON - timedelta(days=31), 1000)
    await create_sale(old, NOON, 2001)
    await create_sale(new, NOON, 500, refunded_amount=100)
    await PurchaseService.recount(old, new)

    customers = await table_of("customers")
    cohorts = await table_of("cohorts", ReportScope(Period(date(2026, 10, 1), date(2026, 12, 1), ZoneInfo("UTC")), "USD"))

    assert [dict(zip(customers[0], row, strict=True)) for row in customers[1:]] == [
        {
            "period": "current",
            "customers_count": 2,
            "new_count": 1,
            "returning_count": 1,
            "orders_count": 2,
            "total (USD)": Decimal("25.01"),
            "average_order_value (USD)": Decimal("12.51"),
            "average_spend (USD)": Decimal("12.51"),
            "average_orders": Decimal("1.00"),
            "lifetime_customers_count": 2,
            "lifetime_orders_count": 3,
            "lifetime_net (USD)": Decimal("34.01"),
            "lifetime_lifetime_value (USD)": Decimal("17.01"),
            "lifetime_average_orders": Decimal("1.50"),
        },
        {
            "period": "previous",
            "customers_count": 1,
            "new_count": 1,
            "returning_count": 0,
            "orders_count": 1,
            "total (USD)": Decimal("10.00"),
            "average_order_value (USD)": Decimal("10.00"),
            "average_spend (USD)": Decimal("10.00"),
            "average_orders": Decimal("1.00"),
            **dict.fromkeys(name for name in customers[0] if str(name).startswith("lifetime_")),
        },
    ]
    assert cohorts == [
        ["month", "cohort_customers_count", "months_since", "customers_count", "share (%)"],
        ["2026-10", 1, 0, 1, Decimal(100)],
        ["2026-10", 1, 1, 1, Decimal(100)],
        ["2026-11", 1, 0, 1, Decimal(100)],
    ]


async def test_cover_and_dead_stock_hold_every_variant(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a page of them, read a page at a time; whatever somebody typed for a sku is text."""
    monkeypatch.setattr(reporttables, "PAGE", 2)
    levels = [
        await StockLevel(
            product_id=PydanticObjectId(),
            variant_id=PydanticObjectId(),
            location_id=PydanticObjectId(),
            sku=f"=1+{number}",
            on_hand=number,
            available=number,
            stock_value=Money(amount=100 * number, currency="USD"),
        ).store()
        for number in range(1, 6)
    ]

    cover = await table_of("cover")
    dead = await table_of("dead-stock", limit=1)

    assert cover[0][:5] == ["product_id", "variant_id", "sku", "name", "variant_title"]
    assert [row[1:] for row in cover[1:]] == [[str(row.variant_id), row.sku, None, None, row.on_hand, 0, None] for row in levels]
    assert [row[2:] for row in dead[1:]] == [
        [row.sku, None, None, row.on_hand, Decimal(f"{row.on_hand}.00")] for row in reversed(levels)
    ]
    export = await ExportService.export("cover", NOVEMBER, viewer=SYSTEM, format=ExportFormat.CSV)
    assert b'"\'=1+1"' in export.file.read()
    await export.close()


async def test_payments_and_their_failures(database: Database) -> None:
    subject = f"order:{(await create_order()).id}"
    for method, state, code in (
        ("card", PaymentState.CAPTURED, None),
        ("card", PaymentState.FAILED, "card_declined"),
        ("wallet", PaymentState.FAILED, "card_declined"),
    ):
        fields: dict[str, Any] = {"method": method, "gateway": "sandbox", "state": state, "failure_code": code}
        captured = 1000 if state is PaymentState.CAPTURED else 0
        await make_payment(**fields, subject=subject, captured=captured, created_at=NOON, settled_at=NOON).store()
    await count_everything()

    [head, *rows] = await table_of("payments")
    failures = await table_of("payment-failures")

    told = ["of", "name", "attempts_count", "captured_count", "captured (USD)", "failed_count", "capture_rate (%)"]
    assert [[dict(zip(head, row, strict=True))[name] for name in told] for row in rows] == [
        ["all", None, 3, 1, Decimal("10.00"), 2, Decimal("33.33")],
        ["method", "card", 2, 1, Decimal("10.00"), 1, Decimal(50)],
        ["method", "wallet", 1, 0, Decimal("0.00"), 1, Decimal(0)],
        ["gateway", "sandbox", 3, 1, Decimal("10.00"), 2, Decimal("33.33")],
        ["all before", None, 0, 0, Decimal("0.00"), 0, None],
    ]
    assert failures == [["code", "count"], ["card_declined", 2]]


async def test_posts_are_as_many_as_were_asked_for(database: Database) -> None:
    author = await create_user(username="jane", first_name="=HYPERLINK", last_name="(1)")
    for views in (3, 5):
        post = await create_post(author_id=author.id)
        await PostViews(post_id=post.id, day=NOON.replace(hour=0), views_count=views).store()

    posts, authors, content = [await table_of(report, limit=1) for report in ("posts", "authors", "content")]

    assert [row[:4] for row in posts[1:]] == [[5, 0, 0, 1]]
    assert [dict(zip(authors[0], row, strict=True))["full_name"] for row in authors[1:]] == ["=HYPERLINK (1)"]
    assert sum(row[0] for row in content[1:] if isinstance(row[0], int)) == 8
    assert len(content) == 31
