"""The files of `../shared/data`, whose README has the totals: told by the database, and by the file in plain Python."""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from models.ecommerce.catalog import Product, ProductCategory
from models.ecommerce.customers import Customer
from models.ecommerce.orders import Order
from models.ecommerce.returns import ReturnRequest
from models.imports import ImportFailure, ImportRun
from models.payments import Payment, Refund
from services.reconcile import ReconcileService
from tests.services.imports.conftest import Bring, counted, everything, letters, stored
from tests.services.imports.tables import SHARED

LINES = SHARED / "online_retail_2010_12.csv"
WOOCOMMERCE = SHARED / "woocommerce_products.csv"
MEDUSA = SHARED / "medusa_products.csv"

pytestmark = pytest.mark.skipif(not LINES.exists(), reason="the shared data is not beside this repository")

Row = Mapping[str, str]


@cache
def rows() -> list[dict[str, str]]:
    with LINES.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def amount(row: Row) -> Decimal:
    return Decimal(row["UnitPrice"]) * int(row["Quantity"])


def is_credit(row: Row) -> bool:
    return row["InvoiceNo"].startswith("C")


def invoices() -> list[dict[str, str]]:
    return [row for row in rows() if not is_credit(row)]


def by(name: str, found: Iterable[Row]) -> dict[str, Decimal]:
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in found:
        sums[row[name].split(" ")[0]] += amount(row)
    return dict(sums)


class TestTheFileItself:
    """The README's figures, counted again from the file."""

    def test_invoices_and_money(self) -> None:
        assert len({row["InvoiceNo"] for row in invoices()}) == 203
        assert len({row["InvoiceNo"] for row in rows()} - {row["InvoiceNo"] for row in invoices()}) == 12
        assert sum(map(amount, invoices())) == Decimal("75968.78")
        assert sum(amount(row) for row in rows() if is_credit(row)) == Decimal("-414.83")
        assert by("InvoiceDate", invoices()) == {"12/1/2010": Decimal("58960.79"), "12/2/2010": Decimal("17007.99")}

    def test_what_and_who(self) -> None:
        assert sum(int(row["Quantity"]) for row in invoices()) == 37_561
        assert len({row["CustomerID"] for row in rows()} - {""}) == 144
        assert len({row["StockCode"] for row in rows()}) == 1_479
        assert len({row["Country"] for row in rows()}) == 7
        best = sorted(by("StockCode", invoices()).items(), key=lambda item: -item[1])
        assert best[:3] == [("21137", Decimal("2074.68")), ("84029E", Decimal("1870.05")), ("22423", Decimal("1638.84"))]


def adjustments(found: Iterable[ImportFailure]) -> list[list[str]]:
    """The rows kept in dead letters: InvoiceNo, StockCode, Description, Quantity, ..."""
    return [next(csv.reader(io.StringIO(letter.raw))) for letter in found if letter.kind == "stock_adjustment"]


def charged(order: Order) -> list[tuple[str, int]]:
    """What was charged beside the goods: its code, and how many of it."""
    steps = [step for step in order.steps if step.kind == "shipping"]
    return [(step.rule.removeprefix("import:"), int(step.detail.split(" x ")[0])) for step in steps]


class TestImported:
    async def test_the_totals_come_out_of_the_database_and_a_second_time_changes_nothing(self, bring: Bring) -> None:
        first = await bring(LINES)

        assert counted(first) == {
            "products": "1466/0/0/0",
            "customers": "144/0/0/0",
            "orders": "193/0/0/0",
            "returns": "12/0/0/0",
        }
        assert (first.rows_count, first.failures_count) == (4_000, 10)
        orders: list[Order] = await stored(Order)
        returns: list[ReturnRequest] = await stored(ReturnRequest)
        kept = adjustments(await stored(ImportFailure))
        _check_documents(orders, returns, kept)
        _check_goods(orders, returns, kept)
        await _check_money(orders, returns)
        await _check_people(orders)
        assert [row async for row in ReconcileService.drift()] == []

        before = await everything()
        second = await bring(LINES)
        assert counted(second) == {
            "products": "0/0/1466/0",
            "customers": "0/0/144/0",
            "orders": "0/0/193/0",
            "returns": "0/0/12/0",
        }
        assert await everything() == before

    async def test_products_of_two_shops(self, bring: Bring) -> None:
        woocommerce, medusa = await bring(WOOCOMMERCE), await bring(MEDUSA)
        products = {product.source_key: product for product in await stored(Product)}
        before = await everything()

        assert (counted(woocommerce), counted(medusa)) == ({"products": "15/0/0/0"}, {"products": "2/0/0/0"})
        assert (woocommerce.rows_count, woocommerce.failures_count) == (24, 0)
        # Its images are names of files.
        assert [(kind, line) for kind, line, _ in await letters(medusa)] == [("left_out", 2)] * 2 + [("left_out", 6)] * 2
        hoodie, tee = products["woocommerce:cc-hoodie"], products["woocommerce:cc-tee"]
        assert sorted(variant.title for variant in hoodie.variants) == [
            "Blue / No",
            "Blue / Yes",
            "Green / No",
            "Green / Yes",
            "Red / No",
            "Red / Yes",
        ]
        assert (hoodie.price.amount, hoodie.price_max.amount, len(tee.variants)) == (4200, 4500, 3)
        assert sum(len(product.variants) for key, product in products.items() if key and key.startswith("woo")) == 13 + 9
        assert (products["woocommerce:cc-logo-collection"].price.amount, products["woocommerce:cp-donation"].is_available) == (
            1800,
            False,
        )
        assert {key for key, product in products.items() if product.is_digital} == {
            "woocommerce:cc-album",
            "woocommerce:cc-single",
        }
        assert {category.path for category in await stored(ProductCategory)} == {
            "clothing/",
            "clothing/tshirts/",
            "clothing/hoodies/",
            "clothing/accessories/",
            "music/",
            "donation/",
        }
        base = products["medusa:base-product"]
        assert [(variant.options, variant.price.amount) for variant in base.variants] == [
            ({"size": "large", "color": "green"}, 10000),
            ({"size": "small", "color": "green"}, 20000),
        ]
        assert {price.currency for price in base.variants[0].other_prices} == {"DKK", "EUR"}
        assert base.status == "draft"

        again = [counted(await bring(path)) for path in (WOOCOMMERCE, MEDUSA)]
        assert again == [{"products": "0/0/15/0"}, {"products": "0/0/2/0"}]
        assert await everything() == before
        assert len(await stored(ImportRun)) == 4
        assert [row async for row in ReconcileService.drift()] == []


def _check_documents(orders: list[Order], returns: list[ReturnRequest], kept: list[list[str]]) -> None:
    """203 invoices: 193 orders, and ten numbers under which nothing but a correction of stock stands."""
    numbers = {order.source_key for order in orders} | {f"retail:{row[0]}" for row in kept}
    assert numbers == {f"retail:{row['InvoiceNo']}" for row in invoices()}
    assert (len(numbers), len({row[0] for row in kept})) == (203, 10)
    assert {request.source_key for request in returns} == {f"retail:{row['InvoiceNo']}" for row in rows() if is_credit(row)}
    # Two of them are of things the same customer had bought before.
    assert sorted(request.number for request in returns if request.order_id) == ["RETAIL-C536506", "RETAIL-C536737"]


def _check_goods(orders: list[Order], returns: list[ReturnRequest], kept: list[list[str]]) -> None:
    pieces = sum(order.items_count for order in orders)
    charges = [charge for order in orders for charge in charged(order)]
    corrected = sum(int(row[3]) for row in kept)
    assert (pieces, sum(count for _, count in charges), corrected) == (37_473, 10, 78)
    assert pieces + 10 + corrected == 37_561
    # 1,479 stock codes: 1,466 products, 8 goods known from corrections of stock alone, and 5 that are no goods.
    skus = {line.sku for order in orders for line in order.lines} | {line.sku for request in returns for line in request.lines}
    codes = {code for code, _ in charges} | {"D" for request in returns if "D Discount" in request.staff_notes}
    assert (len(skus), codes) == (1_466, {"POST", "DOT", "C2", "M", "D"})
    assert skus | codes | {row[1] for row in kept} == {row["StockCode"] for row in rows()}
    assert len({row[1] for row in kept} - skus) == 8
    worth: Counter[str] = Counter()
    for order in orders:
        for line in order.lines:
            worth[line.sku] += line.subtotal.amount
    assert worth.most_common(3) == [("21137", 207468), ("84029E", 187005), ("22423", 163884)]


async def _check_money(orders: list[Order], returns: list[ReturnRequest]) -> None:
    gross = sum(order.totals.total.amount for order in orders)
    credited = sum(request.refund.amount for request in returns if request.refund)
    assert (gross, credited, gross - credited) == (7_596_878, 41_483, 7_555_395)
    days: Counter[str] = Counter()
    for order in orders:
        days[f"{order.placed_at.astimezone(ZoneInfo('Europe/London')):%Y-%m-%d}"] += order.totals.total.amount
    assert days == {"2010-12-01": 5_896_079, "2010-12-02": 1_700_799}
    assert sum(payment.captured for payment in await stored(Payment)) == gross
    refunded = sum(refund.amount.amount for refund in await stored(Refund))
    assert refunded == sum(order.refunded.amount for order in orders) == 6 * 425 + 2 * 295
    assert {order.currency for order in orders} == {"GBP"}
    expected = {f"retail:{number}": total for number, total in by("InvoiceNo", invoices()).items() if total}
    assert {order.source_key: Decimal(order.totals.total.amount) / 100 for order in orders} == expected


async def _check_people(orders: list[Order]) -> None:
    customers: list[Customer] = await stored(Customer)
    assert {customer.source_key for customer in customers} == {
        f"retail:{row['CustomerID']}" for row in rows() if row["CustomerID"]
    }
    assert {order.country for order in orders} == {"GB", "NO", "DE", "IE", "FR", "AU", "NL"}
    guests = [order for order in orders if order.customer_id is None]
    sold = {row["InvoiceNo"] for row in invoices() if not row["CustomerID"] and amount(row)}
    assert len(guests) == len(sold)
    spent: dict[str, Any] = {customer.source_key: customer.spent.amount for customer in customers if customer.source_key}
    refunds = {"17897": 6 * 425, "15922": 2 * 295}
    for number, total in by("CustomerID", (row for row in invoices() if row["CustomerID"])).items():
        assert spent[f"retail:{number}"] == int(total * 100) - refunds.get(number, 0)
    assert sum(product.sales_count for product in await stored(Product)) == 37_473 - 8
