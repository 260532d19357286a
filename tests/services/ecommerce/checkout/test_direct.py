"""Orders without a cart."""

from decimal import Decimal
from typing import Any

import pytest
from beanie import PydanticObjectId

from models.database import Database
from models.ecommerce.customers import Customer
from models.ecommerce.orders import Order, OrderRead, OrderStatus, PaymentStatus
from models.inventory.stock import StockLevel
from models.money import Money
from models.users import Role
from services.ecommerce.carts import NotForSaleError
from services.ecommerce.checkout.direct import DirectOrderService, InvalidUnitPriceError, VariantNeededError
from services.ecommerce.checkout.placement import PriceChangedError
from services.ecommerce.checkout.wishes import OrderDraft, OrderItemDraft
from services.ecommerce.customers import CustomerNotFoundError
from services.inventory.reservations import OutOfStockError
from services.settings import Settings
from services.users.permissions import Viewer
from tests.books import all_of, differences
from tests.factories.catalog import create_product, make_variant
from tests.factories.checkout import create_shopper, create_stocked, stored_order
from tests.factories.users import create_user, viewer_of


@pytest.fixture(autouse=True)
def connected(database: Database) -> None: ...


async def order(settings: Settings, viewer: Viewer, *items: OrderItemDraft, **over: Any) -> OrderRead:
    return await DirectOrderService.create_order(OrderDraft(items=items, **over), viewer=viewer, settings=settings)


class TestCreateOrder:
    async def test_com_p1_golden_total_waits_for_its_payment(self, settings: Settings) -> None:
        """COM-P1, COM-S19, N-16: the example of the sources, 999.99 + 2 x 25.50 = 1050.99, as the subtotal of the lines."""
        laptop, mouse = await create_stocked(3, "999.99"), await create_stocked(5, "25.50")
        shopper = await create_shopper()

        placed = await order(
            settings,
            shopper.viewer,
            OrderItemDraft(product_id=laptop.id, quantity=1, unit_price=Decimal("999.99")),
            OrderItemDraft(product_id=mouse.id, quantity=2, unit_price=Decimal("25.50")),
            customer_id=shopper.customer.id,
        )

        assert placed.totals.subtotal == Money.of("1050.99", "USD")
        assert placed.totals.tax == Money.of("105.10", "USD")  # 100.00 (99.999 half-up) and 5.10
        assert placed.totals.shipping == Money.of("0.00", "USD")
        assert placed.totals.total == Money.of("1156.09", "USD")
        assert (placed.status, placed.payment_status) == (OrderStatus.PENDING, PaymentStatus.PENDING)
        assert placed.expires_at is not None
        assert sorted(level.reserved for level in await all_of(StockLevel)) == [1, 2]
        stored = await stored_order(placed.id)
        assert stored.totals.subtotal.amount == sum(line.quantity * line.unit_price.amount for line in stored.lines)
        assert await differences() == []

    async def test_com_s19_price_of_the_client_never_decides(self, settings: Settings) -> None:
        """COM-S19 TRAP, S3: the source charged whatever the client said."""
        laptop = await create_stocked(3, "999.99")
        shopper = await create_shopper()
        for price in ("0.01", "999.98", "1000.00"):
            with pytest.raises(PriceChangedError):
                await order(
                    settings,
                    shopper.viewer,
                    OrderItemDraft(product_id=laptop.id, quantity=1, unit_price=Decimal(price)),
                )
        with pytest.raises(InvalidUnitPriceError):
            await order(settings, shopper.viewer, OrderItemDraft(product_id=laptop.id, quantity=1, unit_price=Decimal("999.991")))

        assert await all_of(Order) == []

    async def test_com_s20_same_thing_twice_wants_the_sum(self, settings: Settings) -> None:
        """COM-S20: availability is looked at over all lines together."""
        tee = await create_stocked(3)
        shopper = await create_shopper()
        two = OrderItemDraft(product_id=tee.id, quantity=2)

        with pytest.raises(OutOfStockError):
            await order(settings, shopper.viewer, two, two)
        placed = await order(settings, shopper.viewer, two, OrderItemDraft(product_id=tee.id, quantity=1))

        assert [line.quantity for line in placed.lines] == [3]
        assert await differences() == []

    async def test_several_variants_need_a_name(self, settings: Settings) -> None:
        product = await create_product(variants=[make_variant(track_inventory=False), make_variant(track_inventory=False)])
        shopper = await create_shopper()

        with pytest.raises(VariantNeededError):
            await order(settings, shopper.viewer, OrderItemDraft(product_id=product.id, quantity=1))
        with pytest.raises(NotForSaleError):
            await order(settings, shopper.viewer, OrderItemDraft(product_id=PydanticObjectId(), quantity=1))
        named = OrderItemDraft(product_id=product.id, variant_id=product.variants[1].id, quantity=1)
        placed = await order(settings, shopper.viewer, named)

        assert placed.lines[0].sku == product.variants[1].sku

    async def test_customers_order_for_themselves_and_staff_for_anybody(self, settings: Settings) -> None:
        tee = await create_stocked(5)
        item = OrderItemDraft(product_id=tee.id, quantity=1)
        shopper, other = await create_shopper(), await create_shopper()
        clerk = viewer_of(await create_user(role=Role.MANAGER))

        for customer_id in (other.customer.id, PydanticObjectId()):
            with pytest.raises(CustomerNotFoundError):
                await order(settings, shopper.viewer, item, customer_id=customer_id)
        with pytest.raises(CustomerNotFoundError):
            await order(settings, clerk, item, customer_id=PydanticObjectId())
        placed = await order(settings, clerk, item, customer_id=other.customer.id)

        stored = await stored_order(placed.id)
        assert (stored.customer_id, stored.user_id, stored.email) == (other.customer.id, other.user.id, other.user.email)
        assert len(await all_of(Order)) == 1

    async def test_first_order_makes_the_profile(self, settings: Settings) -> None:
        ebook = await create_product(is_digital=True, track_inventory=False)
        user = await create_user()

        placed = await order(settings, viewer_of(user), OrderItemDraft(product_id=ebook.id, quantity=1))

        [customer] = await all_of(Customer)
        assert (customer.user_id, customer.id) == (user.id, placed.customer_id)
        assert placed.shipping_address is None
        assert placed.totals.shipping.amount == 0
