"""Promotions and zones as staff keeps them, and the report of what was given away."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from beanie import PydanticObjectId
from pydantic import ValidationError

from models.base import AgoraDocument
from models.database import Database
from models.ecommerce.coupons import CouponRedemption, DiscountKind, Promotion
from models.ecommerce.orders import OrderStatus
from models.ecommerce.pricing import AppliedDiscount
from models.ecommerce.shipping import ShippingMethod, ShippingZone
from models.ecommerce.taxes import TaxZone
from models.events import Event, EventType
from models.money import Money
from models.users import Role
from services.ecommerce.discountusage import DiscountUsageService, UsageBy
from services.ecommerce.offers import DiscountRuleDraft, InvalidSpanError
from services.ecommerce.promotions import (
    PromotionChanges,
    PromotionDraft,
    PromotionNotFoundError,
    PromotionService,
    TooManyPromotionsError,
)
from services.ecommerce.shipping import ShippingService, ShippingZoneChanges, ShippingZoneDraft
from services.ecommerce.taxes import TaxService, TaxZoneChanges, TaxZoneDraft
from services.ecommerce.zones import InvalidZoneError, ZoneNotFoundError, ZoneTakenError
from services.errors import PermissionDeniedError, PreconditionError
from services.pagination import PageRequest
from services.settings import Settings
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.orders import create_order
from tests.factories.pricing import (
    create_coupon,
    create_promotion,
    create_shipping_zone,
    create_tax_zone,
    make_promotion,
    usd,
)
from tests.factories.users import create_user, viewer_of
from tests.shapes import serving_index

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TEN_OFF = DiscountRuleDraft(kind=DiscountKind.PERCENTAGE, rate=1000)
POST = {"code": "post", "name": "Post", "rate": {"amount": "5.00", "currency": "USD"}}


@pytest.fixture
async def manager(database: Database) -> Viewer:
    return viewer_of(await create_user(role=Role.MANAGER))


@pytest.fixture
async def editor(database: Database) -> Viewer:
    return viewer_of(await create_user(role=Role.EDITOR))


async def subjects() -> list[str]:
    rows = await Event.find_rows({"type": EventType.PROMOTION_CHANGED}, sort=[("_id", 1)])
    return [row["subject"] for row in rows]


class TestPromotions:
    async def test_are_made_changed_and_taken_out_of_use(self, manager: Viewer) -> None:
        draft = PromotionDraft(name=" Sale ", rule=TEN_OFF, priority=3, starts_at=NOW)
        made = await PromotionService.create_promotion(draft, viewer=manager)
        assert (made.name, made.priority, made.is_active, made.revision) == ("Sale", 3, True, 1)
        changes = PromotionChanges(is_exclusive=True, starts_at=None)
        changed = await PromotionService.update_promotion(made.id, changes, viewer=manager, revision=1)
        assert (changed.name, changed.is_exclusive, changed.starts_at, changed.revision) == ("Sale", True, None, 2)
        for _ in range(2):
            await PromotionService.deactivate_promotion(made.id, viewer=manager)
        assert not (await PromotionService.get_promotion(made.id, viewer=manager)).is_active
        assert await subjects() == [f"promotion:{made.id}"] * 4

    async def test_are_listed_in_the_order_in_which_they_apply(self, manager: Viewer, commands: CommandLog) -> None:
        low, high, off = (
            await create_promotion(),
            await create_promotion(priority=1),
            await create_promotion(priority=9, is_active=False),
        )
        with commands.counting() as sent:
            active = await PromotionService.list_promotions(PageRequest(), viewer=manager, is_active=True)
            every = await PromotionService.list_promotions(PageRequest(), viewer=manager)
        assert [item.id for item in active.items] == [high.id, low.id]
        assert [item.id for item in every.items] == [off.id, high.id, low.id]
        assert (active.total_count, every.total_count) == (2, 3)
        assert [serving_index(read) for read in sent.reads] == ["active_priority", "_id_"]

    async def test_at_most_so_many_are_active(self, manager: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("services.ecommerce.promotions.MAX_ACTIVE", 2)
        await create_promotion()
        resting = await create_promotion(is_active=False)
        draft = PromotionDraft(name="Sale", rule=TEN_OFF)
        await PromotionService.create_promotion(draft, viewer=manager)
        with pytest.raises(TooManyPromotionsError):
            await PromotionService.create_promotion(draft, viewer=manager)
        with pytest.raises(TooManyPromotionsError):
            await PromotionService.update_promotion(resting.id, PromotionChanges(is_active=True), viewer=manager, revision=None)
        await PromotionService.create_promotion(draft.model_copy(update={"is_active": False}), viewer=manager)
        assert await Promotion.count_rows({"is_active": True}) == 2

    async def test_what_is_wrong_is_refused_and_changes_nothing(self, manager: Viewer, editor: Viewer) -> None:
        promotion = await create_promotion(starts_at=NOW)
        for error, changes, viewer, revision in (
            (PreconditionError, PromotionChanges(name="New"), manager, 2),
            (InvalidSpanError, PromotionChanges(expires_at=NOW), manager, None),
            (PermissionDeniedError, PromotionChanges(name="New"), editor, None),
        ):
            with pytest.raises(error):
                await PromotionService.update_promotion(promotion.id, changes, viewer=viewer, revision=revision)
        with pytest.raises(PromotionNotFoundError):
            await PromotionService.get_promotion(PydanticObjectId(), viewer=manager)
        with pytest.raises(PromotionNotFoundError):
            await PromotionService.deactivate_promotion(PydanticObjectId(), viewer=manager)
        row = await Promotion.find_row({"_id": promotion.id})
        assert row is not None
        assert Promotion.from_row(row) == promotion

    async def test_writers_at_once_each_get_their_change_in(self, manager: Viewer) -> None:
        promotion = await create_promotion(name="0", priority=0)
        changes = [PromotionChanges(name="new"), PromotionChanges(priority=7), PromotionChanges(is_exclusive=True)]
        await asyncio.gather(
            *(PromotionService.update_promotion(promotion.id, change, viewer=manager, revision=None) for change in changes)
        )
        found = await PromotionService.get_promotion(promotion.id, viewer=manager)
        assert (found.name, found.priority, found.is_exclusive, found.revision) == ("new", 7, True, 4)

    def test_validity_has_its_start_and_not_its_end(self, database: Database) -> None:
        span = make_promotion(starts_at=NOW, expires_at=NOW + HOUR)
        assert [span.is_valid(NOW + step) for step in (-HOUR, timedelta(0), HOUR)] == [False, True, False]
        assert not make_promotion(is_active=False).is_valid(NOW)


Zone = tuple[type[AgoraDocument], Any, Any, Any, str]


@pytest.fixture(params=["tax", "shipping"])
def zone(request: pytest.FixtureRequest) -> Any:
    """The document, its service's calls by name, a draft, changes, and the events' kind."""

    class Calls:
        is_tax = request.param == "tax"
        document: type[AgoraDocument] = TaxZone if is_tax else ShippingZone
        kind = f"{request.param}_zone"
        make = staticmethod(create_tax_zone if is_tax else create_shipping_zone)

        def call(self, verb: str, *arguments: Any, **named: Any) -> Any:
            service: Any = TaxService if self.is_tax else ShippingService
            return getattr(service, f"{verb}_{self.kind}{'s' if verb == 'list' else ''}")(*arguments, **named)

        def draft(self, **over: Any) -> Any:
            if self.is_tax:
                return TaxZoneDraft(**{"code": "US", "name": "US", "rates": [{"rate": 1000}], **over})
            return ShippingZoneDraft(**{"code": "US", "name": "US", "methods": [POST], **over})

        def changes(self, **over: Any) -> Any:
            return (TaxZoneChanges if self.is_tax else ShippingZoneChanges)(**over)

    return Calls()


class TestZones:
    async def test_are_made_read_changed_and_removed(self, zone: Any, manager: Viewer) -> None:
        made = await zone.call("create", zone.draft(countries=["us"], states=[" IL "]), viewer=manager)
        assert (made.code, made.countries, made.states, made.is_active) == ("US", ["US"], ["IL"], True)
        assert await zone.call("get", made.id, viewer=manager) == made
        changed = await zone.call("update", made.id, zone.changes(name="Illinois", is_active=False), viewer=manager, revision=1)
        assert (changed.name, changed.is_active, changed.revision, changed.states) == ("Illinois", False, 2, ["IL"])
        assert await zone.call("list", viewer=manager) == [changed]
        await zone.call("delete", made.id, viewer=manager)
        assert await zone.call("list", viewer=manager) == []
        assert await subjects() == [f"{zone.kind}:{made.id}"] * 3

    async def test_of_one_code_there_is_one(self, zone: Any, manager: Viewer) -> None:
        await zone.call("create", zone.draft(), viewer=manager)
        with pytest.raises(ZoneTakenError):
            await zone.call("create", zone.draft(name="Another"), viewer=manager)
        assert await zone.document.count_rows({}) == 1

    async def test_there_are_not_more_than_can_be_kept(self, zone: Any, manager: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("services.ecommerce.zones.MAX_ZONES", 1)
        await zone.make()
        with pytest.raises(InvalidZoneError):
            await zone.call("create", zone.draft(), viewer=manager)

    async def test_states_need_their_country(self, zone: Any, manager: Viewer) -> None:
        for countries in ([], ["US", "CA"]):
            with pytest.raises(ValidationError):
                zone.draft(countries=countries, states=["IL"])
        stored = await zone.make(countries=["US"])
        both = await zone.call("update", stored.id, zone.changes(states=["IL"]), viewer=manager, revision=None)
        assert both.states == ["IL"]
        with pytest.raises(InvalidZoneError):
            await zone.call("update", stored.id, zone.changes(countries=[]), viewer=manager, revision=None)
        assert (await zone.call("get", stored.id, viewer=manager)).countries == ["US"]

    async def test_what_is_not_there_or_not_allowed(self, zone: Any, manager: Viewer, editor: Viewer) -> None:
        missing = PydanticObjectId()
        for verb, more in (("get", {}), ("delete", {}), ("update", {"revision": None})):
            arguments = [missing, zone.changes(name="X")] if verb == "update" else [missing]
            with pytest.raises(ZoneNotFoundError):
                await zone.call(verb, *arguments, viewer=manager, **more)
        stored = await zone.make()
        with pytest.raises(PreconditionError):
            await zone.call("update", stored.id, zone.changes(name="X"), viewer=manager, revision=9)
        for call in (
            zone.call("create", zone.draft(), viewer=editor),
            zone.call("get", stored.id, viewer=editor),
            zone.call("list", viewer=editor),
            zone.call("update", stored.id, zone.changes(name="X"), viewer=editor, revision=None),
            zone.call("delete", stored.id, viewer=editor),
        ):
            with pytest.raises(PermissionDeniedError):
                await call
        assert await zone.document.count_rows({}) == 1
        assert await subjects() == []

    @pytest.mark.parametrize(
        "fields",
        [
            {"rates": []},
            {"rates": [{"rate": 1}, {"rate": 2}]},  # both standard
            {"rates": [{"rate": 10_001}]},
            {"rates": [{"rate": 1, "tax_class": "$where"}]},
            {"countries": ["XX"]},
            {"code": "US IL"},
        ],
    )
    def test_taxes_that_make_no_sense_are_malformed(self, fields: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            TaxZoneDraft(**{"code": "US", "name": "US", "rates": [{"rate": 1000}], **fields})

    @pytest.mark.parametrize(
        "method",
        [
            POST | {"code": "none"},
            POST | {"rate": {"amount": "-1.00", "currency": "USD"}},
            POST | {"free_from": {"amount": "1.00", "currency": "EUR"}},
            POST | {"tiers": [{"up_to_grams": weight, "rate": POST["rate"]} for weight in (2, 1)]},
            POST | {"tiers": [{"up_to_grams": 1, "rate": {"amount": "1.00", "currency": "EUR"}}]},
            POST | {"rate": 5},
            POST | {"more": 1},
        ],
    )
    def test_methods_that_make_no_sense_are_malformed(self, method: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            ShippingZoneDraft(**{"code": "US", "name": "US", "methods": [method]})
        with pytest.raises(ValidationError):
            ShippingZoneDraft(**{"code": "US", "name": "US", "methods": [POST, POST]})


class TestShippingMethods:
    async def test_of_a_place_in_a_currency(self, database: Database, settings: Settings, commands: CommandLog) -> None:
        methods = [
            ShippingMethod(code="post", name="Post", rate=usd("5.00"), free_from=usd("50.00")),
            ShippingMethod(code="post", name="Post", rate=Money.of("4.00", "EUR")),
        ]
        await create_shipping_zone(countries=["FR"], methods=methods)

        async def offered(country: str, currency: str | None = None) -> list[tuple[str, str]]:
            found = await ShippingService.list_shipping_methods(country=country, currency=currency, settings=settings)
            return [(method.code, str(method.rate)) for method in found]

        assert await offered("FR") == [("post", "5.00 USD")]
        with commands.counting() as sent:
            assert await offered("FR", "EUR") == [("post", "4.00 EUR")]
            assert await offered("FR", "JPY") == []
            assert await offered("US") == [("standard", "10.00 USD")]
            assert await offered("US", "EUR") == [("standard", "10.00 EUR")]
        assert sent.sent == []


class TestUsage:
    async def redeemed(self, coupon_id: PydanticObjectId, money: Money, at: datetime = NOW) -> None:
        fields: dict[str, Any] = {"coupon_id": coupon_id, "order_id": PydanticObjectId(), "customer_key": str(PydanticObjectId())}
        await CouponRedemption(**fields, slot=1, discount=money, created_at=at).store()

    async def report(self, by: UsageBy, viewer: Viewer) -> list[tuple[str, PydanticObjectId | None, int, str]]:
        rows = await DiscountUsageService.list_discount_usage(by, since=NOW, until=NOW + HOUR, viewer=viewer)
        return [(row.key, row.id, row.uses, str(row.discount)) for row in rows]

    async def test_of_coupons_and_batches(self, manager: Viewer, commands: CommandLog) -> None:
        first, second = await create_coupon(code="AAA", batch="b"), await create_coupon(code="BBB", batch="b")
        single = await create_coupon(code="CCC")
        for coupon, text in ((first, "1.00"), (first, "2.50"), (second, "4.00"), (single, "4.00")):
            await self.redeemed(coupon.id, usd(text))
        await self.redeemed(single.id, Money.of("9.00", "EUR"))
        await self.redeemed(single.id, usd("100.00"), NOW - timedelta(milliseconds=1))
        await self.redeemed(single.id, usd("100.00"), NOW + HOUR)
        with commands.counting() as sent:
            found = await self.report(UsageBy.COUPON, manager)
        assert found == [
            ("AAA", first.id, 2, "3.50 USD"),
            ("CCC", single.id, 1, "9.00 EUR"),
            ("BBB", second.id, 1, "4.00 USD"),
            ("CCC", single.id, 1, "4.00 USD"),
        ]
        assert [serving_index(read) for read in sent.reads] == ["created"]
        assert len(sent) == 1
        assert await self.report(UsageBy.BATCH, manager) == [("b", None, 3, "7.50 USD")]

    async def test_of_promotions_in_orders_that_stand(self, manager: Viewer, commands: CommandLog) -> None:
        sale, other = PydanticObjectId(), PydanticObjectId()

        def applied(key: PydanticObjectId | None, text: str, label: str = "Sale") -> AppliedDiscount:
            coupon = PydanticObjectId() if key is None else None
            return AppliedDiscount(rule="x", promotion_id=key, coupon_id=coupon, label=label, amount=usd(text))

        await create_order(placed_at=NOW, discounts=[applied(sale, "1.00", "Old name"), applied(other, "9.00", "Other")])
        await create_order(placed_at=NOW + HOUR / 2, discounts=[applied(sale, "2.00"), applied(None, "50.00")])
        await create_order(placed_at=NOW, discounts=[applied(sale, "70.00")], status=OrderStatus.CANCELLED)
        await create_order(placed_at=NOW + HOUR, discounts=[applied(sale, "70.00")])
        with commands.counting() as sent:
            found = await self.report(UsageBy.PROMOTION, manager)
        assert found == [("Sale", sale, 2, "3.00 USD"), ("Other", other, 1, "9.00 USD")]
        assert [serving_index(read) for read in sent.reads if read.collection == "orders"][:1] == ["placed"]

    async def test_of_nothing(self, manager: Viewer) -> None:
        assert [await self.report(by, manager) for by in UsageBy] == [[], [], []]

    async def test_is_for_staff_and_for_a_span(self, manager: Viewer, editor: Viewer) -> None:
        with pytest.raises(PermissionDeniedError):
            await self.report(UsageBy.COUPON, editor)
        with pytest.raises(InvalidSpanError):
            await DiscountUsageService.list_discount_usage(UsageBy.COUPON, since=NOW, until=NOW, viewer=manager)
