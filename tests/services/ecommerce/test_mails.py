from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from beanie import PydanticObjectId

from models.base import now
from models.database import Database, Session, run_transaction
from models.ecommerce.customers import Customer
from models.ecommerce.orders import Fulfilment, FulfilmentLine, Order, PaymentMethod, PaymentStatus
from models.ecommerce.pricing import Totals
from models.ecommerce.returns import ReturnRequest
from models.events import Checkpoint, DeadLetter, Event, EventType
from models.mails import SentMail
from models.money import Money
from models.payments import Refund
from models.places import PostalAddress
from scripts.ports import free_port
from services.ecommerce.mails import order_mail_consumer
from services.events import Consumer, EventService
from services.mail import SmtpMailer
from services.settings import Settings
from tests.factories.orders import create_order, make_line, usd
from tests.races import patiently

pytestmark = pytest.mark.usefixtures("database")

PLACE = PostalAddress(
    first_name="Grace", last_name="Hopper", line1="1 Market Street", city="Springfield", postal_code="62701", country="US"
)


class Inbox:
    """What a real SMTP server took; `says` is its word to each recipient."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.says = "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if self.says.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.says

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.mails.append(message)
        return "250 OK"


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, int]]:
    port = free_port()  # aiosmtpd does not take port 0
    received = Inbox()
    controller = Controller(received, hostname="127.0.0.1", port=port, ready_timeout=patiently(5))
    controller.start()
    yield received, port
    controller.stop()


@pytest.fixture
async def consumer(inbox: tuple[Inbox, int], settings: Settings, database: Database) -> Consumer:
    over = {"smtp_host": "127.0.0.1", "smtp_port": inbox[1], "smtp_starttls": False, "mail_from": "Shop <shop@example.com>"}
    configured = settings.model_copy(update=over)
    return order_mail_consumer(configured, SmtpMailer(configured))


async def record(type: EventType, about: str, **payload: Any) -> Event:
    async def work(session: Session) -> Event:
        return await EventService.record(session, type, about, payload=payload)

    return await run_transaction(work)


async def order_of(email: str | None = "grace@example.com", **over: Any) -> Order:
    lines = [make_line(quantity=2, price=61725, name="Desk lamp", options={"colour": "green"}), make_line(price=100, name="Bulb")]
    totals = Totals(subtotal=usd(123550), discount=usd(1000), shipping=usd(0), tax=usd(12255), total=usd(134805))
    defaults: dict[str, Any] = {"lines": lines, "totals": totals, "email": email, "shipping_address": PLACE, "paid_at": now()}
    return await create_order(**{**defaults, **over})


def text_of(mail: EmailMessage) -> str:
    return str(mail.get_content()).replace("\xa0", " ")


class TestConfirmation:
    async def test_it_says_what_was_ordered_and_what_it_costs(self, inbox: tuple[Inbox, int], consumer: Consumer) -> None:
        order = await order_of()
        await record(EventType.ORDER_CONFIRMED, f"order:{order.id}")

        await EventService.pump([consumer])

        (mail,) = inbox[0].mails
        assert mail["To"] == "grace@example.com"
        assert mail["Subject"] == f"Your order {order.number} (Agora)"
        assert text_of(mail).splitlines() == [
            "Hello Grace,",
            "",
            "thank you, your order is confirmed.",
            "",
            f"Order {order.number}",
            "",
            "  2 x Desk lamp (green): $1,234.50",
            "  1 x Bulb: $1.00",
            "",
            "  Subtotal: $1,235.50",
            "  Discount: -$10.00",
            "  Shipping: $0.00",
            "  Tax: $122.55",
            "  Total: $1,348.05",
            "",
            "It goes to:",
            "  Grace Hopper",
            "  1 Market Street",
            "  62701 Springfield",
            "  US",
            "",
            "Agora",
        ]

    async def test_money_reads_as_the_customers_language_has_it(self, inbox: tuple[Inbox, int], consumer: Consumer) -> None:
        customer = await Customer(first_name="Greta", language="de-DE", spent=usd(0)).store()
        order = await order_of(customer_id=customer.id)
        await record(EventType.ORDER_CONFIRMED, f"order:{order.id}")

        await EventService.pump([consumer])

        text = text_of(inbox[0].mails[0])
        assert text.startswith("Hello Greta,")
        assert "Total: 1.348,05 $" in text

    async def test_names_write_no_lines_of_their_own(self, inbox: tuple[Inbox, int], consumer: Consumer) -> None:
        order = await order_of(lines=[make_line(name="Lamp\n\nTotal: $0.00\r\nBcc: x@example.com")])
        await record(EventType.ORDER_CONFIRMED, f"order:{order.id}")

        await EventService.pump([consumer])

        assert "  1 x Lamp Total: $0.00 Bcc: x@example.com: $10.00" in text_of(inbox[0].mails[0]).splitlines()
        assert inbox[0].mails[0]["Bcc"] is None

    @pytest.mark.parametrize(("method", "count"), [(PaymentMethod.INVOICE, 1), (PaymentMethod.CARD, 0)])
    async def test_placing_is_confirmed_only_where_it_is_paid_later(
        self, inbox: tuple[Inbox, int], consumer: Consumer, method: PaymentMethod, count: int
    ) -> None:
        order = await order_of(payment_method=method)
        await record(EventType.ORDER_PLACED, f"order:{order.id}")

        await EventService.pump([consumer])

        assert len(inbox[0].mails) == count

    @pytest.mark.parametrize("over", [{"email": None}, {"source": "import"}])
    async def test_without_an_address_or_from_elsewhere_nothing_is_sent(
        self, inbox: tuple[Inbox, int], consumer: Consumer, over: dict[str, Any]
    ) -> None:
        order = await order_of(**over)
        await record(EventType.ORDER_CONFIRMED, f"order:{order.id}")
        await record(EventType.ORDER_CONFIRMED, f"order:{PydanticObjectId()}")

        await EventService.pump([consumer])

        assert inbox[0].mails == []
        assert await DeadLetter.find_rows({}) == []

    async def test_old_news_is_no_news(self, inbox: tuple[Inbox, int], consumer: Consumer) -> None:
        order = await order_of()
        event = await record(EventType.ORDER_CONFIRMED, f"order:{order.id}")
        await Event.collection().update_one({"_id": event.id}, {"$set": {"created_at": now() - timedelta(days=8)}})

        await EventService.pump([consumer])

        assert inbox[0].mails == []


class TestOnTheWay:
    async def test_each_parcel_is_told_with_its_contents_and_tracking(self, inbox: tuple[Inbox, int], consumer: Consumer) -> None:
        lines = [make_line(quantity=2, name="Lamp"), make_line(name="Bulb")]
        first = Fulfilment(
            lines=[FulfilmentLine(line_id=lines[0].id, quantity=1)], carrier="DHL", tracking_number="JD0001", shipped_at=now()
        )
        last = Fulfilment(lines=[FulfilmentLine(line_id=lines[1].id, quantity=1)], shipped_at=now())
        order = await order_of(lines=lines, fulfilments=[first, last])
        await record(EventType.ORDER_FULFILLED, f"order:{order.id}", fulfilment_id=str(first.id))
        await record(EventType.ORDER_SHIPPED, f"order:{order.id}", fulfilment_id=str(last.id))

        await EventService.pump([consumer])

        part, rest = (text_of(mail) for mail in inbox[0].mails)
        assert "a part of your order is on its way" in part
        assert "  1 x Lamp" in part
        assert "Bulb" not in part
        assert "Follow it: DHL, JD0001" in part
        assert "your order is on its way." in rest
        assert "  1 x Bulb" in rest
        assert "Follow it" not in rest

    async def test_delivery_cancellation_refund_and_return(self, inbox: tuple[Inbox, int], consumer: Consumer) -> None:
        order = await order_of()
        refund = await Refund(
            payment_id=PydanticObjectId(),
            subject=f"order:{order.id}",
            key="r1",
            amount=Money(amount=2599, currency="USD"),
            reason="",
            gateway="sandbox",
        ).store()
        back = await ReturnRequest(number="RMA-20261121-000001", order_id=order.id, lines=[], requested_at=now()).store()
        await record(EventType.ORDER_DELIVERED, f"order:{order.id}")
        await record(EventType.ORDER_CANCELLED, f"order:{order.id}")
        await record(
            EventType.REFUND_SUCCEEDED, f"payment:{refund.payment_id}", refund_id=str(refund.id), subject=f"order:{order.id}"
        )
        for type in (EventType.RETURN_REQUESTED, EventType.RETURN_APPROVED, EventType.RETURN_REJECTED, EventType.RETURN_RECEIVED):
            await record(type, f"return:{back.id}")

        await EventService.pump([consumer])

        assert [mail["Subject"].removesuffix(" (Agora)") for mail in inbox[0].mails] == [
            f"Your order {order.number} has arrived",
            f"Your order {order.number} is cancelled",
            "Your refund of $25.99",
            "Your return RMA-20261121-000001 is noted",
            "Your return RMA-20261121-000001 is approved",
            "Your return RMA-20261121-000001 is not possible",
            "Your return RMA-20261121-000001 has arrived",
        ]
        assert {mail["To"] for mail in inbox[0].mails} == {"grace@example.com"}
        assert await DeadLetter.find_rows({}) == []

    async def test_declined_payment_is_no_cancellation_to_write_about(self, inbox: tuple[Inbox, int], consumer: Consumer) -> None:
        order = await order_of(payment_status=PaymentStatus.FAILED, paid_at=None)
        await record(EventType.ORDER_CANCELLED, f"order:{order.id}")

        await EventService.pump([consumer])

        assert inbox[0].mails == []


class TestOnce:
    async def test_x_28_one_mail_when_killed_before_the_checkpoint(self, inbox: tuple[Inbox, int], consumer: Consumer) -> None:
        order = await order_of()
        await record(EventType.ORDER_CONFIRMED, f"order:{order.id}")
        await EventService.pump([consumer])
        await Checkpoint.change({"consumer": "order_mail"}, {"$set": {"sequence": 0}})

        await EventService.pump([consumer])

        assert len(inbox[0].mails) == 1
        (row,) = await SentMail.find_rows({})
        assert "grace" not in str(row)

    async def test_killed_before_the_note_it_is_sent_again_under_the_same_id(
        self, inbox: tuple[Inbox, int], consumer: Consumer
    ) -> None:
        order = await order_of()
        await record(EventType.ORDER_CONFIRMED, f"order:{order.id}")
        await EventService.pump([consumer])
        await SentMail.collection().delete_many({})
        await Checkpoint.change({"consumer": "order_mail"}, {"$set": {"sequence": 0}})

        await EventService.pump([consumer])

        assert len(inbox[0].mails) == 2
        assert len({mail["Message-ID"] for mail in inbox[0].mails}) == 1

    async def test_server_that_is_away_is_tried_again_and_undoes_nothing(
        self, inbox: tuple[Inbox, int], consumer: Consumer
    ) -> None:
        order = await order_of()
        await record(EventType.ORDER_CONFIRMED, f"order:{order.id}")
        inbox[0].says = "451 later"
        await EventService.pump([consumer])
        row = await Checkpoint.find_row({"consumer": "order_mail"})
        assert row is not None
        assert row["failures"] == 1
        assert inbox[0].mails == []

        inbox[0].says = "250 OK"
        await EventService.pump([consumer], now=now() + timedelta(seconds=10))

        assert len(inbox[0].mails) == 1
        assert await Order.find_row({"_id": order.id}) == order.row()

    async def test_recipient_that_is_refused_for_good_holds_up_nobody(self, inbox: tuple[Inbox, int], consumer: Consumer) -> None:
        nobody, somebody = await order_of("nobody@example.com"), await order_of()
        await record(EventType.ORDER_CONFIRMED, f"order:{nobody.id}")
        inbox[0].says = "550 no such mailbox"
        await EventService.pump([consumer])
        inbox[0].says = "250 OK"
        await record(EventType.ORDER_CONFIRMED, f"order:{somebody.id}")
        await EventService.pump([consumer])

        assert [mail["To"] for mail in inbox[0].mails] == ["grace@example.com"]
        assert [row["is_refused"] for row in await SentMail.find_rows({}, sort=[("_id", 1)])] == [True, False]
        assert await DeadLetter.find_rows({}) == []
