"""The simulated world: its clock, its dice, what is to happen when, and the jobs that run by themselves.

Everything happens one after the other on a virtual clock, and everything through the services. What happens is a journey: an
asynchronous generator that does a step and yields how long it rests before the next one.
"""

import heapq
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from itertools import count
from random import Random
from urllib.parse import parse_qs, urlsplit

from beanie import PydanticObjectId

from models.base import to_milliseconds
from models.clock import playing
from models.database import heed_cancellation
from models.documents import DOCUMENTS
from models.events import EventType
from models.places import PostalAddress
from scripts.sandbox.books import SandboxEvent
from scripts.simulation.gateway import SimulatedGateway
from services.analytics.visits.collector import VisitCollector
from services.analytics.visits.traffic import TrafficService
from services.analytics.visits.visitors import VisitorSalts
from services.blog.lifecycle import PublishingService
from services.blog.views import post_views
from services.ecommerce.abandonment import AbandonmentService
from services.ecommerce.catalog.recommendations import RecommendationService
from services.ecommerce.catalog.views import product_views
from services.ecommerce.orders.jobs import OrderJobService
from services.ecommerce.orders.settlement import OrderSettlement
from services.events import BATCH, Consumer, EventService
from services.indexes import declared_indexes
from services.inventory.reservations import ReservationService
from services.mail import MemoryMailer
from services.pagination import CursorCodec
from services.payments.gateways import Gateways
from services.payments.payments import PaymentService
from services.payments.refunds import RefundService
from services.payments.webhooks import GatewayWebhookService
from services.settings import Settings
from services.users.permissions import Viewer
from services.worker import make_consumers

START = datetime(2026, 1, 1, tzinfo=UTC)
ORDERS_EVERY = timedelta(minutes=5)
EVENTS_EVERY = timedelta(minutes=15)
_HOUR = timedelta(hours=1)
LONGEST_CLOSING = timedelta(days=3)
SANDBOX_SECRET = "whsec_c2ltdWxhdGVkLXdvcmxkLXNlY3JldC1wbGF5LW1vbmV5"

Journey = AsyncIterator[timedelta]
Job = Callable[[], Awaitable[None]]


class Once:
    """A journey of one step."""

    def __init__(self, step: Callable[[], Awaitable[object]]) -> None:
        self._step = step

    def __aiter__(self) -> "Once":
        return self

    async def __anext__(self) -> timedelta:
        await self._step()
        raise StopAsyncIteration


@dataclass(eq=False)
class Person:
    """Somebody who visits; with an account once they have confirmed their address."""

    number: int
    first_name: str
    last_name: str
    username: str
    email: str
    password: str
    network: str  # the address they come from
    agent: str
    place: PostalAddress
    likes_news: bool
    viewer: Viewer | None = None
    has_address: bool = False
    cart_token: str | None = None  # of a guest


@dataclass(frozen=True, slots=True)
class Bought:
    """Who bought an order, and a guest's token for it."""

    person: Person
    guest_token: str | None


@dataclass(frozen=True, slots=True)
class Good:
    """A variant on the shelves."""

    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    slug: str
    noun: str
    price: int
    is_digital: bool


@dataclass(order=True)
class _Entry:
    at: datetime
    turn: int
    journey: Journey = field(compare=False)
    closes: bool = field(compare=False)  # is played to its end even when time is over
    is_job: bool = field(compare=False)


class SimulatedSalts(VisitorSalts):
    """The same for the same seed: ids of visits are made of them, and the order of ids is one of the world."""

    def __init__(self, seed: int, *, site: str) -> None:
        super().__init__(site=site)
        self._seed = seed

    async def _secret(self, day: datetime, now: datetime) -> bytes:
        return sha256(f"agora-simulation:{self._seed}:salt:{day.date()}".encode()).digest()


class World:
    """One world of one seed. What is drawn for one visit, decision or day does not depend on what is drawn for another."""

    def __init__(self, seed: int, *, days: int, scale: float = 1, settings: Settings, start: datetime = START) -> None:
        self.seed = seed
        self.days = days
        self.scale = scale
        self.settings = settings
        self.start = start
        self.end = start + timedelta(days=days)
        self.gateway = SimulatedGateway(SANDBOX_SECRET)
        self.gateways = Gateways([self.gateway])
        self.listener = OrderSettlement(settings)
        self.mailer = MemoryMailer()
        self.consumers = make_consumers(settings, mailer=self.mailer)
        self.cursors = CursorCodec(settings.secret_bytes)
        self.post_views = post_views(settings.secret_bytes)
        self.product_views = product_views(settings.secret_bytes)
        self.salts = SimulatedSalts(seed, site=settings.base_url)
        self.visits = VisitCollector(settings, salts=self.salts)
        self.tally: Counter[str] = Counter()  # what no document tells: visits, refusals
        self.staff: dict[str, Viewer] = {}
        self.goods: list[Good] = []
        self.popularity: list[float] = []
        self.codes: list[str] = []
        self.members: list[Person] = []
        self.people = count()
        self.buyers: dict[PydanticObjectId, Bought] = {}
        self.posts: list[tuple[PydanticObjectId, str]] = []
        self.missed: Counter[PydanticObjectId] = Counter()  # how often products were wanted that had run out
        self._moment = to_milliseconds(start)
        self._agenda: list[_Entry] = []
        self._turns = count()
        self._ids = count()
        self._machine = sha256(f"agora-simulation:{seed}".encode()).digest()[:5]
        self._expected: set[Job] = set()  # on the agenda because something happened
        self._letters = count()
        self._numbered = 0  # the last event that was numbered
        self._passed: Counter[str] = Counter()  # and the last one that each consumer passed, by its name

    def now(self) -> datetime:
        return self._moment

    def dice(self, kind: str, key: object = "") -> Random:
        """Dice of their own for each kind of actor and each of its occasions."""
        return Random(f"agora-simulation:{self.seed}:{kind}:{key}")  # a game, no secret

    def begin(
        self, journey: Journey, *, after: timedelta = timedelta(0), at: datetime | None = None, closes: bool = False
    ) -> None:
        """Put a journey on the agenda."""
        self._plan(journey, at or self._moment + after, closes=closes)

    async def play(self, opening: Job, on_progress: Callable[[float], None] = lambda days: None) -> None:
        """Let everything happen from the opening until the end of the last day, and what is under way then come to its end.

        `on_progress` is told after each hour how many days are over.
        """
        with playing(clock=self.now, ids=self._new_id):
            self._numbered = await EventService.last_sequence()
            await self._deliver_all()
            self.begin(Once(opening))
            self._plan(self._hours(), self.start, is_job=True)
            for hour in range(1, 24 * self.days + 1):
                await self._play_until(self.start + hour * _HOUR)
                on_progress(hour / 24)
            await self._close()

    async def _close(self) -> None:
        """Nobody comes any more, and what closes is played to its end."""
        await self._drop(entry for entry in self._agenda if not entry.closes)
        self._agenda = [entry for entry in self._agenda if entry.closes]
        heapq.heapify(self._agenda)
        self._expected.clear()
        self._plan(self._hours(), self._moment, is_job=True)
        while any(entry.closes for entry in self._agenda) and self._moment < self.end + LONGEST_CLOSING:
            await self._play_until(self._moment + _HOUR)
        await self.run_jobs()
        await self._deliver_all()
        await self._flush()
        await TrafficService.roll_up_all()
        await self._drop(self._agenda)

    def holding(self) -> AbstractContextManager[None]:
        """The world's present, for who looks at it afterwards."""
        return playing(clock=self.now, ids=self._new_id)

    def mailed_token(self, address: str) -> str | None:
        """The token of the last link that was mailed to an address."""
        for message in reversed(self.mailer.sent):
            for word in message.text.split() if message.to == address else ():
                if "token=" in word:
                    return parse_qs(urlsplit(word).query)["token"][0]
        return None

    # The course of things

    async def _drop(self, entries: Iterable[_Entry]) -> None:
        for entry in entries:
            if isinstance(entry.journey, AsyncGenerator):
                await entry.journey.aclose()

    def _plan(self, journey: Journey, at: datetime, *, closes: bool = False, is_job: bool = False) -> None:
        heapq.heappush(self._agenda, _Entry(to_milliseconds(max(at, self._moment)), next(self._turns), journey, closes, is_job))

    async def _play_until(self, end: datetime) -> None:
        while self._agenda and self._agenda[0].at < end:
            heed_cancellation()
            entry = heapq.heappop(self._agenda)
            self._moment = entry.at
            rest = await anext(entry.journey, None)
            if rest is not None:
                self._plan(entry.journey, self._moment + rest, closes=entry.closes, is_job=entry.is_job)
            self._expect_letters()
            if not entry.is_job:
                self._expect(self._hand_on, EVENTS_EVERY)
        self._moment = end

    def _new_id(self) -> PydanticObjectId:
        """Of the simulated second, and counted up: an order by ids is the order in which they were made."""
        second = int(self._moment.timestamp())
        return PydanticObjectId(second.to_bytes(4, "big") + self._machine + (next(self._ids) % 2**24).to_bytes(3, "big"))

    # What runs by itself

    def _expect(self, job: Job, every: timedelta) -> None:
        """A job looks when its time is next over; where nothing happened since it looked, it would find nothing."""
        if job not in self._expected:
            self._expected.add(job)
            step = every.total_seconds()
            next_look = datetime.fromtimestamp((self._moment.timestamp() // step + 1) * step, UTC)
            self._plan(Once(partial(self._look, job)), next_look, is_job=True)

    async def _look(self, job: Job) -> None:
        self._expected.discard(job)
        await job()

    async def _look_after_orders(self) -> None:
        """What may be packed, and what the gateway did not answer; what time alone moves waits for its hour."""
        if self.gateway.has_kept_silent():
            await self._resolve_payments()
        if await OrderJobService.process_due():
            self._expect(self._hand_on, EVENTS_EVERY)

    async def _hours(self) -> Journey:
        """What waits for time alone, and once a day what a night is for."""
        while True:
            await self.run_jobs()
            await self._flush()
            if self._moment.hour == 3:
                if self._moment.weekday() == 0:  # it reads the orders of each product anew, and costs the more, the later it is
                    await RecommendationService.rebuild()
                await TrafficService.roll_up_all()
                await self._forget_expired()
                await TrafficService.forget_marks(settings=self.settings)
            yield _HOUR

    async def run_jobs(self) -> None:
        """The worker's jobs, and then the events."""
        await PublishingService.publish_due()
        await AbandonmentService.mark_abandoned(settings=self.settings)
        await ReservationService.expire_due()
        await OrderJobService.expire_due()
        await OrderJobService.process_due()
        await self._resolve_payments()
        await OrderJobService.settle_owed(gateways=self.gateways, settings=self.settings)
        await self._hand_on()

    async def _resolve_payments(self) -> None:
        # One by one: several at once would come in another order each time.
        while await PaymentService.resolve_due(gateways=self.gateways, listener=self.listener, settings=self.settings, limit=1):
            pass
        while await RefundService.resolve_due(gateways=self.gateways, listener=self.listener, settings=self.settings, limit=1):
            pass

    async def _hand_on(self) -> None:
        """Hand what happened to one consumer after the other, to those it concerns: the others are at leisure until they are."""
        while fresh := await self._number():
            for consumer in self.consumers:
                if not fresh.isdisjoint(consumer.types):
                    await self._deliver(consumer)

    async def _number(self) -> set[EventType]:
        """Number what happened since, and say of what kinds it was."""
        count = batch = await EventService.number_new()
        while batch == BATCH:
            batch = await EventService.number_new()
            count += batch
        if not count:
            return set()
        events = await EventService.list_after(self._numbered, limit=count)
        self._numbered += count
        return {event.type for event in events}

    async def _deliver(self, consumer: Consumer) -> None:
        """Up to the last event that is numbered: as numbers have no gaps, how many it passed tells where it stands."""
        while self._passed[consumer.name] < self._numbered:
            passed = await EventService.deliver(consumer)
            if not passed:  # it failed, and tries again later
                return
            self._passed[consumer.name] += passed

    async def _deliver_all(self) -> None:
        for consumer in self.consumers:
            while await EventService.deliver(consumer):
                pass
            self._passed[consumer.name] = self._numbered

    async def _flush(self) -> None:
        for noted in (self.post_views, self.product_views, self.visits):
            await noted.flush()

    async def _forget_expired(self) -> None:
        """What the server forgets after its time: its own sweep goes by the machine's clock, and is off in a simulated world."""
        for document in DOCUMENTS:
            for index in declared_indexes(document):
                lifetime = index.document.get("expireAfterSeconds")
                if lifetime is not None:
                    (name,) = index.document["key"]
                    horizon = self._moment - timedelta(seconds=lifetime)
                    await document.collection().delete_many({name: {"$lt": horizon}})

    # The bank

    def _expect_letters(self) -> None:
        """What happened at the gateway is told by webhook: mostly at once, at times hours later; twice where the card says so.

        It may have moved an order.
        """
        for event in self.gateway.fresh_events():
            self._expect(self._look_after_orders, ORDERS_EVERY)
            dice = self.dice("webhook", next(self._letters))
            late = dice.random() < 0.1
            for _ in range(event.copies):
                delay = timedelta(hours=dice.uniform(1, 6)) if late else timedelta(seconds=dice.uniform(1, 40))
                self.begin(Once(partial(self._letter, event)), after=delay, closes=True)
            if event.type == "payment.pending":
                answer = timedelta(minutes=dice.uniform(5, 900))
                decision = partial(self._decision, event, approve=dice.random() < 0.75)
                self.begin(Once(decision), after=answer, closes=True)

    async def _letter(self, event: SandboxEvent) -> None:
        headers, body = self.gateway.letter(event)
        is_news = await GatewayWebhookService.receive(
            self.gateway.name, headers=headers, body=body, gateways=self.gateways, listener=self.listener
        )
        self.tally["webhooks received" if is_news else "webhooks received again"] += 1
        self._expect(self._look_after_orders, ORDERS_EVERY)

    async def _decision(self, event: SandboxEvent, *, approve: bool) -> None:
        self.gateway.decide(self.gateway.books.payment(event.data["id"]), approve=approve)
