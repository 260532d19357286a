from typing import Any

import pytest
from beanie import PydanticObjectId
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.database import Database
from models.ecommerce.customer_reads import AddressRead
from models.ecommerce.customers import Address, AddressDefault, AddressKind, Customer, DefaultKind
from services.ecommerce.addresses import (
    FITTING,
    AddressChanges,
    AddressKindError,
    AddressNotFoundError,
    AddressService,
    NewAddress,
)
from services.errors import PreconditionError
from services.settings import Settings
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.customers import create_address, create_customer, make_place
from tests.factories.users import create_user, viewer_of
from tests.races import rounds

BOTH = (DefaultKind.SHIPPING, DefaultKind.BILLING)


async def a_viewer() -> Viewer:
    return viewer_of(await create_user())


async def add(viewer: Viewer, settings: Settings, **over: Any) -> AddressRead:
    new = NewAddress(**{"address": make_place(), **over})
    return await AddressService.create_address(new, viewer=viewer, settings=settings)


def defaults_of(address: AddressRead) -> tuple[bool, bool]:
    return address.is_default_shipping, address.is_default_billing


async def count_of(viewer: Viewer) -> int:
    row = await Customer.find_row({"user_id": viewer.user_id})
    return row["addresses_count"] if row else 0


class TestCreateAddress:
    async def test_the_first_that_fits_becomes_the_default(self, database: Database, settings: Settings) -> None:
        viewer = await a_viewer()

        billing = await add(viewer, settings, kind=AddressKind.BILLING)
        both = await add(viewer, settings)
        third = await add(viewer, settings)

        assert [defaults_of(address) for address in (billing, both, third)] == [(False, True), (True, False), (False, False)]
        assert await count_of(viewer) == 3
        assert [(a.id, a.address) for a in await AddressService.list_addresses(viewer)] == [
            (address.id, make_place()) for address in (billing, both, third)
        ]

    async def test_com_m2_one_that_asks_for_it_takes_the_place(self, database: Database, settings: Settings) -> None:
        """COM-M2: exactly one default per kind."""
        viewer = await a_viewer()
        first = await add(viewer, settings)

        second = await add(viewer, settings, is_default_shipping=True)

        assert defaults_of(second) == (True, False)
        assert defaults_of(await AddressService.get_address(first.id, viewer=viewer)) == (False, True)
        assert await AddressDefault.count_rows({}) == 2

    async def test_a_default_that_does_not_fit_is_refused(self, database: Database, settings: Settings) -> None:
        viewer = await a_viewer()

        with pytest.raises(AddressKindError):
            await add(viewer, settings, kind=AddressKind.SHIPPING, is_default_billing=True)

        assert await Address.find_rows({}) == []

    @pytest.mark.parametrize(
        "wrong",
        [
            {"country": "XX"},
            {"country": "USA"},
            {"first_name": " "},
            {"company": "x" * 101},
            {"line1": ""},
            {"postal_code": "x" * 21},
            {"phone": "123"},
        ],
    )
    def test_com_m2_fields_are_bounded(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            make_place(**wrong)

    def test_com_m2_countries_are_upper_case(self) -> None:
        assert make_place(country="us").country == "US"


class TestReads:
    async def test_com_m2_what_is_foreign_is_absent(self, database: Database, settings: Settings) -> None:
        """COM-M2: owner-scoped in every way."""
        owner, stranger, newcomer = await a_viewer(), await a_viewer(), await a_viewer()
        address = await add(owner, settings)
        await add(stranger, settings)

        for viewer in (stranger, newcomer):
            with pytest.raises(AddressNotFoundError):
                await AddressService.get_address(address.id, viewer=viewer)
            with pytest.raises(AddressNotFoundError):
                await AddressService.update_address(address.id, AddressChanges(kind=AddressKind.BILLING), viewer=viewer)
            with pytest.raises(AddressNotFoundError):
                await AddressService.delete_address(address.id, viewer=viewer)
            with pytest.raises(AddressNotFoundError):
                await AddressService.set_default(address.id, DefaultKind.SHIPPING, viewer=viewer)
        with pytest.raises(AddressNotFoundError):
            await AddressService.get_address(PydanticObjectId(), viewer=owner)

        assert [a.id for a in await AddressService.list_addresses(owner)] == [address.id]
        assert await AddressService.get_address(address.id, viewer=owner) == address
        assert await AddressService.list_addresses(newcomer) == []
        assert await Customer.count_rows({}) == 2

    async def test_three_commands(self, database: Database, commands: CommandLog) -> None:
        user = await create_user()
        customer = await create_customer(user=user)
        await create_address(customer, defaults=BOTH)

        with commands.counting() as sent:
            await AddressService.list_addresses(viewer_of(user))

        assert len(sent) == 3

    async def test_finds_the_default_for_a_checkout(self, database: Database) -> None:
        customer = await create_customer()
        assert await AddressService.find_default(customer.id, DefaultKind.SHIPPING) is None
        await create_address(customer, defaults=(DefaultKind.SHIPPING,), address=make_place(city="Cairo"))

        place = await AddressService.find_default(customer.id, DefaultKind.SHIPPING)

        assert place is not None
        assert place.city == "Cairo"
        assert await AddressService.find_default(customer.id, DefaultKind.BILLING) is None


class TestUpdateAddress:
    async def test_replaces_the_place(self, database: Database, settings: Settings) -> None:
        viewer = await a_viewer()
        address = await add(viewer, settings)

        changed = await AddressService.update_address(
            address.id, AddressChanges(address=make_place(city="Cairo")), viewer=viewer, revision=1
        )

        assert (changed.address.city, changed.kind, changed.revision) == ("Cairo", AddressKind.BOTH, 2)
        assert await AddressService.get_address(address.id, viewer=viewer) == changed

    async def test_one_that_fits_no_more_is_the_default_no_more(self, database: Database, settings: Settings) -> None:
        viewer = await a_viewer()
        first, second = await add(viewer, settings), await add(viewer, settings)

        changed = await AddressService.update_address(first.id, AddressChanges(kind=AddressKind.SHIPPING), viewer=viewer)

        assert defaults_of(changed) == (True, False)
        assert defaults_of(await AddressService.get_address(second.id, viewer=viewer)) == (False, True)

    async def test_a_stale_copy_changes_nothing(self, database: Database, settings: Settings) -> None:
        viewer = await a_viewer()
        address = await add(viewer, settings)

        with pytest.raises(PreconditionError):
            await AddressService.update_address(address.id, AddressChanges(kind=AddressKind.BILLING), viewer=viewer, revision=2)

        assert await AddressService.get_address(address.id, viewer=viewer) == address


class TestDeleteAddress:
    async def test_com_m2_the_oldest_that_fits_takes_the_place(self, database: Database, settings: Settings) -> None:
        viewer = await a_viewer()
        first = await add(viewer, settings)
        billing = await add(viewer, settings, kind=AddressKind.BILLING)
        last = await add(viewer, settings)

        await AddressService.delete_address(first.id, viewer=viewer)

        assert defaults_of(await AddressService.get_address(billing.id, viewer=viewer)) == (False, True)
        assert defaults_of(await AddressService.get_address(last.id, viewer=viewer)) == (True, False)
        assert await count_of(viewer) == 2
        with pytest.raises(AddressNotFoundError):
            await AddressService.delete_address(first.id, viewer=viewer)
        assert await count_of(viewer) == 2

    async def test_an_emptied_book_has_no_default(self, database: Database, settings: Settings) -> None:
        viewer = await a_viewer()
        address = await add(viewer, settings)

        await AddressService.delete_address(address.id, viewer=viewer)
        again = await add(viewer, settings)

        assert defaults_of(again) == (True, True)
        assert await AddressDefault.count_rows({}) == 2


class TestSetDefault:
    async def test_moves_it_and_may_be_repeated(self, database: Database, settings: Settings) -> None:
        viewer = await a_viewer()
        first, second = await add(viewer, settings), await add(viewer, settings)

        for _ in range(2):
            changed = await AddressService.set_default(second.id, DefaultKind.BILLING, viewer=viewer)
            assert defaults_of(changed) == (False, True)

        assert defaults_of(await AddressService.get_address(first.id, viewer=viewer)) == (True, False)

    async def test_one_that_does_not_fit_is_refused(self, database: Database, settings: Settings) -> None:
        viewer = await a_viewer()
        await add(viewer, settings)
        shipping = await add(viewer, settings, kind=AddressKind.SHIPPING)

        with pytest.raises(AddressKindError):
            await AddressService.set_default(shipping.id, DefaultKind.BILLING, viewer=viewer)

        assert defaults_of(await AddressService.get_address(shipping.id, viewer=viewer)) == (False, False)

    @hypothesis_settings(max_examples=rounds(12, 500))
    @given(
        steps=st.lists(
            st.tuples(
                st.sampled_from(["add", "delete", "change", "default"]),
                st.integers(0, 3),
                st.sampled_from(list(AddressKind)),
                st.sampled_from(list(DefaultKind)),
            ),
            max_size=10,
        )
    )
    async def test_com_m2_each_kind_has_one_default_while_anything_fits(
        self, database: Database, settings: Settings, steps: list[tuple[str, int, AddressKind, DefaultKind]]
    ) -> None:
        """COM-M2: in whatever order a book is changed."""
        viewer = await a_viewer()
        for act, at, kind, default in steps:
            book = await AddressService.list_addresses(viewer)
            if act == "add":
                await add(viewer, settings, kind=kind)
            elif at < len(book) and act == "delete":
                await AddressService.delete_address(book[at].id, viewer=viewer)
            elif at < len(book) and act == "change":
                await AddressService.update_address(book[at].id, AddressChanges(kind=kind), viewer=viewer)
            elif at < len(book) and default in FITTING[book[at].kind]:
                await AddressService.set_default(book[at].id, default, viewer=viewer)

            book = await AddressService.list_addresses(viewer)
            for wanted in DefaultKind:
                fitting = [address for address in book if wanted in FITTING[address.kind]]
                chosen = [address for address in book if getattr(address, f"is_default_{wanted}")]
                assert len(chosen) == min(1, len(fitting))
                assert all(address in fitting for address in chosen)
            assert await count_of(viewer) == len(book)
