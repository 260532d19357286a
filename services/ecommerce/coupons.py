"""Coupons: codes that make things cheaper, made one by one or in bulk, and kept by staff."""

import csv
import io
import random
from collections.abc import Sequence
from typing import Annotated, Any

from beanie import PydanticObjectId
from pydantic import Field, StringConstraints
from pymongo import InsertOne
from pymongo.errors import BulkWriteError

from models.database import DuplicateKeyError, Session, run_transaction, start_again
from models.ecommerce.coupons import Coupon, CouponBatch, CouponRead, DiscountKind
from models.events import EventType
from services.audit import AuditService
from services.ecommerce.couponreasons import CouponNotUsableError
from services.ecommerce.offers import DiscountRuleDraft, OfferName, SpanDraft, check_span
from services.ecommerce.redemptions import RedemptionService
from services.errors import ConflictError, NotFoundError, require_revision
from services.events import EventService
from services.pagination import Page, PageRequest, page_of
from services.users.permissions import Permission, Viewer

__all__ = [
    "BatchDraft",
    "BatchNotFoundError",
    "BatchTakenError",
    "CouponChanges",
    "CouponDraft",
    "CouponNotFoundError",
    "CouponNotUsableError",
    "CouponService",
    "CouponTakenError",
    "find_coupons",
    "normal_code",
    "safe_cell",
]

MAX_CODE = 40
MAX_BATCH = 5_000
MAX_USES = 1_000_000_000
LETTERS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""What random codes are made of: nothing that is taken for another, so no 0 and O, no 1, I and L."""

# The pattern is asked before the letters are made upper case.
Code = Annotated[
    str, StringConstraints(strip_whitespace=True, to_upper=True, min_length=3, max_length=MAX_CODE, pattern=r"^[A-Za-z0-9_-]+$")
]
Prefix = Annotated[str, StringConstraints(strip_whitespace=True, to_upper=True, max_length=12, pattern=r"^[A-Za-z0-9-]*$")]
BatchName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
Uses = Annotated[int, Field(ge=1, le=MAX_USES)]


class CouponNotFoundError(NotFoundError):
    """There is no such coupon."""

    code = "coupon_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("coupon", key)


class CouponTakenError(ConflictError):
    """Another coupon has this code."""

    code = "coupon_taken"

    def __init__(self, coupon: str) -> None:
        super().__init__("Another coupon has this code.")
        self.coupon = coupon


class BatchTakenError(ConflictError):
    """There are codes of this batch already."""

    code = "coupon_batch_taken"

    def __init__(self, batch: str) -> None:
        super().__init__("There are codes of this batch already.")
        self.batch = batch


class BatchNotFoundError(NotFoundError):
    """There are no codes of this batch."""

    code = "coupon_batch_not_found"

    def __init__(self, batch: str) -> None:
        super().__init__("batch", batch)


class CouponTerms(SpanDraft):
    """What a coupon to be gives, to whom and when; the codes of a batch share it."""

    name: OfferName = Field(default="", description="What buyers see beside the discount", examples=["Welcome"])
    rule: DiscountRuleDraft
    usage_limit: Uses | None = Field(default=None, description="By everyone together, of each code; null is any number")
    usage_limit_per_customer: Uses | None = Field(default=None, description="Without it, as often as there are uses")
    is_combinable: bool = Field(default=True, description="With automatic promotions and other coupons")


class CouponDraft(CouponTerms):
    """A coupon to be."""

    code: Code = Field(description="Kept in upper case", examples=["SAVE10"])


class BatchDraft(CouponTerms):
    """Codes to be made in bulk, all on the same terms."""

    batch: BatchName = Field(examples=["summer-26"])
    count: int = Field(ge=1, le=MAX_BATCH, examples=[100])
    prefix: Prefix = Field(default="", examples=["SUMMER-"])
    length: int = Field(default=10, ge=8, le=20, description="Random characters of each code")


class CouponChanges(SpanDraft):
    """What is to change; what is left out stays, null empties what can be empty. The code stays for good."""

    name: OfferName = Field(default_factory=str)
    rule: DiscountRuleDraft = Field(default_factory=lambda: DiscountRuleDraft(kind=DiscountKind.FREE_SHIPPING))
    usage_limit: Uses | None = Field(default=None, description="Below the uses there are, the code is used up")
    usage_limit_per_customer: Uses | None = None
    is_combinable: bool = Field(default_factory=bool)
    is_active: bool = Field(default_factory=bool)


class CouponService(RedemptionService):
    @staticmethod
    async def create_coupon(draft: CouponDraft, *, viewer: Viewer) -> CouponRead:
        """Raises PermissionDeniedError, CouponTakenError."""
        viewer.require(Permission.MANAGE_PROMOTIONS)
        coupon = Coupon.model_validate(draft.model_dump())

        async def work(session: Session) -> None:
            await coupon.store(session=session)
            await _record(session, f"coupon:{coupon.id}", viewer, "created", {"code": coupon.code})

        try:
            await run_transaction(work)
        except DuplicateKeyError as error:
            raise CouponTakenError(coupon.code) from error
        return _read(coupon)

    @staticmethod
    async def create_batch(draft: BatchDraft, *, viewer: Viewer, source: random.Random | None = None) -> CouponBatch:
        """So many random codes at once, all or none; `source` is the system's secure one unless a test says otherwise.

        Raises PermissionDeniedError, BatchTakenError.
        """
        viewer.require(Permission.MANAGE_PROMOTIONS)
        dice = source or random.SystemRandom()
        terms = draft.model_dump(exclude={"count", "prefix", "length"})

        async def work(session: Session) -> None:
            if await Coupon.find_row({"batch": draft.batch}, {"_id": 1}, session=session) is not None:
                raise BatchTakenError(draft.batch)
            codes = random_codes(draft.count, prefix=draft.prefix, length=draft.length, source=dice)
            rows = [InsertOne(Coupon.model_validate({**terms, "code": code}).row()) for code in codes]
            try:
                await Coupon.collection().bulk_write(rows, session=session)
            except BulkWriteError as error:
                raise start_again("a random code was taken") from error
            await _record(session, f"coupon_batch:{draft.batch}", viewer, "created", {"codes": draft.count})

        await run_transaction(work, hot=[f"coupon_batch:{draft.batch}"])
        return CouponBatch(batch=draft.batch, codes_count=draft.count)

    @staticmethod
    async def get_coupon(coupon_id: PydanticObjectId, *, viewer: Viewer) -> CouponRead:
        """Raises PermissionDeniedError, CouponNotFoundError."""
        viewer.require(Permission.MANAGE_PROMOTIONS)
        row = await Coupon.find_row({"_id": coupon_id})
        if row is None:
            raise CouponNotFoundError(coupon_id)
        return _read(Coupon.from_row(row))

    @staticmethod
    async def list_coupons(
        page: PageRequest,
        *,
        viewer: Viewer,
        code: str | None = None,
        batch: str | None = None,
        is_active: bool | None = None,
    ) -> Page[CouponRead]:
        """Newest first, those of a batch in the order they were made; of one code, one batch or one state if named.

        Raises PermissionDeniedError.
        """
        viewer.require(Permission.MANAGE_PROMOTIONS)
        query: dict[str, object] = {}
        if code is not None:
            query["code"] = normal_code(code)
        if batch is not None:
            query["batch"] = batch
        if is_active is not None:
            query["is_active"] = is_active
        sort = None if code is not None else [("_id", 1 if batch is not None else -1)]
        rows = await Coupon.find_rows(query, sort=sort, skip=page.skip, limit=page.limit)
        return page_of([_read(Coupon.from_row(row)) for row in rows], page, await Coupon.count_rows(query))

    @staticmethod
    async def export_batch(batch: str, *, viewer: Viewer) -> str:
        """The codes of a batch as CSV with a header, in the order they were made. No cell is taken for a formula.

        Raises PermissionDeniedError, BatchNotFoundError.
        """
        viewer.require(Permission.MANAGE_PROMOTIONS)
        fields = {"code": 1, "name": 1, "usage_count": 1, "usage_limit": 1, "is_active": 1, "starts_at": 1, "expires_at": 1}
        rows = await Coupon.find_rows({"batch": batch}, fields, sort=[("_id", 1)], limit=MAX_BATCH)
        if not rows:
            raise BatchNotFoundError(batch)
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["code", "batch", "name", "usage_count", "usage_limit", "is_active", "starts_at", "expires_at"])
        for row in rows:
            times = [moment.isoformat() if (moment := row[name]) else "" for name in ("starts_at", "expires_at")]
            limit = "" if row["usage_limit"] is None else row["usage_limit"]
            state = "true" if row["is_active"] else "false"
            cells = [row["code"], batch, row["name"], row["usage_count"], limit, state, *times]
            writer.writerow([safe_cell(str(cell)) for cell in cells])
        return text.getvalue()

    @staticmethod
    async def update_coupon(
        coupon_id: PydanticObjectId, changes: CouponChanges, *, viewer: Viewer, revision: int | None
    ) -> CouponRead:
        """The coupon with the changes in it; `revision` is the one the caller read, None for whichever is current.

        Raises PermissionDeniedError, CouponNotFoundError, PreconditionError, InvalidSpanError.
        """
        viewer.require(Permission.MANAGE_PROMOTIONS)
        fields = changes.model_dump(include=changes.model_fields_set)

        async def work(session: Session) -> Coupon:
            row = await Coupon.find_row({"_id": coupon_id}, {"revision": 1, "starts_at": 1, "expires_at": 1}, session=session)
            if row is None:
                raise CouponNotFoundError(coupon_id)
            require_revision(revision, row["revision"])
            check_span(fields.get("starts_at", row["starts_at"]), fields.get("expires_at", row["expires_at"]))
            update = {"$set": fields, "$inc": {"revision": 1}}
            coupon = await Coupon.change({"_id": coupon_id, "revision": row["revision"]}, update, session=session)
            if coupon is None:
                raise start_again("the coupon was changed by somebody else")
            await _record(session, f"coupon:{coupon_id}", viewer, "changed", {"fields": sorted(fields)})
            return coupon

        return _read(await run_transaction(work, hot=[coupon_id]))

    @staticmethod
    async def deactivate_coupon(coupon_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """Nobody can use the code from now on; orders that did keep their discount. Harmless to repeat.

        Raises PermissionDeniedError, CouponNotFoundError.
        """
        await CouponService.update_coupon(coupon_id, CouponChanges(is_active=False), viewer=viewer, revision=None)


def normal_code(text: str) -> str:
    """A code as it is kept: without the blanks around it, in upper case."""
    return text.strip().upper()


def random_codes(count: int, *, prefix: str, length: int, source: random.Random) -> list[str]:
    """Different codes, in the order in which they were drawn."""
    codes: dict[str, None] = {}
    while len(codes) < count:
        codes[prefix + "".join(source.choices(LETTERS, k=length))] = None
    return list(codes)


def safe_cell(text: str) -> str:
    """Text that a spreadsheet shows instead of computing it (OWASP: CSV injection)."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


async def find_coupons(codes: Sequence[str], *, session: Session | None = None) -> dict[str, Coupon]:
    """The coupons of these normal codes, by code; unknown ones are absent. One command."""
    rows = await Coupon.find_rows({"code": {"$in": list(codes)}}, session=session)
    return {row["code"]: Coupon.from_row(row) for row in rows}


def _read(coupon: Coupon) -> CouponRead:
    return CouponRead.model_validate(coupon.model_dump())


async def _record(session: Session, subject: str, viewer: Viewer, act: str, details: dict[str, Any]) -> None:
    await EventService.record(session, EventType.PROMOTION_CHANGED, subject, actor_id=viewer.user_id)
    await AuditService.record(session, f"coupon.{act}", subject=subject, actor_id=viewer.user_id, details=details)
