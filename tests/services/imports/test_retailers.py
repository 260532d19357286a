"""A retailer's lines as customers, products, orders and returns that agree with each other."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.database import Database, Session, run_transaction
from models.ecommerce.catalog import Product
from models.ecommerce.customers import Customer, LoyaltyEntry
from models.ecommerce.orders import Order, OrderStatusHistory
from models.ecommerce.returns import ReturnRequest
from models.events import Event, EventType
from models.imports import ImportRun
from models.inventory.stock import StockMovement
from models.money import Money
from models.payments import Payment, Refund
from services.ecommerce.orders.settlement import OrderSettlement
from services.imports import retailers, spool
from services.imports.invoices import write_invoice as really_write
from services.imports.products import known_products
from services.payments.gateways import UnknownGatewayError, make_gateways
from services.payments.refunds import RefundService
from services.reconcile import ReconcileService
from services.settings import Settings
from tests.factories.catalog import create_product
from tests.services.imports.conftest import Bring, counted, everything, letters, stored
from tests.services.imports.tables import retail_file

DAY = "12/1/2010"
LANTERN = f"536365,71053,WHITE METAL LANTERN,6,{DAY} 8:26,3.39,17850,United Kingdom"
LINES = (
    LANTERN,
    f"536365,22752,SET 7 BABUSHKA,2,{DAY} 8:26,7.65,17850,United Kingdom",
    f"536365,71053,LANTERN AGAIN,1,{DAY} 8:26,3.39,17850,United Kingdom",
    f"536370,POST,POSTAGE,3,{DAY} 8:45,18,12583,France",
    f"536370,22728,ALARM CLOCK,24,{DAY} 8:45,3.75,12583,France",
    f"536370,D,Discount,-1,{DAY} 8:45,10,12583,France",
    f"536544,21773,DECORATIVE ROSE,1,{DAY} 14:32,2.51,,United Kingdom",
    f"536544,DOT,DOTCOM POSTAGE,1,{DAY} 14:32,5.69,,United Kingdom",
    f"536589,21777,,-10,{DAY} 16:50,0,,United Kingdom",
    f"C536590,71053,WHITE METAL LANTERN,-2,{DAY} 17:00,3.39,17850,United Kingdom",
    f"C536591,22960,JAM MAKING SET,-6,{DAY} 17:10,4.25,17897,United Kingdom",
    f"C536591,D,Discount,-1,{DAY} 17:10,1.50,17897,United Kingdom",
)


def pounds(amount: int) -> Money:
    return Money(amount=amount, currency="GBP")


async def order_of(number: str) -> Order:
    row = await Order.find_row({"source_key": f"retail:{number}"})
    assert row is not None
    return Order.from_row(row)


async def no_drift() -> bool:
    return [row async for row in ReconcileService.drift()] == []


class TestInvoices:
    async def test_an_invoice_is_an_order_delivered_and_paid(self, bring: Bring) -> None:
        run = await bring(retail_file(*LINES))
        order = await order_of("536365")
        [customer] = [one for one in await stored(Customer) if one.source_key == "retail:17850"]
        lantern = await Product.find_row({"source_key": "retail:71053"})
        assert lantern is not None
        [payment] = [one for one in await stored(Payment) if one.subject == f"order:{order.id}"]
        steps = await OrderStatusHistory.find_rows({"order_id": order.id}, sort=[("_id", 1)])

        assert counted(run) == {
            "products": "5/0/0/0",
            "customers": "3/0/0/0",
            "orders": "3/0/0/0",
            "returns": "2/0/0/0",
        }
        moment = datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
        assert (order.number, order.source, order.status, order.country) == ("RETAIL-536365", "import", "delivered", "GB")
        assert {order.placed_at, order.paid_at, order.shipped_at, order.delivered_at, order.id.generation_time} == {moment}
        assert (order.customer_id, order.user_id, order.email, order.items_count) == (customer.id, None, None, 9)
        assert [(line.sku, line.name, line.quantity, line.unit_price, line.subtotal) for line in order.lines] == [
            ("71053", "WHITE METAL LANTERN", 6, pounds(339), pounds(2034)),
            ("22752", "SET 7 BABUSHKA", 2, pounds(765), pounds(1530)),
            ("71053", "LANTERN AGAIN", 1, pounds(339), pounds(339)),
        ]
        assert (order.totals.subtotal, order.totals.tax, order.totals.total) == (pounds(3903), pounds(0), pounds(3903))
        assert (payment.gateway, payment.state, payment.amount, payment.captured) == ("import", "captured", pounds(3903), 3903)
        assert [step["new_status"] for step in steps] == ["pending", "confirmed", "processing", "shipped", "delivered"]
        assert {step["changed_at"] for step in steps} == {moment}
        # The first description wins; 7 sold, 2 came back.
        assert (lantern["name"], lantern["price"], lantern["sales_count"]) == ("WHITE METAL LANTERN", pounds(339).model_dump(), 5)
        assert await no_drift()

    async def test_postage_is_the_shipping_and_a_discount_the_discount(self, bring: Bring) -> None:
        await bring(retail_file(*LINES))
        order = await order_of("536370")

        totals = order.totals
        assert (totals.subtotal, totals.discount, totals.shipping, totals.total) == (
            pounds(9000),
            pounds(1000),
            pounds(5400),
            pounds(13400),
        )
        assert [(step.rule, step.amount.amount, step.detail) for step in order.steps] == [
            ("price", 9000, "24 x 3.75"),
            ("import:D", -1000, "part of 1 x 10.00"),
            ("import:POST", 5400, "3 x 18.00 POSTAGE"),
        ]
        assert [(one.rule, one.label, one.amount) for one in order.discounts] == [("import:D", "Discount", pounds(1000))]
        assert [line.total for line in order.lines] == [pounds(8000)]

    async def test_guests_stay_guests(self, bring: Bring) -> None:
        await bring(retail_file(*LINES))
        order = await order_of("536544")

        assert (order.customer_id, order.guest_token_hash, order.totals.total) == (None, None, pounds(820))
        assert sorted(one.source_key for one in await stored(Customer)) == ["retail:12583", "retail:17850", "retail:17897"]

    async def test_history_wins_no_points_moves_no_stock_and_is_no_news(self, bring: Bring) -> None:
        await bring(retail_file(*LINES))
        customers = {one.source_key: one for one in await stored(Customer)}
        told = {event.type for event in await stored(Event)}

        assert {entry.points for entry in await stored(LoyaltyEntry)} == {0}
        french = customers["retail:12583"]
        assert (french.orders_count, french.spent, french.points_balance) == (1, pounds(13400), 0)
        assert await stored(StockMovement) == []
        assert told == {EventType.PRODUCT_CREATED, EventType.ORDER_IMPORTED}

    async def test_corrections_of_stock_are_dead_letters(self, bring: Bring) -> None:
        run = await bring(retail_file(*LINES))

        assert await letters(run) == [
            ("stock_adjustment", 10, "no sale: a price of 0 and no description are a correction of stock")
        ]
        assert await Order.find_row({"source_key": "retail:536589"}) is None
        assert await Product.find_row({"source_key": "retail:21777"}) is None

    async def test_an_invoice_of_nothing_but_postage(self, bring: Bring) -> None:
        await bring(retail_file(f"1,POST,POSTAGE,1,{DAY} 8:00,18,12583,France"))
        order = await order_of("1")

        assert (order.lines, order.fulfilments, order.totals.total) == ([], [], pounds(1800))
        assert await no_drift()

    async def test_a_gift_costs_nothing(self, bring: Bring) -> None:
        """An invoice of gifts alone has nothing to pay; a gift of which nothing else is known makes no product."""
        run = await bring(
            retail_file(
                LANTERN,
                f"2,71053,FREE LANTERN,1,{DAY} 9:00,0,17850,United Kingdom",
                f"2,99999,MYSTERY,1,{DAY} 9:00,0,17850,United Kingdom",
            )
        )
        order = await order_of("2")

        assert (order.payment_method, order.payment_id, order.totals.total) == ("none", None, pounds(0))
        assert [line.sku for line in order.lines] == ["71053"]
        assert await letters(run) == [("left_out", 4, "no product can be made of 99999: it has no price yet")]
        assert await no_drift()


class TestPayments:
    async def test_what_was_paid_elsewhere_is_given_back_by_hand_and_noted_here(self, bring: Bring, settings: Settings) -> None:
        await bring(retail_file(LANTERN))
        order = await order_of("536365")
        payment_id = order.payment_id
        assert payment_id is not None

        async def ask(session: Session) -> Refund:
            return await RefundService.request(session, payment_id=payment_id, amount=pounds(339), reason="broken", key="by hand")

        refund = await run_transaction(ask)

        done = await RefundService.execute(
            refund.id, gateways=make_gateways(settings), listener=OrderSettlement(settings), settings=settings
        )

        assert done.state == "succeeded"
        assert (await order_of("536365")).refunded == pounds(339)
        assert await no_drift()

    def test_nobody_pays_that_way_here(self, settings: Settings) -> None:
        with pytest.raises(UnknownGatewayError):
            make_gateways(settings).choose("card", "import")


class TestCreditNotes:
    async def test_one_whose_invoice_is_known_is_refunded_there(self, bring: Bring) -> None:
        await bring(retail_file(*LINES))
        order = await order_of("536365")
        [request] = [one for one in await stored(ReturnRequest) if one.order_id == order.id]
        [refund] = await stored(Refund)
        [payment] = [one for one in await stored(Payment) if one.id == order.payment_id]
        [customer] = [one for one in await stored(Customer) if one.source_key == "retail:17850"]

        assert (request.number, request.status, request.refund, request.refund_id) == (
            "RETAIL-C536590",
            "refunded",
            pounds(678),
            refund.id,
        )
        assert [(line.line_id, line.received_quantity, line.refund) for line in request.lines] == [
            (order.lines[0].id, 2, pounds(678))
        ]
        assert (refund.amount, refund.state, refund.gateway, refund.payment_id) == (
            pounds(678),
            "succeeded",
            "import",
            payment.id,
        )
        assert (payment.refunded, payment.refundable) == (678, 3903 - 678)
        assert (order.refunded, order.payment_status, order.status) == (pounds(678), "partially_refunded", "delivered")
        assert [line.returned_quantity for line in order.lines] == [2, 0, 0]
        assert (customer.spent, customer.orders_count) == (pounds(3903 - 678), 1)

    async def test_one_whose_invoice_is_not_known_keeps_its_amounts(self, bring: Bring) -> None:
        await bring(retail_file(*LINES))
        [request] = [one for one in await stored(ReturnRequest) if one.order_id is None]
        [customer] = [one for one in await stored(Customer) if one.source_key == "retail:17897"]

        assert (request.source_key, request.customer_id, request.refund, request.refund_id) == (
            "retail:C536591",
            customer.id,
            pounds(2700),
            None,
        )
        assert [(line.sku, line.quantity, line.refund) for line in request.lines] == [("22960", 6, pounds(2550))]
        assert request.staff_notes == "imported; D Discount: 1.50 GBP"
        assert (customer.spent, customer.orders_count) == (pounds(0), 0)

    @pytest.mark.parametrize(
        ("credits", "status", "payment_status", "returned"),
        [
            ([(6, "3.39"), (1, "3.39")], "delivered", "partially_refunded", [6, 0, 1]),
            ([(8, "3.39")], "delivered", "completed", [0, 0, 0]),  # more than were bought
            ([(1, "99.00")], "delivered", "completed", [0, 0, 0]),  # more than was paid
        ],
    )
    async def test_never_more_comes_back_than_was_bought_and_paid(
        self, bring: Bring, credits: list[tuple[int, str]], status: str, payment_status: str, returned: list[int]
    ) -> None:
        lines = [f"C{at},71053,LANTERN,-{count},{DAY} 18:00,{price},17850,France" for at, (count, price) in enumerate(credits)]

        run = await bring(retail_file(*LINES[:3], *lines))
        order = await order_of("536365")

        assert counted(run)["returns"] == f"{len(credits)}/0/0/0"
        assert (order.status, order.payment_status) == (status, payment_status)
        assert [line.returned_quantity for line in order.lines] == returned
        assert await no_drift()

    async def test_an_order_that_comes_back_wholly_is_refunded(self, bring: Bring) -> None:
        await bring(
            retail_file(
                LANTERN,
                f"C1,71053,LANTERN,-4,{DAY} 18:00,3.39,17850,France",
                f"C2,71053,LANTERN,-2,{DAY} 18:00,3.39,17850,France",
            )
        )
        order = await order_of("536365")
        steps = await OrderStatusHistory.find_rows({"order_id": order.id}, sort=[("_id", 1)])
        [customer] = await stored(Customer)

        assert (order.status, order.payment_status, order.refunded) == ("refunded", "refunded", pounds(2034))
        assert [step["new_status"] for step in steps][-3:] == ["delivered", "returned", "refunded"]
        assert (customer.orders_count, customer.spent) == (0, pounds(0))
        assert await no_drift()

    async def test_it_belongs_to_the_latest_order_before_it(self, bring: Bring) -> None:
        await bring(
            retail_file(
                LANTERN,
                f"2,71053,LANTERN,3,{DAY} 9:00,3.39,17850,France",
                f"C3,71053,LANTERN,-1,{DAY} 10:00,3.39,17850,France",
                f"4,71053,LANTERN,3,{DAY} 11:00,3.39,17850,France",
            )
        )

        assert [(await order_of(number)).refunded.amount for number in ("536365", "2", "4")] == [0, 339, 0]


class TestRepeating:
    async def test_again_nothing_changes(self, bring: Bring) -> None:
        first = await bring(retail_file(*LINES))
        before = await everything()

        run = await bring(retail_file(*LINES))

        assert counted(run) == {"products": "0/0/5/0", "customers": "0/0/3/0", "orders": "0/0/3/0", "returns": "0/0/2/0"}
        assert await everything() == before
        assert (first.failures_count, run.failures_count) == (1, 1)

    async def test_an_invoice_with_another_total_is_not_touched(self, bring: Bring) -> None:
        await bring(retail_file(LANTERN))
        before = await everything()

        run = await bring(retail_file(LANTERN.replace(",6,", ",7,")))

        assert counted(run) == {"orders": "0/0/0/1", "products": "0/0/1/0", "customers": "0/0/1/0"}
        assert await letters(run) == [
            (
                "refused",
                2,
                "invoice 536365: it was imported before with a total of 20.34 GBP, not 23.73 GBP: it is left as it was",
            )
        ]
        assert await everything() == before

    async def test_a_broken_line_refuses_its_invoice_until_it_is_put_right(self, bring: Bring) -> None:
        broken = LINES[1].replace("7.65", "7.655")
        run = await bring(retail_file(LANTERN, broken, LINES[6]))

        assert counted(run)["orders"] == "1/0/0/1"
        assert await letters(run) == [("refused", 2, "536365: line 3: the price 7.655 has more digits than GBP")]
        again = await bring(retail_file(LANTERN, LINES[1], LINES[6]))
        assert counted(again)["orders"] == "1/0/1/0"
        assert await no_drift()

    async def test_the_sku_of_another_origin_refuses_the_invoice(self, bring: Bring) -> None:
        await create_product(sku="22752")

        run = await bring(retail_file(*LINES[:3], LINES[4]))

        assert counted(run)["orders"] == "1/0/0/1"
        assert await letters(run) == [
            ("refused", 3, "invoice 536365: line 3: no product can be made of 22752: another product has one of the SKUs 22752")
        ]

    async def test_lines_of_an_invoice_need_not_stand_together(self, bring: Bring) -> None:
        await bring(retail_file(LINES[0], LINES[4], LINES[1], LINES[3], LINES[2]))

        assert [(await order_of(number)).totals.total.amount for number in ("536365", "536370")] == [3903, 14400]

    async def test_a_run_killed_in_the_middle_is_completed_by_another(
        self, bring: Bring, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class KilledError(BaseException):
            pass

        async def killed(*given: object) -> object:
            if await Order.count_rows({}) == 1:
                raise KilledError
            return await really_write(*given)  # type: ignore[arg-type]  # handed on as they came

        with monkeypatch.context() as patch:
            patch.setattr(retailers, "write_invoice", killed)
            with pytest.raises(KilledError):
                await bring(retail_file(*LINES))

        run = await bring(retail_file(*LINES))

        assert counted(run)["orders"] == "2/0/1/0"
        assert len(await stored(ImportRun)) == 2
        assert await no_drift()

    async def test_two_runs_at_once_bring_each_invoice_once(self, bring: Bring, database: Database) -> None:
        found = await asyncio.gather(*(bring(retail_file(*LINES)) for _ in range(3)))

        assert (await Order.count_rows({}), await Customer.count_rows({}), await Product.count_rows({})) == (3, 3, 5)
        assert (await ReturnRequest.count_rows({}), await Refund.count_rows({})) == (2, 1)
        assert {kind for run in found for kind, _, _ in await letters(run)} == {"stock_adjustment"}
        assert await no_drift()

    async def test_who_comes_second_finds_it_done(self, bring: Bring, monkeypatch: pytest.MonkeyPatch) -> None:
        """What two runs at once may meet: nothing is there when they look, and everything when they write."""
        await bring(retail_file(*LINES))
        before = await everything()
        looks = 0

        async def blind_once(keys: Collection[str]) -> dict[str, Product]:
            nonlocal looks
            looks += 1
            return {} if looks == 1 else await known_products(keys)

        async def nothing(documents: object) -> dict[str, Money]:
            return {}

        monkeypatch.setattr(retailers, "known_products", blind_once)
        monkeypatch.setattr(retailers, "_known_totals", nothing)

        run = await bring(retail_file(*LINES))

        assert counted(run) == {"products": "0/0/5/0", "customers": "0/0/3/0", "orders": "0/0/3/0", "returns": "0/0/2/0"}
        assert await everything() == before

    async def test_more_rows_than_an_invoice_can_have(self, bring: Bring, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spool, "MAX_GROUP", 2)

        run = await bring(retail_file(*LINES[:3], LINES[6]))

        assert counted(run)["orders"] == "1/0/0/1"
        assert [(kind, line) for kind, line, _ in await letters(run)] == [("refused", 2)]

    async def test_another_currency(self, bring: Bring, tmp_path: Path) -> None:
        await bring(retail_file(LANTERN), currency="EUR")

        assert (await order_of("536365")).totals.total == Money(amount=2034, currency="EUR")
