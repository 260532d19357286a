"""Placing orders: what one transaction takes, leaves and costs."""

from models.database import Database
from models.ecommerce.orders import OrderStatus, PaymentStatus
from services.settings import Settings
from tests.commands import CommandLog
from tests.factories.checkout import Till, create_shopper, create_stocked
from tests.factories.customers import create_address


class TestBudget:
    async def test_two_lines_take_fourteen_commands(self, database: Database, settings: Settings, commands: CommandLog) -> None:
        """The transaction of a checkout of two lines, its commit included; what is read before it is counted apart."""
        tee, cup = await create_stocked(), await create_stocked()
        shopper = await create_shopper((tee, 2), (cup, 1))
        address = await create_address(shopper.customer)
        till = Till(settings)
        await till.checkout(await create_shopper((tee, 1)))  # opens the day's sequence

        with commands.counting() as sent:
            done = await till.checkout(shopper, shipping_address=None, shipping_address_id=address.id)

        assert done.order.status is OrderStatus.CONFIRMED
        assert done.order.payment_status is PaymentStatus.COMPLETED
        assert sent.sent[:4] == ["find orders", "find carts", "find users", "findAndModify sequences"]
        transaction = sent.sent[4 : sent.sent.index("commitTransaction 1") + 1]
        assert len(transaction) == 14, transaction
        # With the fraud check, the settlement, and the order read once more.
        assert len(sent) == 41, sent.sent

        # Which has the embedded server walk whole collections: fit for the few numbers there are, and for what is not there yet.
        modified = [command for command in sent.sent if command.startswith("findAndModify")]
        assert modified == ["findAndModify sequences", "findAndModify payments"]
