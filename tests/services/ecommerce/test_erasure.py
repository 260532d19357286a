from models.base import now
from models.database import Database
from models.ecommerce.carts import Cart
from models.ecommerce.customers import Address, AddressDefault, Customer, DefaultKind
from models.ecommerce.orders import Order
from models.ecommerce.wishlists import StockNotice, WishlistItem
from models.payments import Payment, PaymentState
from models.users import User
from services.ecommerce.customers import customer_key
from services.ecommerce.erasure import CUSTOMER_ERASURE
from services.events import EventService
from services.settings import Settings
from services.users.administration import UserAdministration
from tests.factories.carts import create_cart
from tests.factories.catalog import create_product
from tests.factories.customers import create_address, create_customer, make_place
from tests.factories.orders import create_order
from tests.factories.payments import captured_payment, create_payment
from tests.factories.users import PASSWORD, create_login_user, open_session, viewer_of
from tests.factories.wishlists import create_stock_notice, create_wishlist_item


async def leave(user: User, settings: Settings) -> None:
    opened = await open_session(user)
    await UserAdministration.delete_me(PASSWORD, viewer=viewer_of(user, opened.session), settings=settings)
    await EventService.pump([CUSTOMER_ERASURE])


class TestForget:
    async def test_profile_book_cart_and_wishes_follow_the_account(self, database: Database, settings: Settings) -> None:
        user = await create_login_user(settings=settings)
        customer = await create_customer(user=user, phone="+12025550143", newsletter_subscribed=True, points_balance=7)
        await create_address(customer, defaults=(DefaultKind.SHIPPING, DefaultKind.BILLING))
        product = await create_product()
        await create_cart((product, 1), user=user)
        await create_wishlist_item(product, user=user)
        await create_stock_notice(product, user=user)
        wish, notice = await create_wishlist_item(product), await create_stock_notice(product)
        other = await create_customer()
        kept = await create_address(other, defaults=(DefaultKind.SHIPPING,))

        await leave(user, settings)

        row = await Customer.find_row({"_id": customer.id})
        assert row is not None
        assert (row["first_name"], row["last_name"], row["phone"], row["newsletter_subscribed"]) == ("", "", None, False)
        assert (row["is_active"], row["addresses_count"], row["points_balance"], row["user_id"]) == (False, 0, 7, user.id)
        assert [found["_id"] for found in await Address.find_rows({})] == [kept.id]
        assert [found["address_id"] for found in await AddressDefault.find_rows({})] == [kept.id]
        assert await Cart.find_rows({}) == []
        assert [found["_id"] for found in await WishlistItem.find_rows({})] == [wish.id]
        assert [found["_id"] for found in await StockNotice.find_rows({})] == [notice.id]
        stranger = await Customer.find_row({"_id": other.id})
        assert stranger is not None
        assert (stranger["first_name"], stranger["addresses_count"]) == ("Jane", 1)

    async def test_orders_keep_what_books_need_and_no_more(self, database: Database, settings: Settings) -> None:
        """Lines, totals and both addresses stay: invoices have to be kept. The address for mail and the notes go."""
        user = await create_login_user(settings=settings)
        customer = await create_customer(user=user)
        order = await create_order(
            customer_id=customer.id,
            user_id=user.id,
            email=user.email,
            customer_notes="Ring twice.",
            paid_at=now(),
            shipping_address=make_place(),
            billing_address=make_place(),
        )

        await leave(user, settings)
        await EventService.pump([CUSTOMER_ERASURE])

        row = await Order.find_row({"_id": order.id})
        assert row is not None
        changed = {field for field, value in order.row().items() if row[field] != value}
        assert changed == {"email", "customer_notes", "updated_at"}
        assert (row["email"], row["customer_notes"]) == (None, "")

    async def test_payments_keep_everything_but_where_they_came_from(self, database: Database, settings: Settings) -> None:
        user = await create_login_user(settings=settings)
        customer = await create_customer(user=user)
        origin = {"client_address": "203.0.113.9", "country": "US"}
        paid = await captured_payment(customer_key=customer_key(customer), **origin)
        declined = await create_payment(customer_key=customer_key(customer), state=PaymentState.FAILED, **origin)
        others = [await create_payment(customer_key=key, **origin) for key in ("", customer_key(await create_customer()))]

        await leave(user, settings)

        for payment in (paid, declined):
            row = await Payment.find_row({"_id": payment.id})
            assert row is not None
            assert {field for field, value in payment.row().items() if row[field] != value} == {"client_address", "updated_at"}
            assert row["client_address"] is None
        for payment in others:
            assert await Payment.find_row({"_id": payment.id}) == payment.row()

    async def test_wishes_of_one_without_a_profile_go_too(self, database: Database, settings: Settings) -> None:
        user = await create_login_user(settings=settings)
        await create_wishlist_item(await create_product(), user=user)

        await leave(user, settings)

        assert await WishlistItem.find_rows({}) == []

    async def test_one_who_never_shopped_is_no_error(self, database: Database, settings: Settings) -> None:
        await leave(await create_login_user(settings=settings), settings)

        assert await Customer.find_rows({}) == []
