"""Address books: what a customer keeps in theirs, and which address they ship to and are billed at by default."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field

from models.database import DuplicateKeyError, Session, run_transaction, start_again
from models.ecommerce.customer_reads import AddressRead
from models.ecommerce.customers import Address, AddressDefault, AddressKind, Customer, DefaultKind
from models.places import PostalAddress
from services.ecommerce.customers import CustomerService
from services.errors import NotFoundError, RuleViolatedError, require_revision
from services.settings import Settings
from services.users.permissions import Viewer

MAX_ADDRESSES = 50

T = TypeVar("T")

# Which defaults an address of a kind can be.
FITTING: Mapping[AddressKind, frozenset[DefaultKind]] = {
    AddressKind.SHIPPING: frozenset({DefaultKind.SHIPPING}),
    AddressKind.BILLING: frozenset({DefaultKind.BILLING}),
    AddressKind.BOTH: frozenset(DefaultKind),
}


class AddressNotFoundError(NotFoundError):
    """No such address, or another customer's."""

    code = "address_not_found"

    def __init__(self, address_id: PydanticObjectId) -> None:
        super().__init__("address", address_id)


class AddressBookFullError(RuleViolatedError):
    """As many addresses as a customer may keep."""

    code = "address_book_full"

    def __init__(self) -> None:
        super().__init__(f"An address book holds {MAX_ADDRESSES} addresses.")


class AddressKindError(RuleViolatedError):
    """The address is not kept for what it should be the default of."""

    code = "address_kind"

    def __init__(self, kind: DefaultKind) -> None:
        super().__init__(f"This address is not kept for {kind}.")
        self.kind = kind


class NewAddress(BaseModel):
    """An address to be kept, and what it becomes the default for at once."""

    model_config = ConfigDict(extra="forbid")

    kind: AddressKind = AddressKind.BOTH
    address: PostalAddress
    is_default_shipping: bool = Field(default=False, description="The first one that fits is anyway")
    is_default_billing: bool = Field(default=False, description="The first one that fits is anyway")


_UNSET: dict[str, Any] = {}


class AddressChanges(BaseModel):
    """What changes of an address; what is not set stays. The place is replaced as a whole."""

    model_config = ConfigDict(extra="forbid")

    kind: AddressKind = AddressKind.BOTH
    address: PostalAddress = Field(default_factory=lambda: PostalAddress.model_construct(**_UNSET))


class AddressService:
    """Each kind has exactly one default as long as the book holds an address that fits.

    The first one that fits becomes it; when the default goes, or does not fit any more, the oldest that fits takes its place.
    Everything that changes a book writes to its customer, so that such changes come one by one.
    """

    @staticmethod
    async def list_addresses(viewer: Viewer) -> list[AddressRead]:
        """One's own book in the order of entry; at most 50. Three commands."""
        row = await Customer.find_row({"user_id": viewer.user_id}, {"_id": 1})
        if row is None:
            return []
        rows = await Address.find_rows({"customer_id": row["_id"]}, sort=[("_id", 1)], limit=MAX_ADDRESSES)
        defaults = await _defaults(row["_id"])
        return [_read(Address.from_row(found), defaults) for found in rows]

    @staticmethod
    async def get_address(address_id: PydanticObjectId, *, viewer: Viewer, session: Session | None = None) -> AddressRead:
        """One of one's own. Raises AddressNotFoundError, for another's too."""
        address = await _owned(address_id, viewer, session=session)
        return _read(address, await _defaults(address.customer_id, session=session))

    @staticmethod
    async def find_default(
        customer_id: PydanticObjectId, kind: DefaultKind, *, session: Session | None = None
    ) -> PostalAddress | None:
        """Where a customer ships to, or is billed at, unless they say otherwise; None for an empty book. Two commands."""
        default = await AddressDefault.find_row({"customer_id": customer_id, "kind": kind}, {"address_id": 1}, session=session)
        row = None if default is None else await Address.find_row({"_id": default["address_id"]}, session=session)
        return None if row is None else Address.from_row(row).address

    @staticmethod
    async def create_address(new: NewAddress, *, viewer: Viewer, settings: Settings) -> AddressRead:
        """Keep an address. Raises AddressBookFullError, and AddressKindError for a default that does not fit the kind."""
        chosen = _chosen(new)

        async def work(session: Session) -> AddressRead:
            customer = await CustomerService.of(viewer, settings=settings, session=session)
            counted = await Customer.change(
                {"_id": customer.id, "addresses_count": {"$lt": MAX_ADDRESSES}},
                {"$inc": {"addresses_count": 1, "book_revision": 1}},
                session=session,
            )
            if counted is None:
                raise AddressBookFullError
            address = await Address(customer_id=customer.id, kind=new.kind, address=new.address).store(session=session)
            return _read(address, await _settle(customer.id, dict.fromkeys(chosen, address.id), session=session))

        return await _one_by_one(work, viewer)

    @staticmethod
    async def update_address(
        address_id: PydanticObjectId, changes: AddressChanges, *, viewer: Viewer, revision: int | None = None
    ) -> AddressRead:
        """Change the fields that are set. Orders keep the address as it was.

        Raises AddressNotFoundError, and PreconditionError when `revision` is not the address's any more.
        """
        given = changes.model_dump(exclude_unset=True)

        async def work(session: Session) -> AddressRead:
            address = await _touched(address_id, viewer, session=session)
            require_revision(revision, address.revision)
            if given:
                changed = await Address.change(
                    {"_id": address_id, "revision": address.revision}, {"$set": given, "$inc": {"revision": 1}}, session=session
                )
                if changed is None:
                    raise start_again("the address was changed by another transaction")
                address = changed
            return _read(address, await _settle(address.customer_id, {}, session=session))

        return await _one_by_one(work, viewer)

    @staticmethod
    async def delete_address(address_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """Take an address out of the book; the oldest that fits becomes the default in its place. Raises AddressNotFoundError."""

        async def work(session: Session) -> None:
            address = await _touched(address_id, viewer, counted=-1, session=session)
            await Address.collection().delete_one({"_id": address_id}, session=session)
            await _settle(address.customer_id, {}, session=session)

        await _one_by_one(work, viewer)

    @staticmethod
    async def set_default(address_id: PydanticObjectId, kind: DefaultKind, *, viewer: Viewer) -> AddressRead:
        """Make an address the default of a kind, and no other one. Raises AddressNotFoundError and AddressKindError."""

        async def work(session: Session) -> AddressRead:
            address = await _touched(address_id, viewer, session=session)
            if kind not in FITTING[address.kind]:
                raise AddressKindError(kind)
            return _read(address, await _settle(address.customer_id, {kind: address_id}, session=session))

        return await _one_by_one(work, viewer)


Defaults = Mapping[DefaultKind, PydanticObjectId]


async def _one_by_one(work: Callable[[Session], Awaitable[T]], viewer: Viewer) -> T:
    return await run_transaction(work, hot=[f"customer of {viewer.user_id}"])


def _chosen(new: NewAddress) -> list[DefaultKind]:
    wanted = {DefaultKind.SHIPPING: new.is_default_shipping, DefaultKind.BILLING: new.is_default_billing}
    chosen = [kind for kind, is_wanted in wanted.items() if is_wanted]
    for kind in chosen:
        if kind not in FITTING[new.kind]:
            raise AddressKindError(kind)
    return chosen


async def _owned(address_id: PydanticObjectId, viewer: Viewer, *, session: Session | None) -> Address:
    customer = await Customer.find_row({"user_id": viewer.user_id}, {"_id": 1}, session=session)
    row = await Address.find_row({"_id": address_id}, session=session)
    if customer is None or row is None or row["customer_id"] != customer["_id"]:
        raise AddressNotFoundError(address_id)
    return Address.from_row(row)


async def _touched(address_id: PydanticObjectId, viewer: Viewer, *, counted: int = 0, session: Session) -> Address:
    """The viewer's address; its book is taken hold of for the rest of the transaction. Raises AddressNotFoundError."""
    address = await _owned(address_id, viewer, session=session)
    moved = {"addresses_count": counted, "book_revision": 1}
    await Customer.change({"_id": address.customer_id}, {"$inc": moved}, session=session)
    return address


async def _defaults(customer_id: PydanticObjectId, *, session: Session | None = None) -> Defaults:
    rows = await AddressDefault.find_rows({"customer_id": customer_id}, session=session)
    return {DefaultKind(row["kind"]): row["address_id"] for row in rows}


async def _settle(customer_id: PydanticObjectId, chosen: Defaults, *, session: Session) -> Defaults:
    """Make the defaults what they have to be: the chosen one, else the present one if it fits, else the oldest that fits."""
    rows = await Address.find_rows({"customer_id": customer_id}, {"kind": 1}, sort=[("_id", 1)], session=session)
    present, settled = await _defaults(customer_id, session=session), {}
    for kind in DefaultKind:
        fitting = [row["_id"] for row in rows if kind in FITTING[AddressKind(row["kind"])]]
        wanted = chosen.get(kind, present.get(kind))
        if wanted not in fitting:
            wanted = fitting[0] if fitting else None
        await _set_default(customer_id, kind, present.get(kind), wanted, session=session)
        if wanted is not None:
            settled[kind] = wanted
    return settled


async def _set_default(
    customer_id: PydanticObjectId,
    kind: DefaultKind,
    present: PydanticObjectId | None,
    wanted: PydanticObjectId | None,
    *,
    session: Session,
) -> None:
    if wanted == present:
        return
    key = {"customer_id": customer_id, "kind": kind}
    if wanted is None:
        await AddressDefault.collection().delete_one(key, session=session)
    elif present is not None:
        await AddressDefault.change(key, {"$set": {"address_id": wanted}}, session=session)
    else:
        try:
            await AddressDefault(customer_id=customer_id, kind=kind, address_id=wanted).store(session=session)
        except DuplicateKeyError as error:
            raise start_again("the default was set by another transaction") from error


def _read(address: Address, defaults: Defaults) -> AddressRead:
    return AddressRead(
        id=address.id,
        kind=address.kind,
        address=address.address,
        is_default_shipping=defaults.get(DefaultKind.SHIPPING) == address.id,
        is_default_billing=defaults.get(DefaultKind.BILLING) == address.id,
        created_at=address.created_at,
        updated_at=address.updated_at,
        revision=address.revision,
    )
