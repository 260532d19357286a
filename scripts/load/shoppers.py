"""Shoppers who buy over HTTP whatever happens to the shop: each request is repeated under its key until it is answered."""

import asyncio
import contextlib
import random
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
from beanie import PydanticObjectId

from models.base import now
from models.database import Session, run_transaction
from models.ecommerce.catalog import ProductStatus
from models.ecommerce.coupons import Coupon, DiscountKind, DiscountRule
from models.fraud import FraudAction, FraudRule
from models.inventory.stock import MovementKind
from models.money import Money
from models.users import Role, User
from services.ecommerce.catalog.products import ProductService
from services.ecommerce.catalog.writing import ProductDraft, VariantDraft
from services.ecommerce.stock_items import StockItemService
from services.indexes import IndexService
from services.inventory.stock import Correction, StockService
from services.settings import Settings
from services.users.passwords import UNUSABLE_HASH
from services.users.permissions import SYSTEM
from services.users.sessions import ClientInfo, SessionService

PRODUCTS = 12
SCARCE = 40  # pieces of the last product
COUPON = "STRESS"

_PLACE = {
    "first_name": "Jane",
    "last_name": "Doe",
    "line1": "1 Market Street",
    "city": "Springfield",
    "state": "IL",
    "postal_code": "62701",
    "country": "US",
}
# How they pay, and how often.
_WAYS = {
    "tok_ok": 42,
    "invoice": 20,
    "tok_declined": 10,
    "tok_timeout_after": 8,
    "tok_timeout_before_once": 6,
    "tok_double_webhook": 6,
    "tok_late_webhook": 4,
    "tok_early_webhook": 4,
}
_AGAIN = (500, 502, 503)
_IN_PROGRESS = "idempotency_in_progress"


@dataclass(frozen=True)
class Stock:
    """What is for sale, and who buys."""

    variants: Sequence[tuple[str, str]]  # product and variant
    tokens: Sequence[str]  # one per shopper
    staff: str


async def open_shop(settings: Settings, shoppers: int) -> Stock:
    """Products, stock, a coupon, people with a session each, and no fraud rule: all of them pay from few addresses."""
    await IndexService.create_missing()
    anyway = FraudRule(name="none", conditions=[], action=FraudAction.ALLOW, enabled=False)
    await anyway.store()
    await Coupon(code=COUPON, rule=DiscountRule(kind=DiscountKind.PERCENTAGE, rate=1000), usage_limit=1_000_000).store()
    variants = [await _put_on_sale(number, settings) for number in range(PRODUCTS)]
    people = [make_person(number, Role.USER) for number in range(shoppers)]
    await User.collection().insert_many([person.row() for person in people])
    keeper = await make_person(shoppers, Role.ADMIN).store()
    tokens = [await open_session(person, settings) for person in people]
    return Stock(variants, tokens, await open_session(keeper, settings))


async def _put_on_sale(number: int, settings: Settings) -> tuple[str, str]:
    price = Money(amount=500 + 731 * number, currency=settings.currency)
    draft = ProductDraft(
        name=f"Thing {number}",
        variants=[VariantDraft(sku=f"THING-{number}", price=price)],
        status=ProductStatus.ACTIVE,
    )
    product = await ProductService.create_product(draft, viewer=SYSTEM)
    quantity = SCARCE if number == PRODUCTS - 1 else 1_000_000
    correction = Correction(variant_id=product.variants[0].id, quantity=quantity, unit_cost=price, reason="opening")
    await StockService.correct(
        correction, kind=MovementKind.RECEIPT, catalog=StockItemService, viewer=SYSTEM, currency=settings.currency
    )
    return str(product.id), str(product.variants[0].id)


def make_person(number: int, role: Role, *, password_hash: str = UNUSABLE_HASH) -> User:
    name = f"{role}{number}-of-stress"
    return User(
        username=name,
        email=f"{name}@example.com",
        email_normalized=f"{name}@example.com",
        first_name="Jane",
        last_name="Doe",
        password_hash=password_hash,
        role=role,
        is_verified=True,
    )


async def open_session(person: User, settings: Settings) -> str:
    client = ClientInfo("127.0.0.1", "stress")

    async def work(session: Session) -> str:
        opened = await SessionService.create(session, person, device_id="stress", client=client, settings=settings, now=now())
        return opened.token

    return await run_transaction(work)


@dataclass
class Tally:
    """What the shoppers were told, over all rounds."""

    orders: dict[str, str] = field(default_factory=dict)  # key of a checkout -> the order it was answered with
    declined: set[str] = field(default_factory=set)  # keys of checkouts whose payment was declined: their orders were cancelled
    refused: Counter[str] = field(default_factory=Counter)  # codes of other refusals, which leave no order
    twice: list[str] = field(default_factory=list)  # keys that were answered with two different orders
    wrong: list[str] = field(default_factory=list)  # answers nobody should get
    statuses: Counter[int] = field(default_factory=Counter)
    cancelled: set[str] = field(default_factory=set)
    refunds: int = 0
    in_doubt: list[float] = field(default_factory=list)  # seconds from healthy to the answer of checkouts a kill interrupted
    undisturbed: list[float] = field(default_factory=list)  # seconds that checkouts took which no kill interrupted
    dead_at: float | None = None  # when the last kill was done; an answer to what was asked since then is a sign of life
    alive: asyncio.Event = field(default_factory=asyncio.Event)
    healthy_at: float | None = None  # None between a kill and the recovery
    healthy: asyncio.Event = field(default_factory=asyncio.Event)

    def note_kill(self) -> None:
        self.dead_at = self.healthy_at = None
        self.healthy.clear()

    def note_death(self) -> None:
        self.dead_at = time.monotonic()
        self.alive.clear()

    def note_recovery(self) -> float:
        self.healthy_at = time.monotonic()
        self.healthy.set()
        return self.healthy_at


class Shopper:
    """Buys again and again until the round is over, and then ends what they began."""

    def __init__(self, client: httpx2.AsyncClient, stock: Stock, number: int, tally: Tally) -> None:
        self.client = client
        self.stock = stock
        self.tally = tally
        self.token = stock.tokens[number]
        # Everybody asks from somewhere else: the fraud rules look at the checkouts of one network address one after the other.
        self.address = f"10.0.{number // 250}.{number % 250 + 1}"
        self.chance = random.Random(number)

    async def buy_until(self, over: asyncio.Event) -> None:
        while not over.is_set():
            await self.buy()

    async def buy(self) -> None:
        added = 0
        for product, variant in self.chance.sample(list(self.stock.variants), self.chance.choice((1, 2, 2, 3))):
            item = {"product_id": product, "variant_id": variant, "quantity": self.chance.choice((1, 1, 2))}
            answer = await self.ask("POST", "/shop/cart/items", item)
            added += answer.status_code == 201
            if answer.status_code != 201 and answer.json()["code"] != "cart_stock":
                self.tally.wrong.append(f"cart: {answer.status_code} {answer.text[:200]}")
        if not added:
            return
        if self.chance.random() < 0.3:
            await self.ask("POST", "/shop/cart/coupons", {"code": COUPON})
        key, body = f"buy-{uuid.uuid4().hex}", self.draft()
        clicks = 2 if self.chance.random() < 0.2 else 1
        answers = await asyncio.gather(*(self.ask("POST", "/shop/checkout", body, key=key) for _ in range(clicks)))
        for answer in answers:
            self.note(key, answer)
        if key in self.tally.orders:
            await self.think_again(self.tally.orders[key])
        elif any(answer.json().get("code") == "out_of_stock" for answer in answers if answer.status_code != 201):
            await self.ask("DELETE", "/shop/cart", None)

    def draft(self) -> dict[str, Any]:
        way = self.chance.choices(list(_WAYS), list(_WAYS.values()))[0]
        if way == "invoice":
            return {"payment_method": "invoice", "shipping_address": _PLACE}
        return {"payment_method": "card", "payment_token": way, "shipping_address": _PLACE}

    def note(self, key: str, answer: httpx2.Response) -> None:
        tally = self.tally
        if answer.status_code == 201:
            order = answer.json()["order"]["id"]
            if tally.orders.setdefault(key, order) != order:
                tally.twice.append(key)
            return
        code = answer.json().get("code", "")
        if code == "payment_declined":
            tally.declined.add(key)
        elif code == "out_of_stock":
            tally.refused[code] += 1
        else:
            tally.wrong.append(f"checkout: {answer.status_code} {answer.text[:300]}")

    async def think_again(self, order: str) -> None:
        """Some cancel; some are given a part of their money back by staff."""
        chance = self.chance.random()
        if chance < 0.15:
            answer = await self.ask("DELETE", f"/orders/{order}", None)
            if answer.status_code == 200:
                self.tally.cancelled.add(order)
        elif chance < 0.25:
            shown = await self.ask("GET", f"/orders/{order}/staff", None, token=self.stock.staff)
            payment = shown.json().get("payment_id")
            if payment is not None:
                body = {"amount": {"amount": "1.00", "currency": "USD"}, "reason": "A dollar too much"}
                answer = await self.ask("POST", f"/payments/{payment}/refunds", body, token=self.stock.staff)
                self.tally.refunds += answer.status_code == 201

    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None, *, key: str | None = None, token: str | None = None
    ) -> httpx2.Response:
        """The first answer that is one: whatever is in doubt is asked for again under the same key."""
        headers = {"Authorization": f"Bearer {token or self.token}", "X-Forwarded-For": self.address}
        if method == "POST":
            headers["Idempotency-Key"] = key or f"ask-{uuid.uuid4().hex}"
        was_in_doubt = False
        pause = 0.05
        began = time.monotonic()
        while True:
            asked = time.monotonic()
            try:
                answer = await self.client.request(method, path, json=body, headers=headers)
            except httpx2.TransportError:
                was_in_doubt = was_in_doubt or self.tally.healthy_at is None
            else:
                self.tally.statuses[answer.status_code] += 1
                is_answer = answer.status_code not in _AGAIN and not (
                    answer.status_code == 409 and answer.json().get("code") == _IN_PROGRESS
                )
                if is_answer:
                    if self.tally.dead_at is not None and asked >= self.tally.dead_at:
                        self.tally.alive.set()
                    if path == "/shop/checkout":
                        self._note_time(began, was_in_doubt=was_in_doubt)
                    return answer
                was_in_doubt = was_in_doubt or (answer.status_code == 503 and self.tally.healthy_at is None)
            # Asking all the time would cost the shop the processor it needs to come back.
            await self._wait(self.chance.uniform(0.5, 1.0) * pause)
            pause = min(2.0, 1.5 * pause)

    def _note_time(self, began: float, *, was_in_doubt: bool) -> None:
        answered = time.monotonic()
        if was_in_doubt:
            self.tally.in_doubt.append(max(0.0, answered - (self.tally.healthy_at or answered)))
        else:
            self.tally.undisturbed.append(answered - began)

    async def _wait(self, seconds: float) -> None:
        if self.tally.healthy.is_set():
            await asyncio.sleep(min(seconds, 1.0))  # two hundred who ask more often would be half of what the shop does
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.tally.healthy.wait()


def order_ids(tally: Tally) -> list[PydanticObjectId]:
    return sorted({PydanticObjectId(order) for order in tally.orders.values()})
