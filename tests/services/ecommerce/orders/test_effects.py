"""What an order does to the figures of what it is about."""

import pytest

from models.database import Session, run_transaction
from models.ecommerce.catalog import Product
from models.money import Money
from services.ecommerce.orders.effects import count_purchase
from services.settings import Settings
from tests.factories.catalog import create_product
from tests.factories.orders import create_order, make_line


class TestCountPurchase:
    @pytest.mark.usefixtures("database")
    async def test_what_came_back_before_an_invoice_was_paid_was_not_sold(self, settings: Settings) -> None:
        product = await create_product()
        line = make_line(quantity=3, product_id=product.id, fulfilled_quantity=3, returned_quantity=1)
        order = await create_order(lines=[line])

        async def pay(session: Session) -> int:
            return await count_purchase(order, Money.of("30", "USD"), session=session, settings=settings)

        await run_transaction(pay)

        assert await Product.find_row({"_id": product.id}, {"_id": 0, "sales_count": 1}) == {"sales_count": 2}
