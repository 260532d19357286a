"""Automatic promotions: discounts that need no code, kept by staff."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from beanie import PydanticObjectId
from pydantic import Field, StringConstraints

from models.database import Session, after_commit, run_transaction, start_again
from models.ecommerce.coupons import DiscountKind, Promotion, PromotionRead
from models.events import EventType
from services.cache import Cache
from services.ecommerce.offers import DiscountRuleDraft, SpanDraft, check_span
from services.errors import NotFoundError, RuleViolatedError, require_revision
from services.events import EventService
from services.pagination import Page, PageRequest, page_of
from services.users.permissions import Permission, Viewer

MAX_ACTIVE = 200

PromotionName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Priority = Annotated[int, Field(ge=-1_000, le=1_000, description="The higher first")]

_active: Cache[str, list[Promotion]] = Cache("promotions", ttl=30.0, size=1)


class PromotionNotFoundError(NotFoundError):
    """There is no such promotion."""

    code = "promotion_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("promotion", key)


class TooManyPromotionsError(RuleViolatedError):
    """200 promotions are active already; every purchase is compared with all of them."""

    code = "too_many_promotions"

    def __init__(self) -> None:
        super().__init__(f"{MAX_ACTIVE} promotions are active already: deactivate one first.")


class PromotionDraft(SpanDraft):
    """An automatic promotion to be."""

    name: PromotionName = Field(description="What buyers see beside the discount", examples=["Summer sale"])
    rule: DiscountRuleDraft
    priority: Priority = 0
    is_exclusive: bool = Field(default=False, description="Combined with no other promotion and no coupon")
    is_active: bool = True


class PromotionChanges(SpanDraft):
    """What is to change; what is left out stays, null empties what can be empty."""

    name: PromotionName = Field(default_factory=str)
    rule: DiscountRuleDraft = Field(default_factory=lambda: DiscountRuleDraft(kind=DiscountKind.FREE_SHIPPING))
    priority: Priority = 0
    is_exclusive: bool = Field(default_factory=bool)
    is_active: bool = Field(default_factory=bool)


class PromotionService:
    @staticmethod
    async def create_promotion(draft: PromotionDraft, *, viewer: Viewer) -> PromotionRead:
        """Raises PermissionDeniedError, TooManyPromotionsError."""
        viewer.require(Permission.MANAGE_PROMOTIONS)
        promotion = Promotion.model_validate(draft.model_dump())

        async def work(session: Session) -> None:
            if promotion.is_active:
                await _require_room(session)
            await promotion.store(session=session)
            await _record(session, promotion.id, viewer)

        await run_transaction(work)
        after_commit(forget_promotions)
        return _read(promotion)

    @staticmethod
    async def get_promotion(promotion_id: PydanticObjectId, *, viewer: Viewer) -> PromotionRead:
        """Raises PermissionDeniedError, PromotionNotFoundError."""
        viewer.require(Permission.MANAGE_PROMOTIONS)
        row = await Promotion.find_row({"_id": promotion_id})
        if row is None:
            raise PromotionNotFoundError(promotion_id)
        return _read(Promotion.from_row(row))

    @staticmethod
    async def list_promotions(page: PageRequest, *, viewer: Viewer, is_active: bool | None = None) -> Page[PromotionRead]:
        """Those of a state in the order in which they apply; all of them newest first. Raises PermissionDeniedError."""
        viewer.require(Permission.MANAGE_PROMOTIONS)
        query = {} if is_active is None else {"is_active": is_active}
        sort = [("_id", -1)] if is_active is None else [("priority", -1), ("_id", 1)]
        rows = await Promotion.find_rows(query, sort=sort, skip=page.skip, limit=page.limit)
        return page_of([_read(Promotion.from_row(row)) for row in rows], page, await Promotion.count_rows(query))

    @staticmethod
    async def update_promotion(
        promotion_id: PydanticObjectId, changes: PromotionChanges, *, viewer: Viewer, revision: int | None
    ) -> PromotionRead:
        """The promotion with the changes in it; `revision` is the one the caller read, None for whichever is current.

        Raises PermissionDeniedError, PromotionNotFoundError, PreconditionError, InvalidSpanError, TooManyPromotionsError.
        """
        viewer.require(Permission.MANAGE_PROMOTIONS)
        fields = changes.model_dump(include=changes.model_fields_set)

        async def work(session: Session) -> Promotion:
            row = await Promotion.find_row({"_id": promotion_id}, session=session)
            if row is None:
                raise PromotionNotFoundError(promotion_id)
            require_revision(revision, row["revision"])
            check_span(fields.get("starts_at", row["starts_at"]), fields.get("expires_at", row["expires_at"]))
            if fields.get("is_active") and not row["is_active"]:
                await _require_room(session)
            update = {"$set": fields, "$inc": {"revision": 1}}
            promotion = await Promotion.change({"_id": promotion_id, "revision": row["revision"]}, update, session=session)
            if promotion is None:
                raise start_again("the promotion was changed by somebody else")
            await _record(session, promotion_id, viewer)
            return promotion

        return _read(await run_transaction(work, hot=[promotion_id]))

    @staticmethod
    async def deactivate_promotion(promotion_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """It applies to nothing from now on; orders keep what it took off. Harmless to repeat.

        Raises PermissionDeniedError, PromotionNotFoundError.
        """
        await PromotionService.update_promotion(promotion_id, PromotionChanges(is_active=False), viewer=viewer, revision=None)

    @staticmethod
    async def list_applicable(*, now: datetime) -> Sequence[Promotion]:
        """What is in use at this moment, in the order in which it applies.

        Up to 30 s old where neither this process nor an event told of a change.
        """
        return [promotion for promotion in await _active.get_or_load("all", _load) if promotion.is_valid(now)]


def held_promotions() -> Sequence[Promotion]:
    """The active ones as they were last read; empty where none are held."""
    return _active.peek("all") or ()


def forget_promotions(promotion_id: PydanticObjectId | None = None) -> None:
    """Have the promotions read again."""
    _active.invalidate()


Promotion.watchers.append(forget_promotions)


async def _load() -> list[Promotion]:
    rows = await Promotion.find_rows({"is_active": True}, sort=[("priority", -1), ("_id", 1)], limit=MAX_ACTIVE)
    return [Promotion.from_row(row) for row in rows]


async def _require_room(session: Session) -> None:
    """Raises TooManyPromotionsError."""
    active = await Promotion.find_rows({"is_active": True}, {"_id": 1}, limit=MAX_ACTIVE, session=session)
    if len(active) == MAX_ACTIVE:
        raise TooManyPromotionsError


def _read(promotion: Promotion) -> PromotionRead:
    return PromotionRead.model_validate(promotion.model_dump())


async def _record(session: Session, promotion_id: PydanticObjectId, viewer: Viewer) -> None:
    await EventService.record(session, EventType.PROMOTION_CHANGED, f"promotion:{promotion_id}", actor_id=viewer.user_id)
