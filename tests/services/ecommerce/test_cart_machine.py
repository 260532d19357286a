"""A cart and a guest's beside it, changed in any order, against a dictionary that says what they must hold."""

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from models.base import now
from models.database import Database, Session, run_transaction
from models.ecommerce.carts import Cart
from models.ecommerce.catalog import Product
from models.money import Money
from models.users import User
from services.ecommerce.cart_writing import KEPT_FOR
from services.ecommerce.carts import (
    CartEmptyError,
    CartHolder,
    CartItem,
    CartLineNotFoundError,
    CartService,
    CartStockError,
    user_owner,
)
from services.errors import PreconditionError
from services.settings import Settings
from tests.databases import DatabasePool
from tests.factories.catalog import create_product
from tests.factories.inventory import stock
from tests.factories.users import create_user, viewer_of
from tests.races import rounds

T = TypeVar("T")

STOCK = 6
PRICE = Money.of("19.90", "USD")
PRODUCTS = st.integers(0, 2)
QUANTITIES = st.integers(1, 4)


class CartMachine(RuleBasedStateMachine):
    """`own` and `guest` are the model: pieces by product, in the order in which they came."""

    def __init__(self, settings: Settings, databases: DatabasePool) -> None:
        super().__init__()
        self.settings = settings
        self.databases = databases
        self.runner = asyncio.Runner()
        self.database = self.run(self.open())
        self.now: datetime = now()
        self.own: dict[int, int] = {}
        self.guest: dict[int, int] = {}
        self.token: str | None = None
        self.ordered = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def open(self) -> Database:
        database = Database.connect(self.settings.mongodb_uri, self.settings.database)
        await self.databases.bind(database)
        self.products: list[Product] = [await create_product() for _ in range(3)]
        for product in self.products:
            await stock(product.variants[0], STOCK, product=product)
        self.user: User = await create_user()
        return database

    def teardown(self) -> None:
        self.run(self.database.close())
        self.runner.close()

    def holder(self, with_token: bool) -> CartHolder:
        """Of the person; with the guest's token their cart joins, in the model too."""
        if with_token:
            for product, quantity in self.guest.items():
                self.own[product] = self.own.get(product, 0) + quantity
            self.guest = {}
        return CartHolder(viewer_of(self.user), self.token if with_token else None)

    def variant(self, product: int) -> Any:
        return self.products[product].variants[0].id

    def item(self, product: int, quantity: int) -> CartItem:
        return CartItem(self.products[product].id, self.variant(product), quantity)

    @rule(product=PRODUCTS, quantity=QUANTITIES, with_token=st.booleans())
    def add(self, product: int, quantity: int, with_token: bool) -> None:
        own, guest = dict(self.own), dict(self.guest)
        work = CartService.add(self.holder(with_token), self.item(product, quantity), settings=self.settings, now=self.now)
        wanted = self.own.get(product, 0) + quantity
        if wanted > STOCK:
            self.own, self.guest = own, guest  # refused as a whole, the joining with it
            with pytest.raises(CartStockError):
                self.run(work)
        else:
            self.run(work)
            self.own[product] = wanted

    @rule(product=PRODUCTS, quantity=QUANTITIES)
    def add_as_guest(self, product: int, quantity: int) -> None:
        work = CartService.add(CartHolder(None, self.token), self.item(product, quantity), settings=self.settings, now=self.now)
        if self.guest.get(product, 0) + quantity > STOCK:
            with pytest.raises(CartStockError):
                self.run(work)
            return
        answer = self.run(work)
        self.token = answer.cart_token or self.token
        self.guest[product] = self.guest.get(product, 0) + quantity

    @rule(product=PRODUCTS, quantity=st.integers(-1, STOCK))
    def update(self, product: int, quantity: int) -> None:
        work = CartService.update(
            self.holder(False), self.variant(product), quantity=quantity, settings=self.settings, now=self.now
        )
        if product not in self.own:
            with pytest.raises(CartLineNotFoundError):
                self.run(work)
            return
        self.run(work)
        self.own[product] = quantity
        if quantity <= 0:
            del self.own[product]

    @rule(product=PRODUCTS)
    def remove(self, product: int) -> None:
        work = CartService.remove(self.holder(False), self.variant(product), settings=self.settings, now=self.now)
        if self.own.pop(product, None) is None:
            with pytest.raises(CartLineNotFoundError):
                self.run(work)
        else:
            self.run(work)

    @rule()
    def clear(self) -> None:
        self.run(CartService.clear(self.holder(False), settings=self.settings, now=self.now))
        self.own = {}

    @precondition(lambda self: self.token is not None)
    @rule()
    def merge(self) -> None:
        self.run(CartService.merge(self.holder(True), settings=self.settings, now=self.now))

    @rule()
    def check_out(self) -> None:
        async def work(session: Session) -> None:
            cart = await CartService.find_for_checkout(user_owner(self.user.id), session=session, now=self.now)
            await CartService.take_out(cart, session=session, now=self.now)

        if self.own:
            self.run(run_transaction(work))
        else:
            with pytest.raises(CartEmptyError):
                self.run(run_transaction(work))
        self.own = {}

    @rule()
    def act_on_a_stale_copy(self) -> None:
        with pytest.raises(PreconditionError):
            self.run(CartService.clear(self.holder(False), settings=self.settings, revision=999_999, now=self.now))

    @rule(is_over=st.booleans())
    def time_passes(self, is_over: bool) -> None:
        """A day changes nothing; thirty without a change end both carts."""
        if is_over:
            self.now += KEPT_FOR
            self.own, self.guest = {}, {}
        else:
            self.now += timedelta(minutes=1)

    @invariant()
    def carts_hold_what_the_model_says(self) -> None:
        mine = self.run(CartService.get(CartHolder(viewer_of(self.user)), settings=self.settings, now=self.now))
        guests = self.run(CartService.get(CartHolder(None, self.token), settings=self.settings, now=self.now))
        both = self.run(CartService.get(CartHolder(viewer_of(self.user), self.token), settings=self.settings, now=self.now))
        index = {product.id: n for n, product in enumerate(self.products)}
        joined = dict(self.own)
        for product, quantity in self.guest.items():
            joined[product] = joined.get(product, 0) + quantity

        for cart, model in ((mine, self.own), (guests, self.guest), (both, joined)):
            assert {index[line.product_id]: line.quantity for line in cart.lines} == model
            assert cart.totals.subtotal == PRICE * sum(model.values())
            short = [bool(line.problems) for line in cart.lines]
            assert short == [line.quantity > STOCK for line in cart.lines]

    @invariant()
    def there_are_two_owners_at_most_and_no_empty_line(self) -> None:
        carts = [Cart.from_row(row) for row in self.run(Cart.find_rows({"user_id": self.user.id}))]
        assert len(carts) <= 1
        assert all(line.quantity > 0 for cart in carts for line in cart.lines)


def test_carts_behave_like_the_model(settings: Settings, databases: DatabasePool) -> None:
    class Machine(CartMachine):
        def __init__(self) -> None:
            super().__init__(settings, databases)

    run_state_machine_as_test(
        Machine,
        settings=hypothesis_settings(max_examples=rounds(15, 500), stateful_step_count=rounds(15, 50)),
    )
