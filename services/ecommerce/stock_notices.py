"""Back-in-stock notices: who waits for a variant, and the one mail each of them gets when it can be bought again."""

from datetime import datetime

from beanie import PydanticObjectId

from models.database import Session, run_transaction, start_again
from models.ecommerce.customers import Customer
from models.ecommerce.wishlists import StockNotice, StockNoticeRead
from models.events import Event, EventType
from models.users import User
from services.ecommerce.customers import CustomerService
from services.ecommerce.listed_variants import VariantNotFoundError, VariantNow, add_to_list, variants_now
from services.ecommerce.mails import locale_of, one_line, options_text
from services.errors import NotFoundError, RuleViolatedError
from services.events import Consumer, EventService
from services.mail import Mailer, Message
from services.pagination import CursorCodec, CursorPage, find_stretch
from services.sentmails import SentMailService, is_news
from services.settings import Settings
from services.users.permissions import Viewer

MAX_NOTICES = 100
BATCH = 100  # people told in one transaction


class StockNoticeNotFoundError(NotFoundError):
    """The caller does not wait for this variant."""

    code = "stock_notice_not_found"

    def __init__(self, variant_id: PydanticObjectId) -> None:
        super().__init__("thing that you wait for", variant_id)


class StockNoticesFullError(RuleViolatedError):
    """As many things as a person may wait for."""

    code = "stock_notices_full"

    def __init__(self) -> None:
        super().__init__(f"You can wait for {MAX_NOTICES} things at a time.")


class StillAvailableError(RuleViolatedError):
    """Nobody waits for what can be bought now: it is in stock, or sold without."""

    code = "still_available"

    def __init__(self, sku: str | None) -> None:
        super().__init__(f"{sku} can be bought now: there is nothing to wait for.")
        self.sku = sku


class StockNoticeService:
    """Everybody who waits is told at once, also where they are more than there are pieces: nothing is put aside for anyone."""

    @staticmethod
    async def list_notices(
        *, viewer: Viewer, cursors: CursorCodec, cursor: str | None = None, limit: int = 20
    ) -> CursorPage[StockNoticeRead]:
        """What the viewer waits for, newest first. Three commands. Raises InvalidCursorError and InvalidPageError."""
        rows, next_cursor = await find_stretch(
            StockNotice,
            {"user_id": viewer.user_id},
            listing=f"stock notices:{viewer.user_id}",
            cursors=cursors,
            cursor=cursor,
            limit=limit,
        )
        things = await variants_now([(row["product_id"], row["variant_id"]) for row in rows])
        shown = [_to_read(things[row["variant_id"]], row["created_at"]) for row in rows]
        return CursorPage[StockNoticeRead].model_construct(items=shown, next_cursor=next_cursor)

    @staticmethod
    async def request_notice(
        product_id: PydanticObjectId, variant_id: PydanticObjectId, *, viewer: Viewer, settings: Settings
    ) -> StockNoticeRead:
        """Wait for a variant that is for sale and sold out; to ask again changes nothing.

        The request is an event, too: stock that arrives at this moment is seen by whoever handles that. Raises
        VariantNotFoundError, StillAvailableError and StockNoticesFullError.
        """
        thing = (await variants_now([(product_id, variant_id)]))[variant_id]
        if not thing.is_for_sale:
            raise VariantNotFoundError(variant_id)
        if thing.is_available:
            raise StillAvailableError(thing.sku)
        key = {"variant_id": variant_id, "user_id": viewer.user_id}

        async def work(session: Session) -> StockNotice:
            row = await StockNotice.find_row(key, session=session)
            if row is not None:
                return StockNotice.from_row(row)
            notice = StockNotice(**key, product_id=product_id)
            customer = await CustomerService.of(viewer, settings=settings, session=session)
            await add_to_list(notice, customer=customer, limit=MAX_NOTICES, full=StockNoticesFullError(), session=session)
            payload = {"variant_id": str(variant_id)}
            await EventService.record(
                session, EventType.STOCK_NOTICE_REQUESTED, f"product:{product_id}", actor_id=viewer.user_id, payload=payload
            )
            return notice

        notice = await run_transaction(work, hot=[f"customer of {viewer.user_id}"])
        return _to_read(thing, notice.created_at)

    @staticmethod
    async def withdraw_notice(product_id: PydanticObjectId, variant_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """Wait no longer. Raises StockNoticeNotFoundError, also for one whose mail is on its way already."""

        async def work(session: Session) -> bool:
            key = {"variant_id": variant_id, "user_id": viewer.user_id}
            row = await StockNotice.find_row(key, {"product_id": 1}, session=session)
            if row is None or row["product_id"] != product_id:
                return False
            result = await StockNotice.collection().delete_one({"_id": row["_id"]}, session=session)
            return bool(result.deleted_count)

        if not await run_transaction(work, hot=[f"customer of {viewer.user_id}"]):
            raise StockNoticeNotFoundError(variant_id)

    @staticmethod
    async def tell_waiting(product_id: PydanticObjectId) -> int:
        """Decide to write to everybody who waits for a variant of this product that can be bought now; returns to how many.

        It looks at what is, not at what happened: to call it again, late or twice at once is harmless. A row and the decision to
        write go together, so that each is one mail, however often stock came and went. Who waits for a variant that is hidden
        goes on waiting; for one that is gone for good the rows are dropped. One command where nobody waits.
        """
        waiting = await StockNotice.aggregate_rows([{"$match": {"product_id": product_id}}, {"$group": {"_id": "$variant_id"}}])
        refs = sorted((product_id, row["_id"]) for row in waiting)
        told = 0
        for thing in (await variants_now(refs)).values():
            while (thing.is_gone or thing.is_available) and (batch := await _end_waiting(product_id, thing.variant_id)):
                told += 0 if thing.is_gone else batch
        return told


async def _end_waiting(product_id: PydanticObjectId, variant_id: PydanticObjectId) -> int:
    """Take some of those who wait for the variant off the list; how many they were, 0 when it cannot be bought after all.

    Stock and rows are read in one snapshot: who began to wait when all was sold out again is not told of what was there before.
    """

    async def work(session: Session) -> int:
        rows = await StockNotice.find_rows({"variant_id": variant_id}, {"user_id": 1}, limit=BATCH, session=session)
        if not rows:
            return 0
        thing = (await variants_now([(product_id, variant_id)], session=session))[variant_id]
        if not (thing.is_gone or thing.is_available):
            return 0
        result = await StockNotice.collection().delete_many({"_id": {"$in": [row["_id"] for row in rows]}}, session=session)
        if result.deleted_count != len(rows):
            raise start_again("somebody stopped waiting meanwhile")
        for row in [] if thing.is_gone else rows:
            payload = {"variant_id": str(variant_id), "user_id": str(row["user_id"])}
            await EventService.record(session, EventType.STOCK_NOTICE_DUE, f"product:{product_id}", payload=payload)
        return len(rows)

    return await run_transaction(work, hot=[f"notices of {variant_id}"])


async def _tell_of(event: Event) -> None:
    await StockNoticeService.tell_waiting(PydanticObjectId(event.subject.removeprefix("product:")))


STOCK_NOTICE_CONSUMER = Consumer(
    "stock_notices",
    {EventType.STOCK_CHANGED, EventType.STOCK_NOTICE_REQUESTED, EventType.PRODUCT_UPDATED, EventType.PRODUCT_REMOVED},
    _tell_of,
)
"""Ends the waiting: after stock moved, but also after a product was published, or its variants were sold without stock."""


def stock_notice_mail_consumer(settings: Settings, mailer: Mailer) -> Consumer:
    """Writes to those whose waiting has ended, one mail per event (`SentMailService`).

    Not to who left, not about what is not for sale any more, and not after a week. What is sold out again by then is told all the
    same: it was there, and the mail promises no more.
    """

    async def handle(event: Event) -> None:
        if not is_news(event):
            return
        user_id = PydanticObjectId(event.payload["user_id"])
        user = await User.find_row({"_id": user_id}, {"is_active": 1, "email": 1, "first_name": 1})
        if user is None or not user["is_active"] or not user["email"]:
            return
        if await SentMailService.was_sent(event.id, to=user["email"], settings=settings):
            return
        product_id = PydanticObjectId(event.subject.removeprefix("product:"))
        variant_id = PydanticObjectId(event.payload["variant_id"])
        thing = (await variants_now([(product_id, variant_id)]))[variant_id]
        if not thing.is_for_sale:
            return
        customer = await Customer.find_row({"user_id": user_id}, {"language": 1, "currency": 1})
        message = _back_in_stock(thing, user["email"], user["first_name"], customer or {}, settings)
        await SentMailService.send(event.id, message, mailer=mailer, settings=settings)

    return Consumer("stock_notice_mail", {EventType.STOCK_NOTICE_DUE}, handle)


def _back_in_stock(thing: VariantNow, address: str, first_name: str, customer: dict[str, str], settings: Settings) -> Message:
    name = f"{one_line(thing.name or '')}{options_text(thing.options)}"
    price = thing.price_in(customer.get("currency", settings.currency))
    cost = f" for {price.formatted(locale_of(customer.get('language', 'en')))}" if price is not None else ""
    text = (
        f"Hello {first_name},\n\nyou asked us to tell you: {name} is back at {settings.site_title}{cost}.\n\n"
        f"{settings.base_url.rstrip('/')}\n\nNothing is put aside: who comes first is served first. "
        "This was the one mail you asked for; if you wait for it again, ask again.\n"
    )
    return Message(address, f"{one_line(thing.name or '')} is back ({settings.site_title})", text)


def _to_read(thing: VariantNow, requested_at: datetime) -> StockNoticeRead:
    return StockNoticeRead(**thing.shown(), requested_at=requested_at)
