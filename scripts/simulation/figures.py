"""Every figure of a simulated world, by what it is of: those of the story and all beside them, recounted from what is stored."""

from collections import Counter
from typing import Any

from models.analytics.rollups import Dimension
from models.base import AgoraDocument
from models.blog.comments import Comment
from models.blog.posts import Post
from models.ecommerce.carts import CartAbandonment
from models.ecommerce.orders import Order
from models.ecommerce.returns import ReturnRequest
from models.ecommerce.reviews import Review
from models.events import Event
from models.fraud import FraudReview
from models.inventory.purchasing import PurchaseOrder
from models.inventory.stock import StockMovement
from models.payments import Payment, PaymentState, Refund, RefundState, Transaction
from models.social import Follow, Like
from models.users import User
from scripts.simulation.story import whole_period
from scripts.simulation.tables import Table, counted, money_text
from scripts.simulation.world import World
from services.analytics.rollups.rollups import RollupService
from services.analytics.visits.traffic import STAGES

_MOST_SOURCES = 20


async def tell_figures(world: World) -> list[Table]:
    """The tables, in their order."""
    return [
        Table("People", await _people(world)),
        Table("Visits", await _visits(world)),
        Table("Orders", await _orders(world)),
        Table("Payments", await _payments()),
        Table("Carts and stock", await _carts(world)),
        Table("Publication", await _publication()),
        Table("What no document tells", counted(world.tally)),
        Table("Events", counted(await _count(Event, "type"))),
    ]


async def _people(world: World) -> list[tuple[str, str]]:
    roles = await _count(User, "role")
    return [
        ("visits", f"{world.tally['visits']:,}"),
        ("accounts", f"{roles['user']:,}"),
        ("staff", f"{roles.total() - roles['user']:,}"),
    ]


async def _visits(world: World) -> list[tuple[str, str]]:
    """By the rollups, which the events went through."""
    period = whole_period(world)
    traffic = await RollupService.totals(Dimension.TRAFFIC, period=period)
    stages = [(stage, await RollupService.totals(Dimension.STAGE, key=stage, period=period)) for stage in STAGES]
    sources = await RollupService.top(Dimension.SOURCE, period=period, metric="visits", limit=_MOST_SOURCES)
    return [
        *counted({name.replace("_", " "): number for name, number in traffic.items()}),
        *((f"visitors who came to {stage}", f"{totals.get('visitors', 0):,}") for stage, totals in stages),
        *((f"  from {source}", f"{totals['visits']:,}") for source, totals in sources),
    ]


async def _orders(world: World) -> list[tuple[str, str]]:
    currency = world.settings.currency
    fields = {"status": 1, "totals": 1, "paid_at": 1, "is_counted": 1, "items_count": 1, "refunded": 1}
    rows = await Order.find_rows({}, fields)
    sums: Counter[str] = Counter()
    paid = [row for row in rows if row["paid_at"] is not None]
    for row in paid:
        for name in ("subtotal", "discount", "tax", "shipping", "total"):
            sums[name] += row["totals"][name]["amount"]
        sums["refunded"] += row["refunded"]["amount"]
    returns = await _count(ReturnRequest, "status")
    return [
        ("orders placed", f"{len(rows):,}"),
        *((f"  {label}", value) for label, value in counted(Counter(row["status"] for row in rows))),
        ("orders paid", f"{len(paid):,}"),
        ("pieces in them", f"{sum(row['items_count'] for row in paid):,}"),
        ("gross", money_text(sums["subtotal"], currency)),
        ("discounts", money_text(sums["discount"], currency)),
        ("tax", money_text(sums["tax"], currency)),
        ("shipping", money_text(sums["shipping"], currency)),
        ("revenue", money_text(sums["total"], currency)),
        ("given back", money_text(sums["refunded"], currency)),
        ("net", money_text(sums["total"] - sums["refunded"], currency)),
        ("returns", f"{returns.total():,}"),
        *((f"  {label}", value) for label, value in counted(returns)),
        ("reviews", f"{(await _count(Review, 'status')).total():,}"),
        *((f"  {label}", value) for label, value in counted(await _count(Review, "status"))),
    ]


async def _payments() -> list[tuple[str, str]]:
    states, methods = await _count(Payment, "state"), await _count(Payment, "method")
    refunds = await _count(Refund, "state")
    declined = await Payment.find_rows({"state": PaymentState.FAILED, "declined_at": {"$ne": None}}, {"_id": 1})
    unknown = await Transaction.count_rows({"status": "unknown"})
    return [
        ("payments", f"{states.total():,}"),
        *((f"  {label}", value) for label, value in counted(states)),
        *((f"  by {label}", value) for label, value in counted(methods)),
        ("declined by the gateway", f"{len(declined):,}"),
        ("answers that never came", f"{unknown:,}"),
        ("held for a fraud review", f"{(await _count(FraudReview, 'state')).total():,}"),
        *((f"  {label}", value) for label, value in counted(await _count(FraudReview, "state"))),
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
        *((f"  {label}", value) for label, value in counted(movements)),
        ("letters mailed", f"{len(world.mailer.sent):,}"),
    ]


async def _publication() -> list[tuple[str, str]]:
    posts, comments = await _count(Post, "status"), await _count(Comment, "status")
    views = await Post.find_rows({}, {"views_count": 1})
    return [
        ("posts", f"{posts.total():,}"),
        *((f"  {label}", value) for label, value in counted(posts)),
        ("views of posts", f"{sum(row['views_count'] for row in views):,}"),
        ("comments", f"{comments.total():,}"),
        *((f"  {label}", value) for label, value in counted(comments)),
        ("likes", f"{await Like.count_rows({}):,}"),
        ("follows", f"{await Follow.count_rows({}):,}"),
    ]


async def _count(document: type[AgoraDocument], field: str) -> Counter[str]:
    """How many documents there are for each value of a field."""
    rows: list[dict[str, Any]] = await document.aggregate_rows([{"$group": {"_id": f"${field}", "n": {"$sum": 1}}}])
    return Counter({str(row["_id"]): row["n"] for row in rows})
