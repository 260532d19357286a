"""An order in parcels: a part of it, its labels, and what staff notes down about it."""

from typing import Any

from models.audit import AuditEntry
from models.ecommerce.orders import Fulfilment, Order, OrderStatus
from tests.api.web.admin.conftest import Clerk
from tests.factories.orders import create_order, make_line


async def stored(order: Order) -> Order:
    row = await Order.find_row({"_id": order.id})
    assert row is not None
    return Order.from_row(row)


async def acts(order: Order) -> list[tuple[str, Any]]:
    rows = await AuditEntry.find_rows({"subject": f"order:{order.id}"}, sort=[("_id", 1)])
    return [(row["action"], row["actor_id"]) for row in rows]


async def test_a_part_is_sent_once_however_often_it_is_pressed_and_the_rest_later(manager: Clerk) -> None:
    shirts, tea = make_line(name="Shirt", quantity=3), make_line(name="Tea", quantity=2)
    order = await create_order(status=OrderStatus.PROCESSING, lines=[shirts, tea])
    page = f"/admin/orders/{order.id}"
    part = {f"pieces_{shirts.id}": "2", f"pieces_{tea.id}": "", "carrier": "DHL", "form_key": await manager.key(page)}

    first = await manager.send(f"{page}/parcel", **part)
    again = await manager.send(f"{page}/parcel", **part)

    assert first.status_code == again.status_code == 303
    sent = await stored(order)
    assert (sent.status, [line.fulfilled_quantity for line in sent.lines]) == (OrderStatus.PROCESSING, [2, 0])
    assert [(parcel.carrier, parcel.tracking_number) for parcel in sent.fulfilments] == [("DHL", None)]
    assert await acts(order) == [("order.parcel_sent", manager.user.id)]
    assert "2 x Shirt" in await manager.page(page)

    too_many = await manager.send(f"{page}/parcel", **{**part, f"pieces_{shirts.id}": "9", "form_key": "another"})
    none = await manager.send(f"{page}/parcel", form_key="a third")

    assert (too_many.status_code, none.status_code) == (400, 422)
    assert "9 pieces of this line cannot be sent: 1 are left." in too_many.text
    assert 'value="9"' in too_many.text  # what was filled in is kept
    assert len((await stored(order)).fulfilments) == 1

    assert (await manager.send(f"{page}/ship", carrier="UPS", tracking_number="1Z")).status_code == 303
    shipped = await stored(order)
    assert (shipped.status, [line.fulfilled_quantity for line in shipped.lines]) == (OrderStatus.SHIPPED, [3, 2])


async def test_labels_are_corrected_until_every_parcel_has_arrived(manager: Clerk) -> None:
    order = await create_order(status=OrderStatus.SHIPPED)
    parcels = [Fulfilment(lines=[], carrier="DHL", tracking_number=number, shipped_at=order.placed_at) for number in ("A", "B")]
    await Order.change({"_id": order.id}, {"$set": {"fulfilments": [parcel.model_dump() for parcel in parcels]}})
    here = [f"/admin/orders/{order.id}/parcels/{parcel.id}" for parcel in parcels]

    answer = await manager.send(f"{here[0]}/label", carrier="UPS", tracking_number="", revision=order.revision)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/admin/orders/{order.id}?done=label")
    assert [(one.carrier, one.tracking_number) for one in (await stored(order)).fulfilments] == [("UPS", None), ("DHL", "B")]

    stale = await manager.send(f"{here[0]}/label", carrier="GLS", tracking_number="A", revision=order.revision)
    assert stale.status_code == 412
    assert 'value="GLS"' in stale.text
    assert "By now it is: UPS" in stale.text

    await manager.send(f"{here[1]}/arrived")
    assert (await stored(order)).status is OrderStatus.SHIPPED
    await manager.send(f"{here[0]}/arrived")
    assert (await stored(order)).status is OrderStatus.DELIVERED

    refused = await manager.send(f"{here[0]}/label", carrier="GLS")
    assert refused.status_code == 409
    assert "The tracking of an order that is delivered cannot be changed." in refused.text
    names = [name for name, _ in await acts(order)]
    assert names == ["order.parcel_relabelled", "order.parcel_arrived", "order.parcel_arrived"]


async def test_a_note_is_for_staff_alone_and_writes_over_none_that_was_not_read(manager: Clerk) -> None:
    order = await create_order()
    path = f"/admin/orders/{order.id}/note"

    await manager.send(path, notes="Rings twice.\r\nAsk for Jo.", revision=order.revision)
    stale = await manager.send(path, notes="Mine", revision=order.revision)

    assert (await stored(order)).admin_notes == "Rings twice.\nAsk for Jo."
    assert stale.status_code == 412
    assert ">\nMine</textarea>" in stale.text
    assert "By now it is: Rings twice.\nAsk for Jo." in stale.text
    assert await acts(order) == [("order.notes_changed", manager.user.id)]


async def test_an_order_is_found_by_its_number_or_its_e_mail(manager: Clerk) -> None:
    jane, joe = await create_order(email="Jane@example.com"), await create_order(email="joe@example.com")

    for key, found, other in [
        (jane.number.lower(), jane, joe),
        ("Jane@Example.COM", jane, joe),
        (" joe@example.com ", joe, jane),
    ]:
        page = await manager.page(f"/admin/orders?search={key}")
        assert (found.number in page, other.number in page) == (True, False), key
    assert "No such order." in await manager.page("/admin/orders?search=ORD-1")
    assert (await manager.get("/admin/orders?search=@")).status_code == 422
