import asyncio
import random
from typing import Any

import pytest
from beanie import PydanticObjectId

from models.database import Session, run_transaction
from models.ecommerce.catalog import ProductCategory, ProductStatus
from models.events import Event, EventType
from models.users import Role
from services.ecommerce.catalog.categories import (
    MAX_DEPTH,
    CategoryCycleError,
    CategoryNotEmptyError,
    InvalidProductCategoryError,
    ProductCategoryChanges,
    ProductCategoryDraft,
    ProductCategoryNotFoundError,
    ProductCategoryService,
    ProductCategoryTakenError,
)
from services.ecommerce.catalog.reference import get_reference
from services.errors import PermissionDeniedError, PreconditionError
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.catalog import create_category, create_product
from tests.factories.users import create_user, viewer_of

pytestmark = pytest.mark.usefixtures("database")


async def staff() -> Viewer:
    return viewer_of(await create_user(role=Role.MANAGER))


async def stored(category_id: PydanticObjectId) -> ProductCategory:
    row = await ProductCategory.find_row({"_id": category_id})
    assert row is not None
    return ProductCategory.from_row(row)


async def place_of(category_id: PydanticObjectId) -> tuple[str, int, list[PydanticObjectId]]:
    category = await stored(category_id)
    return category.path, category.level, category.ancestor_ids


async def move(category_id: PydanticObjectId, parent_id: PydanticObjectId | None, viewer: Viewer) -> None:
    changes = ProductCategoryChanges(parent_id=parent_id)
    await ProductCategoryService.update_category(category_id, changes, viewer=viewer, revision=None)


class TestCreateCategory:
    async def test_com_m3_root_and_child_know_their_place(self) -> None:
        """COM-M3: nothing maintained level and path in the source, and an empty path made a prefix match everything."""
        viewer = await staff()
        root = await ProductCategoryService.create_category(ProductCategoryDraft(name="Electronics"), viewer=viewer)
        child = await ProductCategoryService.create_category(
            ProductCategoryDraft(name="Big Computers", parent_id=root.id, sort_order=3), viewer=viewer
        )

        assert await place_of(root.id) == ("electronics/", 0, [])
        assert await place_of(child.id) == ("electronics/big-computers/", 1, [root.id])
        events = await Event.find_rows({"subject": f"product_category:{child.id}"})
        assert [event["type"] for event in events] == [EventType.PRODUCT_CATEGORY_CHANGED]

    async def test_taken_slug_is_a_conflict_and_stores_nothing(self) -> None:
        viewer = await staff()
        await create_category(slug="shirts")
        with pytest.raises(ProductCategoryTakenError) as refused:
            await ProductCategoryService.create_category(ProductCategoryDraft(name="Shirts"), viewer=viewer)
        assert (refused.value.slug, await ProductCategory.count_rows({})) == ("shirts", 1)

    @pytest.mark.parametrize("name", ["!!!", "manage"])
    async def test_name_without_slug_or_with_a_route_s_is_refused(self, name: str) -> None:
        with pytest.raises((InvalidProductCategoryError, ProductCategoryTakenError)):
            await ProductCategoryService.create_category(ProductCategoryDraft(name=name), viewer=await staff())

    async def test_parent_must_exist_and_be_open(self) -> None:
        viewer = await staff()
        closed = await create_category(is_active=False)
        for parent_id in (closed.id, PydanticObjectId()):
            with pytest.raises(ProductCategoryNotFoundError):
                await ProductCategoryService.create_category(ProductCategoryDraft(name="X", parent_id=parent_id), viewer=viewer)

    async def test_depth_is_bounded(self) -> None:
        parent = await create_category(level=MAX_DEPTH - 1)
        with pytest.raises(InvalidProductCategoryError):
            await ProductCategoryService.create_category(
                ProductCategoryDraft(name="Too deep", parent_id=parent.id), viewer=await staff()
            )

    async def test_only_who_manages_the_catalogue(self) -> None:
        vendor = viewer_of(await create_user(role=Role.VENDOR))
        with pytest.raises(PermissionDeniedError):
            await ProductCategoryService.create_category(ProductCategoryDraft(name="X"), viewer=vendor)
        assert await ProductCategory.count_rows({}) == 0


class TestUpdateCategory:
    async def test_com_m3_move_takes_everything_below_along(self) -> None:
        """COM-M3: moves must rewrite descendants."""
        viewer = await staff()
        old, new = await create_category(slug="old"), await create_category(slug="new")
        moved = await create_category(parent=old, slug="moved")
        child = await create_category(parent=moved, slug="child")
        leaf = await create_category(parent=child, slug="leaf")
        beside = await create_category(parent=old, slug="moved-not")

        await move(moved.id, new.id, viewer)

        assert await place_of(moved.id) == ("new/moved/", 1, [new.id])
        assert await place_of(child.id) == ("new/moved/child/", 2, [new.id, moved.id])
        assert await place_of(leaf.id) == ("new/moved/child/leaf/", 3, [new.id, moved.id, child.id])
        assert await place_of(beside.id) == ("old/moved-not/", 1, [old.id])

        await move(moved.id, None, viewer)
        assert await place_of(leaf.id) == ("moved/child/leaf/", 2, [moved.id, child.id])

    async def test_new_slug_is_in_every_path_below_and_the_old_one_is_free(self) -> None:
        viewer = await staff()
        root = await create_category(slug="before")
        child = await create_category(parent=root, slug="child")
        changes = ProductCategoryChanges(slug="after", name="After")
        changed = await ProductCategoryService.update_category(root.id, changes, viewer=viewer, revision=1)
        assert (changed.slug, changed.name, changed.revision) == ("after", "After", 2)
        assert await place_of(child.id) == ("after/child/", 1, [root.id])
        again = await ProductCategoryService.create_category(ProductCategoryDraft(name="Before"), viewer=viewer)
        assert again.path == "before/"

    async def test_com_m3_cycle_is_refused_and_changes_nothing(self) -> None:
        """COM-M3: a parent cycle looped for ever in the source."""
        viewer = await staff()
        top = await create_category(slug="top")
        below = await create_category(parent=top, slug="below")
        for parent_id in (top.id, below.id):
            with pytest.raises(CategoryCycleError):
                await move(top.id, parent_id, viewer)
        assert await place_of(top.id) == ("top/", 0, [])
        assert await place_of(below.id) == ("top/below/", 1, [top.id])

    async def test_move_that_would_be_too_deep_is_refused(self) -> None:
        viewer = await staff()
        deep = await create_category(level=MAX_DEPTH - 2)
        moved = await create_category(slug="moved")
        await create_category(parent=moved)
        with pytest.raises(InvalidProductCategoryError):
            await move(moved.id, deep.id, viewer)
        assert await place_of(moved.id) == ("moved/", 0, [])

    async def test_stale_revision_and_taken_slug_are_refused(self) -> None:
        viewer = await staff()
        category, other = await create_category(), await create_category(slug="taken")
        with pytest.raises(PreconditionError):
            await ProductCategoryService.update_category(category.id, ProductCategoryChanges(name="X"), viewer=viewer, revision=9)
        with pytest.raises(ProductCategoryTakenError):
            await ProductCategoryService.update_category(
                category.id, ProductCategoryChanges(slug=other.slug), viewer=viewer, revision=None
            )
        assert (await stored(category.id)).model_dump() == category.model_dump()

    @pytest.mark.parametrize("seed", range(3))
    async def test_com_m3_two_moves_at_once_make_no_cycle(self, seed: int) -> None:
        """COM-M3: each of the two is right by itself; together they would be a circle."""
        viewer = await staff()
        first, second = await create_category(slug="first"), await create_category(slug="second")
        ends = [(first.id, second.id), (second.id, first.id)] * 5
        random.Random(seed).shuffle(ends)

        async def attempt(pair: tuple[PydanticObjectId, PydanticObjectId]) -> Any:
            return await asyncio.gather(move(*pair, viewer), return_exceptions=True)

        await asyncio.gather(*map(attempt, ends))

        rows = {row["_id"]: row for row in await ProductCategory.find_rows({})}
        roots = [row for row in rows.values() if row["parent_id"] is None]
        assert len(roots) == 1
        [below] = [row for row in rows.values() if row["parent_id"] is not None]
        assert below["ancestor_ids"] == [roots[0]["_id"]]
        assert below["path"] == f"{roots[0]['slug']}/{below['slug']}/"


class TestDeactivateCategory:
    async def test_empty_one_leaves_the_tree_and_can_be_opened_again(self) -> None:
        viewer = await staff()
        category = await create_category()
        await ProductCategoryService.deactivate_category(category.id, viewer=viewer)
        await ProductCategoryService.deactivate_category(category.id, viewer=viewer)
        assert await ProductCategoryService.list_tree() == []
        with pytest.raises(ProductCategoryNotFoundError):
            await ProductCategoryService.get_category(category.slug)
        await ProductCategoryService.update_category(
            category.id, ProductCategoryChanges(is_active=True), viewer=viewer, revision=None
        )
        assert [node.id for node in await ProductCategoryService.list_tree()] == [category.id]

    @pytest.mark.parametrize("status", [ProductStatus.ACTIVE, ProductStatus.DRAFT, ProductStatus.INACTIVE])
    async def test_one_with_products_is_refused(self, status: ProductStatus) -> None:
        category = await create_category()
        await create_product(category=category, status=status)
        with pytest.raises(CategoryNotEmptyError):
            await ProductCategoryService.deactivate_category(category.id, viewer=await staff())
        assert (await stored(category.id)).is_active

    async def test_discontinued_products_and_closed_children_do_not_count(self) -> None:
        category = await create_category()
        await create_category(parent=category, is_active=False)
        await create_product(category=category, status=ProductStatus.DISCONTINUED)
        await ProductCategoryService.deactivate_category(category.id, viewer=await staff())
        assert not (await stored(category.id)).is_active

    async def test_one_with_open_children_is_refused(self) -> None:
        category = await create_category()
        await create_category(parent=category)
        with pytest.raises(CategoryNotEmptyError):
            await ProductCategoryService.deactivate_category(category.id, viewer=await staff())


class TestListTree:
    async def test_levels_are_ordered_and_counts_add_up(self) -> None:
        root = await create_category(name="Root")
        late, early = await create_category(parent=root, sort_order=2), await create_category(parent=root, sort_order=1)
        await create_product(category=root)
        await create_product(category=late)
        await create_product(category=late, status=ProductStatus.DRAFT)
        [node] = await ProductCategoryService.list_tree()
        assert [child.id for child in node.children] == [early.id, late.id]
        assert (node.products_count, node.total_count, [child.total_count for child in node.children]) == (1, 2, [0, 1])

    async def test_is_read_once_and_anew_after_a_change(self, commands: CommandLog) -> None:
        viewer = await staff()
        category = await create_category()
        with commands.counting() as sent:
            await ProductCategoryService.list_tree()
            await ProductCategoryService.get_category(category.slug)
        assert sent.sent == ["aggregate product_categories"]
        changes = ProductCategoryChanges(name="Renamed")
        await ProductCategoryService.update_category(category.id, changes, viewer=viewer, revision=None)
        assert [node.name for node in await ProductCategoryService.list_tree()] == ["Renamed"]


class TestGetCategory:
    async def test_com_s3_breadcrumb_leads_from_root_to_leaf(self) -> None:
        root = await create_category(slug="electronics")
        middle = await create_category(parent=root, slug="computers")
        leaf = await create_category(parent=middle, slug="laptops")
        page = await ProductCategoryService.get_category("computers")
        assert [step.slug for step in page.breadcrumb] == ["electronics", "computers"]
        assert [child.slug for child in page.children] == ["laptops"]
        assert [step.path for step in (await get_reference()).breadcrumb(leaf.id)] == [
            "electronics/",
            "electronics/computers/",
            "electronics/computers/laptops/",
        ]


class TestWithinATransaction:
    async def test_rolled_back_change_is_not_remembered(self) -> None:
        viewer = await staff()
        category = await create_category(name="Before")
        await ProductCategoryService.list_tree()

        async def work(session: Session) -> None:
            changes = ProductCategoryChanges(name="Never")
            await ProductCategoryService.update_category(category.id, changes, viewer=viewer, revision=None)
            raise LookupError

        with pytest.raises(LookupError):
            await run_transaction(work)
        assert [node.name for node in await ProductCategoryService.list_tree()] == ["Before"]
