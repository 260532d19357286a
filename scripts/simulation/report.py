"""What became of a simulated world: its story, its figures, and whether its books agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from models.analytics.rollups import Dimension
from models.blog.posts import PostViews
from models.ecommerce.catalog import ProductViews
from models.events import DeadLetter
from models.payments import Payment
from scripts.simulation.figures import tell_figures
from scripts.simulation.story import tell_story, whole_period
from scripts.simulation.tables import Table
from scripts.simulation.world import World
from services.analytics.rollups.rollups import RollupService
from services.payments.reconciliation import ReconciliationService
from services.reconcile import ReconcileService
from services.users.permissions import SYSTEM

_BATCH = 1_000
_COMPARED = timedelta(days=30)
_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Report:
    """Tables in their order, and every disagreement of the books: none when all is well."""

    title: str
    tables: Sequence[Table]
    disagreements: Sequence[str]

    def text(self) -> str:
        """The same for the same figures, to the byte."""
        lines = [self.title, "=" * len(self.title), "", *(line for table in self.tables for line in table.lines())]
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
        tables = [*await tell_story(world), *await tell_figures(world)]
        return Report(title, tables, await disagreements(world))


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
    traffic = await RollupService.totals(Dimension.TRAFFIC, period=whole_period(world))
    counted = {"product_views": ProductViews, "post_views": PostViews}
    found = []
    for metric, document in counted.items():
        [row] = await document.aggregate_rows([{"$group": {"_id": None, "n": {"$sum": "$views_count"}}}]) or [{"n": 0}]
        if row["n"] != traffic.get(metric, 0):
            found.append(f"visits: {row['n']} {metric} are counted, {traffic.get(metric, 0)} came through the intake")
    return found
