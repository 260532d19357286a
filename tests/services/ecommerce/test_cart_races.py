"""What holds of carts, address books and statistics however requests interleave."""

import asyncio
import random
from collections import Counter

import pytest
from beanie import PydanticObjectId

from models.base import now
from models.database import Database, Session, run_transaction
from models.ecommerce.carts import Cart
from models.ecommerce.catalog import Product
from models.ecommerce.customers import Address, AddressDefault, Customer, DefaultKind, LoyaltyEntry
from models.money import Money
from models.users import User
from services.ecommerce.addresses import MAX_ADDRESSES, AddressBookFullError, AddressService, NewAddress
from services.ecommerce.carts import CartEmptyError, CartHolder, CartItem, CartService, guest_owner, user_owner
from services.ecommerce.customers import CustomerService
from services.settings import Settings
from tests.factories.carts import CART_TOKEN, create_cart
from tests.factories.catalog import create_product
from tests.factories.customers import create_address, create_customer, make_place
from tests.factories.users import create_user, viewer_of
from tests.races import seeds

Pieces = Counter[PydanticObjectId]


async def endless_product() -> Product:
    return await create_product(track_inventory=False)


def holder_of(user: User, token: str | None = None) -> CartHolder:
    return CartHolder(viewer_of(user), token)


def item_of(product: Product, quantity: int = 1) -> CartItem:
    return CartItem(product.id, product.variants[0].id, quantity)


def in_cart(cart: Cart) -> Pieces:
    return Counter({line.product_id: line.quantity for line in cart.lines})


async def lying_in_carts() -> Pieces:
    return sum((in_cart(Cart.from_row(row)) for row in await Cart.find_rows({})), Counter())


class Orders:
    """The place of the real checkout: an order is what a committed transaction took out of the cart."""

    def __init__(self) -> None:
        self.pieces: Pieces = Counter()

    async def check_out(self, owner: str, *, pause: float = 0) -> None:
        async def work(session: Session) -> Pieces:
            cart = await CartService.find_for_checkout(owner, session=session)
            await asyncio.sleep(pause)
            await CartService.take_out(cart, session=session, now=now())
            return in_cart(cart)

        try:
            self.pieces += await run_transaction(work)
        except CartEmptyError:
            return

    async def check_out_late(self, owner: str, *, pause: float = 0) -> None:
        """As the real one: the cart was read before the transaction that takes it out, which looks again when overtaken."""
        try:
            carts = [await CartService.find_for_checkout(owner)]
            await asyncio.sleep(pause)

            async def work(session: Session) -> Pieces:
                cart = carts.pop() if carts else await CartService.find_for_checkout(owner, session=session)
                await CartService.take_out(cart, session=session, now=now())
                return in_cart(cart)

            self.pieces += await run_transaction(work)
        except CartEmptyError:
            return


class TestAdd:
    async def test_r5_fifty_parallel_adds_are_fifty_pieces_on_one_line(self, database: Database, settings: Settings) -> None:
        """R5, COM-S7: also while the cart is being made."""
        product, user = await endless_product(), await create_user()
        await create_cart()
        for holder, owner in ((holder_of(user), user_owner(user.id)), (CartHolder(None, CART_TOKEN), guest_owner(CART_TOKEN))):
            await asyncio.gather(*(CartService.add(holder, item_of(product), settings=settings) for _ in range(50)))

            row = await Cart.find_row({"owner": owner})
            assert row is not None
            assert [(line["product_id"], line["quantity"]) for line in row["lines"]] == [(product.id, 50)]
        assert await Cart.count_rows({}) == 2

    @pytest.mark.parametrize("seed", seeds())
    async def test_r5_lines_added_during_a_checkout_are_ordered_or_still_there(
        self, database: Database, settings: Settings, seed: int
    ) -> None:
        """R5: added = ordered + lying in the cart, per product."""
        dice, user = random.Random(seed), await create_user()
        products = [await endless_product() for _ in range(4)]
        orders, added, owner = Orders(), Counter[PydanticObjectId](), user_owner(user.id)

        async def add() -> None:
            await asyncio.sleep(dice.random() * 0.05)
            product, quantity = dice.choice(products), dice.randint(1, 3)
            await CartService.add(holder_of(user), item_of(product, quantity), settings=settings)
            added[product.id] += quantity

        async def check_out() -> None:
            await asyncio.sleep(dice.random() * 0.05)
            await dice.choice([orders.check_out, orders.check_out_late])(owner, pause=dice.random() * 0.01)

        # One checkout at a time: twins of one are held apart by their key, which this stand-in lacks.
        async def check_out_often() -> None:
            for _ in range(6):
                await check_out()

        await asyncio.gather(*(add() for _ in range(30)), check_out_often())

        assert orders.pieces + await lying_in_carts() == added


class TestMerge:
    @pytest.mark.parametrize("seed", seeds())
    async def test_com_s9_merge_against_checkout_loses_and_doubles_nothing(
        self, database: Database, settings: Settings, seed: int
    ) -> None:
        """COM-S9: of the guest's cart and of one's own, by whoever comes first."""
        dice = random.Random(seed)
        product, other = await endless_product(), await endless_product()
        for n in range(4):
            user, token = await create_user(), f"{n}{CART_TOKEN[1:]}"
            await create_cart((product, 3), (other, 1), token=token)
            await create_cart((product, 2), user=user)
            orders, before = Orders(), await lying_in_carts()

            async def merge(holder: CartHolder) -> None:
                await asyncio.sleep(dice.random() * 0.02)
                await CartService.merge(holder, settings=settings)

            async def buy(owner: str, orders: Orders) -> None:
                await asyncio.sleep(dice.random() * 0.02)
                await dice.choice([orders.check_out, orders.check_out_late])(owner, pause=dice.random() * 0.01)

            holder = holder_of(user, token)
            await asyncio.gather(
                *(merge(holder) for _ in range(5)), buy(dice.choice([guest_owner(token), holder.owner or ""]), orders)
            )

            assert orders.pieces + await lying_in_carts() == before
            await merge(holder)
            guest = await Cart.find_row({"owner": guest_owner(token)})
            assert guest is not None
            assert guest["lines"] == []
            await Cart.collection().delete_many({})

    @pytest.mark.parametrize("seed", seeds())
    async def test_com_s9_merge_against_add_loses_and_doubles_nothing(
        self, database: Database, settings: Settings, seed: int
    ) -> None:
        """COM-S9: guests still add while the same person signs in elsewhere; a closed cart's guest gets a new one."""
        dice, user = random.Random(seed), await create_user()
        products = [await endless_product() for _ in range(3)]
        await create_cart((products[0], 2))
        added = Counter({products[0].id: 2})

        async def add(holder: CartHolder) -> None:
            await asyncio.sleep(dice.random() * 0.05)
            product = dice.choice(products)
            await CartService.add(holder, item_of(product), settings=settings)
            added[product.id] += 1

        async def merge() -> None:
            await asyncio.sleep(dice.random() * 0.05)
            await CartService.merge(holder_of(user, CART_TOKEN), settings=settings)

        guest, own, both = CartHolder(None, CART_TOKEN), holder_of(user), holder_of(user, CART_TOKEN)
        await asyncio.gather(*(add(holder) for holder in (guest, own, both) for _ in range(10)), *(merge() for _ in range(10)))

        assert await lying_in_carts() == added


class TestCustomers:
    async def test_com_m1_twenty_first_requests_make_one_profile(self, database: Database, settings: Settings) -> None:
        """COM-M1: a profile of the one identity, held by an index."""
        user = await create_user(first_name="Ada", last_name="Lovelace")

        made = await asyncio.gather(*(CustomerService.of(viewer_of(user), settings=settings) for _ in range(20)))

        assert len({customer.id for customer in made}) == 1
        [row] = await Customer.find_rows({})
        assert (row["user_id"], row["first_name"], row["last_name"]) == (user.id, "Ada", "Lovelace")

    async def test_com_s18_one_cause_counts_once(self, database: Database, settings: Settings) -> None:
        """COM-S18: two webhooks that tell of one payment, or of one refund."""
        customer, order_id = await create_customer(), PydanticObjectId()
        amount = Money.of("20.00", "USD")

        async def pay(session: Session) -> int:
            return await CustomerService.note_purchase(session, customer.id, order_id=order_id, amount=amount, settings=settings)

        async def refund(session: Session) -> int:
            return await CustomerService.note_refund(
                session, customer.id, order_id=order_id, key="refund:1", amount=Money.of("5.00", "USD")
            )

        assert set(await asyncio.gather(*(run_transaction(pay) for _ in range(20)))) == {20}
        assert sorted(await asyncio.gather(*(run_transaction(refund) for _ in range(20)))) == [*([0] * 19), 5]

        row = await Customer.find_row({"_id": customer.id})
        assert row is not None
        assert (row["orders_count"], row["points_balance"], row["spent"]["amount"]) == (1, 15, 1500)
        assert await LoyaltyEntry.count_rows({}) == 2


class TestAddresses:
    @pytest.mark.parametrize("seed", seeds())
    async def test_com_m2_one_default_per_kind_under_any_interleaving(
        self, database: Database, settings: Settings, seed: int
    ) -> None:
        """COM-M2: set, delete and add at once; afterwards each kind has one default, and it is in the book."""
        dice, user = random.Random(seed), await create_user()
        customer, viewer = await create_customer(user=user), viewer_of(user)
        defaults = (DefaultKind.SHIPPING, DefaultKind.BILLING)
        addresses = [await create_address(customer, defaults=defaults if n == 0 else ()) for n in range(6)]

        async def set_default() -> None:
            await asyncio.sleep(dice.random() * 0.02)
            await AddressService.set_default(dice.choice(addresses[2:]).id, dice.choice(defaults), viewer=viewer)

        async def delete(address: Address) -> None:
            await asyncio.sleep(dice.random() * 0.02)
            await AddressService.delete_address(address.id, viewer=viewer)

        await asyncio.gather(*(set_default() for _ in range(20)), *(delete(address) for address in addresses[:2]))

        rows = await AddressDefault.find_rows({"customer_id": customer.id}, sort=[("kind", 1)])
        assert [row["kind"] for row in rows] == ["billing", "shipping"]
        assert {row["address_id"] for row in rows} <= {address.id for address in addresses[2:]}
        stored = await Customer.find_row({"_id": customer.id})
        assert stored is not None
        assert stored["addresses_count"] == await Address.count_rows({}) == 4

    async def test_com_m2_the_book_ends_at_fifty_exactly(self, database: Database, settings: Settings) -> None:
        user = await create_user()
        customer = await create_customer(user=user)
        for _ in range(MAX_ADDRESSES - 3):
            await create_address(customer)
        new = NewAddress(address=make_place())

        answers = await asyncio.gather(
            *(AddressService.create_address(new, viewer=viewer_of(user), settings=settings) for _ in range(10)),
            return_exceptions=True,
        )

        assert sum(isinstance(answer, AddressBookFullError) for answer in answers) == 7
        assert await Address.count_rows({}) == MAX_ADDRESSES
        assert await AddressDefault.count_rows({}) == 2
