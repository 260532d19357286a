"""Whom stock is bought from."""

from typing import Annotated

from beanie import PydanticObjectId
from pydantic import BaseModel, EmailStr, Field, StringConstraints

from models.database import DuplicateKeyError, Session, run_transaction
from models.inventory.purchasing import Supplier, SupplierRead
from services.audit import AuditService
from services.errors import ConflictError, NotFoundError, PreconditionError
from services.inventory.locations import LocationCode, LocationName
from services.pagination import Page, PageRequest, page_of
from services.users.permissions import Permission, Viewer

Phone = Annotated[str, StringConstraints(max_length=40, pattern=r"^\+?[0-9 ()/-]{3,40}$")]
Notes = Annotated[str, StringConstraints(max_length=2000)]


class SupplierNotFoundError(NotFoundError):
    """There is no such supplier, or nothing is bought there any more."""

    code = "supplier_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("supplier", key)


class SupplierTakenError(ConflictError):
    """Another supplier has this code."""

    code = "supplier_taken"

    def __init__(self, code: str) -> None:
        super().__init__("Another supplier has this code.")
        self.taken = code


class SupplierDraft(BaseModel):
    """A supplier to be."""

    code: LocationCode = Field(examples=["ACME"])
    name: LocationName = Field(examples=["Acme Ltd"])
    email: EmailStr | None = None
    phone: Phone | None = None
    lead_days: Annotated[int, Field(ge=0, le=365)] = Field(default=7, description="From order to delivery, as a rule")
    notes: Notes = ""


class SupplierChanges(BaseModel):
    """What is to change; what is left out stays."""

    name: LocationName = Field(default_factory=str)
    email: EmailStr | None = Field(default_factory=lambda: None)
    phone: Phone | None = Field(default_factory=lambda: None)
    lead_days: Annotated[int, Field(ge=0, le=365)] = Field(default_factory=int)
    notes: Notes = Field(default_factory=str)
    is_active: bool = Field(default_factory=bool)


class SupplierService:
    @staticmethod
    async def create_supplier(draft: SupplierDraft, *, viewer: Viewer) -> SupplierRead:
        """Raises PermissionDeniedError, SupplierTakenError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        supplier = Supplier(**draft.model_dump())

        async def work(session: Session) -> None:
            await supplier.store(session=session)
            await AuditService.record(session, "supplier.created", subject=f"supplier:{supplier.id}", actor_id=viewer.user_id)

        try:
            await run_transaction(work)
        except DuplicateKeyError as error:
            raise SupplierTakenError(draft.code) from error
        return _to_read(supplier)

    @staticmethod
    async def list_suppliers(*, viewer: Viewer, page: PageRequest) -> Page[SupplierRead]:
        """In the order of their codes. Raises PermissionDeniedError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        total = await Supplier.count_rows({})
        rows = await Supplier.find_rows({}, sort=[("code", 1)], skip=page.skip, limit=page.limit)
        return page_of([_to_read(Supplier.from_row(row)) for row in rows], page, total)

    @staticmethod
    async def get_supplier(supplier_id: PydanticObjectId, *, viewer: Viewer) -> SupplierRead:
        """Raises PermissionDeniedError, SupplierNotFoundError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        return _to_read(await load_supplier(supplier_id))

    @staticmethod
    async def update_supplier(
        supplier_id: PydanticObjectId, changes: SupplierChanges, *, viewer: Viewer, revision: int | None
    ) -> SupplierRead:
        """The supplier with the changes in it. Raises PermissionDeniedError, SupplierNotFoundError, PreconditionError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        fields = changes.model_dump(include=changes.model_fields_set)
        condition = {} if revision is None else {"revision": revision}

        async def work(session: Session) -> Supplier:
            update = {"$set": fields, "$inc": {"revision": 1}}
            supplier = await Supplier.change({"_id": supplier_id, **condition}, update, session=session)
            if supplier is None:
                await load_supplier(supplier_id, session=session)
                raise PreconditionError
            await AuditService.record(session, "supplier.updated", subject=f"supplier:{supplier_id}", actor_id=viewer.user_id)
            return supplier

        return _to_read(await run_transaction(work, hot=[supplier_id]))


async def load_supplier(supplier_id: PydanticObjectId, *, session: Session | None = None) -> Supplier:
    """Raises SupplierNotFoundError."""
    row = await Supplier.find_row({"_id": supplier_id}, session=session)
    if row is None:
        raise SupplierNotFoundError(supplier_id)
    return Supplier.from_row(row)


def _to_read(supplier: Supplier) -> SupplierRead:
    return SupplierRead.model_validate(supplier.model_dump())
