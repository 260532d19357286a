"""What must hold of stock after anything at all, recounted in plain Python from the stored rows."""

from collections import Counter

from beanie import PydanticObjectId

from models.inventory.stock import Reservation, ReservationStatus, StockLevel, StockMovement

Place = tuple[PydanticObjectId, PydanticObjectId]


async def assert_books_add_up() -> None:
    """on_hand and value are sums of movements, reserved of what is held, available what is left; no value without stock."""
    on_hand: Counter[Place] = Counter()
    value: Counter[Place] = Counter()
    reserved: Counter[Place] = Counter()
    for row in await StockMovement.find_rows({}):
        place = (row["variant_id"], row["location_id"])
        on_hand[place] += row["quantity"]
        value[place] += row["value"]["amount"]
    for row in await Reservation.find_rows({"status": ReservationStatus.HELD}):
        for line in row["lines"]:
            reserved[line["variant_id"], line["location_id"]] += line["quantity"]
    levels = {(row["variant_id"], row["location_id"]): row for row in await StockLevel.find_rows({})}
    assert set(on_hand) | set(reserved) <= set(levels)
    for place, row in levels.items():
        stored = (row["on_hand"], row["stock_value"]["amount"], row["reserved"], row["available"])
        assert stored == (on_hand[place], value[place], reserved[place], on_hand[place] - reserved[place]), row["sku"]
        assert row["is_low"] == (row["available"] <= row["low_stock_threshold"]), row["sku"]
        if row["on_hand"] <= 0:
            assert row["stock_value"]["amount"] == 0, row["sku"]
