"""Coupons: found by their code, taken out of use and put back."""

from models.audit import AuditEntry
from models.ecommerce.coupons import Coupon
from models.money import Money
from tests.api.web.admin.conftest import Clerk
from tests.factories.pricing import create_coupon, percent_off

LIST = "/admin/coupons"


async def test_out_of_use_and_back_by_the_revision_that_was_read(manager: Clerk) -> None:
    rule = percent_off(1500, minimum_subtotal=Money.of("50", "USD"))
    coupon, other = await create_coupon(code="SAVE15", rule=rule, usage_limit=1_000), await create_coupon()
    page = await manager.page(f"{LIST}?search=save15")
    assert all(part in page for part in ("SAVE15", "15.0% off, from $50.00", "1,000"))
    assert other.code not in page

    off = await manager.send(f"{LIST}/{coupon.id}/off", revision=coupon.revision)
    stale = await manager.send(f"{LIST}/{coupon.id}/on", revision=coupon.revision)

    assert (off.status_code, off.headers["location"], stale.status_code) == (303, f"{LIST}?done=off", 412)
    assert "SAVE15" in await manager.page(f"{LIST}?use=off")
    await manager.send(f"{LIST}/{coupon.id}/on", revision=coupon.revision + 1)
    row = await Coupon.find_row({"_id": coupon.id})
    assert row is not None
    assert (row["is_active"], row["revision"]) == (True, coupon.revision + 2)
    noted = await AuditEntry.find_rows({"subject": f"coupon:{coupon.id}"})
    assert [(entry["action"], entry["actor_id"]) for entry in noted] == [("coupon.changed", manager.user.id)] * 2
