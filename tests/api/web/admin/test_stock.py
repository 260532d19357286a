"""Stock levels and their corrections."""

from typing import Any

import pytest

from models.audit import AuditEntry
from models.inventory.stock import StockLevel, StockMovement
from tests.api.web.admin.conftest import Clerk
from tests.factories.catalog import create_product
from tests.factories.inventory import stock


async def level_of(quantity: int, **over: Any) -> StockLevel:
    """So many pieces of the one variant of a product."""
    product = await create_product()
    return await stock(product.variants[0], quantity, product=product, **over)


async def on_hand(level: StockLevel) -> tuple[int, int]:
    """Pieces, and how many movements there are."""
    row = await StockLevel.find_row({"_id": level.id})
    assert row is not None
    return row["on_hand"], await StockMovement.count_rows({"variant_id": level.variant_id})


class TestList:
    async def test_what_runs_low_has_a_tab(self, manager: Clerk) -> None:
        few, many = await level_of(1), await level_of(1000)

        every, low = await manager.page("/admin/stock"), await manager.page("/admin/stock?supply=low")

        assert few.sku in every
        assert many.sku in every
        assert few.sku in low
        assert many.sku not in low


class TestAdjust:
    async def test_moves_the_ledger_and_is_noted(self, manager: Clerk) -> None:
        level = await level_of(10)
        page = f"/admin/stock/{level.id}"

        answer = await manager.send(f"{page}/adjust", quantity="-3", reason="Broken", form_key=await manager.key(page))

        assert (answer.status_code, answer.headers["location"]) == (303, f"{page}?done=adjust")
        assert await on_hand(level) == (7, 2)
        noted = await AuditEntry.find_rows({"action": "stock.adjustment"})
        assert [(row["actor_id"], row["details"]["quantity"]) for row in noted] == [(manager.user.id, -3)]
        assert "Broken" in await manager.page(page)

    async def test_the_same_form_twice_counts_once(self, manager: Clerk) -> None:
        level = await level_of(10)
        page = f"/admin/stock/{level.id}"
        key = await manager.key(page)

        answers = [await manager.send(f"{page}/adjust", quantity="5", reason="Found", form_key=key) for _ in range(2)]

        assert [answer.status_code for answer in answers] == [303, 303]
        assert await on_hand(level) == (15, 2)

    @pytest.mark.parametrize(
        ("quantity", "reason", "status"),
        [("-11", "Broken", 400), ("0", "Broken", 422), ("some", "Broken", 422), ("", "Broken", 422), ("1", "", 422)],
    )
    async def test_what_cannot_be_corrected_changes_nothing(
        self, manager: Clerk, quantity: str, reason: str, status: int
    ) -> None:
        level = await level_of(10)
        page = f"/admin/stock/{level.id}"

        answer = await manager.send(f"{page}/adjust", quantity=quantity, reason=reason, form_key=await manager.key(page))

        assert answer.status_code == status
        assert await on_hand(level) == (10, 1)


class TestThreshold:
    async def test_is_set_by_the_revision_that_was_read(self, manager: Clerk) -> None:
        level = await level_of(10)
        path = f"/admin/stock/{level.id}/threshold"

        plan = {"low_stock_threshold": "20", "reorder_point": "15", "reorder_quantity": ""}
        assert (await manager.send(path, **plan, revision=level.revision)).status_code == 303
        stale = await manager.send(path, **{**plan, "reorder_point": "30"}, revision=level.revision)
        assert (stale.status_code, "By now it is: 15" in stale.text) == (412, True)

        row = await StockLevel.find_row({"_id": level.id})
        assert row is not None
        assert (row["low_stock_threshold"], row["is_low"]) == (20, True)
        assert (row["reorder_point"], row["reorder_quantity"]) == (15, None)
