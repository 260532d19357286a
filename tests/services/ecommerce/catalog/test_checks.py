import pytest

from models.ecommerce.catalog import ProductCategory
from services.drift import Drift
from services.ecommerce.catalog.checks import category_drift
from services.reconcile import ReconcileService
from tests.factories.catalog import create_category, create_product

pytestmark = pytest.mark.usefixtures("database")


async def drift() -> list[Drift]:
    return [row async for row in category_drift()]


class TestCategoryDrift:
    async def test_sound_tree_has_none(self) -> None:
        root = await create_category()
        await create_category(parent=await create_category(parent=root))
        assert await drift() == []

    async def test_wrong_places_are_found_and_mended_from_the_parents(self) -> None:
        root = await create_category(slug="root")
        child = await create_category(parent=root, slug="child")
        leaf = await create_category(parent=child, slug="leaf")
        wrong = {"path": "root/gone/leaf/", "ancestor_ids": [root.id], "level": 5}
        await ProductCategory.collection().update_one({"_id": leaf.id}, {"$set": wrong})
        [found] = await drift()
        assert (found.id, found.stored, found.counted) == (
            leaf.id,
            f"root/gone/leaf/ {root.id} at level 5",
            f"root/child/leaf/ {root.id} {child.id}",
        )
        assert await ReconcileService.repair(found)
        row = await ProductCategory.find_row({"_id": leaf.id})
        assert row is not None
        assert (row["path"], row["ancestor_ids"], row["level"]) == ("root/child/leaf/", [root.id, child.id], 2)
        assert await drift() == []
        assert not await ReconcileService.repair(found)

    async def test_circle_is_told_and_left_to_a_person(self) -> None:
        one = await create_category()
        two = await create_category(parent=one)
        await ProductCategory.collection().update_one({"_id": one.id}, {"$set": {"parent_id": two.id}})
        found = await drift()
        assert {(row.id, row.counted) for row in found} == {(key, "below itself, or below nothing") for key in (one.id, two.id)}
        assert [await ReconcileService.repair(row) for row in found] == [False, False]


async def test_products_count_is_recounted_and_mended() -> None:
    category = await create_category()
    await create_product(category=category)
    await ProductCategory.collection().update_one({"_id": category.id}, {"$set": {"products_count": 7}})
    [found] = [row async for row in ReconcileService.drift()]
    assert (found.id, found.field, found.stored, found.counted) == (category.id, "products_count", 7, 1)
    assert await ReconcileService.repair(found)
    assert [row async for row in ReconcileService.drift()] == []
