"""What became of a simulated world: its figures, recounted from the stored documents, and whether its books agree."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from models.analytics.rollups import Dimension
from models.base import AgoraDocument
from models.blog.comments import Comment
from models.blog.posts import Post, PostViews
from models.ecommerce.carts import CartAbandonment
from models.ecommerce.catalog import ProductViews
from models.ecommerce.orders import Order
from models.ecommerce.returns import ReturnRequest
from models.ecommerce.reviews import Review
from models.events import DeadLetter, Event
from models.fraud import FraudReview
from models.inventory.purchasing import PurchaseOrder
from models.inventory.stock import StockMovement
from models.money import decimal_text
from models.payments import Payment, PaymentState, Refund, RefundState, Transaction
from models.social import Follow, Like
from models.users import User
from scripts.simulation.world import World
from services.analytics.periods import Period
from services.analytics.rollups.rollups import RollupService
from services.analytics.visits.traffic import STAGES
from services.payments.reconciliation import ReconciliationService
from services.reconcile import ReconcileService
from services.users.permissions import SYSTEM

_BATCH = 1_000
_COMPARED = timedelta(days=30)
_MOST_SHOWN = 20

Section = tuple[str, Sequence[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Report:
    """Figures by section, in their order, and every disagreement of the books: none when all is well."""

    title: str
    sections: Sequence[Section]
    disagreements: Sequence[str]

    def text(self) -> str:
        """The same for the same figures, to the byte."""
        lines = [self.title, "=" * len(self.title), ""]
        for name, rows in self.sections:
            width = max((len(label) for label, _ in rows), default=0)
            lines += [name, "-" * len(name), *(f"{label:<{width}}  {value:>14}" for label, value in rows), ""]
        if self.disagreements:
            lines += ["The books do not agree", *self.disagreements[:_MOST_SHOWN]]
            lines += [f"... and {len(self.disagreements) - _MOST_SHOWN} more"] if len(self.disagreements) > _MOST_SHOWN else []
        else:
            lines += ["Stored counters, stock, money and coupons add up (drift 0); the gateway's books agree with ours."]
        return "\n".join(lines) + "\n"


async def make_report(world: World) -> Report:
    """The figures at the end of the world."""
    with world.holding():
        title = f"Simulated world: seed {world.seed}, {world.days} days from {world.start:%Y-%m-%d}, scale {world.scale:g}"
        sections = [
            ("People", await _people(world)),
            ("Visits", await _visits(world)),
            ("Orders", await _orders(world)),
            ("Payments", await _payments()),
            ("Carts and stock", await _carts(world)),
            ("Publication", await _publication()),
            ("What no document tells", sorted((name, f"{number:,}") for name, number in world.tally.items())),
            ("Events", _counted(await _count(Event, "type"))),
        ]
        return Report(title, sections, await disagreements(world))


async def disagreements(world: World) -> list[str]:
    """Where stored counters are not what can be counted, and where the gateway's books are not ours."""
    found = [
        f"{row.collection} {row.field}: {row.stored} is stored, {row.counted} counted" async for row in ReconcileService.drift()
    ]
    since, end = world.start - timedelta(hours=1), world.now() + timedelta(hours=1)
    while since < end:
        until = min(since + _COMPARED, end)
        report = await ReconciliationService.compare(
            world.gateway.name, viewer=SYSTEM, since=since, until=until, gateways=world.gateways
        )
        found += [
            f"gateway: {row.kind} of {row.subject}, {row.amount_here} here, {row.amount_there} there"
            for row in report.differences
        ]
        since = until
    kept = sum(payment.captured - payment.refunded for payment in world.gateway.books.payments.values())
    rows = await Payment.find_rows({"gateway": world.gateway.name}, {"captured": 1, "refunded": 1})
    ours = sum(row["captured"] - row["refunded"] for row in rows)
    if kept != ours:
        found.append(f"gateway: it keeps {kept}, our payments {ours}")
    found += await _uncounted_views(world)
    found += [f"dead letter of {row['consumer']}: {row['error']}" for row in await DeadLetter.find_rows({}, limit=_BATCH)]
    return found


async def _uncounted_views(world: World) -> list[str]:
    """Views that products and posts count, against those that came through the intake of events."""
    traffic = await RollupService.totals(Dimension.TRAFFIC, period=_whole(world))
    counted = {"product_views": ProductViews, "post_views": PostViews}
    found = []
    for metric, document in counted.items():
        [row] = await document.aggregate_rows([{"$group": {"_id": None, "n": {"$sum": "$views_count"}}}]) or [{"n": 0}]
        if row["n"] != traffic.get(metric, 0):
            found.append(f"visits: {row['n']} {metric} are counted, {traffic.get(metric, 0)} came through the intake")
    return found


async def _people(world: World) -> list[tuple[str, str]]:
    roles = await _count(User, "role")
    return [
        ("visits", f"{world.tally['visits']:,}"),
        ("accounts", f"{roles['user']:,}"),
        ("staff", f"{roles.total() - roles['user']:,}"),
    ]


async def _visits(world: World) -> list[tuple[str, str]]:
    """By the rollups, which the events went through."""
    period = _whole(world)
    traffic = await RollupService.totals(Dimension.TRAFFIC, period=period)
    stages = [(stage, await RollupService.totals(Dimension.STAGE, key=stage, period=period)) for stage in STAGES]
    sources = await RollupService.top(Dimension.SOURCE, period=period, metric="visits", limit=_MOST_SHOWN)
    return [
        *_counted({name.replace("_", " "): number for name, number in traffic.items()}),
        *((f"visitors who came to {stage}", f"{totals.get('visitors', 0):,}") for stage, totals in stages),
        *((f"  from {source}", f"{totals['visits']:,}") for source, totals in sources),
    ]


def _whole(world: World) -> Period:
    """Everything that the world can have told of, its closing too."""
    return Period(world.start.date(), world.now().date() + timedelta(days=1), ZoneInfo("UTC"))


async def _orders(world: World) -> list[tuple[str, str]]:
    currency = world.settings.currency
    fields = {"status": 1, "totals": 1, "paid_at": 1, "is_counted": 1, "items_count": 1, "refunded": 1}
    rows = await Order.find_rows({}, fields)
    sums: Counter[str] = Counter()
    counted = [row for row in rows if row["paid_at"] is not None]
    for row in counted:
        for name in ("subtotal", "discount", "tax", "shipping", "total"):
            sums[name] += row["totals"][name]["amount"]
        sums["refunded"] += row["refunded"]["amount"]
    returns = await _count(ReturnRequest, "status")
    return [
        ("orders placed", f"{len(rows):,}"),
        *((f"  {label}", value) for label, value in _counted(Counter(row["status"] for row in rows))),
        ("orders paid", f"{len(counted):,}"),
        ("pieces in them", f"{sum(row['items_count'] for row in counted):,}"),
        ("gross", _money(sums["subtotal"], currency)),
        ("discounts", _money(sums["discount"], currency)),
        ("tax", _money(sums["tax"], currency)),
        ("shipping", _money(sums["shipping"], currency)),
        ("revenue", _money(sums["total"], currency)),
        ("given back", _money(sums["refunded"], currency)),
        ("net", _money(sums["total"] - sums["refunded"], currency)),
        ("returns", f"{returns.total():,}"),
        *((f"  {label}", value) for label, value in _counted(returns)),
        ("reviews", f"{(await _count(Review, 'status')).total():,}"),
        *((f"  {label}", value) for label, value in _counted(await _count(Review, "status"))),
    ]


async def _payments() -> list[tuple[str, str]]:
    states, methods = await _count(Payment, "state"), await _count(Payment, "method")
    refunds = await _count(Refund, "state")
    declined = await Payment.find_rows({"state": PaymentState.FAILED, "declined_at": {"$ne": None}}, {"_id": 1})
    unknown = await Transaction.count_rows({"status": "unknown"})
    return [
        ("payments", f"{states.total():,}"),
        *((f"  {label}", value) for label, value in _counted(states)),
        *((f"  by {label}", value) for label, value in _counted(methods)),
        ("declined by the gateway", f"{len(declined):,}"),
        ("answers that never came", f"{unknown:,}"),
        ("held for a fraud review", f"{(await _count(FraudReview, 'state')).total():,}"),
        *((f"  {label}", value) for label, value in _counted(await _count(FraudReview, "state"))),
        ("refunds", f"{refunds.total():,}"),
        ("  succeeded", f"{refunds[RefundState.SUCCEEDED]:,}"),
    ]


async def _carts(world: World) -> list[tuple[str, str]]:
    spells = await CartAbandonment.find_rows({}, {"reminded_at": 1, "recovered_at": 1})
    movements = await _count(StockMovement, "kind")
    return [
        ("carts filled", f"{world.tally['carts filled']:,}"),
        ("carts abandoned", f"{len(spells):,}"),
        ("  reminded", f"{sum(row['reminded_at'] is not None for row in spells):,}"),
        ("  recovered", f"{sum(row['recovered_at'] is not None for row in spells):,}"),
        ("stock-outs met", f"{world.tally['sold out when wanted'] + world.tally['sold out at the till']:,}"),
        ("purchase orders", f"{(await _count(PurchaseOrder, 'status')).total():,}"),
        ("stock movements", f"{movements.total():,}"),
        *((f"  {label}", value) for label, value in _counted(movements)),
        ("letters mailed", f"{len(world.mailer.sent):,}"),
    ]


async def _publication() -> list[tuple[str, str]]:
    posts, comments = await _count(Post, "status"), await _count(Comment, "status")
    views = await Post.find_rows({}, {"views_count": 1})
    return [
        ("posts", f"{posts.total():,}"),
        *((f"  {label}", value) for label, value in _counted(posts)),
        ("views of posts", f"{sum(row['views_count'] for row in views):,}"),
        ("comments", f"{comments.total():,}"),
        *((f"  {label}", value) for label, value in _counted(comments)),
        ("likes", f"{await Like.count_rows({}):,}"),
        ("follows", f"{await Follow.count_rows({}):,}"),
    ]


async def _count(document: type[AgoraDocument], field: str) -> Counter[str]:
    """How many documents there are for each value of a field."""
    rows: list[dict[str, Any]] = await document.aggregate_rows([{"$group": {"_id": f"${field}", "n": {"$sum": 1}}}])
    return Counter({str(row["_id"]): row["n"] for row in rows})


def _counted(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(name, f"{number:,}") for name, number in sorted(counts.items())]


def _money(amount: int, currency: str) -> str:
    return f"{decimal_text(amount, currency)} {currency}"
