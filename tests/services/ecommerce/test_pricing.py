"""Quotes from the database: promotions, codes and their reasons, zones, and what they cost in commands."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from beanie import PydanticObjectId

from models.database import Session, run_transaction
from models.ecommerce.coupons import CouponReason, CouponRedemption, Promotion
from models.ecommerce.pricing import Quote
from models.ecommerce.shipping import ShippingMethod, ShippingZone, WeightTier
from models.ecommerce.taxes import TaxRate, TaxZone
from models.events import Event, EventType
from models.money import Money
from services.ecommerce.couponreasons import COUPON_ERRORS, CouponNotUsableError
from services.ecommerce.pricing import PROMOTION_CONSUMER, Priced, PricingService
from services.ecommerce.shipping import ShippingMethodNotOfferedError
from services.settings import Settings
from tests.commands import CommandLog
from tests.factories.pricing import (
    amount_off,
    create_coupon,
    create_promotion,
    create_shipping_zone,
    create_tax_zone,
    free_shipping,
    make_piece,
    percent_off,
    request_of,
    usd,
)
from tests.shapes import serving_index

pytestmark = pytest.mark.usefixtures("database")

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def quote(settings: Settings) -> Any:
    async def priced(*pieces: Any, strict: bool = False, session: Session | None = None, **over: Any) -> Priced:
        lines = pieces or (make_piece("100.00"),)
        return await PricingService.quote(request_of(*lines, **over), settings=settings, now=NOW, strict=strict, session=session)

    return priced


def total(priced: Priced) -> str:
    return str(priced.quote.totals.total)


def reasons(priced: Priced) -> dict[str, CouponReason]:
    return {problem.code: problem.reason for problem in priced.problems}


class TestPromotions:
    async def test_apply_by_priority_and_then_by_age(self, quote: Any) -> None:
        await create_promotion(name="second", rule=percent_off(1000))
        await create_promotion(name="third", rule=percent_off(1000))
        await create_promotion(name="first", rule=amount_off("50.00"), priority=5)
        applied = (await quote()).quote.discounts
        assert [(discount.label, discount.amount) for discount in applied] == [
            ("first", usd("50.00")),
            ("second", usd("5.00")),
            ("third", usd("4.50")),
        ]

    async def test_only_in_their_time_and_while_active(self, quote: Any) -> None:
        await create_promotion(is_active=False)
        await create_promotion(starts_at=NOW + HOUR)
        await create_promotion(expires_at=NOW)
        running = await create_promotion(starts_at=NOW, expires_at=NOW + HOUR)
        assert [discount.promotion_id for discount in (await quote()).quote.discounts] == [running.id]

    async def test_that_are_for_others_are_silent(self, quote: Any) -> None:
        await create_promotion(rule=amount_off("5.00", minimum_subtotal=usd("100.01")))
        await create_promotion(rule=percent_off(1000, is_first_order_only=True))
        await create_promotion(rule=DISCOUNT_IN_EUROS)
        assert (await quote()).problems == (await quote()).quote.discounts == []
        assert len((await quote(is_first_order=True)).quote.discounts) == 1


DISCOUNT_IN_EUROS = percent_off(1000, minimum_subtotal=Money.of("1.00", "EUR"))


class TestCoupons:
    async def test_is_found_however_it_is_typed_and_counts_once(self, quote: Any) -> None:
        """COM-M10 TRAP: codes are upper case where they are kept, and where they are looked up."""
        coupon = await create_coupon(code="save10", name="Ten off")
        assert coupon.code == "SAVE10"
        priced = await quote(coupon_codes=[" save10", "SAVE10", "Save10 "])
        (applied,) = priced.quote.discounts
        assert (applied.rule, applied.coupon_id, applied.label, applied.amount) == (
            "coupon:SAVE10",
            coupon.id,
            "Ten off",
            usd("10.00"),
        )
        assert priced.problems == []

    @pytest.mark.parametrize(
        ("over", "reason"),
        [
            ({"is_active": False}, CouponReason.INACTIVE),
            ({"starts_at": NOW + HOUR}, CouponReason.NOT_STARTED),
            ({"expires_at": NOW}, CouponReason.EXPIRED),
            ({"usage_limit": 3, "usage_count": 3}, CouponReason.USED_UP),
            ({"rule": percent_off(1000, minimum_subtotal=usd("100.01"))}, CouponReason.MINIMUM_NOT_MET),
            ({"rule": percent_off(1000, minimum_quantity=2)}, CouponReason.MINIMUM_NOT_MET),
            ({"rule": percent_off(1000, product_ids=[PydanticObjectId()])}, CouponReason.NOT_ELIGIBLE),
            ({"rule": free_shipping()}, CouponReason.NOT_ELIGIBLE),  # it is free from 100.00 on
            ({"rule": DISCOUNT_IN_EUROS}, CouponReason.WRONG_CURRENCY),
            ({"rule": percent_off(1000, is_first_order_only=True)}, CouponReason.FIRST_ORDER_ONLY),
        ],
    )
    async def test_s15_trap_a_code_of_no_use_says_why(self, quote: Any, over: dict[str, Any], reason: CouponReason) -> None:
        """COM-S15 TRAP: it was silently ignored. A cart shows the problem, a checkout is refused."""
        await create_coupon(code="SAVE", **over)
        priced = await quote(coupon_codes=["SAVE"])
        assert (reasons(priced), total(priced), priced.quote.discounts) == ({"SAVE": reason}, "110.00 USD", [])
        assert priced.problems[0].detail
        with pytest.raises(COUPON_ERRORS[reason]) as caught:
            await quote(coupon_codes=["SAVE"], strict=True)
        assert (caught.value.code, caught.value.coupon) == (f"coupon_{reason}", "SAVE")

    async def test_unknown_codes_say_so_in_their_order(self, quote: Any) -> None:
        await create_coupon(code="GOOD")
        await create_coupon(code="OLD", expires_at=NOW - HOUR)
        codes = ["nothing", "OLD", "GOOD", '{"$gt": ""}', ".*"]
        priced = await quote(coupon_codes=codes)
        assert [(problem.code, problem.reason) for problem in priced.problems] == [
            ("NOTHING", CouponReason.UNKNOWN),
            ("OLD", CouponReason.EXPIRED),
            ('{"$GT": ""}', CouponReason.UNKNOWN),
            (".*", CouponReason.UNKNOWN),
        ]
        assert len(priced.quote.discounts) == 1
        with pytest.raises(CouponNotUsableError) as caught:
            await quote(coupon_codes=["OLD", "nothing"], strict=True)
        assert caught.value.reason is CouponReason.EXPIRED

    async def test_s15_trap_the_limit_per_customer_is_looked_at(self, quote: Any) -> None:
        coupon = await create_coupon(code="ONCE", usage_limit_per_customer=1)
        await CouponRedemption(
            coupon_id=coupon.id, order_id=PydanticObjectId(), customer_key="customer:1", slot=1, discount=usd("1.00")
        ).store()
        assert reasons(await quote(coupon_codes=["ONCE"], customer_key="customer:1")) == {"ONCE": CouponReason.USED_BY_CUSTOMER}
        assert reasons(await quote(coupon_codes=["ONCE"], customer_key="customer:2")) == {}
        assert reasons(await quote(coupon_codes=["ONCE"])) == {}

    async def test_one_that_stands_alone_says_so_when_it_is_not_the_cheapest(self, quote: Any) -> None:
        await create_promotion(rule=percent_off(5000))
        await create_coupon(code="ALONE", is_combinable=False)
        assert reasons(await quote(coupon_codes=["ALONE"])) == {"ALONE": CouponReason.NOT_COMBINABLE}
        with pytest.raises(COUPON_ERRORS[CouponReason.NOT_COMBINABLE]):
            await quote(coupon_codes=["ALONE"], strict=True)


class TestPlaces:
    async def test_the_zone_that_says_most_decides(self, quote: Any) -> None:
        await create_tax_zone(code="WORLD", rates=[TaxRate(rate=500)])
        await create_tax_zone(code="US", countries=["US"], rates=[TaxRate(rate=600)])
        await create_tax_zone(code="IL", countries=["US"], states=["Illinois", "IL"], rates=[TaxRate(rate=1025)])
        await create_tax_zone(code="OFF", countries=["US"], states=["IL"], rates=[TaxRate(rate=1)], is_active=False)
        taxed = {
            place: (await quote(country=place[0], state=place[1])).quote.totals.tax
            for place in (("US", "il "), ("US", "TX"), ("US", ""), ("FR", "IL"), (None, ""))
        }
        assert taxed == {
            ("US", "il "): usd("10.25"),
            ("US", "TX"): usd("6.00"),
            ("US", ""): usd("6.00"),
            ("FR", "IL"): usd("5.00"),
            (None, ""): usd("5.00"),
        }

    async def test_where_no_zone_lies_the_settings_decide(self, quote: Any) -> None:
        await create_tax_zone(countries=["FR"], rates=[TaxRate(rate=2000)])
        await create_shipping_zone(countries=["FR"])
        found: Quote = (await quote(make_piece("99.99"), country="US")).quote
        assert (found.totals.tax, found.totals.shipping, found.shipping_method) == (usd("10.00"), usd("10.00"), "standard")

    async def test_rates_by_class_inclusive_and_on_the_shipping(self, quote: Any) -> None:
        """At 19 %: 119.00 holds 19.00; at 7 %: 10.70 holds 0.70; shipping of 5.95 as standard holds 0.95."""
        await create_tax_zone(
            countries=["DE"],
            rates=[TaxRate(rate=1900), TaxRate(tax_class="books", rate=700)],
            shipping_tax_class="standard",
            prices_include_tax=True,
        )
        await create_shipping_zone(countries=["DE"], methods=[ShippingMethod(code="post", name="Post", rate=usd("5.95"))])
        found = (await quote(make_piece("119.00"), make_piece("10.70", tax_class="books"), country="DE")).quote
        assert [line.tax for line in found.lines] == [usd("19.00"), usd("0.70")]
        assert (found.totals.tax, found.totals.total) == (usd("20.65"), usd("135.65"))

    async def test_a_method_is_chosen_and_priced(self, quote: Any) -> None:
        heavy = [WeightTier(up_to_grams=1000, rate=usd("4.00")), WeightTier(up_to_grams=5000, rate=usd("9.00"))]
        methods = [
            ShippingMethod(code="post", name="Post", rate=usd("5.00"), free_from=usd("50.00")),
            ShippingMethod(code="parcel", name="Parcel", rate=usd("0.00"), tiers=heavy),
            ShippingMethod(code="express", name="Express", rate=Money.of("9.00", "EUR")),
        ]
        await create_shipping_zone(countries=["US"], methods=methods)
        piece = make_piece("10.00", 2, weight_grams=600)
        offered = await quote(piece, country="US")
        assert [(way.code, way.amount, way.detail) for way in offered.carriages] == [
            ("post", 500, "5.00 below a subtotal of 50.00"),
            ("parcel", 900, "1200 g, up to 5000 g: 9.00"),
        ]
        assert offered.quote.shipping_method == "post"
        assert (await quote(piece, country="US", shipping_method="parcel")).quote.totals.shipping == usd("9.00")
        assert (await quote(make_piece("50.00"), country="US")).quote.totals.shipping == usd("0.00")
        light = make_piece("10.00", weight_grams=1000)
        assert (await quote(light, country="US", shipping_method="parcel")).quote.totals.shipping == usd("4.00")

    async def test_a_method_that_is_not_offered_is_refused_at_checkout(self, quote: Any) -> None:
        methods = [
            ShippingMethod(code="parcel", name="Parcel", rate=usd("0.00"), tiers=[WeightTier(up_to_grams=10, rate=usd("1.00"))])
        ]
        await create_shipping_zone(countries=["US"], methods=methods)
        light, heavy = make_piece("10.00", weight_grams=10), make_piece("10.00", weight_grams=11)
        assert (await quote(light, country="US", shipping_method="drone")).quote.shipping_method == "parcel"
        with pytest.raises(ShippingMethodNotOfferedError) as caught:
            await quote(light, country="US", shipping_method="drone", strict=True)
        assert caught.value.method == "drone"
        preview = await quote(heavy, country="US")
        assert (preview.carriages, preview.is_shipped, preview.quote.totals.shipping) == ([], True, usd("0.00"))
        for method in (None, "parcel"):
            with pytest.raises(ShippingMethodNotOfferedError) as caught:
                await quote(heavy, country="US", shipping_method=method, strict=True)
            assert caught.value.method is None

    async def test_downloads_ask_for_no_method(self, quote: Any) -> None:
        await create_shipping_zone(countries=["US"], methods=[])
        priced = await quote(make_piece(is_digital=True), country="US", shipping_method="drone", strict=True)
        assert (priced.quote.shipping_method, priced.is_shipped, priced.carriages) == ("none", False, [])

    @pytest.mark.parametrize(("currency", "shipping"), [("JPY", "10 JPY"), ("KWD", "10.000 KWD")])
    async def test_the_settings_hold_units_of_any_currency(self, quote: Any, currency: str, shipping: str) -> None:
        piece = make_piece("99", currency=currency)
        assert str((await quote(piece, currency=currency)).quote.totals.shipping) == shipping


class TestCommands:
    async def test_a_quote_without_a_code_takes_no_command_when_warm(self, settings: Settings, commands: CommandLog) -> None:
        await create_promotion()
        with commands.counting() as cold:
            await PricingService.quote(request_of(make_piece()), settings=settings)
        assert sorted(cold.sent) == ["find promotions", "find shipping_zones", "find tax_zones"]
        assert [serving_index(read) for read in cold.reads if read.collection == "promotions"] == ["active_priority"]
        with commands.counting() as warm:
            await PricingService.quote(request_of(make_piece()), settings=settings)
        assert warm.sent == []

    async def test_a_checkout_asks_in_one_whether_the_rules_that_are_kept_still_hold(
        self, settings: Settings, commands: CommandLog
    ) -> None:
        """Budget of a checkout: at most two commands without a code, inside its transaction."""
        await create_promotion()
        await PricingService.quote(request_of(make_piece()), settings=settings)

        async def work(session: Session) -> Priced:
            with commands.counting() as sent:
                priced = await PricingService.quote(request_of(make_piece()), settings=settings, session=session)
            assert sent.sent == ["aggregate promotions"]
            return priced

        assert len((await run_transaction(work)).quote.discounts) == 1

    async def test_codes_take_one_command_more_and_limits_per_customer_another(
        self, settings: Settings, commands: CommandLog
    ) -> None:
        for code in ("A1A", "B2B"):
            await create_coupon(code=code, usage_limit_per_customer=1)
        request = request_of(make_piece(), coupon_codes=["a1a", "b2b"], customer_key="customer:1")
        await PricingService.quote(request_of(make_piece()), settings=settings)
        with commands.counting() as sent:
            await PricingService.quote(request, settings=settings)
        assert sent.sent == ["find coupons", "find coupon_redemptions"]
        assert [serving_index(read) for read in sent.reads] == ["code_unique", "coupon_customer_slot_unique"]


class TestCaches:
    async def test_forget_what_a_writer_of_this_process_changed(self, quote: Any) -> None:
        tax = await create_tax_zone(rates=[TaxRate(rate=500)])
        way = await create_shipping_zone()
        sale = await create_promotion()
        before = await quote(make_piece("10.00"), country="US")
        assert total(before) == "14.45 USD"  # 9.00 and 5 %, 5.00
        await TaxZone.change({"_id": tax.id}, {"$set": {"is_active": False}})
        await ShippingZone.change({"_id": way.id}, {"$set": {"is_active": False}})
        await Promotion.change({"_id": sale.id}, {"$set": {"is_active": False}})
        assert total(await quote(make_piece("10.00"), country="US")) == "21.00 USD"

    @pytest.mark.parametrize("kind", ["promotion", "tax_zone", "shipping_zone"])
    async def test_forget_what_another_process_changed(self, quote: Any, kind: str) -> None:
        before = total(await quote(make_piece("10.00"), country="US"))
        assert before == "21.00 USD"
        await {"promotion": create_promotion, "tax_zone": create_tax_zone, "shipping_zone": create_shipping_zone}[kind]()
        assert total(await quote(make_piece("10.00"), country="US")) == before
        await PROMOTION_CONSUMER.handle(Event(type=EventType.PROMOTION_CHANGED, subject="coupon:1"))
        assert total(await quote(make_piece("10.00"), country="US")) == before
        await PROMOTION_CONSUMER.handle(Event(type=EventType.PROMOTION_CHANGED, subject=f"{kind}:{PydanticObjectId()}"))
        after = {"promotion": "19.90 USD", "tax_zone": "22.00 USD", "shipping_zone": "16.00 USD"}[kind]
        assert total(await quote(make_piece("10.00"), country="US")) == after

    @pytest.mark.parametrize("kind", ["promotion", "tax_zone", "shipping_zone"])
    async def test_purchase_is_priced_by_what_is_stored_whatever_is_kept(self, quote: Any, kind: str) -> None:
        """Nobody told this process of the change, as when another one made it a moment ago."""
        assert total(await quote(make_piece("10.00"), country="US")) == "21.00 USD"
        await {"promotion": create_promotion, "tax_zone": create_tax_zone, "shipping_zone": create_shipping_zone}[kind]()

        paid = await run_transaction(lambda session: quote(make_piece("10.00"), country="US", session=session))

        assert total(paid) == {"promotion": "19.90 USD", "tax_zone": "22.00 USD", "shipping_zone": "16.00 USD"}[kind]
