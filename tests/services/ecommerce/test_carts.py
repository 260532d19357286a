from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from beanie import PydanticObjectId

from models.base import now
from models.database import Database, Session, run_transaction
from models.ecommerce.cart_reads import CartLineRead, CartRead, LineProblemKind
from models.ecommerce.carts import Cart, CartAbandonment
from models.ecommerce.catalog import Product, ProductStatus
from models.ecommerce.customers import DefaultKind
from models.events import Event, EventType
from models.money import Money
from models.users import User
from services.ecommerce.cart_writing import MAX_LINES, MAX_QUANTITY, CartCurrencyError, CartFullError
from services.ecommerce.carts import (
    CartCouponNotFoundError,
    CartEmptyError,
    CartHolder,
    CartItem,
    CartLineNotFoundError,
    CartService,
    CartStockError,
    NotForSaleError,
    Preview,
    guest_owner,
    user_owner,
)
from services.ecommerce.couponreasons import ExpiredCouponError, UnknownCouponError
from services.errors import PreconditionError
from services.ratelimits import TooManyAttemptsError
from services.settings import Settings
from tests.commands import CommandLog
from tests.factories.carts import CART_TOKEN, create_cart, make_line
from tests.factories.catalog import create_category, create_product, make_variant, money
from tests.factories.customers import create_address, create_customer, make_place
from tests.factories.inventory import stock
from tests.factories.pricing import create_coupon
from tests.factories.users import create_user, viewer_of

GUEST = CartHolder(None, CART_TOKEN)
MOMENT = now()


def holder_of(user: User, token: str | None = None) -> CartHolder:
    return CartHolder(viewer_of(user), token)


def item_of(product: Product, quantity: int = 1, currency: str | None = None) -> CartItem:
    return CartItem(product.id, product.variants[0].id, quantity, currency)


async def in_stock(quantity: int, **over: Any) -> Product:
    product = await create_product(**over)
    await stock(product.variants[0], quantity, product=product)
    return product


async def stored(owner: str) -> Cart:
    row = await Cart.find_row({"owner": owner})
    assert row is not None
    return Cart.from_row(row)


def quantities(cart: Cart | CartRead) -> list[int]:
    lines: Sequence[CartLineRead] | Sequence[object] = cart.lines
    return [line.quantity for line in lines]  # type: ignore[attr-defined]  # both kinds of line have one


class TestGet:
    async def test_com_s7_reading_writes_nothing(self, database: Database, settings: Settings) -> None:
        """COM-S7: the source made a cart for whoever looked."""
        user = await create_user()

        for holder in (holder_of(user), holder_of(user, CART_TOKEN), GUEST, CartHolder(None)):
            cart = await CartService.get(holder, settings=settings)
            assert (cart.lines, cart.revision, cart.totals.total) == ([], 0, Money.zero("USD"))

        assert await Cart.find_rows({}) == []

    async def test_com_s7_empty_and_full_have_one_shape(self, database: Database, settings: Settings) -> None:
        """COM-S7: in the source the lines were `products` when there were none, else `items`."""
        user, product = await create_user(), await in_stock(5)
        empty = await CartService.get(holder_of(user), settings=settings)
        await create_cart((product, 1), user=user)
        full = await CartService.get(holder_of(user), settings=settings)

        assert set(empty.model_dump()) == set(full.model_dump())

    async def test_com_s8_totals_with_tax_shipping_and_discount(self, database: Database, settings: Settings) -> None:
        """COM-S8: 2 x 19.90 = 39.80, 10 % off is 3.98, tax 10 % of 35.82 is 3.58, shipping 10.00: 49.40."""
        user, product = await create_user(), await in_stock(5, name="Tee", sku="TEE-1")
        coupon = await create_coupon(code="TEN", rule={"kind": "percentage", "rate": 1000})
        await create_cart((product, 2), user=user, coupon_codes=[coupon.code])

        cart = await CartService.get(holder_of(user), settings=settings)

        assert cart.totals.model_dump(mode="json") == {
            "subtotal": {"amount": "39.80", "currency": "USD"},
            "discount": {"amount": "3.98", "currency": "USD"},
            "shipping": {"amount": "10.00", "currency": "USD"},
            "tax": {"amount": "3.58", "currency": "USD"},
            "total": {"amount": "49.40", "currency": "USD"},
            "prices_include_tax": False,
        }
        [line] = cart.lines
        assert (line.name, line.sku, line.quantity, line.problems) == ("Tee", "TEE-1", 2, [])
        assert (line.unit_price, line.subtotal, line.total) == (money("19.90"), money("39.80"), money("39.40"))
        assert (cart.pieces_count, cart.is_orderable, cart.coupon_problems) == (2, True, [])

    async def test_com_s8_changes_are_told_and_priced_anew(self, database: Database, settings: Settings) -> None:
        """COM-S8, COM-M6: a re-added line kept its old price in the source, or mixed both."""
        user, product = await create_user(), await in_stock(5)
        await create_cart(user=user, lines=[make_line(product, 2, price_seen=money("17.00"))])

        cart = await CartService.get(holder_of(user), settings=settings)

        [line] = cart.lines
        [problem] = line.problems
        assert problem.kind is LineProblemKind.PRICE_CHANGED
        assert (problem.old_price, problem.new_price) == (money("17.00"), money("19.90"))
        assert (line.unit_price, cart.totals.subtotal) == (money("19.90"), money("39.80"))
        assert cart.is_orderable

    async def test_com_s7_what_is_gone_is_named_and_in_no_total(self, database: Database, settings: Settings) -> None:
        """COM-S7: in the source vanished products left the lines and stayed in the total."""
        user = await create_user()
        kept, hidden = await in_stock(5), await in_stock(5, status=ProductStatus.DISCONTINUED)
        erased = await create_product()
        await create_cart((kept, 1), (hidden, 1), (erased, 1), user=user)
        await Product.collection().delete_one({"_id": erased.id})

        cart = await CartService.get(holder_of(user), settings=settings)

        kinds = [[problem.kind for problem in line.problems] for line in cart.lines]
        assert kinds == [[], [LineProblemKind.GONE], [LineProblemKind.GONE]]
        assert [line.name for line in cart.lines] == [kept.name, hidden.name, None]
        assert [line.total is None for line in cart.lines] == [False, True, True]
        assert cart.totals.subtotal == money("19.90")
        assert not cart.is_orderable

    async def test_com_s8_stock_that_ran_out_or_short_is_told(self, database: Database, settings: Settings) -> None:
        user = await create_user()
        none, few = await in_stock(0), await in_stock(2)
        backorder = await in_stock(0, allow_backorder=True)
        endless = await create_product(track_inventory=False)
        await create_cart((none, 1), (few, 3), (backorder, 9), (endless, 9), user=user)

        cart = await CartService.get(holder_of(user), settings=settings)

        problems = [[(problem.kind, problem.available) for problem in line.problems] for line in cart.lines]
        assert problems == [[(LineProblemKind.OUT_OF_STOCK, 0)], [(LineProblemKind.INSUFFICIENT_STOCK, 2)], [], []]
        assert cart.totals.subtotal == money("19.90") * 22
        assert not cart.is_orderable

    async def test_com_s8_previews_the_default_address_or_what_is_asked(self, database: Database, settings: Settings) -> None:
        user, product = await create_user(), await in_stock(5)
        customer = await create_customer(user=user)
        await create_address(customer, defaults=(DefaultKind.BILLING,), address=make_place(country="FR"))
        await create_address(customer, defaults=(DefaultKind.SHIPPING,), address=make_place(country="US", state="IL"))
        await create_cart((product, 1), user=user)

        at_home = await CartService.get(holder_of(user), settings=settings)
        abroad = await CartService.get(holder_of(user), settings=settings, preview=Preview("DE", "BY"))

        assert (at_home.country, at_home.state) == ("US", "IL")
        assert (abroad.country, abroad.state) == ("DE", "BY")

    async def test_com_m6_an_expired_cart_is_empty_before_the_sweep_comes(self, database: Database, settings: Settings) -> None:
        """COM-M6: the sweep is late, so readers look at the clock."""
        user, product = await create_user(), await in_stock(5)
        await create_cart((product, 1), user=user, active_at=MOMENT - timedelta(days=30))

        assert (await CartService.get(holder_of(user), settings=settings, now=MOMENT)).lines == []
        with pytest.raises(CartEmptyError):
            await CartService.find_for_checkout(user_owner(user.id), now=MOMENT)

    async def test_two_commands_for_a_signed_in_customer(
        self, database: Database, settings: Settings, commands: CommandLog
    ) -> None:
        """The cart with all that its lines refer to in one pipeline, and the stock; the tables of prices are cached."""
        user = await create_user()
        customer = await create_customer(user=user)
        await create_address(customer, defaults=(DefaultKind.SHIPPING,))
        category = await create_category(parent=await create_category())
        products = [await in_stock(5, category=category) for _ in range(3)]
        await create_cart(*((product, 1) for product in products), user=user)
        await create_cart((products[0], 1))
        holder = holder_of(user, CART_TOKEN)
        await CartService.get(holder, settings=settings)

        with commands.counting() as sent:
            cart = await CartService.get(holder, settings=settings)

        assert quantities(cart) == [2, 1, 1]
        assert sent.sent == ["aggregate carts", "find stock_levels"]


class TestAdd:
    async def test_a_cart_is_made_for_the_first_thing(self, database: Database, settings: Settings) -> None:
        user, product = await create_user(), await in_stock(5)

        answer = await CartService.add(holder_of(user), item_of(product, 2), settings=settings, now=MOMENT)

        cart = await stored(user_owner(user.id))
        assert (cart.user_id, cart.currency, cart.revision) == (user.id, "USD", 1)
        [line] = cart.lines
        assert (line.product_id, line.variant_id, line.quantity) == (product.id, product.variants[0].id, 2)
        assert (line.price_seen, line.added_at) == (money("19.90"), MOMENT)
        assert (cart.active_at, cart.idle_since, cart.expires_at) == (MOMENT, MOMENT, MOMENT + timedelta(days=30))
        assert (answer.cart_token, answer.revision, quantities(answer)) == (None, 1, [2])

    async def test_a_guest_is_told_the_token_once_and_only_its_digest_is_kept(
        self, database: Database, settings: Settings
    ) -> None:
        product = await in_stock(5)

        first = await CartService.add(CartHolder(None), item_of(product), settings=settings)
        token = first.cart_token
        assert token is not None
        assert len(token) == 43  # 256 bits
        second = await CartService.add(CartHolder(None, token), item_of(product), settings=settings)

        assert (second.cart_token, quantities(second)) == (None, [2])
        [row] = await Cart.find_rows({})
        assert row["owner"] == guest_owner(token)
        assert token not in str(row)

    @pytest.mark.parametrize("token", [None, "", "guessed", "x" * 43, CART_TOKEN + "0"])
    async def test_a_token_that_opens_nothing_is_not_taken_over(
        self, database: Database, settings: Settings, token: str | None
    ) -> None:
        product = await in_stock(5)

        answer = await CartService.add(CartHolder(None, token), item_of(product), settings=settings)

        assert answer.cart_token not in (None, token)
        assert await Cart.find_row({"owner": guest_owner(token or "")}) is None

    async def test_com_m6_adding_again_adds_up_at_the_present_price(self, database: Database, settings: Settings) -> None:
        """COM-M6, COM-S7: one price for all pieces of a line, and none that the client gives."""
        user, product = await create_user(), await in_stock(5)
        await create_cart(user=user, lines=[make_line(product, 2, price_seen=money("17.00"))])

        answer = await CartService.add(holder_of(user), item_of(product), settings=settings)

        [line] = (await stored(user_owner(user.id))).lines
        assert (line.quantity, line.price_seen) == (3, money("19.90"))
        assert answer.lines[0].problems == []

    async def test_com_m6_activity_prolongs_its_life(self, database: Database, settings: Settings) -> None:
        """COM-M6: in the source the 30 days ran from its making."""
        user, product = await create_user(), await in_stock(5)
        await create_cart((product, 1), user=user, active_at=MOMENT - timedelta(days=29))

        await CartService.add(holder_of(user), item_of(product), settings=settings, now=MOMENT)

        assert (await stored(user_owner(user.id))).expires_at == MOMENT + timedelta(days=30)

    async def test_com_s7_stock_is_checked_with_what_lies_in_the_cart(self, database: Database, settings: Settings) -> None:
        """COM-S7: the source compared what was added alone."""
        user, product = await create_user(), await in_stock(5, sku="TEE-2")
        await create_cart((product, 3), user=user)

        with pytest.raises(CartStockError) as refused:
            await CartService.add(holder_of(user), item_of(product, 3), settings=settings)

        assert (refused.value.sku, refused.value.wanted, refused.value.available) == ("TEE-2", 6, 5)
        assert quantities(await stored(user_owner(user.id))) == [3]

    @pytest.mark.parametrize("status", [ProductStatus.DRAFT, ProductStatus.INACTIVE, ProductStatus.DISCONTINUED])
    async def test_only_what_is_for_sale(self, database: Database, settings: Settings, status: ProductStatus) -> None:
        user, product = await create_user(), await in_stock(5, status=status)

        with pytest.raises(NotForSaleError):
            await CartService.add(holder_of(user), item_of(product), settings=settings)

        assert await Cart.find_rows({}) == []

    async def test_nothing_unknown_and_nothing_without_a_price_in_the_currency(
        self, database: Database, settings: Settings
    ) -> None:
        user, product = await create_user(), await in_stock(5)

        for wrong in (CartItem(product.id, PydanticObjectId()), item_of(product, currency="EUR")):
            with pytest.raises(NotForSaleError):
                await CartService.add(holder_of(user), wrong, settings=settings)

    async def test_com_m1_currencies_do_not_mix(self, database: Database, settings: Settings) -> None:
        """COM-M1: one currency per cart; an emptied one may begin in another."""
        user = await create_user()
        await create_customer(user=user, currency="EUR")
        variant = make_variant(price=money("19.90"), other_prices=[money("18.00", "EUR")])
        product, holder = await create_product(variants=[variant]), holder_of(user)
        await stock(variant, 9, product=product)

        answer = await CartService.add(holder, item_of(product), settings=settings)
        assert (answer.currency, answer.totals.subtotal) == ("EUR", money("18.00", "EUR"))
        with pytest.raises(CartCurrencyError):
            await CartService.add(holder, item_of(product, currency="USD"), settings=settings)
        await CartService.clear(holder, settings=settings)
        answer = await CartService.add(holder, item_of(product, currency="USD"), settings=settings)

        assert (answer.currency, answer.totals.subtotal) == ("USD", money("19.90"))

    async def test_no_more_than_a_hundred_lines_and_ten_thousand_pieces(self, database: Database, settings: Settings) -> None:
        user, product = await create_user(), await create_product(track_inventory=False)
        other = await create_product(track_inventory=False)
        lines = [make_line(product, variant_id=PydanticObjectId()) for _ in range(MAX_LINES - 1)]
        await create_cart(user=user, lines=[*lines, make_line(product, MAX_QUANTITY)])

        for full in (item_of(product), item_of(other)):
            with pytest.raises(CartFullError):
                await CartService.add(holder_of(user), full, settings=settings)

        assert sum(quantities(await stored(user_owner(user.id)))) == MAX_LINES - 1 + MAX_QUANTITY

    async def test_no_more_money_than_can_be_added_up(self, database: Database, settings: Settings) -> None:
        product = await create_product(track_inventory=False, price="99999999.00")

        with pytest.raises(CartFullError):
            await CartService.add(GUEST, item_of(product, MAX_QUANTITY), settings=settings)
        assert quantities(await CartService.add(GUEST, item_of(product, 100), settings=settings)) == [100]

    async def test_if_match_names_the_cart_that_was_read(self, database: Database, settings: Settings) -> None:
        user, product = await create_user(), await in_stock(5)
        holder = holder_of(user)

        await CartService.add(holder, item_of(product), settings=settings, revision=0)
        for stale in (0, 2):
            with pytest.raises(PreconditionError):
                await CartService.add(holder, item_of(product), settings=settings, revision=stale)
        answer = await CartService.add(holder, item_of(product), settings=settings, revision=1)

        assert (answer.revision, quantities(answer)) == (2, [2])

    async def test_an_expired_cart_begins_anew(self, database: Database, settings: Settings) -> None:
        user, product, other = await create_user(), await in_stock(5), await in_stock(5)
        over = MOMENT - timedelta(days=31)
        await create_cart((other, 1), user=user, active_at=over, abandonment_id=PydanticObjectId(), coupon_codes=["OLD"])
        await create_cart((other, 1), active_at=over)

        await CartService.add(holder_of(user), item_of(product), settings=settings, now=MOMENT)
        guest = await CartService.add(GUEST, item_of(product), settings=settings, now=MOMENT)

        cart = await stored(user_owner(user.id))
        assert [line.product_id for line in cart.lines] == [product.id]
        assert (cart.coupon_codes, cart.abandonment_id) == ([], None)
        assert [line.product_id for line in guest.lines] == [product.id]
        assert guest.cart_token not in (None, CART_TOKEN)


class TestUpdate:
    async def test_sets_the_quantity_and_takes_note_of_the_price(self, database: Database, settings: Settings) -> None:
        user, product = await create_user(), await in_stock(5)
        await create_cart(user=user, lines=[make_line(product, 2, price_seen=money("17.00"))])

        answer = await CartService.update(holder_of(user), product.variants[0].id, quantity=4, settings=settings)

        assert (quantities(answer), answer.lines[0].problems) == ([4], [])
        [line] = (await stored(user_owner(user.id))).lines
        assert (line.quantity, line.price_seen) == (4, money("19.90"))

    @pytest.mark.parametrize("quantity", [0, -3])
    async def test_none_or_fewer_remove_the_line(self, database: Database, settings: Settings, quantity: int) -> None:
        user, product = await create_user(), await in_stock(5, status=ProductStatus.INACTIVE)
        await create_cart((product, 2), user=user, coupon_codes=["TEN"])

        answer = await CartService.update(holder_of(user), product.variants[0].id, quantity=quantity, settings=settings)

        cart = await stored(user_owner(user.id))
        assert (answer.lines, cart.lines, cart.coupon_codes, cart.idle_since) == ([], [], [], None)

    async def test_com_s7_a_missing_line_is_an_error(self, database: Database, settings: Settings) -> None:
        """COM-S7: the source said nothing."""
        user, product, other = await create_user(), await in_stock(5), await in_stock(5)
        await create_cart((product, 2), user=user)

        for holder in (holder_of(user), GUEST, CartHolder(None)):
            with pytest.raises(CartLineNotFoundError):
                await CartService.update(holder, other.variants[0].id, quantity=1, settings=settings)

        assert quantities(await stored(user_owner(user.id))) == [2]
        assert await Cart.count_rows({}) == 1

    async def test_com_s7_hidden_products_and_missing_stock_are_errors(self, database: Database, settings: Settings) -> None:
        """COM-S7: the source looked at neither."""
        user, hidden, few = await create_user(), await in_stock(5, status=ProductStatus.INACTIVE), await in_stock(5)
        await create_cart((hidden, 2), (few, 2), user=user)

        with pytest.raises(NotForSaleError):
            await CartService.update(holder_of(user), hidden.variants[0].id, quantity=3, settings=settings)
        with pytest.raises(CartStockError):
            await CartService.update(holder_of(user), few.variants[0].id, quantity=6, settings=settings)

        assert quantities(await stored(user_owner(user.id))) == [2, 2]


class TestRemoveAndClear:
    async def test_removes_one_line(self, database: Database, settings: Settings) -> None:
        user, product, other = await create_user(), await in_stock(5), await in_stock(5)
        await create_cart((product, 2), (other, 1), user=user, coupon_codes=["TEN"])

        await CartService.remove(holder_of(user), product.variants[0].id, settings=settings)
        with pytest.raises(CartLineNotFoundError):
            await CartService.remove(holder_of(user), product.variants[0].id, settings=settings)

        cart = await stored(user_owner(user.id))
        assert (quantities(cart), cart.coupon_codes) == ([1], ["TEN"])

    async def test_clears_everything_and_makes_nothing(self, database: Database, settings: Settings) -> None:
        user, product = await create_user(), await in_stock(5)
        await CartService.clear(holder_of(user), settings=settings)
        assert await Cart.find_rows({}) == []
        await create_cart((product, 2), user=user, coupon_codes=["TEN"])

        await CartService.clear(holder_of(user), settings=settings)

        cart = await stored(user_owner(user.id))
        assert (cart.lines, cart.coupon_codes, cart.revision, cart.idle_since) == ([], [], 2, None)


class TestCoupons:
    async def test_a_usable_code_is_kept_once(self, database: Database, settings: Settings) -> None:
        user, product = await create_user(), await in_stock(5)
        await create_coupon(code="TEN", rule={"kind": "percentage", "rate": 1000})
        await create_cart((product, 1), user=user)

        for written in ("ten", " TEN "):
            answer = await CartService.add_coupon(holder_of(user), written, address="a", settings=settings)
            assert (answer.coupon_codes, answer.totals.discount) == (["TEN"], money("1.99"))

    async def test_an_unusable_code_says_why_and_is_not_kept(self, database: Database, settings: Settings) -> None:
        user, product = await create_user(), await in_stock(5)
        await create_coupon(
            code="LATE",
            rule={"kind": "percentage", "rate": 1000},
            starts_at=MOMENT - timedelta(days=2),
            expires_at=MOMENT - timedelta(days=1),
        )
        await create_cart((product, 1), user=user)

        with pytest.raises(ExpiredCouponError):
            await CartService.add_coupon(holder_of(user), "LATE", address="a", settings=settings)
        with pytest.raises(UnknownCouponError):
            await CartService.add_coupon(holder_of(user), "NEVER", address="a", settings=settings)

        assert (await stored(user_owner(user.id))).coupon_codes == []

    async def test_needs_something_in_the_cart(self, database: Database, settings: Settings) -> None:
        with pytest.raises(CartEmptyError):
            await CartService.add_coupon(GUEST, "TEN", address="a", settings=settings)

    async def test_guessing_is_limited_per_person_and_per_guests_address(self, database: Database, settings: Settings) -> None:
        user, product = await create_user(), await in_stock(5)
        settings = settings.model_copy(update={"coupon_attempts": 2})
        await create_cart((product, 1), user=user)
        await create_cart((product, 1))

        for holder, address in ((holder_of(user), "ignored"), (GUEST, "192.0.2.1")):
            for _ in range(2):
                with pytest.raises(UnknownCouponError):
                    await CartService.add_coupon(holder, "GUESS", address=address, settings=settings, now=MOMENT)
            with pytest.raises(TooManyAttemptsError):
                await CartService.add_coupon(holder, "GUESS", address=address, settings=settings, now=MOMENT)
        with pytest.raises(UnknownCouponError):
            await CartService.add_coupon(GUEST, "GUESS", address="192.0.2.2", settings=settings, now=MOMENT)

    async def test_is_taken_out_again(self, database: Database, settings: Settings) -> None:
        user, product = await create_user(), await in_stock(5)
        await create_cart((product, 1), user=user, coupon_codes=["TEN", "MORE"])

        await CartService.remove_coupon(holder_of(user), "ten", settings=settings)
        with pytest.raises(CartCouponNotFoundError):
            await CartService.remove_coupon(holder_of(user), "TEN", settings=settings)

        assert (await stored(user_owner(user.id))).coupon_codes == ["MORE"]

    async def test_a_code_that_ceases_to_be_usable_is_told(self, database: Database, settings: Settings) -> None:
        user, product = await create_user(), await in_stock(5)
        await create_cart((product, 1), user=user, coupon_codes=["GONE"])

        cart = await CartService.get(holder_of(user), settings=settings)

        assert [problem.code for problem in cart.coupon_problems] == ["GONE"]
        assert cart.totals.discount == Money.zero("USD")


class TestFindForCheckout:
    async def test_gives_what_is_stored(self, database: Database, settings: Settings, commands: CommandLog) -> None:
        user, product = await create_user(), await in_stock(5)
        cart = await create_cart((product, 2), user=user)

        with commands.counting() as sent:
            found = await CartService.find_for_checkout(user_owner(user.id))

        assert found.row() == cart.row()
        assert len(sent) == 1

    async def test_nothing_or_an_empty_cart_cannot_be_bought(self, database: Database) -> None:
        user = await create_user()
        await create_cart(user=user)

        for owner in (user_owner(user.id), guest_owner(CART_TOKEN), ""):
            with pytest.raises(CartEmptyError):
                await CartService.find_for_checkout(owner)


async def take_out(cart: Cart) -> Cart:
    """What a checkout that has read this cart before its transaction takes out in the end."""
    carts = [cart]

    async def work(session: Session) -> Cart:
        found = carts.pop() if carts else await CartService.find_for_checkout(cart.owner, session=session, now=MOMENT)
        await CartService.take_out(found, session=session, now=MOMENT)
        return found

    return await run_transaction(work)


class TestTakeOut:
    async def test_takes_what_was_ordered_and_codes_with_it(self, database: Database) -> None:
        user, product = await create_user(), await in_stock(5)
        cart = await create_cart((product, 2), user=user, coupon_codes=["TEN"])

        await take_out(cart)

        left = await stored(cart.owner)
        assert (left.lines, left.coupon_codes, left.idle_since, left.revision) == ([], [], None, 2)

    async def test_r5_what_came_in_meanwhile_is_looked_at_again(self, database: Database, settings: Settings) -> None:
        """R5: lines added during a checkout are in the order or still in the cart."""
        user, product, other = await create_user(), await in_stock(9), await in_stock(9)
        cart = await create_cart((product, 2), user=user)
        await CartService.add(holder_of(user), item_of(product, 3), settings=settings)
        await CartService.add(holder_of(user), item_of(other), settings=settings)

        taken = await take_out(cart)

        assert [(line.product_id, line.quantity) for line in taken.lines] == [(product.id, 5), (other.id, 1)]
        assert (await stored(cart.owner)).lines == []

    async def test_a_guest_who_signed_in_meanwhile_has_nothing_to_buy(self, database: Database, settings: Settings) -> None:
        """What they had lies in their own cart."""
        user, product, other = await create_user(), await in_stock(9), await in_stock(9)
        await create_cart((other, 1), user=user)
        cart = await create_cart((product, 2))
        await CartService.merge(holder_of(user, CART_TOKEN), settings=settings)

        with pytest.raises(CartEmptyError):
            await take_out(cart)

        left = await stored(user_owner(user.id))
        assert [(line.product_id, line.quantity) for line in left.lines] == [(other.id, 1), (product.id, 2)]

    async def test_com_s9_an_abandoned_cart_that_is_bought_is_recovered_once(self, database: Database) -> None:
        """COM-S9"""
        user, product = await create_user(), await in_stock(5)
        abandonment = CartAbandonment(
            cart_id=PydanticObjectId(), user_id=user.id, value=money("39.80"), pieces=2, abandoned_at=MOMENT
        )
        await abandonment.store()
        cart = await create_cart((product, 2), user=user, abandoned_at=MOMENT, abandonment_id=abandonment.id)

        await take_out(cart)
        with pytest.raises(CartEmptyError):
            await take_out(cart)

        row = await CartAbandonment.find_row({"_id": abandonment.id})
        assert row is not None
        assert row["recovered_at"] == MOMENT
        events = await Event.find_rows({"type": EventType.CART_RECOVERED})
        assert [(event["subject"], event["actor_id"]) for event in events] == [(f"cart:{cart.id}", user.id)]
        assert (await stored(cart.owner)).abandonment_id is None

    async def test_a_cart_that_is_gone_cannot_be_bought(self, database: Database) -> None:
        product = await in_stock(5)
        cart = await create_cart((product, 2))
        await Cart.collection().delete_one({"_id": cart.id})

        with pytest.raises(CartEmptyError):
            await take_out(cart)
