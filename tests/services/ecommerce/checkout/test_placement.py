"""Placing orders: what one transaction takes, leaves and costs."""

from models.database import Database
from models.ecommerce.orders import OrderStatus, PaymentStatus
from services.settings import Settings
from tests.books import differences
from tests.commands import CommandLog
from tests.factories.checkout import Till, create_shopper, create_stocked
from tests.factories.customers import create_address


class TestBudget:
    async def test_two_lines_by_card_are_two_transactions(
        self, database: Database, settings: Settings, commands: CommandLog
    ) -> None:
        """The transaction that places them, its commit included, then the one that settles what the gateway answered."""
        tee, cup = await create_stocked(), await create_stocked()
        shopper = await create_shopper((tee, 2), (cup, 1))
        address = await create_address(shopper.customer)
        till = Till(settings)
        await till.checkout(await create_shopper((tee, 1)))  # opens the day's sequence

        with commands.counting() as sent:
            done = await till.checkout(shopper, shipping_address=None, shipping_address_id=address.id)

        assert done.order.status is OrderStatus.CONFIRMED
        assert done.order.payment_status is PaymentStatus.COMPLETED
        assert sent.sent == [
            *("find carts", "find users", "find customers", "findAndModify sequences"),
            *("aggregate products", "find addresses", "aggregate promotions"),
            "find payments",  # what the fraud rules count of the customer; over HTTP as much again of the network address
            *("find stock_levels", "bulkWrite 1", "commitTransaction 1"),
            # The gateway has answered.
            *("find payments", "find orders", "find reservations", "find stock_levels", "find loyalty_entries"),
            *("bulkWrite 1", "commitTransaction 1"),
            "find orders",
        ]

    async def test_two_lines_on_account_are_one_transaction(
        self, database: Database, settings: Settings, commands: CommandLog
    ) -> None:
        tee, cup = await create_stocked(), await create_stocked()
        till = Till(settings)
        await till.checkout(await create_shopper((tee, 1)))
        shopper = await create_shopper((tee, 2), (cup, 1))

        with commands.counting() as sent:
            done = await till.checkout(shopper, payment_method="invoice", payment_token=None)

        assert (done.order.status, done.order.payment_status) == (OrderStatus.PENDING, PaymentStatus.PENDING)
        assert sent.sent == [
            *("find carts", "find users", "find customers", "findAndModify sequences"),
            *("aggregate products", "aggregate promotions", "find payments"),
            *("find stock_levels", "bulkWrite 1", "commitTransaction 1"),
        ]
        assert await differences(till.gateway) == []
