"""The benchmark of reports: what it asks, and the history it asks about. Its figures are for people."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from models.analytics.rollups import Dimension
from models.base import now
from models.database import Database
from models.ecommerce.customers import Customer
from models.ecommerce.orders import Order
from scripts.bench_analytics import endpoints
from scripts.benchmark.history import add_reviews, add_visits_and_carts, grow_to
from scripts.seed import seed
from services.analytics.periods import Period
from services.analytics.rollups.rollups import RollupService
from services.settings import Settings
from tests.smallshop import tiny_samples


def test_asks_every_report_that_the_application_has(settings: Settings) -> None:
    asked, unknown = endpoints(settings)

    page = "/dashboard/parts/overview"
    told = {"sales", "revenue", "products", "customers", "{report}/export", page, f"{page}, Europe/Berlin"}
    assert told <= {one.name for one in asked}
    assert len({one.query(0) for one in asked}) == len({one.query(1) for one in asked}) == len(asked)
    assert unknown == ["/api/v1/analytics/dashboards/{dashboard_id}"]


async def test_a_grown_history_is_one_that_rollups_agree_with(database: Database, settings: Settings) -> None:
    with tiny_samples():
        await seed(settings=settings, progress=False)
    first = await Order.count_rows({})

    assert await grow_to(first + 30) == await Order.count_rows({}) == first + 30
    await add_visits_and_carts(first, settings)
    await add_reviews()
    await RollupService.rebuild(pause=timedelta(0))

    assert [row async for row in RollupService.drift()] == []
    assert await Customer.count_rows({"user_id": None}) > 0
    ever = Period(datetime(2024, 1, 1, tzinfo=UTC).date(), now().date() + timedelta(days=1), ZoneInfo("UTC"))
    sold = await RollupService.totals(Dimension.TOTAL, currency=settings.currency, period=ever)
    paid = await Order.find_rows({}, {"paid_at": 1, "totals": 1})
    assert sold["total"] == sum(row["totals"]["total"]["amount"] for row in paid if row["paid_at"] is not None)
