from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from beanie import PydanticObjectId

from models.database import Database, Session, run_transaction
from models.ecommerce.carts import Cart, CartAbandonment
from models.ecommerce.customers import Customer
from models.events import Event, EventType
from models.money import Money
from models.users import Role, User
from services.ecommerce.abandonment import AbandonmentService, ReportWindowError, cart_reminder_consumer
from services.ecommerce.carts import CartHolder, CartItem, CartService
from services.errors import PermissionDeniedError
from services.events import EventService
from services.mail import MemoryMailer, Message
from services.settings import Settings
from tests.factories.carts import create_cart
from tests.factories.catalog import create_product, money
from tests.factories.customers import create_customer
from tests.factories.users import create_user, viewer_of

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
IDLE = timedelta(hours=4)


async def abandoned_rows() -> list[dict[str, Any]]:
    return await CartAbandonment.find_rows({}, sort=[("_id", 1)])


async def left_cart(user: User | None, *, since: datetime = NOON, quantity: int = 2, **over: Any) -> Cart:
    product = await create_product(track_inventory=False)
    return await create_cart((product, quantity), user=user, active_at=since, **over)


class TestMarkAbandoned:
    async def test_com_s9_after_so_many_hours_and_not_before(self, database: Database, settings: Settings) -> None:
        """COM-S9: to the millisecond."""
        cart = await left_cart(await create_user())
        moment = NOON + IDLE

        assert await AbandonmentService.mark_abandoned(settings=settings, now=moment - timedelta(milliseconds=1)) == 0
        assert await AbandonmentService.mark_abandoned(settings=settings, now=moment) == 1

        row = await Cart.find_row({"_id": cart.id})
        assert row is not None
        [abandonment] = await abandoned_rows()
        assert (row["abandoned_at"], row["abandonment_id"], row["idle_since"]) == (moment, abandonment["_id"], None)
        assert (row["revision"], row["lines"]) == (cart.revision, cart.row()["lines"])
        assert (abandonment["cart_id"], abandonment["user_id"]) == (cart.id, cart.user_id)
        assert (abandonment["value"], abandonment["pieces"]) == ({"amount": 3980, "currency": "USD"}, 2)
        [event] = await Event.find_rows({})
        assert (event["type"], event["subject"]) == (EventType.CART_ABANDONED, f"cart:{cart.id}")
        assert event["payload"] == {"abandonment_id": str(abandonment["_id"]), "user_id": str(cart.user_id)}

    async def test_com_s9_once_per_idle_spell(self, database: Database, settings: Settings) -> None:
        user = await create_user()
        cart = await left_cart(user)
        for hours in (4, 5, 30):
            await AbandonmentService.mark_abandoned(settings=settings, now=NOON + timedelta(hours=hours))
        assert len(await abandoned_rows()) == 1

        item = CartItem(cart.lines[0].product_id, cart.lines[0].variant_id)
        await CartService.add(CartHolder(viewer_of(user)), item, settings=settings, now=NOON + timedelta(hours=31))
        row = await Cart.find_row({"_id": cart.id})
        assert row is not None
        assert row["abandoned_at"] is None
        assert await AbandonmentService.mark_abandoned(settings=settings, now=NOON + timedelta(hours=34)) == 0
        assert await AbandonmentService.mark_abandoned(settings=settings, now=NOON + timedelta(hours=35)) == 1
        assert [row["pieces"] for row in await abandoned_rows()] == [2, 3]

    async def test_empty_carts_are_not_abandoned(self, database: Database, settings: Settings) -> None:
        user = await create_user()
        cart = await left_cart(user)
        await CartService.clear(CartHolder(viewer_of(user)), settings=settings, now=NOON)
        await create_cart(active_at=NOON)

        assert await AbandonmentService.mark_abandoned(settings=settings, now=NOON + timedelta(days=2)) == 0

        row = await Cart.find_row({"_id": cart.id})
        assert row is not None
        assert row["abandoned_at"] is None

    async def test_guests_carts_count_too(self, database: Database, settings: Settings) -> None:
        await left_cart(None)

        assert await AbandonmentService.mark_abandoned(settings=settings, now=NOON + IDLE) == 1
        assert [row["user_id"] for row in await abandoned_rows()] == [None]

    async def test_one_who_comes_back_at_that_moment_is_not_called_gone(self, database: Database, settings: Settings) -> None:
        """What the job read is the condition of what it writes."""
        user = await create_user()
        cart = await left_cart(user)
        item = CartItem(cart.lines[0].product_id, cart.lines[0].variant_id)
        moment = NOON + IDLE
        await CartService.add(CartHolder(viewer_of(user)), item, settings=settings, now=moment)

        assert await AbandonmentService.mark_abandoned(settings=settings, now=moment) == 0

    async def test_one_who_buys_at_that_moment_counts_as_recovered(self, database: Database, settings: Settings) -> None:
        """The checkout has read the cart before it was called abandoned, and its transaction begins after that."""
        cart = await left_cart(await create_user())
        moment = NOON + IDLE
        assert await AbandonmentService.mark_abandoned(settings=settings, now=moment) == 1
        as_read = [cart]

        async def buy(session: Session) -> None:
            known = as_read.pop() if as_read else await CartService.find_for_checkout(cart.owner, session=session, now=moment)
            await CartService.take_out(known, session=session, now=moment)

        await run_transaction(buy)

        [abandonment] = await abandoned_rows()
        assert abandonment["recovered_at"] == moment


@pytest.fixture
def mailer() -> MemoryMailer:
    return MemoryMailer()


async def remind(settings: Settings, mailer: MemoryMailer) -> list[Message]:
    before = len(mailer.sent)
    await EventService.pump([cart_reminder_consumer(settings, mailer)])
    return mailer.sent[before:]


class TestReminders:
    async def test_com_s9_goes_to_who_agreed(self, database: Database, settings: Settings, mailer: MemoryMailer) -> None:
        """COM-S9: once, and the report knows."""
        user = await create_user(first_name="Ada")
        await create_customer(user=user, newsletter_subscribed=True)
        await left_cart(user)
        await AbandonmentService.mark_abandoned(settings=settings, now=NOON + IDLE)

        [mail] = await remind(settings, mailer)

        assert mail.to == user.email
        assert "Hello Ada" in mail.text
        assert "2 things worth $39.80" in mail.text
        assert settings.base_url in mail.text
        [left] = await abandoned_rows()
        assert left["reminded_at"] is not None
        [event] = await Event.find_rows({"type": EventType.CART_REMINDED})
        assert event["payload"]["abandonment_id"] == str(left["_id"])
        assert await remind(settings, mailer) == []

    @pytest.mark.parametrize("who", ["guest", "unsubscribed", "without profile", "deactivated", "back", "bought"])
    async def test_goes_to_nobody_else(self, database: Database, settings: Settings, mailer: MemoryMailer, who: str) -> None:
        user = await create_user(is_active=who != "deactivated")
        if who != "without profile":
            await create_customer(user=user, newsletter_subscribed=who != "unsubscribed")
        cart = await left_cart(None if who == "guest" else user)
        await AbandonmentService.mark_abandoned(settings=settings, now=NOON + IDLE)
        if who == "back":
            await CartService.clear(CartHolder(viewer_of(user)), settings=settings)
        if who == "bought":
            await bought(cart)

        assert await remind(settings, mailer) == []
        assert (await abandoned_rows())[0]["reminded_at"] is None

    async def test_a_mail_that_fails_is_tried_again(self, database: Database, settings: Settings) -> None:
        class Broken(MemoryMailer):
            async def send(self, message: Message) -> None:
                if not self.sent:
                    self.sent.append(message)
                    raise OSError("the mail server is away")
                await super().send(message)

        user, mailer = await create_user(), Broken()
        await create_customer(user=user, newsletter_subscribed=True)
        await left_cart(user)
        await AbandonmentService.mark_abandoned(settings=settings, now=NOON + IDLE)

        await remind(settings, mailer)
        assert (await abandoned_rows())[0]["reminded_at"] is None
        await EventService.pump([cart_reminder_consumer(settings, mailer)], now=datetime.now(UTC) + timedelta(minutes=5))

        assert len(mailer.sent) == 2
        assert (await abandoned_rows())[0]["reminded_at"] is not None


async def bought(cart: Cart) -> None:
    row = await Cart.find_row({"_id": cart.id})
    assert row is not None

    async def work(session: Session) -> None:
        await CartService.take_out(Cart.from_row(row), session=session, now=NOON + timedelta(days=1))

    await run_transaction(work)


class TestReport:
    async def test_com_s9_rate_and_value(self, database: Database, settings: Settings) -> None:
        """COM-S9: of five spells within the day one was reminded, and one bought: 20 %."""
        manager = viewer_of(await create_user(role=Role.MANAGER))
        carts = [await left_cart(await create_user(), since=NOON, quantity=n) for n in (1, 2, 3)]
        await AbandonmentService.mark_abandoned(settings=settings, now=NOON + IDLE)
        euro = CartAbandonment(
            cart_id=PydanticObjectId(),
            value=Money.of("5.00", "EUR"),
            pieces=1,
            abandoned_at=NOON + IDLE,
            reminded_at=NOON + IDLE,
        )
        await euro.store()
        for outside in (NOON - timedelta(milliseconds=1), NOON + timedelta(days=1)):
            await euro.model_copy(update={"id": PydanticObjectId(), "abandoned_at": outside}).store()
        await euro.model_copy(update={"id": PydanticObjectId(), "abandoned_at": NOON, "reminded_at": None}).store()
        await bought(carts[1])

        report = await AbandonmentService.report(viewer=manager, starts_at=NOON, ends_at=NOON + timedelta(days=1))

        assert (report.abandoned_count, report.reminded_count, report.recovered_count) == (5, 1, 1)
        assert report.recovery_rate == 2000
        assert report.abandoned_value == [money("10.00", "EUR"), money("119.40")]
        assert report.recovered_value == [money("39.80")]

    async def test_nothing_is_nothing(self, database: Database) -> None:
        manager = viewer_of(await create_user(role=Role.MANAGER))

        report = await AbandonmentService.report(viewer=manager, starts_at=NOON, ends_at=NOON + timedelta(days=1))

        assert (report.abandoned_count, report.recovery_rate, report.abandoned_value) == (0, 0, [])

    @pytest.mark.parametrize("days", [0, -1, 367])
    async def test_impossible_spans_are_refused(self, database: Database, days: int) -> None:
        manager = viewer_of(await create_user(role=Role.MANAGER))

        with pytest.raises(ReportWindowError):
            await AbandonmentService.report(viewer=manager, starts_at=NOON, ends_at=NOON + timedelta(days=days))

    async def test_is_for_who_may_see_reports(self, database: Database) -> None:
        with pytest.raises(PermissionDeniedError):
            await AbandonmentService.report(
                viewer=viewer_of(await create_user(role=Role.EDITOR)), starts_at=NOON, ends_at=NOON + IDLE
            )


class TestForget:
    async def test_counters_outlive_the_cart(self, database: Database, settings: Settings) -> None:
        """The rate of a month stays the same when its carts are swept away."""
        cart = await left_cart(await create_user())
        await AbandonmentService.mark_abandoned(settings=settings, now=NOON + IDLE)
        await Cart.collection().delete_one({"_id": cart.id})

        manager = viewer_of(await create_user(role=Role.MANAGER))
        report = await AbandonmentService.report(viewer=manager, starts_at=NOON, ends_at=NOON + timedelta(days=1))

        assert report.abandoned_count == 1
        assert await Customer.find_rows({}) == []
