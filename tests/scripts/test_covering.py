"""The embedded server's own indexes: there, of fields that exist, dropped when the table forgets them, and no drift."""

import pytest

from models.database import Database
from models.ecommerce.orders import Order
from models.inventory.stock import StockLevel
from scripts.database.connection import connected
from scripts.database.covering import COVERING, Covering, create_covering_indexes
from services.indexes import COVERING_PREFIX, IndexService
from services.settings import Settings


async def _covering_of(document: type) -> dict[str, list[str]]:
    found = await document.collection().index_information()  # type: ignore[attr-defined]  # any document of the table
    return {name: [field for field, _ in index["key"]] for name, index in found.items() if name.startswith(COVERING_PREFIX)}


class TestCreateCoveringIndexes:
    @pytest.mark.swept
    async def test_are_made_once_and_are_no_drift(self, database: Database) -> None:
        await create_covering_indexes()
        await create_covering_indexes()

        expected = ["_id", "on_hand", "reserved", "stock_value.amount"]
        assert await _covering_of(StockLevel) == {"covering_id_on_hand_reserved_stock_value_amount": expected}
        assert await IndexService.drift() == []

    async def test_what_the_table_forgot_is_dropped(self, database: Database) -> None:
        await create_covering_indexes([Covering(Order, ("_id", "number"), "once")])
        await create_covering_indexes([Covering(Order, ("_id", "revision"), "now")])

        assert await _covering_of(Order) == {"covering_id_revision": ["_id", "revision"]}
        assert (await Order.collection().index_information()).keys() >= {"number_unique", "placement_key_unique"}

    @pytest.mark.parametrize("entry", COVERING, ids=lambda entry: entry.name)
    def test_names_fields_of_the_document(self, entry: Covering) -> None:
        stored = {info.alias or name for name, info in entry.document.model_fields.items()}

        assert {field.partition(".")[0] for field in entry.fields} <= stored


class TestConnected:
    async def test_only_an_embedded_server_gets_them(self, settings: Settings, database: Database) -> None:
        async with connected(settings):
            assert await _covering_of(Order) == {}
        async with connected(settings.model_copy(update={"embedded": True})):
            assert await _covering_of(Order) == {"covering_id_status_revision": ["_id", "status", "revision"]}
