"""The category tree: opened, renamed, moved and closed by staff; read by everyone from the reference cache.

Everything that changes the tree's shape writes one common row first, so that two changes never overlap: two moves, each right by
itself, could otherwise make a circle together.
"""

import contextlib
from collections.abc import Sequence
from typing import Annotated, Any

from beanie import PydanticObjectId
from pydantic import BaseModel, Field, StringConstraints
from pymongo import UpdateOne

from models.base import now as present
from models.database import DuplicateKeyError, Session, after_commit, run_transaction, start_again
from models.ecommerce.catalog import Product, ProductCategory, ProductStatus
from models.ecommerce.catalog_reads import ProductCategoryNode, ProductCategoryPage, ProductCategoryRead
from models.events import EventType
from models.sequences import Sequence as NumberSequence
from models.weblinks import WebLink
from services.ecommerce.catalog.reference import (
    MAX_CATEGORIES,
    Reference,
    forget_reference,
    get_reference,
    to_name,
)
from services.errors import ConflictError, InvalidStateError, NotFoundError, RuleViolatedError, require_revision
from services.events import EventService
from services.slugs import SLUG_PATTERN, slug_of
from services.users.permissions import Permission, Viewer

MAX_DEPTH = 8  # levels of the tree
MAX_SLUG = 60
RESERVED_SLUGS = frozenset({"manage"})
"""Slugs that would hide a route of the same path."""
_TREE = "product_category_tree"

Title = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
Slug = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SLUG, pattern=SLUG_PATTERN)]
Description = Annotated[str, StringConstraints(max_length=1000)]
Icon = Annotated[str, StringConstraints(max_length=50)]
SortOrder = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]
MetaTitle = Annotated[str, StringConstraints(max_length=60)]
MetaDescription = Annotated[str, StringConstraints(max_length=160)]


class ProductCategoryNotFoundError(NotFoundError):
    """There is no such product category, or it is closed."""

    code = "product_category_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("product category", key)


class ProductCategoryTakenError(ConflictError):
    """Another product category has this slug."""

    code = "product_category_taken"

    def __init__(self, slug: str) -> None:
        super().__init__("Another product category has this slug.")
        self.slug = slug


class InvalidProductCategoryError(RuleViolatedError):
    """No slug can be made of the name, or the tree would hold too many categories or levels."""

    code = "invalid_product_category"


class CategoryCycleError(RuleViolatedError):
    """A category cannot be moved below itself."""

    code = "category_cycle"

    def __init__(self) -> None:
        super().__init__("A category cannot be moved below itself.")


class CategoryNotEmptyError(InvalidStateError):
    """Open categories or products are still in it."""

    code = "category_not_empty"

    def __init__(self) -> None:
        super().__init__("Move or close what is in this category first.")


class ProductCategoryDraft(BaseModel):
    """A category to be."""

    name: Title = Field(examples=["Laptops"])
    slug: Slug | None = Field(default=None, description="Made from the name when left out", examples=["laptops"])
    description: Description = ""
    parent_id: PydanticObjectId | None = Field(default=None, description="Null for a root")
    image_url: WebLink | None = None
    icon: Icon | None = None
    sort_order: SortOrder = 0
    meta_title: MetaTitle | None = None
    meta_description: MetaDescription | None = None


class ProductCategoryChanges(BaseModel):
    """What is to change; what is left out stays. `parent_id` moves the category with everything below it."""

    name: Title = Field(default_factory=str)
    slug: Slug = Field(default_factory=str)
    description: Description = Field(default_factory=str)
    parent_id: PydanticObjectId | None = Field(default=None, description="Null makes it a root")
    image_url: WebLink | None = None
    icon: Icon | None = None
    sort_order: SortOrder = Field(default_factory=int)
    meta_title: MetaTitle | None = None
    meta_description: MetaDescription | None = None
    is_active: bool = Field(default=True, description="True opens a closed category; DELETE closes one")


class ProductCategoryService:
    @staticmethod
    async def create_category(draft: ProductCategoryDraft, *, viewer: Viewer) -> ProductCategoryRead:
        """Raises PermissionDeniedError, InvalidProductCategoryError, ProductCategoryNotFoundError, ProductCategoryTakenError."""
        viewer.require(Permission.MANAGE_CATALOG)
        slug = draft.slug or slug_of(draft.name, max_length=MAX_SLUG)
        if not slug:
            raise InvalidProductCategoryError("A category's name needs a letter or digit, or a slug beside it.")
        if slug in RESERVED_SLUGS:
            raise ProductCategoryTakenError(slug)

        async def work(session: Session) -> ProductCategory:
            await _lock_tree(session)
            existing = await ProductCategory.find_rows({}, {"_id": 1}, limit=MAX_CATEGORIES, session=session)
            if len(existing) >= MAX_CATEGORIES:
                raise InvalidProductCategoryError(f"The tree holds at most {MAX_CATEGORIES} categories.")
            parent = await _get_parent(draft.parent_id, session)
            fields = draft.model_dump(exclude={"slug", "parent_id"})
            category = ProductCategory(**fields, slug=slug, **_position(slug, parent))
            _check_depth(category.level)
            await category.store(session=session)
            await _record(session, category.id, viewer)
            return category

        try:
            category = await run_transaction(work, hot=[_TREE])
        except DuplicateKeyError as error:
            raise ProductCategoryTakenError(slug) from error
        after_commit(forget_reference)
        return to_read(category)

    @staticmethod
    async def list_tree() -> list[ProductCategoryNode]:
        """The open categories as a tree, each level by `sort_order`, then oldest first. No command when it is kept, else one."""
        reference = await get_reference()
        return [_node(root, reference) for root in reference.children.get(None, [])]

    @staticmethod
    async def get_category(slug: str) -> ProductCategoryPage:
        """An open category with its breadcrumb and its open children. Raises ProductCategoryNotFoundError."""
        reference = await get_reference()
        category = reference.slugs.get(slug)
        if category is None or not category.is_active:
            raise ProductCategoryNotFoundError(slug)
        children = [to_name(child) for child in reference.children.get(category.id, [])]
        return ProductCategoryPage(category=to_read(category), breadcrumb=reference.breadcrumb(category.id), children=children)

    @staticmethod
    async def list_categories(*, viewer: Viewer) -> list[ProductCategoryRead]:
        """Every category, closed ones too, level by level. Raises PermissionDeniedError."""
        viewer.require(Permission.MANAGE_CATALOG)
        return [to_read(category) for category in (await get_reference()).categories.values()]

    @staticmethod
    async def update_category(
        category_id: PydanticObjectId, changes: ProductCategoryChanges, *, viewer: Viewer, revision: int | None
    ) -> ProductCategoryRead:
        """The category with the changes in it; everything below follows a new slug or parent in the same transaction.

        `revision` is the one the caller read, None for whichever is current. Raises PermissionDeniedError,
        ProductCategoryNotFoundError, ProductCategoryTakenError, CategoryCycleError, CategoryNotEmptyError,
        InvalidProductCategoryError, PreconditionError.
        """
        viewer.require(Permission.MANAGE_CATALOG)
        if "slug" in changes.model_fields_set and changes.slug in RESERVED_SLUGS:
            raise ProductCategoryTakenError(changes.slug)

        async def work(session: Session) -> ProductCategory:
            await _lock_tree(session)
            before = await _get(category_id, session)
            require_revision(revision, before.revision)
            given = changes.model_fields_set
            if not given:
                return before
            fields = changes.model_dump(include=set(given))
            slug = fields.get("slug", before.slug)
            parent_id = fields.get("parent_id", before.parent_id)
            if fields.get("is_active") is False and before.is_active:
                await _check_empty(category_id, session)
            if slug != before.slug or parent_id != before.parent_id or (fields.get("is_active") and not before.is_active):
                fields |= await _moved(before, slug, parent_id, session)
            fields["revision"] = before.revision + 1
            as_read = {"_id": category_id, "revision": before.revision}
            if slug != before.slug:
                after = await ProductCategory.rekey(as_read, fields, session=session)
            else:
                after = await ProductCategory.change(as_read, {"$set": fields}, session=session)
            if after is None:
                raise start_again("the category was changed meanwhile")
            await _record(session, category_id, viewer)
            return after

        try:
            category = await run_transaction(work, hot=[_TREE])
        except DuplicateKeyError as error:
            raise ProductCategoryTakenError(changes.slug) from error
        after_commit(forget_reference)
        return to_read(category)

    @staticmethod
    async def deactivate_category(category_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """Close an empty category. Harmless to repeat.

        Raises PermissionDeniedError, ProductCategoryNotFoundError, CategoryNotEmptyError.
        """
        changes = ProductCategoryChanges(is_active=False)
        await ProductCategoryService.update_category(category_id, changes, viewer=viewer, revision=None)


def to_read(category: ProductCategory) -> ProductCategoryRead:
    return ProductCategoryRead.model_validate(category.model_dump())


def _node(category: ProductCategory, reference: Reference) -> ProductCategoryNode:
    children = [_node(child, reference) for child in reference.children.get(category.id, [])]
    return ProductCategoryNode(
        id=category.id,
        name=category.name,
        slug=category.slug,
        path=category.path,
        icon=category.icon,
        image_url=category.image_url,
        products_count=category.products_count,
        total_count=category.products_count + sum(child.total_count for child in children),
        children=children,
    )


async def _lock_tree(session: Session) -> None:
    """Write the row that every change of the tree's shape writes: of two at once, one starts again and sees the other."""
    numbers = NumberSequence.collection()
    found = await numbers.update_one({"name": _TREE}, {"$inc": {"value": 1}, "$set": {"updated_at": present()}}, session=session)
    if found.matched_count:
        return
    # Outside the transaction: inserted within, it would let two first changes of the tree pass each other.
    with contextlib.suppress(DuplicateKeyError):
        await NumberSequence(name=_TREE).store()
    raise start_again("the tree was never changed before")


async def _get(category_id: PydanticObjectId, session: Session) -> ProductCategory:
    row = await ProductCategory.find_row({"_id": category_id}, session=session)
    if row is None:
        raise ProductCategoryNotFoundError(category_id)
    return ProductCategory.from_row(row)


async def _get_parent(parent_id: PydanticObjectId | None, session: Session) -> ProductCategory | None:
    """Raises ProductCategoryNotFoundError for a parent that does not exist or is closed."""
    if parent_id is None:
        return None
    parent = await _get(parent_id, session)
    if not parent.is_active:
        raise ProductCategoryNotFoundError(parent_id)
    return parent


def _position(slug: str, parent: ProductCategory | None) -> dict[str, Any]:
    if parent is None:
        return {"parent_id": None, "ancestor_ids": [], "path": f"{slug}/", "level": 0}
    return {
        "parent_id": parent.id,
        "ancestor_ids": [*parent.ancestor_ids, parent.id],
        "path": f"{parent.path}{slug}/",
        "level": parent.level + 1,
    }


def _check_depth(level: int) -> None:
    if level >= MAX_DEPTH:
        raise InvalidProductCategoryError(f"The tree has at most {MAX_DEPTH} levels.")


async def _moved(before: ProductCategory, slug: str, parent_id: PydanticObjectId | None, session: Session) -> dict[str, Any]:
    """The category's place under its new slug or parent, once everything below it has followed.

    Raises CategoryCycleError, ProductCategoryNotFoundError, InvalidProductCategoryError.
    """
    parent = await _get_parent(parent_id, session)
    if parent is not None and before.id in (parent.id, *parent.ancestor_ids):
        raise CategoryCycleError
    position = _position(slug, parent)
    rows = await ProductCategory.find_rows(
        {"ancestor_ids": before.id}, {"ancestor_ids": 1, "path": 1, "level": 1}, session=session
    )
    _check_depth(position["level"] + max((row["level"] - before.level for row in rows), default=0))
    if rows:
        updates = [_follow(row, before, position) for row in rows]
        await ProductCategory.collection().bulk_write(updates, session=session)
    return position


def _follow(row: dict[str, Any], before: ProductCategory, position: dict[str, Any]) -> UpdateOne:
    below: Sequence[PydanticObjectId] = row["ancestor_ids"][len(before.ancestor_ids) :]  # from the moved one down
    fields = {
        "ancestor_ids": [*position["ancestor_ids"], *below],
        "path": position["path"] + row["path"][len(before.path) :],
        "level": row["level"] - before.level + position["level"],
        "updated_at": present(),
    }
    return UpdateOne({"_id": row["_id"]}, {"$set": fields, "$inc": {"revision": 1}})


async def _check_empty(category_id: PydanticObjectId, session: Session) -> None:
    """Raises CategoryNotEmptyError. Products write their category when they enter it, so none can slip in meanwhile."""
    children = await ProductCategory.find_rows({"parent_id": category_id}, {"is_active": 1}, session=session)
    products = await Product.find_rows({"category_id": category_id}, {"status": 1}, session=session)
    is_open = any(child["is_active"] for child in children)
    if is_open or any(product["status"] != ProductStatus.DISCONTINUED for product in products):
        raise CategoryNotEmptyError


async def _record(session: Session, category_id: PydanticObjectId, viewer: Viewer) -> None:
    subject = f"product_category:{category_id}"
    await EventService.record(session, EventType.PRODUCT_CATEGORY_CHANGED, subject, actor_id=viewer.user_id)
