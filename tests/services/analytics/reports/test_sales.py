"""Sales reports: by hand on a small example, and against a recount in plain Python of random histories in many zones."""

import random
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from beanie import PydanticObjectId

from models.analytics.reports import LineFigures, SalesFigures
from models.database import Database
from models.ecommerce.catalog import Product
from models.ecommerce.coupons import Coupon
from models.ecommerce.orders import Order
from models.money import Money
from models.payments import Payment, Refund
from models.users import Role
from services.analytics.analytics import AnalyticsService
from services.analytics.periods import Granularity, InvalidPeriodError, Period
from services.analytics.reports.sales import SalesReportService, TopBy
from services.analytics.scopes import Comparison, ReportScope, UnknownTimeZoneError
from services.errors import PermissionDeniedError
from services.settings import Settings
from services.users.permissions import SYSTEM
from tests.commands import CommandLog
from tests.factories.catalog import create_category, create_product, make_variant, money
from tests.factories.pricing import create_coupon
from tests.factories.sales import count_everything, make_refund, make_sale, make_sold_line, paid_with, store_history
from tests.factories.users import create_user, viewer_of

SALES = SalesReportService
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe")


def scope_of(
    start: str,
    end: str,
    zone: str = "UTC",
    currency: str = "USD",
    granularity: Granularity = Granularity.DAY,
    compared: bool = False,
) -> ReportScope:
    period = Period(date.fromisoformat(start), date.fromisoformat(end), ZoneInfo(zone))
    return ReportScope(period, currency, granularity, compared)


def usd(cents: int) -> Money:
    return Money(amount=cents, currency="USD")


def plain(figures: SalesFigures | LineFigures) -> dict[str, int]:
    """Counts and minor units by name."""
    values = {name: getattr(figures, name) for name in type(figures).model_fields}
    return {
        name: value.amount if isinstance(value, Money) else value
        for name, value in values.items()
        if isinstance(value, Money | int) and name != "rank"
    }


async def small_history() -> tuple[Product, Product, Coupon]:
    """Two orders of November, of which one is cancelled in December and both are paid back in part; one that nobody paid."""
    category = await create_category(name="Shirts", slug="shirts")
    shirt = await create_product(name="Linen shirt", slug="linen-shirt", category=category)
    mug = await create_product(name="Mug", slug="mug")
    coupon = await create_coupon(code="SAVE10", name="Ten off")
    first = make_sale(
        [
            make_sold_line(shirt, quantity=2, price=2000, discount=400, tax=360),
            make_sold_line(mug, quantity=1, price=1001, discount=100, tax=90),
        ],
        paid_at=datetime(2026, 11, 10, 12, tzinfo=UTC),
        shipping=1000,
        coupon=coupon,
    )
    second = make_sale(
        [make_sold_line(mug, quantity=3, price=1000, tax=300)],
        paid_at=datetime(2026, 11, 30, 23, 30, tzinfo=UTC),
        cancelled_at=datetime(2026, 12, 2, tzinfo=UTC),
        source="api",
    )
    unpaid = make_sale([make_sold_line(shirt, quantity=9)], paid_at=None)
    paid, paid_second = paid_with(first), paid_with(second)
    refunds = [
        make_refund(paid, 500, at=datetime(2026, 11, 11, tzinfo=UTC)),
        make_refund(paid_second, 3300, at=datetime(2026, 12, 2, tzinfo=UTC)),
    ]
    for document in (first, second, unpaid, paid, paid_second, *refunds):
        await document.store()
    await count_everything()
    return shirt, mug, coupon


class TestGetSalesReport:
    async def test_by_hand(self, database: Database) -> None:
        await small_history()

        report = await SALES.get_sales_report(scope_of("2026-11-01", "2026-12-01"), viewer=SYSTEM)

        assert report.figures == SalesFigures(
            orders_count=2,
            units_count=6,
            gross=usd(4000 + 1001 + 3000),
            discount=usd(500),
            tax=usd(750),
            shipping=usd(1000),
            total=usd(8001 - 500 + 750 + 1000),
            refunds=usd(500),
            refunds_count=1,
            net=usd(8751),
            average_order_value=usd(4626),  # 9251 / 2 = 4625.5
            cancelled_count=0,
        )
        assert (report.window.starts_at, report.window.ends_at) == (
            datetime(2026, 11, 1, tzinfo=UTC),
            datetime(2026, 12, 1, tzinfo=UTC),
        )
        assert (report.previous_window, report.previous, report.change) == (None, None, None)

    async def test_com_s28_what_nobody_paid_counts_nowhere(self, database: Database) -> None:
        """COM-S28: the source counted every order that was not cancelled or refunded, paid or not."""
        product = await create_product()
        await make_sale([make_sold_line(product)], paid_at=None).store()
        await count_everything()

        report = await SALES.get_sales_report(scope_of("2026-10-01", "2026-12-01"), viewer=SYSTEM)

        assert set(plain(report.figures).values()) == {0}

    async def test_com_s28_the_end_is_not_included(self, database: Database) -> None:
        """COM-S28: in the source what happened at the end was told of two reports."""
        product = await create_product()
        for paid_at in (datetime(2026, 11, 30, 23, 59, 59, 999_000, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)):
            await make_sale([make_sold_line(product)], paid_at=paid_at).store()
        await count_everything()

        november = await SALES.get_sales_report(scope_of("2026-11-01", "2026-12-01"), viewer=SYSTEM)
        december = await SALES.get_sales_report(scope_of("2026-12-01", "2027-01-01"), viewer=SYSTEM)

        assert (november.figures.orders_count, december.figures.orders_count) == (1, 1)

    async def test_com_s28_empty_is_zero_and_not_nothing(self, database: Database) -> None:
        """COM-S28: the source answered `{}` where nothing was sold, and else `_id: None` beside the sums."""
        report = await SALES.get_sales_report(scope_of("2026-11-01", "2026-12-01", compared=True), viewer=SYSTEM)

        assert report.previous is not None
        assert report.change is not None
        assert plain(report.figures) == plain(report.previous) == dict.fromkeys(SalesFigures.model_fields, 0)
        assert set(report.change.model_dump().values()) == {None}
        assert "_id" not in report.model_dump_json()

    async def test_com_s28_days_are_those_of_the_zone(self, database: Database) -> None:
        """COM-S28: the source had no time zone. Half past eleven at night in London is the next day in Berlin."""
        await small_history()

        in_berlin = await SALES.get_sales_report(scope_of("2026-11-01", "2026-12-01", "Europe/Berlin"), viewer=SYSTEM)

        assert in_berlin.figures.orders_count == 1
        assert in_berlin.window.starts_at == datetime(2026, 10, 31, 23, tzinfo=UTC)

    async def test_com_s28_money_given_back_counts_when_it_was(self, database: Database) -> None:
        """COM-S28: the source left refunded orders out, so that the past changed. Here it is net, and the past stays."""
        await small_history()

        report = await SALES.get_sales_report(scope_of("2026-12-01", "2027-01-01"), viewer=SYSTEM)

        assert plain(report.figures) == {
            **dict.fromkeys(SalesFigures.model_fields, 0),
            "refunds": 3300,
            "refunds_count": 1,
            "net": -3300,
            "cancelled_count": 1,
        }

    async def test_change_is_of_the_period_before_and_null_where_that_was_nothing(self, database: Database) -> None:
        await small_history()

        report = await SALES.get_sales_report(scope_of("2026-11-30", "2026-12-20", compared=True), viewer=SYSTEM)

        assert report.previous_window is not None
        assert report.change is not None
        assert (report.previous_window.start, report.previous_window.end) == (date(2026, 11, 10), date(2026, 11, 30))
        change = report.change
        assert (change.orders_count, change.units_count) == (0, 0)  # one after one, three pieces after three
        assert change.gross == -4001  # 3000 after 5001: -40.0120 %
        assert change.net == -10_000  # nothing after 5451
        assert change.cancelled_count is None
        assert change.shipping == -10_000

    async def test_who_may_not_see_reports_is_refused(self, database: Database) -> None:
        viewer = viewer_of(await create_user(role=Role.EDITOR))
        scope = scope_of("2026-11-01", "2026-12-01")

        for ask in (
            SALES.get_sales_report,
            SALES.get_revenue_series,
            SALES.list_top_products,
            SALES.list_top_categories,
            SALES.list_coupon_sales,
            SALES.list_source_sales,
        ):
            with pytest.raises(PermissionDeniedError):
                await ask(scope, viewer=viewer)

    async def test_costs_two_commands_and_one_for_days_that_the_zone_cuts(self, database: Database, commands: CommandLog) -> None:
        await small_history()

        with commands.counting() as sent:
            await SALES.get_sales_report(scope_of("2026-11-01", "2026-12-01", "Europe/Berlin"), viewer=SYSTEM)
        assert len(sent) == 3, sent.sent
        with commands.counting() as sent:
            await SALES.get_sales_report(scope_of("2026-11-01", "2026-12-01", compared=True), viewer=SYSTEM)
        assert len(sent) == 2, sent.sent


class TestGetRevenueSeries:
    async def test_days_without_sales_are_points_too(self, database: Database) -> None:
        await small_history()

        series = await SALES.get_revenue_series(scope_of("2026-11-09", "2026-11-12", compared=True), viewer=SYSTEM)

        assert [(point.label, point.total.amount, point.refunds.amount) for point in series.points] == [
            ("2026-11-09", 0, 0),
            ("2026-11-10", 5951, 0),
            ("2026-11-11", 0, 500),
        ]
        assert series.previous is not None
        assert [point.label for point in series.previous] == ["2026-11-06", "2026-11-07", "2026-11-08"]

    async def test_costs_two_commands(self, database: Database, commands: CommandLog) -> None:
        await small_history()

        with commands.counting() as sent:
            await SALES.get_revenue_series(scope_of("2026-11-01", "2026-12-01", "Asia/Kathmandu"), viewer=SYSTEM)
        assert len(sent) == 2, sent.sent


class TestListTopProducts:
    async def test_com_s28_best_first_with_their_category_of_now(self, database: Database) -> None:
        """COM-S28: with their category, as the source promised."""
        shirt, mug, _ = await small_history()
        await Product.change({"_id": shirt.id}, {"$set": {"name": "Linen shirt, new"}})

        top = await SALES.list_top_products(scope_of("2026-11-01", "2026-12-01"), viewer=SYSTEM)

        assert [(row.rank, row.product_id, row.name, row.slug, row.category) for row in top.rows] == [
            (1, mug.id, "Mug", "mug", None),
            (2, shirt.id, "Linen shirt, new", "linen-shirt", "Shirts"),
        ]
        assert [plain(row) for row in top.rows] == [
            {
                "orders_count": 2,
                "units_count": 4,
                "gross": 4001,
                "discount": 100,
                "tax": 390,
                "total": 4291,
                "returned_units_count": 0,
            },
            {
                "orders_count": 1,
                "units_count": 2,
                "gross": 4000,
                "discount": 400,
                "tax": 360,
                "total": 3960,
                "returned_units_count": 0,
            },
        ]

    async def test_equal_ones_go_by_id_and_the_limit_cuts(self, database: Database) -> None:
        products = [await create_product() for _ in range(4)]
        for product in reversed(products):
            await make_sale([make_sold_line(product)], paid_at=datetime(2026, 11, 5, tzinfo=UTC)).store()
        await count_everything()

        top = await SALES.list_top_products(scope_of("2026-11-01", "2026-12-01"), viewer=SYSTEM, by=TopBy.UNITS, limit=3)

        assert [row.product_id for row in top.rows] == sorted(product.id for product in products)[:3]

    async def test_product_that_is_gone_keeps_its_figures(self, database: Database) -> None:
        product = await create_product()
        await make_sale([make_sold_line(product)], paid_at=datetime(2026, 11, 5, tzinfo=UTC)).store()
        await count_everything()
        await Product.collection().delete_one({"_id": product.id})

        (row,) = (await SALES.list_top_products(scope_of("2026-11-01", "2026-12-01"), viewer=SYSTEM)).rows

        assert (row.product_id, row.name, row.slug, row.category, row.total) == (product.id, None, None, None, usd(1000))

    async def test_nothing_sold_is_no_rows(self, database: Database) -> None:
        assert (await SALES.list_top_products(scope_of("2026-11-01", "2026-12-01"), viewer=SYSTEM)).rows == []

    async def test_costs_seven_commands_whatever_was_sold(self, database: Database, commands: CommandLog) -> None:
        await small_history()

        with commands.counting() as sent:
            await SALES.list_top_products(scope_of("2026-11-01", "2026-12-01", "Europe/Berlin"), viewer=SYSTEM)
        assert len(sent) == 7, sent.sent  # generation, months, edges, both of the best, names, categories


class TestListTopCategories:
    async def test_what_was_in_no_category_is_a_row(self, database: Database) -> None:
        shirt, _, _ = await small_history()

        top = await SALES.list_top_categories(scope_of("2026-11-01", "2026-12-01"), viewer=SYSTEM)

        assert [(row.rank, row.category_id, row.name, row.slug, row.total.amount) for row in top.rows] == [
            (1, None, None, None, 4291),
            (2, shirt.category_id, "Shirts", "shirts", 3960),
        ]


class TestListCouponSales:
    async def test_by_hand(self, database: Database) -> None:
        _, _, coupon = await small_history()

        (row,) = (await SALES.list_coupon_sales(scope_of("2026-11-01", "2026-12-01"), viewer=SYSTEM)).rows

        assert (row.coupon_id, row.code, row.name) == (coupon.id, "SAVE10", "Ten off")
        assert (row.orders_count, row.discount, row.total) == (1, usd(500), usd(5951))


class TestListSourceSales:
    async def test_by_hand(self, database: Database) -> None:
        await small_history()

        report = await SALES.list_source_sales(scope_of("2026-11-01", "2026-12-01"), viewer=SYSTEM)

        assert [(row.source, row.total.amount, row.refunds.amount) for row in report.rows] == [
            ("shop", 5951, 500),
            ("api", 3300, 0),
        ]

    async def test_source_that_only_paid_back_is_told(self, database: Database) -> None:
        await small_history()

        report = await SALES.list_source_sales(scope_of("2026-12-01", "2027-01-01"), viewer=SYSTEM)

        assert [(row.source, row.total.amount, row.net.amount, row.cancelled_count) for row in report.rows] == [
            ("api", 0, -3300, 1)
        ]


class TestRecount:
    """Every figure again, in plain Python over the stored rows, by the local date of each moment."""

    @pytest.mark.parametrize("seed", [1, 2])
    async def test_every_figure_is_what_the_raw_rows_say(self, database: Database, seed: int) -> None:
        dice = random.Random(seed)
        categories = [await create_category() for _ in range(2)]
        products = [await create_product(category=dice.choice([*categories, None])) for _ in range(5)]
        products += [await euro_product() for _ in range(2)]
        coupons = [await create_coupon() for _ in range(2)]
        await store_history(dice, products, coupons, orders=120)
        await count_everything()
        raw = await Raw.read()

        for zone in ZONES:
            for currency in ("USD", "EUR"):
                await check(raw, scope_of("2026-10-20", "2026-11-12", zone, currency))
            await check(raw, scope_of("2026-10-25", "2026-10-26", zone))  # a night on which clocks go back
        for granularity, start, end in (
            (Granularity.HOUR, "2026-10-24", "2026-10-27"),
            (Granularity.HOUR, "2026-10-31", "2026-11-02"),
            (Granularity.WEEK, "2026-10-14", "2026-11-12"),
            (Granularity.MONTH, "2026-10-14", "2026-11-12"),
        ):
            for zone in ("Europe/Berlin", "America/New_York"):
                await check_series(raw, scope_of(start, end, zone, granularity=granularity))


async def euro_product() -> Product:
    return await create_product(variants=[make_variant(price=money("9.90", "EUR"))])


class Raw:
    """The stored rows, and what they add up to."""

    def __init__(self, orders: list[dict[str, Any]], refunds: list[dict[str, Any]], payments: list[dict[str, Any]]) -> None:
        self.orders = orders
        owners = {order["_id"]: order for order in orders}
        of = {payment["_id"]: owners[PydanticObjectId(payment["subject"].removeprefix("order:"))] for payment in payments}
        self.refunds = [
            (refund, of[refund["payment_id"]])
            for refund in refunds
            if refund["state"] == "succeeded" and of[refund["payment_id"]]["payment_id"] == refund["payment_id"]
        ]

    @classmethod
    async def read(cls) -> "Raw":
        return cls(await Order.find_rows({}), await Refund.find_rows({}), await Payment.find_rows({}))

    def sold(self, currency: str, counts: Callable[[datetime], bool]) -> list[dict[str, Any]]:
        return [order for order in self.orders if order["currency"] == currency and order["paid_at"] and counts(order["paid_at"])]

    def figures(self, currency: str, counts: Callable[[datetime], bool], source: str | None = None) -> dict[str, int]:
        def of_source(order: dict[str, Any]) -> bool:
            return source is None or order["source"] == source

        sold = [order for order in self.sold(currency, counts) if of_source(order)]
        total = sum(order["totals"]["total"]["amount"] for order in sold)
        back = [
            refund["amount"]["amount"]
            for refund, order in self.refunds
            if order["currency"] == currency and counts(refund["settled_at"]) and of_source(order)
        ]
        cancelled = [
            order
            for order in self.orders
            if order["currency"] == currency and order["paid_at"] and order["cancelled_at"] and counts(order["cancelled_at"])
        ]
        return {
            "orders_count": len(sold),
            "units_count": sum(line["quantity"] for order in sold for line in order["lines"]),
            "gross": sum(line["subtotal"]["amount"] for order in sold for line in order["lines"]),
            "discount": sum(line["discount"]["amount"] for order in sold for line in order["lines"]),
            "tax": sum(line["tax"]["amount"] for order in sold for line in order["lines"]),
            "shipping": sum(order["totals"]["shipping"]["amount"] for order in sold),
            "total": total,
            "refunds": sum(back),
            "refunds_count": len(back),
            "net": total - sum(back),
            "average_order_value": int(total / len(sold) + 0.5) if sold else 0,
            "cancelled_count": len([order for order in cancelled if of_source(order)]),
        }

    def lines(self, currency: str, counts: Callable[[datetime], bool], field: str) -> dict[Any, dict[str, int]]:
        found: defaultdict[Any, dict[str, int]] = defaultdict(lambda: dict.fromkeys(LineFigures.model_fields, 0))
        for order in self.sold(currency, counts):
            for key in {line[field] for line in order["lines"]}:
                found[key]["orders_count"] += 1
            for line in order["lines"]:
                sums = found[line[field]]
                sums["units_count"] += line["quantity"]
                sums["gross"] += line["subtotal"]["amount"]
                for name in ("discount", "tax", "total"):
                    sums[name] += line[name]["amount"]
        return found


def within(scope: ReportScope) -> Callable[[datetime], bool]:
    return lambda at: scope.period.start <= at.astimezone(scope.period.zone).date() < scope.period.end


async def check(raw: Raw, scope: ReportScope) -> None:
    counts, currency = within(scope), scope.currency
    assert plain((await SALES.get_sales_report(scope, viewer=SYSTEM)).figures) == raw.figures(currency, counts), scope
    await check_series(raw, scope)

    products = raw.lines(currency, counts, "product_id")
    best = sorted(products, key=lambda key: (-products[key]["total"], str(key)))
    top = await SALES.list_top_products(scope, viewer=SYSTEM, limit=100)
    assert [(row.product_id, plain(row)) for row in top.rows] == [(key, products[key]) for key in best], scope

    categories = raw.lines(currency, counts, "category_id")
    by_units = sorted(categories, key=lambda key: (-categories[key]["units_count"], str(key or "")))
    rows = (await SALES.list_top_categories(scope, viewer=SYSTEM, by=TopBy.UNITS)).rows
    assert [(row.category_id, plain(row)) for row in rows] == [(key, categories[key]) for key in by_units], scope

    sources = {row.source: plain(row) for row in (await SALES.list_source_sales(scope, viewer=SYSTEM)).rows}
    expected = {source: raw.figures(currency, counts, source) for source in ("shop", "api", "import")}
    assert sources == {source: figures for source, figures in expected.items() if any(figures.values())}, scope

    used: defaultdict[Any, list[int]] = defaultdict(lambda: [0, 0, 0])
    for order in raw.sold(currency, counts):
        for given in order["discounts"]:
            sums = used[given["coupon_id"]]
            sums[0] += 1
            sums[1] += given["amount"]["amount"]
            sums[2] += order["totals"]["total"]["amount"]
    coupons = (await SALES.list_coupon_sales(scope, viewer=SYSTEM)).rows
    assert {row.coupon_id: [row.orders_count, row.discount.amount, row.total.amount] for row in coupons} == dict(used), scope


def label_of(at: datetime, scope: ReportScope) -> str:
    local = at.astimezone(scope.period.zone)
    match scope.granularity:
        case Granularity.HOUR:
            return local.replace(minute=0, second=0, microsecond=0).isoformat(timespec="minutes")
        case Granularity.WEEK:
            return local.strftime("%G-W%V")
        case Granularity.MONTH:
            return local.strftime("%Y-%m")
        case _:
            return local.strftime("%Y-%m-%d")


async def check_series(raw: Raw, scope: ReportScope) -> None:
    points = (await SALES.get_revenue_series(scope, viewer=SYSTEM)).points
    told = {
        point.label: plain(SalesFigures(**{name: getattr(point, name) for name in SalesFigures.model_fields})) for point in points
    }
    assert len(told) == len(points)

    first, last = scope.period.bounds
    labels, at = set(), first
    while at < last:
        labels.add(label_of(at, scope))
        at += timedelta(minutes=30)
    assert told.keys() == labels, scope
    for label, figures in told.items():
        assert figures == raw.figures(scope.currency, in_bucket(scope, label)), label


def in_bucket(scope: ReportScope, label: str) -> Callable[[datetime], bool]:
    counts = within(scope)
    return lambda at: counts(at) and label_of(at, scope) == label


class TestReportScope:
    def test_nothing_asked_for_is_thirty_days_with_today(self, settings: Settings) -> None:
        house = settings.model_copy(update={"report_timezone": "Pacific/Auckland"})

        scope = ReportScope.of(settings=house, now=datetime(2026, 11, 20, 12, tzinfo=UTC))

        # In Auckland it is the 21st.
        assert (scope.period.start, scope.period.end) == (date(2026, 10, 23), date(2026, 11, 22))
        assert (scope.period.zone.key, scope.currency, scope.granularity, scope.previous) == (
            "Pacific/Auckland",
            "USD",
            Granularity.DAY,
            None,
        )

    def test_comparison_is_as_many_days_before(self, settings: Settings) -> None:
        scope = ReportScope.of(
            settings=settings, start=date(2026, 3, 1), end=date(2026, 3, 11), compare=Comparison.PREVIOUS, currency="EUR"
        )

        assert scope.previous == Period(date(2026, 2, 19), date(2026, 3, 1), ZoneInfo("UTC"))
        assert scope.currency == "EUR"

    @pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", "/etc/localtime", "Europe", "", "europe/berlin", "+02:00"])
    def test_what_is_no_zone_is_refused(self, settings: Settings, name: str) -> None:
        if name:
            with pytest.raises(UnknownTimeZoneError):
                ReportScope.of(settings=settings, timezone=name)
        else:
            assert ReportScope.of(settings=settings, timezone=name).period.zone.key == "UTC"

    @pytest.mark.parametrize(
        ("start", "end", "granularity"),
        [
            (date(2026, 11, 2), date(2026, 11, 2), Granularity.DAY),
            (date(2026, 11, 2), date(2026, 11, 1), Granularity.DAY),
            (date(2020, 11, 1), date(2026, 11, 1), Granularity.MONTH),
            (date(2026, 11, 1), date(2026, 11, 16), Granularity.HOUR),
            (date.min, date(2026, 11, 1), Granularity.DAY),
            (date(2026, 11, 1), date.max, Granularity.DAY),
            (None, date.min, Granularity.DAY),
        ],
    )
    def test_impossible_period_is_refused(
        self, settings: Settings, start: date | None, end: date, granularity: Granularity
    ) -> None:
        with pytest.raises(InvalidPeriodError):
            ReportScope.of(settings=settings, start=start, end=end, granularity=granularity)

    def test_comparison_before_all_time_is_refused(self, settings: Settings) -> None:
        with pytest.raises(InvalidPeriodError):
            ReportScope.of(settings=settings, start=date(1980, 1, 1), end=date(1980, 2, 1), compare=Comparison.PREVIOUS)


class TestAnalyticsService:
    """COM-S28: the sources' names, with what they promised."""

    async def test_com_s28_three_reports_by_their_names(self, database: Database, settings: Settings) -> None:
        _, mug, _ = await small_history()
        now = datetime(2026, 12, 1, 12, tzinfo=UTC)

        report = await AnalyticsService.get_sales_report(date(2026, 11, 1), date(2026, 12, 1), viewer=SYSTEM, settings=settings)
        top = await AnalyticsService.get_top_products(1, viewer=SYSTEM, settings=settings, now=now)
        insights = await AnalyticsService.get_customer_insights(viewer=SYSTEM, settings=settings, now=now)

        assert (report.figures.orders_count, report.figures.net) == (2, usd(8751))
        assert [(row.product_id, row.category) for row in top] == [(mug.id, None)]
        assert insights.window.end == date(2026, 12, 2)
