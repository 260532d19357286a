"""Many buyers at once over real HTTP: sockets, uvicorn, middleware and all. Who got what is told by the ledgers.

`make stress-buyers` runs each with 50 seeds.
"""

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import accumulate

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from models.database import Database
from models.ecommerce.orders import Order
from models.inventory.stock import MovementKind, StockLevel, StockMovement
from services.payments.gateways import Gateways
from services.settings import Settings
from tests.api.conftest import Headers
from tests.books import all_of, differences
from tests.factories.carts import Wish, create_cart
from tests.factories.checkout import TOKEN_DECLINED, TOKEN_OK, DoubleGateway, create_stocked
from tests.factories.customers import make_place
from tests.factories.users import create_session, create_user
from tests.races import patiently, rounds, seeds

CHECKOUT = "/api/v1/shop/checkout"


@pytest.fixture
def gateway() -> DoubleGateway:
    return DoubleGateway()


class QuietServer(uvicorn.Server):
    """Leaves the signals to pytest."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(settings: Settings, database: Database, gateway: DoubleGateway) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a newly started application on loopback, with as many connections as it has requests."""
    app: FastAPI = create_app(settings, database=database)
    app.state.gateways = Gateways([gateway])
    server = QuietServer(uvicorn.Config(app, loop="none", http="httptools", ws="none", access_log=False, log_config=None))
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        running = asyncio.create_task(server.serve([listener]))
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(base_url=url, timeout=patiently(5), limits=limits, trust_env=False) as client:
            yield client
        server.should_exit = True
        await running


@pytest.fixture
async def shop(settings: Settings, database: Database, gateway: DoubleGateway) -> AsyncIterator[httpx2.AsyncClient]:
    async with serving(settings, database, gateway) as client:
        yield client


async def buyer(*wishes: Wish) -> Headers:
    """Somebody new who is signed in and has these things in their cart."""
    user = await create_user()
    await create_cart(*wishes, user=user)
    return {"Authorization": f"Bearer {await create_session(user)}"}


async def check_out(shop: httpx2.AsyncClient, who: Headers, key: str, token: str = TOKEN_OK) -> httpx2.Response:
    """As a browser does it: asked again while the first click is being worked on. The client waits as long as the goal says."""
    body = {"payment_token": token, "shipping_address": make_place().model_dump()}
    while True:
        answer = await shop.post(CHECKOUT, json=body, headers={**who, "Idempotency-Key": key})
        if answer.status_code != 409 or answer.json()["code"] != "idempotency_in_progress":
            return answer
        await asyncio.sleep(0.2)


def statuses(answers: Sequence[httpx2.Response]) -> set[tuple[int, str | None]]:
    """What was answered: status and, of refusals, code."""
    return {(answer.status_code, answer.json().get("code")) for answer in answers}


async def stock_after_each_movement() -> list[int]:
    """How many pieces lay on the shelves after each movement of the ledger."""
    movements: list[StockMovement] = await all_of(StockMovement)
    return list(accumulate(movement.quantity for movement in movements))


class TestLastPieces:
    @pytest.mark.parametrize("seed", seeds(1))
    async def test_r1_24_buyers_7_units_a_quarter_double_clicks(
        self, shop: httpx2.AsyncClient, gateway: DoubleGateway, seed: int
    ) -> None:
        chance = random.Random(seed)
        tee = await create_stocked(7)
        clicks = [(await buyer((tee, 1)), f"buyer-{number}") for number in range(24)]
        clicks += chance.sample(clicks, 6)
        chance.shuffle(clicks)

        answers = await asyncio.gather(*(check_out(shop, who, key) for who, key in clicks))

        assert statuses(answers) == {(201, None), (400, "out_of_stock")}
        orders: list[Order] = await all_of(Order)
        assert len(orders) == len({order.user_id for order in orders}) == len(gateway.charged) == 7
        told: dict[str, set[str]] = {}
        for (_, key), answer in zip(clicks, answers, strict=True):
            told.setdefault(key, set()).add(answer.json()["order"]["id"] if answer.status_code == 201 else "none")
        assert {len(said) for said in told.values()} == {1}
        assert {said for (said,) in told.values()} == {"none", *(str(order.id) for order in orders)}
        assert await stock_after_each_movement() == [7, 6, 5, 4, 3, 2, 1, 0]
        assert [(level.on_hand, level.reserved) for level in await all_of(StockLevel)] == [(0, 0)]
        assert await differences(gateway) == []

    @pytest.mark.parametrize("seed", seeds(1))
    async def test_r1_pieces_of_declined_cards_go_to_others(
        self, shop: httpx2.AsyncClient, gateway: DoubleGateway, seed: int
    ) -> None:
        """Held while the card is asked, and given back: whoever asks again may have them, and no more than there are."""
        chance = random.Random(seed)
        tee = await create_stocked(7)
        count = rounds(12, 24)
        buyers = [await buyer((tee, 1)) for _ in range(count)]
        cards = [TOKEN_DECLINED] * (count // 3) + [TOKEN_OK] * (count - count // 3)
        chance.shuffle(cards)

        answers = await asyncio.gather(
            *(check_out(shop, who, f"first-{at}", card) for at, (who, card) in enumerate(zip(buyers, cards, strict=True)))
        )
        again = [await check_out(shop, who, f"second-{at}") for at, who in enumerate(buyers) if answers[at].status_code != 201]

        assert statuses(answers) <= {(201, None), (400, "out_of_stock"), (400, "payment_declined")}
        assert statuses(again) <= {(201, None), (400, "out_of_stock")}
        assert len(gateway.charged) == 7
        assert min(await stock_after_each_movement()) == 0
        assert await differences(gateway) == []


class TestOppositeOrders:
    @pytest.mark.parametrize("seed", seeds(1))
    async def test_r2_60_carts_of_two_things_all_or_nothing_within_5_s(
        self, shop: httpx2.AsyncClient, gateway: DoubleGateway, seed: int
    ) -> None:
        """Twenty in a run of the whole suite."""
        chance = random.Random(seed)
        count = rounds(20, 60)
        tee, cup = await create_stocked(count // 4), await create_stocked(count)
        carts: list[list[Wish]] = [[(tee, 1), (cup, 1)], [(cup, 1), (tee, 1)]]
        buyers = [await buyer(*carts[at % 2]) for at in range(count)]
        chance.shuffle(buyers)
        slowest = 0.0

        async def timed(who: Headers, key: str) -> httpx2.Response:
            nonlocal slowest
            begun = time.monotonic()
            answer = await check_out(shop, who, key)
            slowest = max(slowest, time.monotonic() - begun)
            return answer

        answers = await asyncio.gather(*(timed(who, f"cart-{at}") for at, who in enumerate(buyers)))

        assert statuses(answers) == {(201, None), (400, "out_of_stock")}
        sales: list[StockMovement] = await all_of(StockMovement)
        moved = [movement.variant_id for movement in sales if movement.kind is MovementKind.SALE]
        assert [moved.count(thing.variants[0].id) for thing in (tee, cup)] == [count // 4, count // 4]
        assert slowest < patiently(5)
        assert await differences(gateway) == []


class TestSameKey:
    @pytest.mark.parametrize("seed", seeds(1))
    async def test_r6_twenty_at_once_and_one_after_a_restart_are_one_order_and_one_answer(
        self, settings: Settings, database: Database, gateway: DoubleGateway, seed: int
    ) -> None:
        tee = await create_stocked(5)
        who = await buyer((tee, 2))
        async with serving(settings, database, gateway) as shop:
            answers = await asyncio.gather(*(check_out(shop, who, f"key-{seed}") for _ in range(20)))
        async with serving(settings, database, gateway) as shop:
            answers.append(await check_out(shop, who, f"key-{seed}"))

        assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
        assert len(await all_of(Order)) == len(gateway.charged) == 1
        assert await stock_after_each_movement() == [5, 3]
        assert await differences(gateway) == []
