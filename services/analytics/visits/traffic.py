"""From raw rows of visits to the rollups of traffic, of the way to an order, of sources and of searches.

What is counted per visitor (visitors, stages, sources, who searched) is distinct within a UTC day, because that is how long a
visitor's hash lives. Such figures stand at noon UTC: that is the same date in every zone from UTC-12 to UTC+11.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from beanie import PydanticObjectId

from models.analytics.events import SearchedTerm, VisitEvent, VisitKind, day_of
from models.analytics.rollups import PERMANENT, Dimension, FactMark
from models.base import now as present
from models.database import Session, run_transaction
from services.analytics.periods import Period
from services.analytics.rollups.rollups import Entry, Fact, RollupService
from services.ecommerce.catalog.views import remember_visits
from services.settings import Settings

BATCH = 100  # rows of one transaction
MIN_ASKERS = 3  # a search that fewer visitors made is shown to nobody: it may be about somebody

STAGES = ("view", "cart", "checkout", "paid")
"""The way to an order. Who reached a stage has passed those before it, so no stage is larger than the one before."""

_METRIC = {
    VisitKind.PAGE_VIEW: "page_views",
    VisitKind.PRODUCT_VIEW: "product_views",
    VisitKind.POST_VIEW: "post_views",
    VisitKind.SEARCH: "searches",
    VisitKind.CART_ADD: "cart_adds",
    VisitKind.CHECKOUT: "checkouts",
}
_STAGE = {
    VisitKind.PRODUCT_VIEW: "view",
    VisitKind.CART_ADD: "cart",
    VisitKind.CHECKOUT_STARTED: "checkout",
    VisitKind.CHECKOUT: "checkout",
    VisitKind.PAID: "paid",
}
_NOON = timedelta(hours=12)


class TrafficService:
    @staticmethod
    async def roll_up(*, limit: int = BATCH) -> int:
        """Put up to `limit` raw rows that are not in the rollups there, and return how many these were.

        Products that were seen together are noted with it. All moves in one transaction; the facts' keys keep a repeated one from
        counting.
        """

        async def work(session: Session) -> int:
            found = await VisitEvent.find_rows({"is_rolled": False}, limit=limit, session=session)
            rows = [VisitEvent.from_row(row) for row in found]
            if rows:
                await RollupService.apply(facts_of(rows))
                await remember_visits(rows, session=session)
                await _mark_rolled(rows, session)
            return len(rows)

        return await run_transaction(work, hot=["analytics_rollups"])

    @staticmethod
    async def roll_up_all() -> int:
        """As `roll_up`, until nothing waits."""
        rolled = batch = await TrafficService.roll_up()
        while batch:
            batch = await TrafficService.roll_up()
            rolled += batch
        return rolled

    @staticmethod
    async def recount() -> int:
        """Tell the rollups again what all raw rows amount to that are kept, and return how many facts were missing there.

        Harmless at any time, and to repeat. Rollups of visits belong to no generation, so a rebuild of the others leaves them.
        """
        missing = 0
        last: PydanticObjectId | None = None
        while True:
            query: dict[str, Any] = {} if last is None else {"_id": {"$gt": last}}
            found = await VisitEvent.find_rows(query, sort=[("_id", 1)], limit=BATCH)
            if not found:
                return missing
            missing += await RollupService.apply(facts_of([VisitEvent.from_row(row) for row in found]))
            last = found[-1]["_id"]

    @staticmethod
    async def forget_marks(*, settings: Settings, now: datetime | None = None) -> int:
        """Delete what says which visits are in the rollups once their raw rows are gone; returns how much that was.

        The marks hold visitors' hashes: they need not live longer than the rows.
        """
        before = day_of(now or present()) - timedelta(days=settings.analytics_kept_days + 1)
        query = {"generation": PERMANENT, "at": {"$lt": before}, "key": {"$gte": "visit:", "$lt": "visit;"}}
        deleted: int = (await FactMark.collection().delete_many(query)).deleted_count
        return deleted

    @staticmethod
    async def list_searches(*, period: Period, limit: int = 20) -> list[SearchedTerm]:
        """What was searched for, by the number of visitors who did, then by the term; nothing that fewer than three asked for."""
        found = await RollupService.top(Dimension.SEARCH, currency="", period=period, metric="visitors", limit=limit)
        return [
            SearchedTerm(term=term, searches_count=totals.get("searches", 0), visitors_count=totals["visitors"])
            for term, totals in found
            if totals["visitors"] >= MIN_ASKERS
        ]


def facts_of(rows: Iterable[VisitEvent]) -> list[Fact]:
    """What the rows amount to, each fact once. Which row of several tells a fact makes no difference to it."""
    facts: dict[str, Fact] = {}
    for row in rows:
        for fact in _facts_of(row):
            facts.setdefault(fact.key, fact)
    return list(facts.values())


def _facts_of(row: VisitEvent) -> list[Fact]:
    facts = [_of_visitor(row, "visitor", Entry(Dimension.TRAFFIC, "", "", {"visitors": 1}))]
    counted = _counted(row)
    if counted:
        facts.append(Fact(f"visit:{row.id}", row.at, counted))
    if row.kind in _STAGE:
        reached = STAGES[: STAGES.index(_STAGE[row.kind]) + 1]
        facts += [_of_visitor(row, f"stage:{stage}", Entry(Dimension.STAGE, stage, "", {"visitors": 1})) for stage in reached]
    facts += [
        _of_visitor(row, f"source:{source}", Entry(Dimension.SOURCE, source, "", {"visits": 1})) for source in _sources(row)
    ]
    if row.term:
        facts.append(_of_visitor(row, f"term:{row.term}", Entry(Dimension.SEARCH, row.term, "", {"visitors": 1})))
    return facts


def _of_visitor(row: VisitEvent, what: str, entry: Entry) -> Fact:
    """A fact that is true of the visitor once on its day, whichever row told it first."""
    day = day_of(row.at)
    return Fact(f"visit:{what}:{row.visitor}", day + _NOON, [entry])  # the hash holds the day


def _counted(row: VisitEvent) -> list[Entry]:
    entries = []
    if row.kind in _METRIC:
        entries.append(Entry(Dimension.TRAFFIC, "", "", {_METRIC[row.kind]: 1}))
    if row.term:
        entries.append(Entry(Dimension.SEARCH, row.term, "", {"searches": 1}))
    return entries


def _sources(row: VisitEvent) -> list[str]:
    """Where a page view came from: the campaign's source or the site before it, and `campaign:<name>` besides."""
    if row.kind is not VisitKind.PAGE_VIEW:
        return []
    named = row.source or row.referrer
    return [*([named] if named else []), *([f"campaign:{row.campaign}"] if row.campaign else [])]


async def _mark_rolled(rows: Sequence[VisitEvent], session: Session) -> None:
    """Without moving `updated_at`, which would tell when they came in."""
    ids = [row.id for row in rows]
    await VisitEvent.collection().update_many({"_id": {"$in": ids}}, {"$set": {"is_rolled": True}}, session=session)
