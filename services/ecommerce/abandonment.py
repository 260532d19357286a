"""Carts that were left alone: found, their owners reminded, and counted when they come back to buy."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from beanie import PydanticObjectId

from models.base import LONG_AGO, to_milliseconds
from models.base import now as present
from models.database import Session, run_transaction
from models.ecommerce.cart_reads import AbandonmentReport
from models.ecommerce.carts import Cart, CartAbandonment
from models.ecommerce.customers import Customer
from models.events import Event, EventType
from models.money import BASIS_POINTS, Money, half_up
from models.users import User
from services.errors import UnprocessableError
from services.events import Consumer, EventService
from services.mail import Mailer, Message
from services.settings import Settings
from services.users.permissions import Permission, Viewer

BATCH = 200
MAX_DAYS = 366  # of one report

Row = dict[str, Any]


class ReportWindowError(UnprocessableError):
    """A report that ends before it starts, spans more than a year, or lies outside of all time."""

    code = "report_window"

    def __init__(self) -> None:
        super().__init__(f"A report starts before it ends, and spans {MAX_DAYS} days at most.")


class AbandonmentService:
    @staticmethod
    async def mark_abandoned(*, settings: Settings, now: datetime | None = None) -> int:
        """Call every cart abandoned that nobody touched for `cart_idle_hours`; returns how many there were.

        Once per idle spell, however many workers look: the next change by its owner ends the spell. The longest idle come first.
        """
        now = now or present()
        idle_until = now - timedelta(hours=settings.cart_idle_hours)
        marked = 0
        while True:
            # One millisecond beyond: the embedded server loses the boundary of a range.
            query = {"idle_since": {"$gt": LONG_AGO, "$lt": idle_until + timedelta(milliseconds=1)}}
            rows = await Cart.find_rows(query, sort=[("idle_since", 1)], limit=BATCH)
            carts = [Cart.from_row(row) for row in rows]
            for cart in carts:
                marked += await _mark(cart, now)
            if len(carts) < BATCH:
                return marked

    @staticmethod
    async def report(*, viewer: Viewer, starts_at: datetime, ends_at: datetime) -> AbandonmentReport:
        """What became of the idle spells that began to count from `starts_at` until before `ends_at`.

        Raises PermissionDeniedError and ReportWindowError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        if not timedelta(0) < ends_at - starts_at <= timedelta(days=MAX_DAYS) or not 1970 < starts_at.year < 9000:
            raise ReportWindowError
        starts_at, ends_at = to_milliseconds(starts_at), to_milliseconds(ends_at)
        rows = await CartAbandonment.aggregate_rows(_report_pipeline(starts_at, ends_at))
        abandoned = sum(row["abandoned"] for row in rows)
        recovered = sum(row["recovered"] for row in rows)
        return AbandonmentReport(
            starts_at=starts_at,
            ends_at=ends_at,
            abandoned_count=abandoned,
            reminded_count=sum(row["reminded"] for row in rows),
            recovered_count=recovered,
            recovery_rate=half_up(recovered * BASIS_POINTS, abandoned) if abandoned else 0,
            abandoned_value=[Money(amount=row["value"], currency=row["_id"]) for row in rows],
            recovered_value=[Money(amount=row["recovered_value"], currency=row["_id"]) for row in rows if row["recovered"]],
        )


async def _mark(cart: Cart, now: datetime) -> int:
    """1 when the cart was still idle and is marked, 0 when its owner came back, or another worker was faster."""
    seen = [line.price_seen * line.quantity for line in cart.lines if line.price_seen.currency == cart.currency]
    abandonment = CartAbandonment(
        cart_id=cart.id,
        user_id=cart.user_id,
        value=Money.total(seen, cart.currency),
        pieces=sum(line.quantity for line in cart.lines),
        abandoned_at=now,
    )
    fields = {"idle_since": None, "abandoned_at": now, "abandonment_id": abandonment.id}
    payload = {"abandonment_id": str(abandonment.id), "user_id": str(cart.user_id) if cart.user_id else None}

    async def work(session: Session) -> int:
        query = {"_id": cart.id, "revision": cart.revision, "idle_since": cart.idle_since}
        if not await Cart.change_row(query, {"$set": fields}, session=session):
            return 0
        await abandonment.store(session=session)
        await EventService.record(session, EventType.CART_ABANDONED, f"cart:{cart.id}", payload=payload)
        return 1

    return await run_transaction(work, hot=[f"cart {cart.owner}"])


def _report_pipeline(starts_at: datetime, ends_at: datetime) -> list[Row]:
    """Rows `{"_id": "USD", "abandoned": 3, "reminded": 2, "recovered": 1, "value": 9950, "recovered_value": 1990}`."""

    def count_set(field: str) -> Row:
        return {"$sum": {"$cond": [{"$ne": [f"${field}", None]}, 1, 0]}}

    return [
        # From just before the start: the embedded server loses the boundary of a range.
        {"$match": {"abandoned_at": {"$gt": starts_at - timedelta(milliseconds=1), "$lt": ends_at}}},
        {
            "$group": {
                "_id": "$value.currency",
                "abandoned": {"$sum": 1},
                "reminded": count_set("reminded_at"),
                "recovered": count_set("recovered_at"),
                "value": {"$sum": "$value.amount"},
                "recovered_value": {"$sum": {"$cond": [{"$ne": ["$recovered_at", None]}, "$value.amount", 0]}},
            }
        },
        {"$sort": {"_id": 1}},
    ]


def cart_reminder_consumer(settings: Settings, mailer: Mailer) -> Consumer:
    """Reminds people of the carts they left.

    Only those with an account who agreed to such mail (`newsletter_subscribed`), and only while the cart lies as it was left: an
    address that a guest typed belongs to nobody we know. A mail that cannot be sent is tried again by the outbox; one idle spell
    is one mail, unless a worker dies between sending it and writing that down.
    """

    async def handle(event: Event) -> None:
        abandonment_id = PydanticObjectId(event.payload["abandonment_id"])
        message = await _reminder(abandonment_id, settings)
        if message is not None:
            await mailer.send(message)
            await run_transaction(partial(_note_reminder, event))

    return Consumer("cart_reminders", {EventType.CART_ABANDONED}, handle)


async def _note_reminder(event: Event, session: Session) -> None:
    query = {"_id": PydanticObjectId(event.payload["abandonment_id"])}
    await CartAbandonment.change_row(query, {"$set": {"reminded_at": present()}}, session=session)
    await EventService.record(session, EventType.CART_REMINDED, event.subject, payload=event.payload)


async def _reminder(abandonment_id: PydanticObjectId, settings: Settings) -> Message | None:
    """The mail, unless it was sent, is not wanted, or came too late."""
    abandonment = await CartAbandonment.find_row({"_id": abandonment_id})
    if abandonment is None or abandonment["user_id"] is None or abandonment["reminded_at"] is not None:
        return None
    cart = await Cart.find_row({"_id": abandonment["cart_id"]}, {"abandonment_id": 1, "abandoned_at": 1})
    if cart is None or cart["abandoned_at"] is None or cart["abandonment_id"] != abandonment_id:
        return None
    customer = await Customer.find_row({"user_id": abandonment["user_id"]}, {"newsletter_subscribed": 1})
    if customer is None or not customer["newsletter_subscribed"]:
        return None
    user = await User.find_row({"_id": abandonment["user_id"]}, {"is_active": 1, "email": 1, "first_name": 1})
    if user is None or not user["is_active"] or not user["email"]:
        return None
    value = Money(**abandonment["value"])
    pieces = abandonment["pieces"]
    text = (
        f"Hello {user['first_name']},\n\nyou left {pieces} {'thing' if pieces == 1 else 'things'} worth {value.formatted()} in "
        f"your cart at {settings.site_title}. It waits for you:\n\n{settings.base_url.rstrip('/')}\n\n"
        "You get this mail because you agreed to news from us. You can change that in your customer profile.\n"
    )
    return Message(user["email"], f"Your cart at {settings.site_title}", text)
