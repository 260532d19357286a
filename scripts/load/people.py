"""The people of `make stress`: the visitors of the simulated world and its staff, each over a connection of their own.

They do what simulated visitors do, as often (`scripts.simulation.habits`), and rest between two requests as their pace says.
"""

import asyncio
import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, Protocol
from urllib.parse import quote

import orjson

from models.ecommerce.orders import PaymentMethod
from scripts.benchmark.load import Answer, Line
from scripts.load.meter import Kind, Meter, Outcome
from scripts.samples import goods, texts
from scripts.simulation import habits
from scripts.simulation.gateway import CARDS, GOOD_CARDS

LOGIN = 0.05  # of visits by people with an account: a session lasts a day
WRITE = 0.1  # of visits by authors
SEE_ORDERS = 0.3  # of who bought
_NOBODY_DECIDES = "tok_review"  # a bank that looks at a payment looks for ever here
_SILENT = frozenset(token for token in CARDS if "timeout" in token)
_RULES = {
    Kind.CART_ADD: ("cart_stock",),
    Kind.CODE: ("coupon_", "cart_empty"),
    Kind.CHECKOUT: ("out_of_stock", "payment_declined", "coupon_"),
    Kind.CHECKOUT_IN_SILENCE: ("out_of_stock", "payment_declined", "coupon_"),
}


@dataclass(frozen=True, slots=True)
class Ware:
    """A product that is looked at, and its first variant."""

    product_id: str
    variant_id: str
    slug: str
    noun: str
    is_digital: bool


@dataclass(frozen=True, slots=True)
class Town:
    """What there is to see and to buy, and who has an account: usernames with a session's token each."""

    wares: Sequence[Ware]
    popularity: Sequence[float]
    posts: Sequence[tuple[str, str]]  # id and slug, the latest first
    codes: Sequence[str]
    members: Sequence[tuple[str, str]]
    authors: Sequence[str]
    managers: Sequence[str]
    password: str


class Pace(Protocol):
    """How long people rest."""

    async def rest(self, dice: Random) -> None: ...


class Thinking:
    """Rests of this mean, exponentially distributed and cut at ten times it, as TPC-W has its emulated browsers think."""

    def __init__(self, mean: float) -> None:
        self._mean = mean

    async def rest(self, dice: Random) -> None:
        await asyncio.sleep(min(dice.expovariate(1 / self._mean), 10 * self._mean))


class Metronome:
    """So many requests a second by all together, whatever becomes of those before: answers that are late slow nobody down."""

    def __init__(self, per_second: float) -> None:
        self._gap = 1 / per_second
        self._next = 0.0

    async def rest(self, dice: Random) -> None:
        present = asyncio.get_running_loop().time()
        at = max(self._next, present)
        self._next = at + self._gap
        await asyncio.sleep(at - present)


class Person:
    """One of the people who are there at once: visits, leaves, and comes again as somebody else."""

    _strangers = itertools.count()

    def __init__(self, number: int, town: Town, *, port: int, meter: Meter, pace: Pace) -> None:
        self.dice = Random(f"agora-stress:{number}")
        self.town = town
        self.meter = meter
        self.pace = pace
        self.is_resting = False
        self._line = Line(port)
        self._number = number
        self._is_over = False
        self._own_etags: dict[str, str] = {}
        self._begin_visit(None)

    # The course of things

    async def live(self) -> None:
        """Visit again and again, until told to leave."""
        try:
            await self._rest()
            while not self._is_over:
                await self.visit()
        finally:
            await self._line.close()

    def leave(self, task: asyncio.Task[None]) -> None:
        """End after the request that is under way."""
        self._is_over = True
        if self.is_resting:
            task.cancel()

    async def visit(self) -> None:
        is_known = bool(self.town.members) and self.dice.random() < habits.ARE_KNOWN
        self._begin_visit(self.town.members[self._number % len(self.town.members)] if is_known else None)
        if is_known and self.dice.random() < LOGIN:
            await self._sign_in()
        if self.dice.random() < habits.READ:
            await self._read()
        await self._shop()
        await self._tell_views()

    def _begin_visit(self, member: tuple[str, str] | None) -> None:
        self._member = member
        self._token = member[1] if member else None
        self._cart_token: str | None = None
        self._seen: list[str] = []
        if member is None:
            number = next(self._strangers)
            self._address = f"10.{64 + number // 65_536 % 192}.{number // 256 % 256}.{number % 256}"
            self._etags: dict[str, str] = {}  # of another browser each time
        else:
            self._etags = self._own_etags
            self._address = f"10.{self._number // 65_536 % 64}.{self._number // 256 % 256}.{self._number % 256}"

    async def _rest(self) -> None:
        self.is_resting = True
        await self.pace.rest(self.dice)
        self.is_resting = False

    # Readers

    async def _read(self) -> None:
        if self.dice.random() < habits.SEARCH_POSTS:
            words = quote(self.dice.choice(self.dice.choice(texts.TOPICS).subjects))
            await self._get(Kind.POST_SEARCH, f"/blog/search?q={words}")
        await self._get(Kind.POSTS, "/blog/posts?page=1&limit=20")
        post_id, slug = self.dice.choice(self.town.posts[: habits.LATEST])
        await self._page(Kind.POST, f"/blog/posts/{slug}")
        if self.dice.random() < habits.COMMENT:
            body: dict[str, Any] = {"content": self.dice.choice(texts.COMMENTS)}
            if self._token is None:
                body["guest"] = {"name": self.dice.choice(texts.FIRST_NAMES), "email": f"{uuid.uuid4().hex}@example.org"}
            await self.ask(Kind.COMMENT, "POST", f"/blog/posts/{post_id}/comments", body)
        if self._token is not None and self.dice.random() < habits.LIKE:
            await self.ask(Kind.LIKE, "PUT", f"/blog/posts/{post_id}/like")

    async def _page(self, kind: Kind, path: str) -> None:
        """A page with an ETag, which the visitor's browser keeps."""
        answer = await self.ask(kind, "GET", path, etag=self._etags.get(path))
        if answer is not None and answer.etag:
            self._etags[path] = answer.etag
        self._seen.append(path)

    async def _get(self, kind: Kind, path: str) -> None:
        await self.ask(kind, "GET", path)
        self._seen.append(path)

    async def _tell_views(self) -> None:
        if self._seen:
            now = datetime.now(UTC).isoformat()
            events = [{"id": str(uuid.uuid4()), "kind": "page_view", "at": now, "path": path} for path in self._seen]
            await self.ask(Kind.VIEWS, "POST", "/analytics/events", {"events": events[:50]})

    # Accounts

    async def _sign_in(self) -> None:
        assert self._member is not None
        wish = {"login": self._member[0], "password": self.town.password}
        answer = await self.ask(Kind.LOGIN, "POST", "/auth/login", wish)
        if answer is not None and answer.status == 200:
            self._token = orjson.loads(answer.body)["token"]

    async def _ask_for_account(self) -> None:
        """The mailed link is followed by nobody here."""
        name = f"s{uuid.uuid4().hex[:20]}"
        wish = {
            "username": name,
            "email": f"{name}@example.org",
            "first_name": self.dice.choice(texts.FIRST_NAMES),
            "last_name": self.dice.choice(texts.LAST_NAMES),
            "password": f"stressed {self.dice.getrandbits(64):x}",
        }
        await self.ask(Kind.REGISTRATION, "POST", "/auth/register", wish)

    # Shoppers

    async def _shop(self) -> None:
        if self.dice.random() < habits.SEARCH:
            await self._get(Kind.SEARCH, f"/shop/products?query={quote(self.dice.choice(self.town.wares).noun)}")
        else:
            await self._get(Kind.PRODUCTS, "/shop/products")
        seen = self.dice.choices(self.town.wares, weights=self.town.popularity, k=self.dice.choice(habits.LOOKED_AT))
        for ware in seen:
            await self._page(Kind.PRODUCT, f"/shop/products/{ware.slug}")
        if self.dice.random() < habits.SHOP:
            if self._token is None and self.dice.random() < habits.JOIN:
                await self._ask_for_account()
            await self._buy(seen)

    async def _buy(self, seen: Sequence[Ware]) -> None:
        is_filled = False
        for ware in dict.fromkeys(self.dice.sample(list(seen), self.dice.randint(1, len(seen)))):
            is_filled |= await self._put_in(ware)
        if not is_filled:
            return
        if self.dice.random() < habits.TRY_CODE:
            await self.ask(Kind.CODE, "POST", "/shop/cart/coupons", {"code": self.dice.choice(self.town.codes)})
        await self.ask(Kind.CART, "GET", "/shop/cart")
        if self.dice.random() < habits.LEAVE_CART:
            return
        for attempt in range(3):
            if await self._check_out(CARDS if attempt == 0 else GOOD_CARDS):
                return

    async def _put_in(self, ware: Ware) -> bool:
        quantity = 1 if ware.is_digital else self.dice.choice(habits.PIECES)
        wish = {"product_id": ware.product_id, "variant_id": ware.variant_id, "quantity": quantity}
        answer = await self.ask(Kind.CART_ADD, "POST", "/shop/cart/items", wish)
        if answer is None or answer.status != 201:
            return False
        if self._token is None:
            self._cart_token = orjson.loads(answer.body)["cart_token"] or self._cart_token
        return True

    async def _check_out(self, cards: dict[str, int]) -> bool:
        """False when another card may help."""
        method = self.dice.choices(list(habits.METHODS), weights=list(habits.METHODS.values()))[0]
        weights = {token: often for token, often in cards.items() if token != _NOBODY_DECIDES}
        card = self.dice.choices(list(weights), weights=list(weights.values()))[0] if method is PaymentMethod.CARD else None
        wish: dict[str, Any] = {"payment_method": method.value, "shipping_address": self._place()}
        if card is not None:
            wish["payment_token"] = card
        if self._token is None:
            wish["email"] = f"{self._cart_token}@example.org"
        kind = Kind.CHECKOUT_IN_SILENCE if card in _SILENT else Kind.CHECKOUT
        answer = await self.ask(kind, "POST", "/shop/checkout", wish, key=uuid.uuid4().hex)
        if answer is None or answer.status != 201:
            return answer is None or b"payment_declined" not in answer.body
        done = orjson.loads(answer.body)
        await self.ask(Kind.ORDER, "GET", f"/orders/{done['order']['id']}", order_token=done["guest_token"])
        if self._token is not None and self.dice.random() < SEE_ORDERS:
            await self.ask(Kind.ORDERS, "GET", "/orders?limit=100")
        return True

    def _place(self) -> dict[str, str]:
        city, state, postal_code = self.dice.choice(goods.CITIES)
        name = {"first_name": self.dice.choice(texts.FIRST_NAMES), "last_name": self.dice.choice(texts.LAST_NAMES)}
        return {**name, "line1": "1 Market Street", "city": city, "state": state, "postal_code": postal_code, "country": "US"}

    # One request

    async def ask(
        self,
        kind: Kind,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        etag: str | None = None,
        order_token: str | None = None,
    ) -> Answer | None:
        """The answer, None when there was none; and a rest after it."""
        if self._is_over:
            raise asyncio.CancelledError
        headers = {
            "idempotency-key": key,
            "if-none-match": etag,
            "x-order-token": order_token,
            "cart-token": self._cart_token,
            "authorization": f"Bearer {self._token}" if self._token else None,
        }
        request = _request(method, path, body, self._address, headers)
        step, at = self.meter.step, self.meter.elapsed()
        answer: Answer | None = None
        try:
            async with asyncio.timeout(60):
                answer = await self._line.ask(request)
        except (OSError, EOFError, TimeoutError) as error:
            self.meter.note(kind, at, Outcome.FAILED, type(error).__name__, step=step)
        else:
            self.meter.note(kind, at, *outcome_of(kind, answer), step=step)
        await self._rest()
        return answer


class Author(Person):
    """Reads as others do, and now and then writes."""

    async def visit(self) -> None:
        self._begin_visit(("", self.town.authors[self._number % len(self.town.authors)]))
        if self.dice.random() < WRITE:
            topic = self.dice.choice(texts.TOPICS)
            subject = self.dice.choice(topic.subjects)
            wish = {
                "title": f"{self.dice.choice(texts.TITLES).format(s=subject)}, {uuid.uuid4().hex[:8]}",
                "content": "\n\n".join([self.dice.choice(texts.OPENINGS).format(s=subject)] * 8),
                "tag_names": self.dice.sample(topic.tags, 2),
                "status": "published",
            }
            await self.ask(Kind.NEW_POST, "POST", "/blog/posts", wish)
        await self._read()


class Manager(Person):
    """Looks at the figures and at what was ordered, and lets comments through."""

    async def visit(self) -> None:
        self._begin_visit(("", self.town.managers[self._number % len(self.town.managers)]))
        await self.ask(Kind.REPORT, "GET", "/analytics/sales")
        await self.ask(Kind.ORDERS, "GET", "/orders?limit=100")
        waiting = await self.ask(Kind.MODERATION, "GET", "/blog/comments/queue?limit=20")
        if waiting is not None and waiting.status == 200:
            ids = [row["id"] for row in orjson.loads(waiting.body)["items"]]
            if ids:
                await self.ask(Kind.MODERATION, "POST", "/blog/comments/moderate", {"action": "approve", "comment_ids": ids})


def _request(method: str, path: str, body: object, address: str, headers: dict[str, str | None]) -> bytes:
    head = [f"{method} /api/v1{path} HTTP/1.1", "host: agora", f"user-agent: {habits.AGENT}", f"x-forwarded-for: {address}"]
    head += [f"{name}: {value}" for name, value in headers.items() if value is not None]
    payload = b""
    if body is not None:
        payload = orjson.dumps(body)
        head += ["content-type: application/json", f"content-length: {len(payload)}"]
    elif method != "GET":
        head.append("content-length: 0")
    return "\r\n".join([*head, "", ""]).encode() + payload


def outcome_of(kind: Kind, answer: Answer) -> tuple[Outcome, str]:
    if answer.status < 400:
        return Outcome.DONE, ""
    try:
        code = orjson.loads(answer.body)["code"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        code = ""
    reason = f"{answer.status} {code}".strip()
    if answer.status in (429, 503):
        return Outcome.TURNED_AWAY, reason
    if answer.status < 500 and code.startswith(_RULES.get(kind, ("\0",))):
        return Outcome.BY_RULE, reason
    return Outcome.FAILED, reason
