"""The typed properties products may have, kept by staff."""

from typing import Annotated

from beanie import PydanticObjectId
from pydantic import BaseModel, Field, StringConstraints

from models.database import DuplicateKeyError, Session, after_commit, run_transaction
from models.ecommerce.catalog import AttributeDefinition, AttributeKind, Product
from models.ecommerce.catalog_reads import AttributeRead
from models.events import EventType
from services.ecommerce.catalog.reference import MAX_ATTRIBUTE_DEFINITIONS, forget_reference, get_reference
from services.ecommerce.catalog.writing import RESERVED_CODES, Code, facet, normalized
from services.errors import ConflictError, InvalidStateError, NotFoundError, RuleViolatedError, require_revision
from services.events import EventService
from services.users.permissions import Permission, Viewer

MAX_CHOICES = 200

Title = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
Unit = Annotated[str, StringConstraints(min_length=1, max_length=20)]
Choices = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"\S", strip_whitespace=True)]],
    Field(max_length=MAX_CHOICES),
]
SortOrder = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]


class AttributeNotFoundError(NotFoundError):
    """There is no such attribute of products."""

    code = "attribute_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("attribute", key)


class AttributeTakenError(ConflictError):
    """Another attribute has this code, or the shop needs it itself."""

    code = "attribute_taken"

    def __init__(self, attribute: str) -> None:
        super().__init__("Another attribute has this code, or it is one of the shop's own.")
        self.attribute = attribute


class AttributeInUseError(InvalidStateError):
    """Products have this attribute, or the choice that is to go."""

    code = "attribute_in_use"

    def __init__(self) -> None:
        super().__init__("Products still have it.")


class InvalidAttributeDefinitionError(RuleViolatedError):
    """A choice needs choices that differ, other kinds have none, and there is an end to their number."""

    code = "invalid_attribute_definition"


class AttributeDraft(BaseModel):
    """An attribute to be. Its code and kind never change."""

    code: Code = Field(examples=["color"])
    name: Title = Field(examples=["Colour"])
    kind: AttributeKind
    unit: Unit | None = Field(default=None, examples=["cm"])
    choices: Choices = Field(default=[], examples=[["red", "blue"]])
    is_facet: bool = Field(default=True, description="Whether products can be filtered by it")
    sort_order: SortOrder = 0


class AttributeChanges(BaseModel):
    """What is to change; what is left out stays."""

    name: Title = Field(default_factory=str)
    unit: Unit | None = None
    choices: Choices = Field(default_factory=list)
    is_facet: bool = Field(default_factory=bool)
    sort_order: SortOrder = Field(default_factory=int)


class AttributeService:
    @staticmethod
    async def create_attribute(draft: AttributeDraft, *, viewer: Viewer) -> AttributeRead:
        """Raises PermissionDeniedError, AttributeTakenError, InvalidAttributeDefinitionError."""
        viewer.require(Permission.MANAGE_CATALOG)
        if draft.code in RESERVED_CODES:
            raise AttributeTakenError(draft.code)
        _check_choices(draft.kind, draft.choices)
        definition = AttributeDefinition(**draft.model_dump())

        async def work(session: Session) -> None:
            known = await AttributeDefinition.find_rows({}, {"_id": 1}, limit=MAX_ATTRIBUTE_DEFINITIONS, session=session)
            if len(known) >= MAX_ATTRIBUTE_DEFINITIONS:
                raise InvalidAttributeDefinitionError(f"There are at most {MAX_ATTRIBUTE_DEFINITIONS} attributes.")
            await definition.store(session=session)
            await _record(session, definition.id, viewer)

        try:
            await run_transaction(work)
        except DuplicateKeyError as error:
            raise AttributeTakenError(draft.code) from error
        after_commit(forget_reference)
        return _to_read(definition)

    @staticmethod
    async def list_attributes() -> list[AttributeRead]:
        """All of them in their order. No command when they are kept, else one."""
        return [_to_read(definition) for definition in (await get_reference()).attributes.values()]

    @staticmethod
    async def update_attribute(
        attribute_id: PydanticObjectId, changes: AttributeChanges, *, viewer: Viewer, revision: int | None
    ) -> AttributeRead:
        """The attribute with the changes in it; `revision` is the one the caller read, None for whichever is current.

        Raises PermissionDeniedError, AttributeNotFoundError, AttributeInUseError when a choice is to go that products have,
        InvalidAttributeDefinitionError, PreconditionError.
        """
        viewer.require(Permission.MANAGE_CATALOG)

        async def work(session: Session) -> AttributeDefinition:
            before = await _get(attribute_id, session)
            require_revision(revision, before.revision)
            fields = changes.model_dump(include=changes.model_fields_set)
            if not fields:
                return before
            if "choices" in fields:
                _check_choices(before.kind, changes.choices)
                kept = {normalized(choice) for choice in changes.choices}
                gone = [facet(before.code, choice) for choice in before.choices if normalized(choice) not in kept]
                if gone and await Product.find_row({"facets": {"$in": gone}}, {"_id": 1}, session=session) is not None:
                    raise AttributeInUseError
            after = await AttributeDefinition.change(
                {"_id": attribute_id}, {"$set": fields, "$inc": {"revision": 1}}, session=session
            )
            if after is None:
                raise AttributeNotFoundError(attribute_id)
            await _record(session, attribute_id, viewer)
            return after

        return _to_read(await run_transaction(work, hot=[attribute_id]))

    @staticmethod
    async def delete_attribute(attribute_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """Remove an attribute that no product has. Raises PermissionDeniedError, AttributeNotFoundError, AttributeInUseError."""
        viewer.require(Permission.MANAGE_CATALOG)

        async def work(session: Session) -> None:
            definition = await _get(attribute_id, session)
            if await Product.find_row({"attributes.code": definition.code}, {"_id": 1}, session=session) is not None:
                raise AttributeInUseError
            await AttributeDefinition.collection().delete_one({"_id": attribute_id}, session=session)
            await _record(session, attribute_id, viewer)

        await run_transaction(work, hot=[attribute_id])
        after_commit(forget_reference)


def _check_choices(kind: AttributeKind, choices: list[str]) -> None:
    """Raises InvalidAttributeDefinitionError."""
    if (kind is AttributeKind.CHOICE) != bool(choices):
        raise InvalidAttributeDefinitionError("A choice has choices, other kinds have none.")
    if len({normalized(choice) for choice in choices}) != len(choices):
        raise InvalidAttributeDefinitionError("Two choices are the same.")


def _to_read(definition: AttributeDefinition) -> AttributeRead:
    return AttributeRead.model_validate(definition.model_dump())


async def _get(attribute_id: PydanticObjectId, session: Session) -> AttributeDefinition:
    row = await AttributeDefinition.find_row({"_id": attribute_id}, session=session)
    if row is None:
        raise AttributeNotFoundError(attribute_id)
    return AttributeDefinition.from_row(row)


async def _record(session: Session, attribute_id: PydanticObjectId, viewer: Viewer) -> None:
    """Told as a change of the categories, which the same caches hold."""
    subject = f"product_attribute:{attribute_id}"
    await EventService.record(session, EventType.PRODUCT_CATEGORY_CHANGED, subject, actor_id=viewer.user_id)
