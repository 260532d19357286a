"""Keeping stock over HTTP, as the person in the warehouse does it."""

from typing import Any

import httpx2
from beanie import PydanticObjectId

from models.inventory.stock import StockLevel, StockMovement
from models.users import Role
from tests.api.conftest import SignIn
from tests.factories.catalog import create_product
from tests.factories.inventory import a_variant, stock
from tests.services.inventory.books_check import assert_books_add_up

API = "/api/v1/inventory"


async def sent(client: httpx2.AsyncClient, method: str, path: str, headers: dict[str, str], body: Any = None) -> Any:
    """The answer's JSON, which must be one of success."""
    answer = await client.request(method, f"{API}{path}", json=body, headers=headers)
    assert answer.status_code < 300, answer.text
    return answer.json()


class TestWarehouse:
    async def test_from_the_purchase_to_the_count(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = {**await as_role(Role.MANAGER), "If-Match": "*"}
        product = await create_product(sku="TEE")
        variant_id = str(product.variants[0].id)
        main = await sent(client, "POST", "/locations", headers, {"code": "MAIN", "name": "Main", "priority": 1})
        shop = await sent(client, "POST", "/locations", headers, {"code": "SHOP", "name": "Shop", "priority": 2})
        supplier = await sent(client, "POST", "/suppliers", headers, {"code": "ACME", "name": "Acme"})

        item = {"variant_id": variant_id, "quantity": 10, "unit_cost": {"amount": "2.50", "currency": "USD"}}
        order = await sent(
            client,
            "POST",
            "/purchase-orders",
            headers,
            {"supplier_id": supplier["id"], "location_id": main["id"], "items": [item]},
        )
        assert (order["status"], order["lines"][0]["sku"]) == ("draft", "TEE")
        assert order["lines"][0]["unit_cost"] == {"amount": "2.50", "currency": "USD"}
        path = f"/purchase-orders/{order['id']}"
        await sent(client, "POST", f"{path}/place", headers)
        delivery = {"key": "DN-1", "lines": [{"line_id": order["lines"][0]["id"], "quantity": 8}]}
        for _ in range(2):
            received = await sent(client, "POST", f"{path}/receipts", headers, delivery)
        assert (received["status"], received["lines"][0]["received_quantity"]) == ("partly_received", 8)

        transfer = await sent(
            client,
            "POST",
            "/transfers",
            headers,
            {
                "from_location_id": main["id"],
                "to_location_id": shop["id"],
                "items": [{"variant_id": variant_id, "quantity": 3}],
            },
        )
        await sent(client, "POST", f"/transfers/{transfer['id']}/ship", headers)
        everywhere = await sent(client, "GET", f"/variants/{variant_id}", headers)
        assert [everywhere[name] for name in ("on_hand", "available", "in_transit", "on_order")] == [5, 5, 3, 2]
        arrival = {"key": "A-1", "lines": [{"line_id": transfer["lines"][0]["id"], "quantity": 2}]}
        await sent(client, "POST", f"/transfers/{transfer['id']}/receipts", headers, arrival)
        lost = await sent(client, "POST", f"/transfers/{transfer['id']}/loss", headers, {"reason": "Fell off"})
        assert lost["status"] == "received"

        stocktake = await sent(client, "POST", "/stocktakes", headers, {"location_id": main["id"]})
        counts = {"counts": [{"variant_id": variant_id, "counted": 4}]}
        (count,) = await sent(client, "POST", f"/stocktakes/{stocktake['id']}/counts", headers, counts)
        assert (count["expected"], count["variance"]) == (5, -1)
        await sent(client, "POST", f"/stocktakes/{stocktake['id']}/approve", headers)
        off = {"variant_id": variant_id, "location_id": shop["id"], "quantity": 1, "reason": "Stained"}
        await sent(client, "POST", "/write-offs", headers, off)

        levels = (await sent(client, "GET", f"/levels?variant_id={variant_id}", headers))["items"]
        assert [(level["on_hand"], level["stock_value"]["amount"]) for level in levels] == [(4, "10.00"), (1, "2.50")]
        explained = await sent(client, "GET", f"/levels/{levels[0]['id']}/explanation", headers)
        assert {one["kind"]: one["quantity"] for one in explained["movements"]} == {
            "receipt": 8,
            "transfer_out": -3,
            "stocktake": -1,
        }
        assert explained["is_consistent"]
        worth = await sent(client, "GET", "/valuation", headers)
        assert worth["totals"] == [{"amount": "12.50", "currency": "USD"}]
        movements = await sent(client, "GET", f"/movements?reference=transfer:{transfer['id']}", headers)
        assert [one["kind"] for one in movements["items"]] == ["write_off", "transfer_in", "transfer_in", "transfer_out"]
        past = await sent(client, "GET", "/as-of?moment=2026-01-01T00:00:00Z", headers)
        assert [one["on_hand"] for one in past["items"]] == [0, 0]
        await assert_books_add_up()

    async def test_idempotency_key_moves_once(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = {**await as_role(Role.MANAGER), "Idempotency-Key": "receipt-1"}
        product = await create_product()
        body = {"variant_id": str(product.variants[0].id), "quantity": 5, "reason": "Opening balance"}
        answers = [await client.post(f"{API}/receipts", json=body, headers=headers) for _ in range(2)]

        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].content == answers[1].content
        assert [row["on_hand"] for row in await StockLevel.find_rows({})] == [5]

    async def test_refusals_say_why_and_change_nothing(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.MANAGER)
        product = await create_product()
        level = await stock(product.variants[0], 2, product=product)
        place = {"variant_id": str(level.variant_id), "location_id": str(level.location_id), "reason": "Broken"}
        unknown = {**place, "variant_id": str(PydanticObjectId())}
        cases: list[tuple[str, dict[str, Any], int, str]] = [
            ("/write-offs", {**place, "quantity": 3}, 400, "not_enough_stock"),
            ("/adjustments", {**place, "quantity": -3}, 400, "not_enough_stock"),
            ("/receipts", {**unknown, "quantity": 3}, 404, "stock_item_not_found"),
            (
                "/receipts",
                {**place, "quantity": 3, "unit_cost": {"amount": "1.00", "currency": "EUR"}},
                422,
                "cost_currency",
            ),
            ("/receipts", {**place, "quantity": 3, "occurred_at": "2999-01-01T00:00:00Z"}, 422, "future_movement"),
        ]
        for path, body, status, code in cases:
            answer = await client.post(f"{API}{path}", json=body, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (status, code), path
        for body in ({**place, "quantity": 0}, {**place, "quantity": 1, "reason": ""}, {**place, "quantity": 1, "value": 1}):
            assert (await client.post(f"{API}/receipts", json=body, headers=headers)).status_code == 422
        nothing = await client.post(f"{API}/adjustments", json={**place, "quantity": 0}, headers=headers)
        assert nothing.status_code == 422  # found by fuzzing: it was an error of ours
        for path in ("/receipts", "/adjustments"):  # stock would be worth less than nothing
            below = {**place, "quantity": 2, "unit_cost": {"amount": "-0.01", "currency": "USD"}}
            answer = await client.post(f"{API}{path}", json=below, headers=headers)
            assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/unit_cost")
        for moment in ("0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-12:00", "2026-01-01T00:00:00", "yesterday"):
            assert (await client.get(f"{API}/as-of?moment={moment}", headers=headers)).status_code == 422, moment
        assert await StockMovement.count_rows({}) == 1

    async def test_thresholds_are_edited_by_who_read_the_present_ones(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.MANAGER)
        level = await stock(a_variant(), 2)
        url = f"{API}/levels/{level.id}"
        revision = (await client.get(url, headers=headers)).json()["revision"]

        unnamed = await client.patch(url, json={"low_stock_threshold": 1}, headers=headers)
        named = {**headers, "If-Match": f'"{revision}"'}
        first = await client.patch(url, json={"low_stock_threshold": 1}, headers=named)
        stale = await client.patch(url, json={"low_stock_threshold": 9}, headers=named)

        assert (unnamed.status_code, first.status_code, stale.status_code) == (428, 200, 412)
        assert (first.json()["revision"], first.json()["is_low"]) == (revision + 1, False)
        assert (await client.get(url, headers=headers)).json() == first.json()

    async def test_s3_nobody_below_a_manager_sees_or_moves_stock(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        level = await stock(a_variant(), 2)
        for headers, status in (({}, 401), (await as_role(Role.VENDOR), 403), (await as_role(Role.EDITOR), 403)):
            assert (await client.get(f"{API}/levels", headers=headers)).status_code == status
            any_revision = {**headers, "If-Match": "*"}
            answer = await client.patch(f"{API}/levels/{level.id}", json={"low_stock_threshold": 0}, headers=any_revision)
            assert answer.status_code == status
        row = await StockLevel.find_row({"_id": level.id})
        assert row is not None
        assert row["low_stock_threshold"] == 5
