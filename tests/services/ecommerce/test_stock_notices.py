import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from beanie import PydanticObjectId

from models.base import now
from models.database import Database, Session, run_transaction
from models.ecommerce.catalog import Product, ProductStatus
from models.ecommerce.wishlists import StockNotice
from models.events import Checkpoint, Event, EventType
from models.inventory.stock import MovementKind
from models.mails import SentMail
from models.users import Role, User
from services.ecommerce import stock_notices
from services.ecommerce.listed_variants import VariantNotFoundError
from services.ecommerce.stock_items import StockItemService
from services.ecommerce.stock_notices import (
    STOCK_NOTICE_CONSUMER,
    StillAvailableError,
    StockNoticeNotFoundError,
    StockNoticeService,
    StockNoticesFullError,
    stock_notice_mail_consumer,
)
from services.events import EventService
from services.inventory.stock import Correction, NotEnoughStockError, StockService
from services.mail import MemoryMailer, Message
from services.pagination import CursorCodec
from services.sentmails import SentMailService
from services.settings import Settings
from tests.commands import CommandLog
from tests.factories.catalog import create_product, make_variant, money
from tests.factories.customers import create_customer
from tests.factories.inventory import create_location, stock
from tests.factories.users import create_user, viewer_of
from tests.factories.wishlists import create_stock_notice
from tests.races import from_another_process, seeds


class KilledError(BaseException):
    """The worker is gone, in the middle of things."""


pytestmark = pytest.mark.usefixtures("database")

CURSORS = CursorCodec(b"0" * 32)


@pytest.fixture
def mailer() -> MemoryMailer:
    return MemoryMailer()


async def sold_out(**over: Any) -> Product:
    product = await create_product(**over)
    await stock(product.variants[0], 0, product=product)
    return product


async def move(product: Product, quantity: int) -> None:
    correction = Correction(variant_id=product.variants[0].id, quantity=quantity, reason="test")
    viewer = viewer_of(await create_user(role=Role.MANAGER))
    await StockService.correct(
        correction, kind=MovementKind.ADJUSTMENT, catalog=StockItemService(), viewer=viewer, currency="USD"
    )


async def request(product: Product, user: User, settings: Settings) -> None:
    await StockNoticeService.request_notice(product.id, product.variants[0].id, viewer=viewer_of(user), settings=settings)


async def deliver(settings: Settings, mailer: MemoryMailer) -> list[Message]:
    """Everything there is to deliver; the mail sent by it."""
    before = len(mailer.sent)
    consumers = [STOCK_NOTICE_CONSUMER, stock_notice_mail_consumer(settings, mailer)]
    while await EventService.pump(consumers):
        pass
    return mailer.sent[before:]


async def record(type: EventType, product: Product, **payload: Any) -> Event:
    async def work(session: Session) -> Event:
        return await EventService.record(session, type, f"product:{product.id}", payload=payload)

    return await run_transaction(work)


async def forget_progress() -> None:
    """As a consumer that was killed before it could write down how far it came."""
    await Checkpoint.change_many({"consumer": {"$ne": "sequencer"}}, {"$set": {"sequence": 0}})


class TestRequest:
    async def test_waits_for_what_is_sold_out(self, settings: Settings) -> None:
        user, product = await create_user(), await sold_out(name="Lamp", slug="lamp", sku="LAMP")
        variant_id = product.variants[0].id

        notice = await StockNoticeService.request_notice(product.id, variant_id, viewer=viewer_of(user), settings=settings)

        assert (notice.name, notice.slug, notice.sku, notice.is_for_sale, notice.is_available) == (
            "Lamp",
            "lamp",
            "LAMP",
            True,
            False,
        )
        [row] = await StockNotice.find_rows({})
        assert (row["user_id"], row["product_id"], row["variant_id"]) == (user.id, product.id, variant_id)
        assert row["created_at"] == notice.requested_at
        [event] = await Event.find_rows({})
        assert (event["type"], event["subject"]) == (EventType.STOCK_NOTICE_REQUESTED, f"product:{product.id}")
        assert (event["actor_id"], event["payload"]) == (user.id, {"variant_id": str(variant_id)})

    @pytest.mark.parametrize("why", ["in stock", "backorder", "not counted"])
    async def test_refused_for_what_can_be_bought(self, settings: Settings, why: str) -> None:
        over: dict[str, Any] = {"backorder": {"allow_backorder": True}, "not counted": {"track_inventory": False}}.get(why, {})
        product = await create_product(sku="LAMP", **over)
        await stock(product.variants[0], 1 if why == "in stock" else 0, product=product)

        with pytest.raises(StillAvailableError, match="LAMP can be bought now"):
            await request(product, await create_user(), settings)

        assert await StockNotice.find_rows({}) == []
        assert await Event.find_rows({}) == []

    @pytest.mark.parametrize("what", ["unknown", "of another product", "draft", "inactive variant"])
    async def test_what_is_not_for_sale_is_unknown(self, settings: Settings, what: str) -> None:
        status = ProductStatus.DRAFT if what == "draft" else ProductStatus.ACTIVE
        product = await create_product(
            status=status, variants=[make_variant(is_active=what != "inactive variant"), make_variant()]
        )
        other = await sold_out()
        ids = {"unknown": PydanticObjectId(), "of another product": other.variants[0].id}

        with pytest.raises(VariantNotFoundError):
            await StockNoticeService.request_notice(
                product.id,
                ids.get(what, product.variants[0].id),
                viewer=viewer_of(await create_user()),
                settings=settings,
            )

        assert await StockNotice.find_rows({}) == []

    async def test_fifty_at_once_wait_once(self, settings: Settings) -> None:
        user, product = await create_user(), await sold_out()

        await asyncio.gather(*(request(product, user, settings) for _ in range(50)))

        assert len(await StockNotice.find_rows({})) == 1
        assert len(await Event.find_rows({})) == 1

    async def test_a_person_waits_for_so_many_and_no_more(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stock_notices, "MAX_NOTICES", 2)
        monkeypatch.setattr(stock_notices, "run_transaction", from_another_process)
        user, products = await create_user(), [await sold_out() for _ in range(3)]

        results = await asyncio.gather(*(request(one, user, settings) for one in products), return_exceptions=True)

        assert [type(result) for result in results if result is not None] == [StockNoticesFullError]
        assert len(await StockNotice.find_rows({})) == 2


class TestList:
    async def test_ones_own_newest_first_in_three_commands(self, commands: CommandLog) -> None:
        user, products = await create_user(), [await sold_out() for _ in range(3)]
        for product in products:
            await create_stock_notice(product, user=user)
        await create_stock_notice(products[0])
        await StockNoticeService.list_notices(viewer=viewer_of(user), cursors=CURSORS)

        with commands.counting() as sent:
            page = await StockNoticeService.list_notices(viewer=viewer_of(user), cursors=CURSORS, limit=2)

        assert [item.product_id for item in page.items] == [products[2].id, products[1].id]
        assert [(item.is_for_sale, item.is_available) for item in page.items] == [(True, False)] * 2
        assert sent.sent == ["find stock_notices", "find products", "find stock_levels"]
        rest = await StockNoticeService.list_notices(viewer=viewer_of(user), cursors=CURSORS, cursor=page.next_cursor)
        assert ([item.product_id for item in rest.items], rest.next_cursor) == ([products[0].id], None)


class TestWithdraw:
    async def test_ends_ones_own_waiting_and_no_others(self, settings: Settings, mailer: MemoryMailer) -> None:
        user, product = await create_user(), await sold_out()
        await create_stock_notice(product, user=user)
        other = await create_stock_notice(product)
        variant_id = product.variants[0].id

        await StockNoticeService.withdraw_notice(product.id, variant_id, viewer=viewer_of(user))

        assert [row["_id"] for row in await StockNotice.find_rows({})] == [other.id]
        with pytest.raises(StockNoticeNotFoundError):
            await StockNoticeService.withdraw_notice(product.id, variant_id, viewer=viewer_of(user))
        await move(product, 1)
        assert user.email not in [mail.to for mail in await deliver(settings, mailer)]

    async def test_under_another_products_name_it_is_unknown(self) -> None:
        user, product = await create_user(), await sold_out()
        await create_stock_notice(product, user=user)

        with pytest.raises(StockNoticeNotFoundError):
            await StockNoticeService.withdraw_notice(PydanticObjectId(), product.variants[0].id, viewer=viewer_of(user))

        assert len(await StockNotice.find_rows({})) == 1


class TestBackInStock:
    async def test_who_waits_is_told_once_what_is_back(self, settings: Settings, mailer: MemoryMailer) -> None:
        user = await create_user(first_name="Ada")
        await create_customer(user=user, language="de", currency="EUR")
        variant = make_variant(options={"Size": "L"}, price="1234.50", other_prices=[money("1100.00", "EUR")])
        product = await sold_out(name="Linen\n shirt", variants=[variant])
        await request(product, user, settings)
        assert await deliver(settings, mailer) == []

        await move(product, 5)
        [mail] = await deliver(settings, mailer)

        assert (mail.to, mail.subject) == (user.email, "Linen shirt is back (Agora)")
        assert mail.text.replace("\xa0", " ").startswith(
            "Hello Ada,\n\nyou asked us to tell you: Linen shirt (L) is back at Agora for 1.100,00 €.\n\n"
        )
        assert settings.base_url in mail.text
        assert mail.key is not None
        assert await StockNotice.find_rows({}) == []
        await move(product, -5)
        await move(product, 5)
        assert await deliver(settings, mailer) == []

    async def test_everybody_is_told_also_when_they_are_more_than_pieces(
        self, settings: Settings, mailer: MemoryMailer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stock_notices, "BATCH", 2)
        product, other = await sold_out(), await sold_out()
        people = [await create_user() for _ in range(5)]
        for user in people:
            await request(product, user, settings)
        await request(other, people[0], settings)

        await move(product, 1)
        mails = await deliver(settings, mailer)

        assert sorted(mail.to for mail in mails) == sorted(user.email for user in people)
        assert [row["product_id"] for row in await StockNotice.find_rows({})] == [other.id]

    async def test_who_asks_again_is_told_again(self, settings: Settings, mailer: MemoryMailer) -> None:
        user, product = await create_user(), await sold_out()
        for _ in range(2):
            await request(product, user, settings)
            await move(product, 3)
            assert [mail.to for mail in await deliver(settings, mailer)] == [user.email]
            await move(product, -3)

        assert len(mailer.sent) == 2
        assert len({mail.key for mail in mailer.sent}) == 2

    async def test_stock_that_came_while_somebody_asked_is_told(self, settings: Settings, mailer: MemoryMailer) -> None:
        """The request saw nothing in stock, what arrived was handled before the request was stored: the request's event tells."""
        product = await sold_out()
        await move(product, 5)
        await deliver(settings, mailer)
        user = await create_user()
        await create_stock_notice(product, user=user)
        assert await deliver(settings, mailer) == []

        await record(EventType.STOCK_NOTICE_REQUESTED, product, variant_id=str(product.variants[0].id))

        assert [mail.to for mail in await deliver(settings, mailer)] == [user.email]

    async def test_stock_where_nothing_is_sold_is_no_news(self, settings: Settings, mailer: MemoryMailer) -> None:
        product, user = await sold_out(), await create_user()
        closed = await create_location(is_active=False)
        await create_stock_notice(product, user=user)
        await stock(product.variants[0], 5, product=product, location=closed)
        await record(EventType.STOCK_CHANGED, product)

        assert await deliver(settings, mailer) == []
        assert len(await StockNotice.find_rows({})) == 1

    @pytest.mark.parametrize("change", [{"variants.0.allow_backorder": True}, {"variants.0.track_inventory": False}])
    async def test_sold_without_stock_from_now_on_is_news_too(
        self, settings: Settings, mailer: MemoryMailer, change: dict[str, Any]
    ) -> None:
        product, user = await sold_out(), await create_user()
        await create_stock_notice(product, user=user)
        await Product.change({"_id": product.id}, {"$set": change})
        await record(EventType.PRODUCT_UPDATED, product)

        assert [mail.to for mail in await deliver(settings, mailer)] == [user.email]

    @pytest.mark.parametrize("change", [{"status": ProductStatus.INACTIVE}, {"variants.0.is_active": False}])
    async def test_what_is_hidden_is_not_told_until_it_is_shown_again(
        self, settings: Settings, mailer: MemoryMailer, change: dict[str, Any]
    ) -> None:
        product, user = await sold_out(), await create_user()
        await create_stock_notice(product, user=user)
        await Product.change({"_id": product.id}, {"$set": change})

        await move(product, 5)
        assert await deliver(settings, mailer) == []
        assert len(await StockNotice.find_rows({})) == 1
        await Product.change({"_id": product.id}, {"$set": {"status": ProductStatus.ACTIVE, "variants.0.is_active": True}})
        await record(EventType.PRODUCT_UPDATED, product)

        assert [mail.to for mail in await deliver(settings, mailer)] == [user.email]

    @pytest.mark.parametrize("what", ["discontinued", "variant gone", "product gone"])
    async def test_what_is_gone_is_waited_for_no_more_and_not_told(
        self, settings: Settings, mailer: MemoryMailer, what: str
    ) -> None:
        product = await sold_out()
        await create_stock_notice(product)
        await move(product, 5)
        if what == "product gone":
            await Product.collection().delete_one({"_id": product.id})
        else:
            gone = {
                "discontinued": {"status": ProductStatus.DISCONTINUED},
                "variant gone": {"variants": [make_variant().model_dump()]},
            }
            await Product.change({"_id": product.id}, {"$set": gone[what]})
        await record(EventType.PRODUCT_REMOVED, product)

        assert await deliver(settings, mailer) == []
        assert await StockNotice.find_rows({}) == []
        assert await Event.find_rows({"type": EventType.STOCK_NOTICE_DUE}) == []

    @pytest.mark.parametrize("who", ["hidden meanwhile", "deactivated", "without address", "old"])
    async def test_mail_that_nobody_wants_any_more_is_not_sent(self, settings: Settings, mailer: MemoryMailer, who: str) -> None:
        user = await create_user(is_active=who != "deactivated")
        product = await sold_out(status=ProductStatus.INACTIVE if who == "hidden meanwhile" else ProductStatus.ACTIVE)
        if who == "without address":
            await User.change({"_id": user.id}, {"$set": {"email": ""}})
        due = await record(EventType.STOCK_NOTICE_DUE, product, variant_id=str(product.variants[0].id), user_id=str(user.id))
        if who == "old":
            await Event.change({"_id": due.id}, {"$set": {"created_at": now() - timedelta(days=7, seconds=1)}})

        assert await deliver(settings, mailer) == []
        assert await SentMail.find_rows({}) == []

    async def test_what_sold_out_again_at_that_moment_is_waited_for_on(
        self, settings: Settings, mailer: MemoryMailer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Stock and rows are of one snapshot: whoever asked when it was gone is not told of what was there before."""
        product = await sold_out()
        notice = await create_stock_notice(product)
        await move(product, 5)
        whole = stock_notices._end_waiting

        async def after_the_rush(*place: PydanticObjectId) -> int:
            await move(product, -5)
            return await whole(*place)

        monkeypatch.setattr(stock_notices, "_end_waiting", after_the_rush)

        assert await StockNoticeService.tell_waiting(product.id) == 0
        assert [row["_id"] for row in await StockNotice.find_rows({})] == [notice.id]

    async def test_one_command_where_nobody_waits(self, commands: CommandLog) -> None:
        product = await sold_out()

        with commands.counting() as sent:
            assert await StockNoticeService.tell_waiting(product.id) == 0

        assert sent.sent == ["aggregate stock_notices"]


class TestOnce:
    async def test_killed_at_every_step_and_begun_again_it_is_one_mail_each(
        self, settings: Settings, mailer: MemoryMailer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A kill before or after each batch, each note of a consumer's progress and each mail; three people in two batches.

        Between the mail server's "taken" and the note of it a kill sends twice, under one Message-ID: that step is left out.
        """
        monkeypatch.setattr(stock_notices, "BATCH", 2)
        steps = kill_at = 0

        def step() -> None:
            nonlocal steps
            steps += 1
            if steps == kill_at:
                raise KilledError

        def stepping(work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            async def stepped(*arguments: Any, **options: Any) -> Any:
                step()
                result = await work(*arguments, **options)
                step()
                return result

            return stepped

        monkeypatch.setattr(stock_notices, "_end_waiting", stepping(stock_notices._end_waiting))
        monkeypatch.setattr(SentMailService, "send", stepping(SentMailService.send))
        monkeypatch.setattr(Checkpoint, "change", stepping(Checkpoint.change))
        consumers = [STOCK_NOTICE_CONSUMER, stock_notice_mail_consumer(settings, mailer)]

        async def work() -> None:
            while await EventService.number_new() + sum([await EventService.deliver(consumer) for consumer in consumers]):
                pass

        kills, wanted = 0, []
        for next_step in range(1, 36):
            kill_at = next_step
            product, people = await sold_out(), [await create_user() for _ in range(3)]
            for user in people:
                await create_stock_notice(product, user=user)
            wanted += [user.email for user in people]
            await move(product, 5)
            steps = 0
            try:
                await work()
            except KilledError:
                kills += 1
        kill_at = 0
        await work()

        assert kills >= 25
        assert sorted(mail.to for mail in mailer.sent) == sorted(wanted)
        assert await StockNotice.find_rows({}) == []

    async def test_read_again_from_the_beginning_nothing_is_sent_twice(self, settings: Settings, mailer: MemoryMailer) -> None:
        product, people = await sold_out(), [await create_user() for _ in range(3)]
        for user in people:
            await create_stock_notice(product, user=user)
        await move(product, 5)
        await deliver(settings, mailer)

        await forget_progress()
        assert await deliver(settings, mailer) == []

        assert sorted(mail.to for mail in mailer.sent) == sorted(user.email for user in people)
        assert len(await SentMail.find_rows({})) == 3

    async def test_a_mail_that_fails_is_tried_again_and_sent_once(self, settings: Settings) -> None:
        class Broken(MemoryMailer):
            is_away = True

            async def send(self, message: Message) -> None:
                if self.is_away:
                    raise OSError("the mail server is away")
                await super().send(message)

        broken, product, user = Broken(), await sold_out(), await create_user()
        await create_stock_notice(product, user=user)
        await move(product, 5)
        assert await deliver(settings, broken) == []
        broken.is_away = False

        for minutes in (5, 10):
            moment = now() + timedelta(minutes=minutes)
            await EventService.pump([stock_notice_mail_consumer(settings, broken)], now=moment)

        assert [mail.to for mail in broken.sent] == [user.email]

    @pytest.mark.parametrize("seed", seeds())
    async def test_flapping_stock_by_many_is_one_mail_each(
        self, database: Database, settings: Settings, mailer: MemoryMailer, seed: int
    ) -> None:
        """Stock comes and goes in fifty hands while somebody stops waiting, and three look at once who is to be told."""
        dice, product = random.Random(seed), await sold_out()
        people = [await create_user() for _ in range(12)]
        leaver = await create_user()
        for user in (*people, leaver):
            await create_stock_notice(product, user=user)
        consumers = [STOCK_NOTICE_CONSUMER, stock_notice_mail_consumer(settings, mailer)]

        async def flap(quantity: int) -> None:
            await asyncio.sleep(dice.random() * 0.3)
            try:
                await move(product, quantity)
            except NotEnoughStockError:
                return

        async def leave() -> bool:
            await asyncio.sleep(dice.random() * 0.1)
            try:
                variant_id = product.variants[0].id
                await StockNoticeService.withdraw_notice(product.id, variant_id, viewer=viewer_of(leaver))
            except StockNoticeNotFoundError:
                return False
            return True

        async def tell() -> None:
            for _ in range(6):
                await asyncio.sleep(dice.random() * 0.05)
                await StockNoticeService.tell_waiting(product.id)

        async def pump() -> None:
            for _ in range(4):
                await EventService.pump(consumers)
                await asyncio.sleep(0.05)

        flaps = [flap(quantity) for quantity in [5, -5] * 25]
        *_, left = await asyncio.gather(*flaps, tell(), tell(), pump(), leave())
        await move(product, 5)
        await deliver(settings, mailer)
        await forget_progress()
        await deliver(settings, mailer)

        told = [user.email for user in people] + ([] if left else [leaver.email])
        assert sorted(mail.to for mail in mailer.sent) == sorted(told)
        assert len(await Event.find_rows({"type": EventType.STOCK_NOTICE_DUE})) == len(told)
        assert await StockNotice.find_rows({}) == []

    @pytest.mark.parametrize("seed", seeds())
    async def test_who_asks_while_stock_arrives_is_refused_or_told(
        self, database: Database, settings: Settings, mailer: MemoryMailer, seed: int
    ) -> None:
        """Nobody falls between "it is sold out" and "it is back": fifty ask around the moment the stock comes."""
        dice, product = random.Random(seed), await sold_out()
        people = [await create_user() for _ in range(50)]

        async def ask(user: User) -> str | None:
            await asyncio.sleep(dice.random() * 0.2)
            try:
                await request(product, user, settings)
            except StillAvailableError:
                return None
            return user.email

        async def arrive() -> None:
            await asyncio.sleep(dice.random() * 0.2)
            await move(product, 5)
            await deliver(settings, mailer)

        *asked, _ = await asyncio.gather(*(ask(user) for user in people), arrive())
        await deliver(settings, mailer)

        assert sorted(mail.to for mail in mailer.sent) == sorted(email for email in asked if email is not None)
        assert await StockNotice.find_rows({}) == []
