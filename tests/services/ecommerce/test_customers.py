from typing import Any

import pytest
from beanie import PydanticObjectId
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.base import now
from models.database import Database, Session, run_transaction
from models.ecommerce.customers import Customer, LoyaltyEntry
from models.money import Money
from models.users import Role, User
from services.ecommerce.customers import (
    CustomerChanges,
    CustomerNotFoundError,
    CustomerService,
    customer_key,
    guest_key,
)
from services.ecommerce.loyalty import LoyaltyService
from services.errors import PermissionDeniedError, PreconditionError
from services.pagination import CursorCodec, PageRequest
from services.reconcile import ReconcileService
from services.settings import Settings
from tests.commands import CommandLog
from tests.factories.customers import create_customer, make_customer
from tests.factories.orders import create_order, make_line
from tests.factories.users import create_user, viewer_of
from tests.races import rounds

CURSORS = CursorCodec(b"0" * 32)


async def reload(customer: Customer) -> Customer:
    row = await Customer.find_row({"_id": customer.id})
    assert row is not None
    return Customer.from_row(row)


class TestOf:
    async def test_is_made_on_first_need_with_the_names_of_the_account(
        self, database: Database, settings: Settings, commands: CommandLog
    ) -> None:
        user = await create_user(first_name="Ada", last_name="Lovelace")

        made = await CustomerService.of(viewer_of(user), settings=settings)
        with commands.counting() as sent:
            found = await CustomerService.of(viewer_of(user), settings=settings)

        assert found.row() == made.row()
        assert (made.user_id, made.first_name, made.last_name) == (user.id, "Ada", "Lovelace")
        assert (made.language, made.currency, made.spent, made.orders_count) == ("en", "USD", Money.zero("USD"), 0)
        assert len(sent) == 1

    async def test_joins_the_transaction_it_is_called_in(self, database: Database, settings: Settings) -> None:
        user = await create_user()

        async def work(session: Session) -> None:
            await CustomerService.of(viewer_of(user), settings=settings, session=session)
            raise LookupError

        with pytest.raises(LookupError):
            await run_transaction(work)

        assert await Customer.find_rows({}) == []

    def test_com_m1_is_no_second_login(self) -> None:
        """COM-M1: the source kept a password, an address and their checks once more."""
        fields = set(Customer.model_fields)

        assert fields & {"password_hash", "email", "email_verified_at", "is_verified", "username"} == set()

    def test_keys_of_customers_and_guests(self) -> None:
        customer = make_customer()

        assert customer_key(customer) == f"customer:{customer.id}"
        assert guest_key(" Ada@Example.com ") == guest_key("ada@example.COM")
        assert guest_key("ada@example.com") != guest_key("adb@example.com")
        assert "ada" not in guest_key("ada@example.com")


class TestUpdateMe:
    async def test_changes_what_is_given(self, database: Database, settings: Settings) -> None:
        user = await create_user()
        changes = CustomerChanges(phone="+1 (202) 555-0143", newsletter_subscribed=True, language="DE", currency="EUR")

        changed = await CustomerService.update_me(changes, viewer=viewer_of(user), settings=settings)

        assert (changed.phone, changed.newsletter_subscribed, changed.language) == ("+12025550143", True, "de")
        assert (changed.currency, changed.spent, changed.first_name) == ("EUR", Money.zero("USD"), "Jane")
        stored = await Customer.find_row({"user_id": user.id})
        assert stored is not None
        assert (stored["phone"], stored["language"], stored["revision"]) == ("+12025550143", "de", 2)

    async def test_null_clears_and_absent_keeps(self, database: Database, settings: Settings) -> None:
        user = await create_user()
        await create_customer(user=user, phone="+12025550143", language="fr")

        changed = await CustomerService.update_me(CustomerChanges(phone=None), viewer=viewer_of(user), settings=settings)

        assert (changed.phone, changed.language) == (None, "fr")

    async def test_a_stale_copy_changes_nothing(self, database: Database, settings: Settings) -> None:
        user = await create_user()
        customer = await create_customer(user=user)

        with pytest.raises(PreconditionError):
            await CustomerService.update_me(CustomerChanges(language="fr"), viewer=viewer_of(user), settings=settings, revision=7)

        assert (await reload(customer)).row() == customer.row()

    @pytest.mark.parametrize(
        "wrong",
        [
            {"phone": "   "},
            {"phone": "+()-"},
            {"phone": "555 0143"},
            {"language": "xx"},
            {"language": "english"},
            {"currency": "XXX"},
            {"currency": "usd"},
            {"first_name": " "},
            {"last_name": "x" * 51},
            {"points_balance": 100},
            {"spent": {"amount": "1.00", "currency": "USD"}},
            {"user_id": "65f0c0ffee0ddba11ca7f00d"},
        ],
    )
    def test_com_m1_codes_and_phones_are_checked(self, wrong: dict[str, Any]) -> None:
        """COM-M1: the source's pattern took a phone of blanks, and any two letters for a language; S3: no privileged field."""
        with pytest.raises(ValidationError):
            CustomerChanges(**wrong)


class TestStaff:
    async def test_lists_newest_first_with_their_accounts(self, database: Database, commands: CommandLog) -> None:
        manager = viewer_of(await create_user(role=Role.MANAGER))
        ada = await create_user(username="ada", email="ada@example.com")
        first, imported = await create_customer(user=ada), await make_customer(source_key="retail:7").store()
        gone = await create_customer(is_active=False)

        with commands.counting() as sent:
            page = await CustomerService.list_customers(PageRequest(), viewer=manager)

        assert [row.id for row in page.items] == [gone.id, imported.id, first.id]
        assert page.total_count == 3
        assert (page.items[2].username, page.items[2].email, page.items[2].user_id) == ("ada", "ada@example.com", ada.id)
        assert (page.items[1].username, page.items[1].email, page.items[1].source_key) == (None, None, "retail:7")
        assert len(sent) == 3
        active = await CustomerService.list_customers(PageRequest(), viewer=manager, is_active=True)
        assert [row.id for row in active.items] == [imported.id, first.id]

    @pytest.mark.parametrize(("search", "count"), [("ADA", 1), ("Ada@Example.com", 1), ("ad", 0), (".*", 0), ("a@b", 0)])
    async def test_finds_whole_names_and_addresses(self, database: Database, search: str, count: int) -> None:
        manager = viewer_of(await create_user(role=Role.MANAGER))
        await create_customer(user=await create_user(username="ada", email="ada@example.com"))
        await create_customer()

        page = await CustomerService.list_customers(PageRequest(), viewer=manager, search=search)

        assert (page.total_count, len(page.items)) == (count, count)

    async def test_gets_one(self, database: Database) -> None:
        manager, customer = viewer_of(await create_user(role=Role.MANAGER)), await create_customer()

        assert (await CustomerService.get_customer(customer.id, viewer=manager)).id == customer.id
        with pytest.raises(CustomerNotFoundError):
            await CustomerService.get_customer(PydanticObjectId(), viewer=manager)

    async def test_is_for_staff_alone(self, database: Database) -> None:
        user: User = await create_user()
        customer = await create_customer(user=user)

        with pytest.raises(PermissionDeniedError):
            await CustomerService.list_customers(PageRequest(), viewer=viewer_of(user))
        with pytest.raises(PermissionDeniedError):
            await CustomerService.get_customer(customer.id, viewer=viewer_of(user))


class Book:
    """What orders tell of one customer."""

    def __init__(self, customer: Customer, settings: Settings) -> None:
        self.customer, self.settings, self.order_id = customer, settings, PydanticObjectId()

    async def pay(self, amount: str, currency: str = "USD") -> int:
        async def work(session: Session) -> int:
            return await CustomerService.note_purchase(
                session, self.customer.id, order_id=self.order_id, amount=Money.of(amount, currency), settings=self.settings
            )

        return await run_transaction(work)

    async def refund(self, key: str, amount: str) -> int:
        async def work(session: Session) -> int:
            return await CustomerService.note_refund(
                session, self.customer.id, order_id=self.order_id, key=key, amount=Money.of(amount, "USD")
            )

        return await run_transaction(work)

    async def cancel(self) -> int:
        async def work(session: Session) -> int:
            return await CustomerService.note_cancellation(session, self.customer.id, order_id=self.order_id)

        return await run_transaction(work)

    async def standing(self) -> tuple[int, int, int]:
        """Orders, minor units spent, points."""
        stored = await reload(self.customer)
        return stored.orders_count, stored.spent.amount, stored.points_balance


class TestStatistics:
    async def test_com_s18_a_point_per_whole_unit_that_was_paid(
        self, database: Database, settings: Settings, commands: CommandLog
    ) -> None:
        """COM-S18: on payment, where the source counted orders that nobody had paid."""
        book = Book(await create_customer(), settings)

        with commands.counting() as sent:
            assert await book.pay("19.99") == 19
        assert await book.pay("19.99") == 19

        assert await book.standing() == (1, 1999, 19)
        assert sent.sent == [
            "find loyalty_entries",
            "bulkWrite 1",
            "commitTransaction 1",
        ]

    async def test_com_s18_refunds_take_back_their_part_and_never_more(self, database: Database, settings: Settings) -> None:
        """COM-S18: 19 points for 19.99; 6.66 of it keeps 12 (19 x 13.33 / 19.99 = 12.67), twice that 6, all of it none."""
        book = Book(await create_customer(), settings)
        await book.pay("19.99")

        assert await book.refund("refund:1", "6.66") == 7
        assert await book.refund("refund:1", "6.66") == 0
        assert await book.standing() == (1, 1333, 12)
        assert await book.refund("refund:2", "6.66") == 6
        assert await book.standing() == (1, 667, 6)
        assert await book.refund("refund:3", "6.67") == 6
        assert await book.standing() == (0, 0, 0)

    async def test_com_s18_a_cancellation_takes_all_points_and_the_refund_the_money(
        self, database: Database, settings: Settings
    ) -> None:
        """COM-S18: the source never reversed anything."""
        book = Book(await create_customer(), settings)
        await book.pay("50.00")

        assert await book.cancel() == 50
        assert await book.cancel() == 0
        assert await book.standing() == (0, 5000, 0)
        assert await book.refund("refund:1", "50.00") == 0
        assert await book.standing() == (0, 0, 0)

    async def test_com_s18_what_was_never_paid_moves_nothing(self, database: Database, settings: Settings) -> None:
        book = Book(await create_customer(), settings)

        assert await book.cancel() == 0
        assert await book.refund("refund:1", "5.00") == 0

        assert await book.standing() == (0, 0, 0)
        assert await LoyaltyEntry.find_rows({}) == []

    async def test_an_order_without_a_price_counts(self, database: Database, settings: Settings) -> None:
        book = Book(await create_customer(), settings)

        assert await book.pay("0.00") == 0
        assert await book.standing() == (1, 0, 0)
        await book.cancel()
        assert await book.standing() == (0, 0, 0)

    async def test_com_m1_another_currency_is_not_mixed_in(self, database: Database, settings: Settings) -> None:
        """COM-M1: it counts as an order and wins points; the sum stays in its own currency."""
        book = Book(await create_customer(), settings)

        assert await book.pay("2000", "JPY") == 2000

        assert await book.standing() == (1, 0, 2000)

    async def test_the_rate_of_points_is_a_setting(self, database: Database, settings: Settings) -> None:
        customer = await create_customer()
        assert await Book(customer, settings.model_copy(update={"points_per_unit": 3})).pay("10.50") == 30
        assert await Book(customer, settings.model_copy(update={"points_per_unit": 0})).pay("10.50") == 0
        assert (await reload(customer)).points_balance == 30

    @hypothesis_settings(max_examples=rounds(25, 1000))
    @given(paid=st.integers(1, 30_000), parts=st.lists(st.integers(1, 12_000), max_size=5), is_cancelled=st.booleans())
    async def test_com_s18_points_and_money_are_what_is_left(
        self, database: Database, settings: Settings, paid: int, parts: list[int], is_cancelled: bool
    ) -> None:
        """COM-S18: whatever is refunded in whatever parts, no step takes more than was won, and all of it takes everything."""
        customer = await create_customer()
        book, refunded = Book(customer, settings), 0
        earned = await book.pay(f"{paid / 100:.2f}")
        if is_cancelled:
            await book.cancel()
        for n, part in enumerate(parts):
            part = min(part, paid - refunded)
            if part == 0:
                break
            assert await book.refund(f"refund:{customer.id}:{n}", f"{part / 100:.2f}") >= 0
            refunded += part
            points = 0 if is_cancelled else earned * (paid - refunded) // paid
            is_counted = not is_cancelled and refunded < paid
            assert await book.standing() == (int(is_counted), paid - refunded, points)

    async def test_reconcile_finds_and_mends_what_drifted(self, database: Database, settings: Settings) -> None:
        customer = await create_customer()
        book = Book(customer, settings)
        await book.pay("24.99")
        await book.refund("refund:1", "5.00")
        lines, refunded = [make_line(price=2499)], Money.of("5.00", "USD")
        await create_order(id=book.order_id, customer_id=customer.id, paid_at=now(), lines=lines, refunded=refunded)
        assert [drift async for drift in ReconcileService.drift() if drift.collection == "customers"] == []
        await Customer.collection().update_one(
            {"_id": customer.id},
            {"$set": {"points_balance": 7, "orders_count": 9, "spent.amount": 1, "addresses_count": 3}},
        )

        found = [drift async for drift in ReconcileService.drift() if drift.collection == "customers"]

        assert {(drift.field, drift.stored, drift.counted) for drift in found} == {
            ("points_balance", 7, 19),
            ("orders_count", 9, 1),
            ("spent.amount", 1, 1999),
            ("spent.amount by orders", 1, 1999),
            ("addresses_count", 3, 0),
        }
        repaired = {drift.field: await ReconcileService.repair(drift) for drift in found}
        assert {field for field, done in repaired.items() if not done} == {"spent.amount by orders"}
        stored = await reload(customer)
        assert (stored.points_balance, stored.orders_count, stored.spent.amount, stored.addresses_count) == (19, 1, 1999, 0)


class TestPoints:
    async def test_balance_and_entries_newest_first(self, database: Database, settings: Settings) -> None:
        user = await create_user()
        customer = await create_customer(user=user)
        book = Book(customer, settings)
        await book.pay("20.00")
        await book.refund("refund:1", "5.00")
        await Book(await create_customer(), settings).pay("99.00")

        first = await LoyaltyService.list_points(viewer=viewer_of(user), cursors=CURSORS, limit=1)
        second = await LoyaltyService.list_points(viewer=viewer_of(user), cursors=CURSORS, cursor=first.next_cursor, limit=1)

        assert (first.balance, [entry.points for entry in first.items]) == (15, [-5])
        assert ([entry.points for entry in second.items], second.next_cursor) == ([20], None)
        assert second.items[0].order_id == book.order_id

    async def test_nothing_for_who_never_bought(self, database: Database) -> None:
        points = await LoyaltyService.list_points(viewer=viewer_of(await create_user()), cursors=CURSORS)

        assert (points.balance, points.items, points.next_cursor) == (0, [], None)
        assert await Customer.find_rows({}) == []

    async def test_record_gives_once_per_key(self, database: Database) -> None:
        customer = await create_customer()

        async def work(session: Session) -> bool:
            return await LoyaltyService.record(session, customer.id, key="gift:1", points=5, reason="gift")

        assert [await run_transaction(work), await run_transaction(work)] == [True, False]
        assert (await reload(customer)).points_balance == 5
