"""Every stored counter and what it counts: recounted in the database, compared, and mended on request."""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from beanie import PydanticObjectId

from models.base import AgoraDocument
from models.base import now as present
from models.blog.comments import Comment, CommentStatus
from models.blog.posts import Post, PostRevision, PostSlug, PostStatus, PostViews
from models.blog.taxonomy import Category, Tag
from models.database import DuplicateKeyError, Session, after_commit, run_transaction
from models.ecommerce.catalog import VISIBLE_STATUSES, Product, ProductCategory, ProductViews
from models.ecommerce.coupons import Coupon, CouponRedemption
from models.ecommerce.customers import Address, Customer, LoyaltyEntry
from models.ecommerce.orders import Order
from models.ecommerce.reviews import Review, ReviewStatus
from models.reconcile import MAX_SHOWN, CheckRead, DriftRead, ReconcileReport
from models.social import Follow, Like, LikeKind
from models.users import User
from services.analytics.purchases.checks import is_purchase, purchase_drift, repair_purchases
from services.analytics.rollups.checks import rollup_drift
from services.analytics.stock.checks import ledger_drift
from services.audit import AuditService
from services.drift import Drift
from services.ecommerce.catalog.checks import category_drift, is_place, repair_place
from services.ecommerce.checks.orders import order_drift, repair_order
from services.ecommerce.checks.orphans import orphan_drift
from services.ecommerce.checks.products import product_drift, repair_product
from services.ecommerce.customer_checks import customer_drift, is_spent, repair_spent
from services.heavy import heavy_work
from services.inventory.checks import is_stock, repair_stock, stock_drift
from services.payments.checks import payment_drift
from services.users.permissions import SYSTEM, Permission, Viewer

__all__ = ["CHECKS", "COUNTERS", "Check", "Drift", "ReconcileService", "StoredCounter", "recount_pipeline"]

BATCH = 500  # documents compared at a time: what bounds the memory of a run


@dataclasses.dataclass(frozen=True, slots=True)
class StoredCounter:
    """A field that repeats what can be counted elsewhere, and where its truth lies."""

    document: type[AgoraDocument]
    field: str
    source: type[AgoraDocument]
    owner: str  # the source's field that names the document
    where: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # which rows of the source count
    summed: str | None = None  # the source's field to add up; None counts rows
    owner_is_list: bool = False

    @property
    def name(self) -> str:
        return f"{self.document.Settings.name}.{self.field}"  # type: ignore[attr-defined]  # every document names its collection


_PUBLISHED = {"status": PostStatus.PUBLISHED}
_APPROVED = {"status": CommentStatus.APPROVED}
_ON_SHOW = {"status": {"$in": [status.value for status in VISIBLE_STATUSES]}}
_PUBLIC_REVIEWS = {"status": ReviewStatus.APPROVED}

COUNTERS = (
    StoredCounter(User, "posts_count", Post, "author_id", _PUBLISHED),
    StoredCounter(User, "followers_count", Follow, "following_id"),
    StoredCounter(User, "following_count", Follow, "follower_id"),
    StoredCounter(Category, "posts_count", Post, "category_id", _PUBLISHED),
    StoredCounter(Tag, "usage_count", Post, "tag_ids", _PUBLISHED, owner_is_list=True),
    StoredCounter(Post, "likes_count", Like, "subject_id", {"kind": LikeKind.POST}),
    StoredCounter(Post, "comments_count", Comment, "post_id", _APPROVED),
    StoredCounter(Post, "views_count", PostViews, "post_id", summed="views_count"),
    StoredCounter(Comment, "likes_count", Like, "subject_id", {"kind": LikeKind.COMMENT}),
    StoredCounter(Comment, "replies_count", Comment, "parent_id", _APPROVED),
    StoredCounter(Comment, "descendants_count", Comment, "ancestor_ids", _APPROVED, owner_is_list=True),
    StoredCounter(ProductCategory, "products_count", Product, "category_id", _ON_SHOW),
    StoredCounter(Product, "views_count", ProductViews, "product_id", summed="views_count"),
    StoredCounter(Product, "reviews_count", Review, "product_id", _PUBLIC_REVIEWS),
    StoredCounter(Product, "rating_total", Review, "product_id", _PUBLIC_REVIEWS, summed="rating"),
    StoredCounter(Review, "helpful_count", Like, "subject_id", {"kind": LikeKind.REVIEW}),
    StoredCounter(Coupon, "usage_count", CouponRedemption, "coupon_id"),
    StoredCounter(Customer, "points_balance", LoyaltyEntry, "customer_id", summed="points"),
    StoredCounter(Customer, "orders_count", LoyaltyEntry, "customer_id", summed="orders"),
    StoredCounter(Customer, "addresses_count", Address, "customer_id"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """Something that must add up, and how the places where it does not are found."""

    name: str
    drift: Callable[[], AsyncIterator[Drift]]


class ReconcileService:
    @staticmethod
    async def report_drift(*, viewer: Viewer) -> ReconcileReport:
        """Every check with what does not add up; changes nothing. Raises PermissionDeniedError and OverloadedError."""
        viewer.require(Permission.MANAGE_SYSTEM)
        return await _report()

    @staticmethod
    async def repair_drift(*, viewer: Viewer) -> ReconcileReport:
        """As `report_drift`, and what is derived from other rows is stored anew, each with an entry in the audit log.

        May be called again, or twice at once: a place that moved since it was counted is left alone. Must not be called inside a
        transaction.
        """
        viewer.require(Permission.MANAGE_SYSTEM)
        return await _report(repaired_by=viewer)

    @staticmethod
    async def drift() -> AsyncIterator[Drift]:
        """Everything that does not add up, by counter and id; nothing when all is well.

        Safe beside a running Agora: what looks wrong in a first pass is counted again within one snapshot before it is
        reported.
        """
        for check in CHECKS:
            async for row in check.drift():
                yield row

    @staticmethod
    async def repair(row: Drift, *, viewer: Viewer = SYSTEM) -> bool:
        """Store what was counted; false when the place has changed since it was reported, and is then left alone.

        False, too, for what a person must look at: neither money nor stock is invented here.
        """

        async def work(session: Session) -> bool:
            is_repaired = await _repair(row, session)
            if is_repaired:
                await AuditService.record(
                    session,
                    "drift.repaired",
                    subject=f"{row.collection}:{row.id}",
                    actor_id=None if viewer == SYSTEM else viewer.user_id,
                    details={"field": row.field, "stored": row.stored, "counted": row.counted},
                )
            return is_repaired

        try:
            return await run_transaction(work, hot=[row.id])
        except DuplicateKeyError:  # somebody else has what would be put there
            return False


async def _report(*, repaired_by: Viewer | None = None) -> ReconcileReport:
    async with heavy_work():
        started_at = present()
        for_people, checks = 0, list[CheckRead]()
        for check in CHECKS:
            found = repaired = 0
            shown = list[DriftRead]()
            async for row in check.drift():
                is_repaired = repaired_by is not None and await ReconcileService.repair(row, viewer=repaired_by)
                found += 1
                repaired += is_repaired
                for_people += not row.is_derived
                if found <= MAX_SHOWN:
                    shown.append(DriftRead(**dataclasses.asdict(row), is_repaired=is_repaired))
            checks.append(CheckRead(name=check.name, drift_count=found, repaired_count=repaired, drift=shown))
        return ReconcileReport(
            started_at=started_at,
            finished_at=present(),
            drift_count=sum(check.drift_count for check in checks),
            repaired_count=sum(check.repaired_count for check in checks),
            for_people_count=for_people,
            checks=checks,
        )


async def _repair(row: Drift, session: Session) -> bool:
    counter = _BY_NAME.get(f"{row.collection}.{row.field}")
    if counter is None:
        repair = next((repair for is_theirs, repair in _REPAIRS if is_theirs(row)), None)
        return row.is_derived and repair is not None and await repair(row, session=session)
    # Counters do not move `updated_at`: readers' copies of the document stay good.
    result = await counter.document.collection().update_one(
        {"_id": row.id, row.field: row.stored}, {"$set": {row.field: row.counted}}, session=session
    )
    for watcher in counter.document.watchers:
        after_commit(partial(watcher, row.id))
    return bool(result.modified_count)


_BY_NAME = {counter.name: counter for counter in COUNTERS}


async def _counter_drift(counter: StoredCounter) -> AsyncIterator[Drift]:
    async for rows in _batches(counter.document, {counter.field: 1}):
        counted = await _recount(counter, [row["_id"] for row in rows])
        for row in rows:
            if row.get(counter.field) != counted.get(row["_id"], 0):
                confirmed = await _confirmed(counter, row["_id"])
                if confirmed is not None:
                    yield confirmed


async def _batches(document: type[AgoraDocument], fields: Mapping[str, Any]) -> AsyncIterator[list[dict[str, Any]]]:
    """All rows of a collection, a batch at a time in the order of their ids."""
    after: Mapping[str, Any] = {}
    while True:
        rows = await document.find_rows(after, fields, sort=[("_id", 1)], limit=BATCH)
        if not rows:
            return
        yield rows
        after = {"_id": {"$gt": rows[-1]["_id"]}}


def recount_pipeline(counter: StoredCounter, ids: Sequence[PydanticObjectId]) -> list[dict[str, Any]]:
    """Rows `{"_id": <document's id>, "counted": 3}`, none for documents with nothing to count."""
    listed = {counter.owner: {"$in": list(ids)}}
    # The owner alone first, the rest in a stage of its own: the embedded server uses an index only for a filter it covers whole.
    stages: list[dict[str, Any]] = [{"$match": listed}, {"$match": dict(counter.where)}]
    if counter.owner_is_list:
        stages += [{"$project": {counter.owner: 1}}, {"$unwind": f"${counter.owner}"}, {"$match": listed}]
    amount = f"${counter.summed}" if counter.summed else 1
    return [*stages, {"$group": {"_id": f"${counter.owner}", "counted": {"$sum": amount}}}]


async def _recount(
    counter: StoredCounter, ids: Sequence[PydanticObjectId], session: Session | None = None
) -> dict[PydanticObjectId, int]:
    rows = await counter.source.aggregate_rows(recount_pipeline(counter, ids), session=session)
    return {row["_id"]: row["counted"] for row in rows}


async def _confirmed(counter: StoredCounter, id: PydanticObjectId) -> Drift | None:
    """The drift as one snapshot shows it; None when it was only a write passing by, or the document is gone."""

    async def look(session: Session) -> Drift | None:
        row = await counter.document.find_row({"_id": id}, {counter.field: 1}, session=session)
        if row is None:
            return None
        counted = (await _recount(counter, [id], session)).get(id, 0)
        stored = row.get(counter.field)
        if stored == counted:
            return None
        return Drift(counter.document.get_collection_name(), id, counter.field, stored, counted)

    return await run_transaction(look)


async def _structure_drift() -> AsyncIterator[Drift]:
    """Posts whose slug is not theirs in the register of slugs, and posts whose present content is no kept revision."""
    async for posts in _batches(Post, {"slug": 1, "revision": 1}):
        slugs = await PostSlug.find_rows({"slug": {"$in": [post["slug"] for post in posts]}}, {"slug": 1, "post_id": 1})
        owners = {row["slug"]: row["post_id"] for row in slugs}
        revisions = await PostRevision.aggregate_rows(
            [
                {"$match": {"post_id": {"$in": [post["_id"] for post in posts]}}},
                {"$group": {"_id": "$post_id", "newest": {"$max": "$number"}}},
            ]
        )
        newest = {row["_id"]: row["newest"] for row in revisions}
        for post in posts:
            if owners.get(post["slug"]) == post["_id"] and newest.get(post["_id"]) == post["revision"]:
                continue
            for row in await run_transaction(partial(_look_at_post, id=post["_id"])):
                yield row


async def _look_at_post(session: Session, *, id: PydanticObjectId) -> list[Drift]:
    post = await Post.find_row({"_id": id}, {"slug": 1, "revision": 1}, session=session)
    if post is None:
        return []
    found = []
    claim = await PostSlug.find_row({"slug": post["slug"]}, {"post_id": 1}, session=session)
    if claim is None or claim["post_id"] != id:
        owner = "nobody's" if claim is None else f"post {claim['post_id']}'s"
        found.append(Drift(Post.get_collection_name(), id, "slug", post["slug"], owner))
    if await PostRevision.find_row({"post_id": id, "number": post["revision"]}, {"_id": 1}, session=session) is None:
        found.append(Drift(Post.get_collection_name(), id, "revision", post["revision"], "not kept"))
    return found


async def _claim_slug(row: Drift, *, session: Session) -> bool:
    """Enter the post's slug into the register; DuplicateKeyError if it is another post's: a person must rename one of the two."""
    post = await Post.find_row({"_id": row.id}, {"slug": 1}, session=session)
    if post is None or post["slug"] != row.stored:
        return False
    await PostSlug(slug=post["slug"], post_id=row.id).store(session=session)
    return True


async def _keep_revision(row: Drift, *, session: Session) -> bool:
    found = await Post.find_row({"_id": row.id}, session=session)
    if found is None or found["revision"] != row.stored:
        return False
    post = Post.from_row(found)
    revision = PostRevision(
        post_id=post.id, number=post.revision, editor_id=None, title=post.title, content=post.content, excerpt=post.excerpt
    )
    await revision.store(session=session)
    return True


# In the order in which they are reported.
CHECKS: tuple[Check, ...] = (
    *(Check(counter.name, partial(_counter_drift, counter)) for counter in COUNTERS),
    Check("slugs and revisions of posts", _structure_drift),
    Check("tree of categories", category_drift),
    Check("stock", stock_drift),
    Check("payments", payment_drift),
    Check("orders", order_drift),
    Check("rows of orders that are not there", orphan_drift),
    Check("sales and ratings of products", product_drift),
    Check("customers", customer_drift),
    Check("rollups", rollup_drift),
    Check("purchases of customers", purchase_drift),
    Check("sums of the stock's ledger", ledger_drift),
)


class _Repair(Protocol):
    def __call__(self, row: Drift, /, *, session: Session) -> Awaitable[bool]: ...


# Who mends what: the first whose it is.
_REPAIRS: tuple[tuple[Callable[[Drift], bool], _Repair], ...] = (
    (is_place, repair_place),
    (is_stock, repair_stock),
    (is_spent, repair_spent),
    (is_purchase, repair_purchases),
    (lambda row: row.collection == Order.Settings.name, repair_order),
    (lambda row: row.collection == Product.Settings.name, repair_product),
    (lambda row: (row.collection, row.field) == (Post.Settings.name, "slug"), _claim_slug),
    (lambda row: (row.collection, row.field) == (Post.Settings.name, "revision"), _keep_revision),
)
