"""Categories: the sections of the publication, kept by editors."""

from functools import partial
from typing import Annotated

from beanie import PydanticObjectId
from pydantic import BaseModel, Field, StringConstraints

from models.blog.taxonomy import Category, CategoryRead
from models.database import DuplicateKeyError, Session, after_commit, run_transaction
from models.events import EventType
from services.blog.reading import forget_references
from services.cache import Cache
from services.errors import ConflictError, NotFoundError, PreconditionError, RuleViolatedError
from services.events import EventService
from services.slugs import SLUG_PATTERN, slug_of
from services.users.permissions import Permission, Viewer

MAX_CATEGORIES = 500
MAX_SLUG = 50

CategoryTitle = Annotated[str, StringConstraints(min_length=1, max_length=50, strip_whitespace=True)]
CategorySlug = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SLUG, pattern=SLUG_PATTERN)]
Color = Annotated[str, StringConstraints(pattern=r"^#[0-9A-Fa-f]{6}$")]

_active: Cache[str, list[CategoryRead]] = Cache("blog_category_list", ttl=10.0, size=1)


class CategoryNotFoundError(NotFoundError):
    """There is no such category, or it is not active."""

    code = "category_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("category", key)


class CategoryTakenError(ConflictError):
    """Another category has this slug."""

    code = "category_taken"

    def __init__(self, slug: str) -> None:
        super().__init__("Another category has this slug.")
        self.slug = slug


class InvalidCategoryNameError(RuleViolatedError):
    """No slug can be made of the category's name, and none was given."""

    code = "invalid_category_name"

    def __init__(self, name: str) -> None:
        super().__init__("A category's name needs a letter or digit, or a slug beside it.")
        self.name = name


class CategoryDraft(BaseModel):
    """A category to be."""

    name: CategoryTitle = Field(examples=["Technology"])
    slug: CategorySlug | None = Field(default=None, description="Made from the name when left out", examples=["technology"])
    description: Annotated[str, StringConstraints(max_length=500)] = ""
    color: Color = Field(default="#000000", examples=["#3498db"])


class CategoryChanges(BaseModel):
    """What is to change; what is left out stays."""

    name: CategoryTitle = Field(default_factory=str)
    slug: CategorySlug = Field(default_factory=str)
    description: Annotated[str, StringConstraints(max_length=500)] = Field(default_factory=str)
    color: Color = Field(default_factory=str)
    is_active: bool = Field(default_factory=bool)


class CategoryService:
    @staticmethod
    async def create_category(draft: CategoryDraft, *, viewer: Viewer) -> CategoryRead:
        """Raises PermissionDeniedError, InvalidCategoryNameError, CategoryTakenError."""
        viewer.require(Permission.MANAGE_TAXONOMY)
        slug = draft.slug or slug_of(draft.name, max_length=MAX_SLUG)
        if not slug:
            raise InvalidCategoryNameError(draft.name)
        category = Category(name=draft.name, slug=slug, description=draft.description, color=draft.color)

        async def work(session: Session) -> None:
            await category.store(session=session)
            await _record(session, category.id, viewer)

        try:
            await run_transaction(work)
        except DuplicateKeyError as error:
            raise CategoryTakenError(slug) from error
        after_commit(partial(forget_categories, category.id))
        return CategoryRead.model_validate(category.model_dump())

    @staticmethod
    async def get_categories_with_post_counts() -> list[CategoryRead]:
        """The active categories, those with the most published posts first, then oldest. Up to 10 s old."""

        async def load() -> list[CategoryRead]:
            sort = [("posts_count", -1), ("_id", 1)]
            rows = await Category.find_rows({"is_active": True}, sort=sort, limit=MAX_CATEGORIES)
            return [CategoryRead.model_validate({**row, "id": row["_id"]}) for row in rows]

        return await _active.get_or_load("all", load)

    @staticmethod
    async def get_category(slug: str) -> CategoryRead:
        """An active category. Raises CategoryNotFoundError."""
        row = await Category.find_row({"slug": slug})
        if row is None or not row["is_active"]:
            raise CategoryNotFoundError(slug)
        return CategoryRead.model_validate({**row, "id": row["_id"]})

    @staticmethod
    async def update_category(
        category_id: PydanticObjectId, changes: CategoryChanges, *, viewer: Viewer, revision: int | None
    ) -> CategoryRead:
        """The category with the changes in it; `revision` is the one the caller read, None for whichever is current.

        Raises PermissionDeniedError, CategoryNotFoundError, CategoryTakenError, PreconditionError.
        """
        viewer.require(Permission.MANAGE_TAXONOMY)
        fields = changes.model_dump(include=changes.model_fields_set)
        condition = {} if revision is None else {"revision": revision}

        async def work(session: Session) -> Category:
            update = {"$set": fields, "$inc": {"revision": 1}}
            category = await Category.change({"_id": category_id, **condition}, update, session=session)
            if category is None:
                if await Category.find_row({"_id": category_id}, {"_id": 1}, session=session) is None:
                    raise CategoryNotFoundError(category_id)
                raise PreconditionError
            await _record(session, category_id, viewer)
            return category

        try:
            category = await run_transaction(work, hot=[category_id])
        except DuplicateKeyError as error:
            raise CategoryTakenError(changes.slug) from error
        after_commit(partial(forget_categories, category_id))
        return CategoryRead.model_validate(category.model_dump())

    @staticmethod
    async def deactivate_category(category_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """Take the category out of the lists; its posts keep it, no new ones get it. Harmless to repeat.

        Raises PermissionDeniedError, CategoryNotFoundError.
        """
        await CategoryService.update_category(category_id, CategoryChanges(is_active=False), viewer=viewer, revision=None)


def forget_categories(*category_ids: PydanticObjectId) -> None:
    """Have the list, and the names of these, read again."""
    _active.invalidate()
    forget_references(categories=category_ids)


async def get_active_category(category_id: PydanticObjectId, *, session: Session | None = None) -> None:
    """Raises CategoryNotFoundError unless the category exists and takes posts."""
    row = await Category.find_row({"_id": category_id}, {"is_active": 1}, session=session)
    if row is None or not row["is_active"]:
        raise CategoryNotFoundError(category_id)


async def _record(session: Session, category_id: PydanticObjectId, viewer: Viewer) -> None:
    await EventService.record(session, EventType.CATEGORY_CHANGED, f"category:{category_id}", actor_id=viewer.user_id)
