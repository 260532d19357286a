"""The story of a simulated world, as who owns the shop would ask for it: how it went, when, with what, and what ran out."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from operator import attrgetter
from zoneinfo import ZoneInfo

from beanie import PydanticObjectId

from models.analytics.rollups import Dimension
from models.base import AgoraDocument
from models.blog.comments import Comment, CommentStatus
from models.blog.posts import Post
from models.ecommerce.catalog import Product
from models.ecommerce.orders import Order
from models.ecommerce.returns import ReturnRequest
from models.ecommerce.reviews import Review
from models.events import Event, EventType
from models.fraud import FraudReview, FraudReviewState
from models.payments import Payment, Refund, RefundState
from models.users import Role, User
from scripts.simulation.tables import Table, amount_text, money_text, share_text
from scripts.simulation.world import World
from services.analytics.periods import Bucket, Granularity, Period
from services.analytics.rollups.rollups import RollupService

_BEST = 10
_DAY = timedelta(days=1)


async def tell_story(world: World) -> list[Table]:
    """The tables of the story, in their order."""
    books = await _read(world)
    granularity, currency = _fitting(world.days), world.settings.currency
    return [
        Table("In short", _in_short(books, currency)),
        Table(f"The shop by {granularity}", _by_time(books, _shop_row(currency)), (granularity, *_SHOP)),
        Table(f"The house by {granularity}", _by_time(books, _house_row), (granularity, *_HOUSE)),
        Table("Sold best", await _sold_best(books, currency), ("product", "pieces", "gross", "of all")),
        Table("Sold out", await list_sold_out(world), ("product", "times", "days in all", "wanted in vain")),
        Table("Read most", await _read_most(), ("post", "views", "comments", "likes")),
    ]


def whole_period(world: World) -> Period:
    """Everything that the world can have told of, its closing too."""
    return Period(world.start.date(), world.now().date() + _DAY, ZoneInfo("UTC"))


def _fitting(days: int) -> Granularity:
    """As fine as fits on a page."""
    return Granularity.DAY if days <= 14 else Granularity.WEEK if days <= 92 else Granularity.MONTH


@dataclass(slots=True)
class _Books:
    """What the stored documents say happened, by stretch of time; what came after the last day belongs to the last stretch."""

    buckets: Sequence[Bucket]
    counts: list[Counter[str]]
    by_day: Counter[date] = field(default_factory=Counter)  # revenue
    ratings: list[int] = field(default_factory=list)
    pieces: Counter[PydanticObjectId] = field(default_factory=Counter)  # by product
    gross: Counter[PydanticObjectId] = field(default_factory=Counter)

    def add(self, moment: datetime, **counts: int) -> None:
        at = bisect_right(self.buckets, moment, key=attrgetter("start")) - 1
        self.counts[at].update(counts)

    @property
    def total(self) -> Counter[str]:
        return sum(self.counts, Counter())


async def _read(world: World) -> _Books:
    """Everything but the visitors is counted from the documents themselves."""
    whole = whole_period(world)
    lived = Period(world.start.date(), world.end.date(), whole.zone)
    buckets = lived.buckets(_fitting(world.days))
    books = _Books(buckets, [Counter() for _ in buckets])
    bounds = [*(bucket.start for bucket in buckets), whole.bounds[1]]
    for counts, sums in zip(books.counts, await RollupService.sums(Dimension.TRAFFIC, bounds=bounds), strict=True):
        counts["visitors"] = sums["visitors"]
    await _read_orders(books)
    await _count(books, Payment, "declined_at", "declined")
    await _count(books, FraudReview, "created_at", "held")
    await _count(books, FraudReview, "decided_at", "refused", state=FraudReviewState.REJECTED)
    await _count(books, ReturnRequest, "requested_at", "returns")
    await _count(books, User, "created_at", "accounts", role=Role.USER)
    await _count(books, Post, "published_at", "posts")
    await _count(books, Comment, "created_at", "comments")
    await _count(books, Comment, "created_at", "spam", status=CommentStatus.SPAM)
    for row in await Refund.find_rows({"state": RefundState.SUCCEEDED}, {"settled_at": 1, "amount": 1}):
        books.add(row["settled_at"], refunds=row["amount"]["amount"])
    for row in await Review.find_rows({}, {"created_at": 1, "rating": 1}):
        books.add(row["created_at"], reviews=1)
        books.ratings.append(row["rating"])
    for row in await FraudReview.find_rows({"state": FraudReviewState.REJECTED}, {"decided_at": 1, "amount": 1}):
        books.add(row["decided_at"], refused_worth=row["amount"]["amount"])
    return books


async def _read_orders(books: _Books) -> None:
    fields = {"paid_at": 1, "totals": 1, "lines.product_id": 1, "lines.quantity": 1, "lines.subtotal": 1}
    for row in await Order.find_rows({}, fields):
        if row["paid_at"] is None:
            continue
        revenue = row["totals"]["total"]["amount"]
        books.add(row["paid_at"], orders=1, revenue=revenue)
        books.by_day[row["paid_at"].date()] += revenue
        for line in row["lines"]:
            books.pieces[line["product_id"]] += line["quantity"]
            books.gross[line["product_id"]] += line["subtotal"]["amount"]


async def _count(books: _Books, document: type[AgoraDocument], moment: str, name: str, **query: str) -> None:
    """How many documents have their moment in which stretch; those that have none in no one."""
    for row in await document.find_rows(query, {moment: 1}):
        if row[moment] is not None:
            books.add(row[moment], **{name: 1})


def _in_short(books: _Books, currency: str) -> list[tuple[str, str]]:
    whole = books.total
    best = max(books.by_day.items(), key=lambda item: (item[1], item[0]), default=None)
    stars = f"{sum(books.ratings) / len(books.ratings):.1f} of 5" if books.ratings else "-"
    return [
        ("visitors, each once a day", f"{whole['visitors']:,}"),
        ("orders paid", f"{whole['orders']:,}"),
        ("conversion", share_text(whole["orders"], whole["visitors"])),
        ("revenue", money_text(whole["revenue"], currency)),
        ("an order, on average", money_text(whole["revenue"] // whole["orders"], currency) if whole["orders"] else "-"),
        ("given back", money_text(whole["refunds"], currency)),
        ("  of the revenue", share_text(whole["refunds"], whole["revenue"])),
        ("net", money_text(whole["revenue"] - whole["refunds"], currency)),
        ("best day", f"{best[0]}, {money_text(best[1], currency)}" if best else "-"),
        ("payments declined", f"{whole['declined']:,}"),
        ("payments held as suspicious", f"{whole['held']:,}"),
        ("  refused by staff", f"{whole['refused']:,}"),
        ("  which would have been", money_text(whole["refused_worth"], currency)),
        ("returns asked for", f"{whole['returns']:,}"),
        ("reviews", f"{whole['reviews']:,}"),
        ("  stars, on average", stars),
        ("new accounts", f"{whole['accounts']:,}"),
        ("posts", f"{whole['posts']:,}"),
        ("comments", f"{whole['comments']:,}"),
        ("  found to be spam", f"{whole['spam']:,}"),
    ]


_SHOP = ("visitors", "orders", "conversion", "revenue", "given back", "declined", "returns")
_HOUSE = ("accounts", "reviews", "posts", "comments", "spam", "held", "refused")


def _by_time(books: _Books, cells: Callable[[Counter[str]], list[str]]) -> list[list[str]]:
    stretches = zip(books.buckets, books.counts, strict=True)
    return [*([bucket.label, *cells(counts)] for bucket, counts in stretches), ["all", *cells(books.total)]]


def _shop_row(currency: str) -> Callable[[Counter[str]], list[str]]:
    def cells(counts: Counter[str]) -> list[str]:
        return [
            f"{counts['visitors']:,}",
            f"{counts['orders']:,}",
            share_text(counts["orders"], counts["visitors"]),
            amount_text(counts["revenue"], currency),
            amount_text(counts["refunds"], currency),
            f"{counts['declined']:,}",
            f"{counts['returns']:,}",
        ]

    return cells


def _house_row(counts: Counter[str]) -> list[str]:
    return [f"{counts[name]:,}" for name in _HOUSE]


async def _sold_best(books: _Books, currency: str) -> list[list[str]]:
    """By what was asked for them before discounts; of equal ones the older product."""
    best = sorted(books.gross, key=lambda id: (-books.gross[id], id))[:_BEST]
    names = await _names(best)
    sold, gross, whole = books.pieces, books.gross, books.gross.total()
    return [[names[id], f"{sold[id]:,}", amount_text(gross[id], currency), share_text(gross[id], whole)] for id in best]


async def list_sold_out(world: World) -> list[list[str]]:
    """Products of which variants ran out within the world's days: how often, for how many days together, and who asked then."""
    times: Counter[PydanticObjectId] = Counter()
    away: Counter[PydanticObjectId] = Counter()  # seconds
    since: dict[str, tuple[PydanticObjectId, datetime]] = {}  # by variant
    fields = {"subject": 1, "payload": 1, "created_at": 1}
    rows = await Event.find_rows({"type": EventType.STOCK_CHANGED}, fields)
    for row in sorted(rows, key=lambda row: (row["created_at"], row["_id"])):
        variant, product = row["payload"]["variant_id"], PydanticObjectId(row["subject"].removeprefix("product:"))
        if row["payload"]["is_available"]:
            if variant in since:
                away[product] += _seconds(since.pop(variant)[1], row["created_at"])
        elif variant not in since:
            since[variant] = (product, row["created_at"])
            times[product] += 1
    for product, moment in since.values():
        away[product] += _seconds(moment, world.now())
    worst = sorted(times, key=lambda id: (-away[id], id))[:_BEST]
    names = await _names(worst)
    return [[names[id], f"{times[id]:,}", f"{away[id] / 86_400:,.1f}", f"{world.missed[id]:,}"] for id in worst]


def _seconds(start: datetime, end: datetime) -> int:
    return int((end - start).total_seconds())


async def _names(ids: Sequence[PydanticObjectId]) -> dict[PydanticObjectId, str]:
    rows = await Product.find_rows({"_id": {"$in": list(ids)}}, {"name": 1})
    return {row["_id"]: row["name"] for row in rows}


async def _read_most() -> list[list[str]]:
    """Of equally many views the older post."""
    counts = ("views_count", "comments_count", "likes_count")
    rows = await Post.find_rows({"views_count": {"$gt": 0}}, dict.fromkeys(("title", *counts), 1))
    best = sorted(rows, key=lambda row: (-row["views_count"], row["_id"]))[:_BEST]
    return [[row["title"], *(f"{row[name]:,}" for name in counts)] for row in best]
