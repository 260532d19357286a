"""Coupons as staff keeps them: made one by one and in bulk, changed, exported, and what their drafts must hold."""

import asyncio
import csv
import io
import random
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from beanie import PydanticObjectId
from pydantic import ValidationError

from models.database import Database
from models.ecommerce.coupons import Coupon, CouponReason, DiscountKind
from models.events import Event, EventType
from models.users import Role
from services.ecommerce import coupons
from services.ecommerce.coupons import (
    LETTERS,
    BatchDraft,
    BatchNotFoundError,
    BatchTakenError,
    CouponChanges,
    CouponDraft,
    CouponNotFoundError,
    CouponService,
    CouponTakenError,
    safe_cell,
)
from services.ecommerce.offers import DiscountRuleDraft, InvalidSpanError
from services.errors import PermissionDeniedError, PreconditionError
from services.pagination import PageRequest
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.pricing import create_coupon, make_coupon, percent_off, usd
from tests.factories.users import create_user, viewer_of
from tests.shapes import serving_index

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
TEN_OFF = DiscountRuleDraft(kind=DiscountKind.PERCENTAGE, rate=1000)


@pytest.fixture
async def manager(database: Database) -> Viewer:
    return viewer_of(await create_user(role=Role.MANAGER))


@pytest.fixture
async def editor(database: Database) -> Viewer:
    return viewer_of(await create_user(role=Role.EDITOR))


def draft(**over: Any) -> CouponDraft:
    return CouponDraft(**{"code": "SAVE10", "rule": TEN_OFF, **over})


def batch(**over: Any) -> BatchDraft:
    return BatchDraft(**{"batch": "summer", "count": 3, "rule": TEN_OFF, **over})


async def subjects() -> list[str]:
    rows = await Event.find_rows({"type": EventType.PROMOTION_CHANGED}, sort=[("_id", 1)])
    return [row["subject"] for row in rows]


class TestIsValid:
    """REG-002: Coupon.is_valid."""

    @pytest.mark.parametrize(
        ("over", "is_valid"),
        [
            ({}, True),
            ({"is_active": False}, False),
            ({"starts_at": NOW}, True),
            ({"starts_at": NOW + timedelta(milliseconds=1)}, False),
            ({"expires_at": NOW + timedelta(milliseconds=1)}, True),
            ({"expires_at": NOW}, False),
            ({"usage_limit": 2, "usage_count": 1}, True),
            ({"usage_limit": 2, "usage_count": 2}, False),
        ],
    )
    def test_com_m10_trap_compares_aware_times(self, database: Database, over: dict[str, Any], is_valid: bool) -> None:
        """COM-M10 TRAP: a naive now against stored aware times raises, or is off by the zone."""
        coupon = make_coupon(**over)
        assert coupon.is_valid(NOW) is is_valid
        assert coupon.is_valid(NOW.astimezone(timezone(timedelta(hours=-9)))) is is_valid

    def test_com_m10_naive_times_are_refused_where_they_are_stored(self, database: Database) -> None:
        with pytest.raises(ValidationError):
            make_coupon(expires_at=datetime(2026, 6, 1))  # noqa: DTZ001 - what is refused


class TestRuleDraft:
    @pytest.mark.parametrize(
        "fields",
        [
            {"kind": "percentage"},
            {"kind": "percentage", "rate": 0},
            {"kind": "percentage", "rate": 10_001},  # COM-M10: more than all
            {"kind": "percentage", "rate": 1000, "amount": usd("1.00")},
            {"kind": "fixed_amount"},
            {"kind": "fixed_amount", "amount": usd("0.00")},
            {"kind": "fixed_amount", "amount": usd("-1.00")},
            {"kind": "fixed_amount", "amount": usd("1.00"), "rate": 1000},
            {"kind": "free_shipping", "rate": 1000},
            {"kind": "buy_x_get_y", "buy_quantity": 1},
            {"kind": "buy_x_get_y", "buy_quantity": 0, "get_quantity": 1},
            {"kind": "percentage", "rate": 1000, "maximum_discount": usd("0.00")},
            {"kind": "percentage", "rate": 1000, "minimum_quantity": 0},
            {
                "kind": "percentage",
                "rate": 1000,
                "maximum_discount": usd("1.00"),
                "minimum_subtotal": {"amount": "1.00", "currency": "EUR"},
            },
            {"kind": "free"},
            {"kind": "free_shipping", "unknown": 1},
        ],
    )
    def test_com_m10_a_rule_that_makes_no_sense_is_malformed(self, fields: dict[str, Any]) -> None:
        """COM-M10: a value above zero, a percentage of at most a hundred."""
        with pytest.raises(ValidationError):
            DiscountRuleDraft(**fields)

    def test_each_kind_takes_what_it_needs(self) -> None:
        for fields in (
            {"kind": "percentage", "rate": 10_000},
            {"kind": "fixed_amount", "amount": {"amount": "5.00", "currency": "USD"}},
            {"kind": "free_shipping"},
            {"kind": "buy_x_get_y", "buy_quantity": 2, "get_quantity": 1},
            {"kind": "buy_x_get_y", "buy_quantity": 2, "get_quantity": 1, "rate": 5000},
        ):
            DiscountRuleDraft.model_validate(fields)

    def test_com_m10_it_starts_before_it_expires(self) -> None:
        for expires_at in (NOW, NOW - timedelta(hours=1)):
            with pytest.raises(ValidationError):
                draft(starts_at=NOW, expires_at=expires_at)


class TestCreateCoupon:
    async def test_com_m10_trap_its_code_is_kept_in_upper_case(self, manager: Viewer) -> None:
        """COM-M10 TRAP: it was normalised on look-up alone."""
        made = await CouponService.create_coupon(draft(code=" save10 ", usage_limit=5), viewer=manager)
        row = await Coupon.find_row({"_id": made.id})
        assert row is not None
        assert (made.code, row["code"], row["usage_limit"], row["usage_count"]) == ("SAVE10", "SAVE10", 5, 0)
        assert await subjects() == [f"coupon:{made.id}"]

    async def test_two_of_one_code_conflict(self, manager: Viewer) -> None:
        await CouponService.create_coupon(draft(), viewer=manager)
        with pytest.raises(CouponTakenError):
            await CouponService.create_coupon(draft(code="Save10"), viewer=manager)
        assert (await Coupon.count_rows({}), len(await subjects())) == (1, 1)

    async def test_others_may_not(self, editor: Viewer) -> None:
        with pytest.raises(PermissionDeniedError):
            await CouponService.create_coupon(draft(), viewer=editor)
        assert await Coupon.count_rows({}) == 0

    @pytest.mark.parametrize("code", ["", "AB", "A" * 41, "SAVE 10", "SÄVE", "SAVE%", "$SAVE"])
    def test_what_is_no_code_is_malformed(self, code: str) -> None:
        with pytest.raises(ValidationError):
            draft(code=code)


class TestBatches:
    async def test_five_thousand_codes_at_once(self, manager: Viewer, commands: CommandLog) -> None:
        with commands.counting() as sent:
            made = await CouponService.create_batch(batch(count=5_000, prefix="sum-", usage_limit=1), viewer=manager)
        rows = await Coupon.find_rows({"batch": "summer"})
        codes = {row["code"] for row in rows}
        assert (made.codes_count, len(rows), len(codes)) == (5_000, 5_000, 5_000)
        assert all(code.startswith("SUM-") and len(code) == 14 and set(code[4:]) <= set(LETTERS) for code in codes)
        assert {row["usage_limit"] for row in rows} == {1}
        assert await subjects() == ["coupon_batch:summer"]
        assert len(sent) < 10

    async def test_letters_that_are_taken_for_others_are_not_used(self) -> None:
        assert not set("01ILO") & set(LETTERS)
        assert "".join(sorted(set(LETTERS))) == LETTERS

    async def test_a_code_that_is_taken_is_drawn_again(self, manager: Viewer) -> None:
        first = coupons.random_codes(1, prefix="", length=10, source=random.Random(7))
        await create_coupon(code=first[0])
        await CouponService.create_batch(batch(count=2), viewer=manager, source=random.Random(7))
        rows = await Coupon.find_rows({"batch": "summer"})
        assert len(rows) == 2
        assert first[0] not in {row["code"] for row in rows}

    async def test_a_batch_is_made_once(self, manager: Viewer) -> None:
        results = await asyncio.gather(
            *(CouponService.create_batch(batch(), viewer=manager) for _ in range(5)), return_exceptions=True
        )
        assert sorted(type(result).__name__ for result in results) == [*["BatchTakenError"] * 4, "CouponBatch"]
        with pytest.raises(BatchTakenError):
            await CouponService.create_batch(batch(), viewer=manager)
        assert await Coupon.count_rows({"batch": "summer"}) == 3

    async def test_is_exported_in_its_order_with_safe_cells(self, manager: Viewer) -> None:
        name = '=HYPERLINK("http://x")'
        await CouponService.create_batch(batch(name=name, expires_at=NOW, prefix="-"), viewer=manager)
        await CouponService.create_batch(batch(batch="other", count=1), viewer=manager)
        rows = list(csv.DictReader(io.StringIO(await CouponService.export_batch("summer", viewer=manager))))
        stored = await Coupon.find_rows({"batch": "summer"}, sort=[("_id", 1)])
        assert [row["code"] for row in rows] == [f"'{found['code']}" for found in stored]
        assert rows[0] | {"code": ""} == {
            "code": "",
            "batch": "summer",
            "name": f"'{name}",
            "usage_count": "0",
            "usage_limit": "",
            "is_active": "true",
            "starts_at": "",
            "expires_at": "2026-06-01T12:00:00+00:00",
        }

    async def test_an_unknown_batch_is_not_found(self, manager: Viewer) -> None:
        with pytest.raises(BatchNotFoundError):
            await CouponService.export_batch("nothing", viewer=manager)

    @pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
    def test_no_cell_is_a_formula(self, text: str) -> None:
        assert safe_cell(text) == f"'{text}"
        assert safe_cell("SAVE-10=") == "SAVE-10="


class TestListCoupons:
    async def test_newest_first_or_of_a_batch_a_code_a_state(self, manager: Viewer, commands: CommandLog) -> None:
        first, second = await create_coupon(batch="b"), await create_coupon(batch="b", is_active=False)
        third = await create_coupon(code="THIRD")

        async def listed(**over: Any) -> list[PydanticObjectId]:
            page = await CouponService.list_coupons(PageRequest(), viewer=manager, **over)
            assert page.total_count == len(page.items)
            return [item.id for item in page.items]

        with commands.counting() as sent:
            assert await listed() == [third.id, second.id, first.id]
            assert await listed(batch="b") == [first.id, second.id]
            assert await listed(code=" third") == [third.id]
            assert await listed(is_active=True) == [third.id, first.id]
            assert await listed(batch="nothing") == []
        assert len(sent) == 10
        assert [serving_index(read) for read in sent.reads] == ["_id_", "batch", "code_unique", "active_newest", "batch"]


class TestUpdateCoupon:
    async def test_changes_what_is_named_and_nothing_else(self, manager: Viewer) -> None:
        coupon = await create_coupon(code="KEEP", usage_limit=5, usage_count=2, name="Old", expires_at=NOW)
        changes = CouponChanges(name="New", usage_limit=None, rule=TEN_OFF)
        changed = await CouponService.update_coupon(coupon.id, changes, viewer=manager, revision=1)
        assert (changed.code, changed.name, changed.usage_limit, changed.usage_count) == ("KEEP", "New", None, 2)
        assert (changed.expires_at, changed.revision, changed.rule) == (NOW, 2, percent_off(1000))
        assert await subjects() == [f"coupon:{coupon.id}"]

    async def test_an_old_revision_is_refused(self, manager: Viewer) -> None:
        coupon = await create_coupon(revision=2, name="Old")
        with pytest.raises(PreconditionError):
            await CouponService.update_coupon(coupon.id, CouponChanges(name="New"), viewer=manager, revision=1)
        assert (await CouponService.get_coupon(coupon.id, viewer=manager)).name == "Old"

    async def test_a_span_is_checked_with_what_stays(self, manager: Viewer) -> None:
        coupon = await create_coupon(starts_at=NOW)
        with pytest.raises(InvalidSpanError):
            await CouponService.update_coupon(coupon.id, CouponChanges(expires_at=NOW), viewer=manager, revision=None)
        await CouponService.update_coupon(coupon.id, CouponChanges(starts_at=None, expires_at=NOW), viewer=manager, revision=None)
        row = await Coupon.find_row({"_id": coupon.id})
        assert row is not None
        assert (row["starts_at"], row["expires_at"]) == (None, NOW)

    async def test_deactivating_can_be_repeated(self, manager: Viewer) -> None:
        coupon = await create_coupon()
        for _ in range(2):
            await CouponService.deactivate_coupon(coupon.id, viewer=manager)
        row = await Coupon.find_row({"_id": coupon.id})
        assert row is not None
        assert Coupon.from_row(row).why_invalid(NOW) is CouponReason.INACTIVE

    async def test_unknown_and_not_allowed(self, manager: Viewer, editor: Viewer) -> None:
        missing = PydanticObjectId()
        with pytest.raises(CouponNotFoundError):
            await CouponService.get_coupon(missing, viewer=manager)
        with pytest.raises(CouponNotFoundError):
            await CouponService.deactivate_coupon(missing, viewer=manager)
        coupon = await create_coupon()
        for call in (
            CouponService.get_coupon(coupon.id, viewer=editor),
            CouponService.deactivate_coupon(coupon.id, viewer=editor),
            CouponService.list_coupons(PageRequest(), viewer=editor),
            CouponService.create_batch(batch(), viewer=editor),
            CouponService.export_batch("summer", viewer=editor),
        ):
            with pytest.raises(PermissionDeniedError):
                await call
        assert (await CouponService.get_coupon(coupon.id, viewer=manager)).is_active
