"""How payments went and what fraud rules did: from payments, refunds and reviews themselves, by when it happened.

An attempt counts when begun, an outcome when it came, a refund when it succeeded: what comes later moves its own time alone.
Payments that came with an import were never tried here and count nowhere.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from models.analytics.payments import (
    FailureCount,
    FraudFigures,
    FraudReport,
    GatewayPayments,
    MethodPayments,
    PaymentFigures,
    PaymentReport,
    RuleFraud,
)
from models.fraud import FraudReview, FraudReviewState
from models.money import Money
from models.payments import Payment, PaymentState, Refund, RefundState
from services.analytics.periods import Period
from services.analytics.reports.figures import rate, window_of, window_or_none
from services.analytics.scopes import ReportScope
from services.heavy import heavy_work
from services.payments.offline import IMPORTED
from services.users.permissions import Permission, Viewer

Row = dict[str, Any]

BLOCKED = "blocked"  # the failure code of what a rule refused
_TRIED_HERE: Row = {"gateway": {"$ne": IMPORTED}}  # what came with an import was tried, and settled, elsewhere


class PaymentReportService:
    @staticmethod
    async def get_payments(scope: ReportScope, *, viewer: Viewer) -> PaymentReport:
        """Attempts, outcomes and refunds of the period by method, gateway and reason, all zero when there were none.

        Five commands, seven with a comparison; the cost grows with the payments of the period. Raises PermissionDeniedError and
        OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        currency, earlier = scope.currency, scope.previous
        bounds = scope.period.bounds
        async with heavy_work():
            begun, settled = await _payments(scope.period, currency)
            refunds = await Refund.aggregate_rows(refunds_pipeline(currency, *bounds))
            open_payments = await Payment.aggregate_rows(open_pipeline(currency, PaymentState.PROCESSING))
            open_refunds = await Refund.aggregate_rows(open_pipeline(currency, RefundState.PENDING))
            before = None if earlier is None else await _payments(earlier, currency)
        done = [row for row in refunds if row["_id"]["state"] == RefundState.SUCCEEDED]
        return PaymentReport(
            window=window_of(scope.period),
            currency=currency,
            figures=PaymentFigures(**_figures(currency, begun, settled)),
            refunds_count=_sum(done, "count"),
            refunds=Money(amount=_sum(done, "amount"), currency=currency),
            failed_refunds_count=_sum((row for row in refunds if row["_id"]["state"] == RefundState.FAILED), "count"),
            failures=_failures(settled),
            methods=[
                MethodPayments(method=method, **_figures(currency, *_of("method", method, begun, settled)))
                for method in _names("method", begun, settled)
            ],
            gateways=[
                GatewayPayments(
                    gateway=gateway,
                    refunds_count=_sum(own, "count"),
                    refunds=Money(amount=_sum(own, "amount"), currency=currency),
                    **_figures(currency, *_of("gateway", gateway, begun, settled)),
                )
                for gateway in _names("gateway", begun, settled, done)
                for own in _of("gateway", gateway, done)
            ],
            open_payments_count=_sum(open_payments, "count"),
            open_refunds_count=_sum(open_refunds, "count"),
            previous_window=window_or_none(earlier),
            previous=None if before is None else PaymentFigures(**_figures(currency, *before)),
        )

    @staticmethod
    async def get_fraud(scope: ReportScope, *, viewer: Viewer) -> FraudReport:
        """What the rules held back and people decided in the period, by rule, all zero when nothing was. Four commands.

        Raises PermissionDeniedError and OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        currency = scope.currency
        bounds = scope.period.bounds
        async with heavy_work():
            held = await FraudReview.aggregate_rows(reviews_pipeline(currency, "created_at", *bounds))
            decided = await FraudReview.aggregate_rows(reviews_pipeline(currency, "decided_at", *bounds))
            waiting = await FraudReview.aggregate_rows(waiting_pipeline(currency))
            blocked = await Payment.aggregate_rows(blocked_pipeline(currency, *bounds))
        rules = sorted({row["_id"]["rule"] for row in (*held, *decided, *waiting)})
        return FraudReport(
            window=window_of(scope.period),
            currency=currency,
            figures=FraudFigures(**_fraud(currency, held, decided)),
            open_count=_sum(waiting, "count"),
            blocked_count=_sum(blocked, "count"),
            blocked=Money(amount=_sum(blocked, "amount"), currency=currency),
            rules=[
                RuleFraud(
                    rule=rule,
                    open_count=_sum(own, "count"),
                    **_fraud(currency, *_of("rule", rule, held, decided)),
                )
                for rule in rules
                for own in _of("rule", rule, waiting)
            ],
        )


async def _payments(period: Period, currency: str) -> tuple[list[Row], list[Row]]:
    """What was begun and what was settled within the period."""
    begun = await Payment.aggregate_rows(begun_pipeline(currency, *period.bounds))
    return begun, await Payment.aggregate_rows(settled_pipeline(currency, *period.bounds))


def begun_pipeline(currency: str, starts_at: datetime, ends_at: datetime) -> list[Row]:
    """Rows `{"_id": {"method": "card", "gateway": "stripe"}, "count": 3}`; starts in `payments`."""
    return [
        {"$match": {"created_at": {"$gte": starts_at, "$lt": ends_at}}},
        {"$match": {"amount.currency": currency, **_TRIED_HERE}},
        {"$group": {"_id": {"method": "$method", "gateway": "$gateway"}, "count": {"$sum": 1}}},
    ]


def settled_pipeline(currency: str, starts_at: datetime, ends_at: datetime) -> list[Row]:
    """Rows `{"_id": {"method": "card", "gateway": "stripe", "state": "captured", "code": None}, "count": 3, "captured": 900}`."""
    key = {"method": "$method", "gateway": "$gateway", "state": "$state", "code": "$failure_code"}
    return [
        {"$match": {"settled_at": {"$gte": starts_at, "$lt": ends_at}}},
        {"$match": {"amount.currency": currency, **_TRIED_HERE}},
        {"$group": {"_id": key, "count": {"$sum": 1}, "captured": {"$sum": "$captured"}}},
    ]


def refunds_pipeline(currency: str, starts_at: datetime, ends_at: datetime) -> list[Row]:
    """Rows `{"_id": {"gateway": "stripe", "state": "succeeded"}, "count": 2, "amount": 500}`; starts in `refunds`."""
    return [
        {"$match": {"settled_at": {"$gte": starts_at, "$lt": ends_at}}},
        {"$match": {"amount.currency": currency, **_TRIED_HERE}},
        {
            "$group": {
                "_id": {"gateway": "$gateway", "state": "$state"},
                "count": {"$sum": 1},
                "amount": {"$sum": "$amount.amount"},
            }
        },
    ]


def open_pipeline(currency: str, state: PaymentState | RefundState) -> list[Row]:
    """One row, `{"count": 2}`, or none."""
    return [
        {"$match": {"state": state}},
        {"$match": {"amount.currency": currency}},
        {"$group": {"_id": None, "count": {"$sum": 1}}},
        {"$project": {"_id": 0}},
    ]


def reviews_pipeline(currency: str, field: str, starts_at: datetime, ends_at: datetime) -> list[Row]:
    """Rows `{"_id": {"rule": "amount above 10000", "state": "open"}, "count": 2, "amount": 90000}`; starts in `fraud_reviews`."""
    return [{"$match": {field: {"$gte": starts_at, "$lt": ends_at}}}, *_reviews_by_rule(currency)]


def waiting_pipeline(currency: str) -> list[Row]:
    """As `reviews_pipeline`, of those that are open now."""
    return [{"$match": {"state": FraudReviewState.OPEN}}, *_reviews_by_rule(currency)]


def blocked_pipeline(currency: str, starts_at: datetime, ends_at: datetime) -> list[Row]:
    """One row, `{"count": 2, "amount": 2400000}`, or none; starts in `payments`."""
    return [
        {"$match": {"settled_at": {"$gte": starts_at, "$lt": ends_at}}},
        {"$match": {"state": PaymentState.FAILED, "failure_code": BLOCKED, "amount.currency": currency}},
        {"$group": {"_id": None, "count": {"$sum": 1}, "amount": {"$sum": "$amount.amount"}}},
        {"$project": {"_id": 0}},
    ]


def _reviews_by_rule(currency: str) -> list[Row]:
    return [
        {"$match": {"amount.currency": currency}},
        {
            "$group": {
                "_id": {"rule": "$rule", "state": "$state"},
                "count": {"$sum": 1},
                "amount": {"$sum": "$amount.amount"},
            }
        },
    ]


def _sum(rows: Iterable[Mapping[str, Any]], field: str) -> int:
    return sum(int(row[field]) for row in rows)


def _names(part: str, *tables: list[Row]) -> list[str]:
    return sorted({row["_id"][part] for table in tables for row in table})


def _of(part: str, name: str, *tables: list[Row]) -> list[list[Row]]:
    """The rows of each table whose key has this part."""
    return [[row for row in table if row["_id"][part] == name] for table in tables]


def _figures(currency: str, begun: list[Row], settled: list[Row]) -> dict[str, Any]:
    """The fields of PaymentFigures."""
    by_state = {state: [row for row in settled if row["_id"]["state"] == state] for state in PaymentState}
    captured = _sum(by_state[PaymentState.CAPTURED], "count")
    failed = _sum(by_state[PaymentState.FAILED], "count")
    return {
        "attempts_count": _sum(begun, "count"),
        "captured_count": captured,
        "captured": Money(amount=_sum(by_state[PaymentState.CAPTURED], "captured"), currency=currency),
        "failed_count": failed,
        "voided_count": _sum(by_state[PaymentState.VOIDED], "count"),
        "capture_rate": rate(captured, captured + failed),
    }


def _failures(settled: list[Row]) -> list[FailureCount]:
    counts: dict[str, int] = {}
    for row in settled:
        if row["_id"]["state"] == PaymentState.FAILED:
            code = row["_id"].get("code") or ""
            counts[code] = counts.get(code, 0) + int(row["count"])
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return [FailureCount(code=code, count=count) for code, count in ranked]


def _fraud(currency: str, held: list[Row], decided: list[Row]) -> dict[str, Any]:
    """The fields of FraudFigures."""
    released = [row for row in decided if row["_id"]["state"] == FraudReviewState.APPROVED]
    rejected = [row for row in decided if row["_id"]["state"] == FraudReviewState.REJECTED]
    fields: dict[str, Any] = {}
    for name, rows in (("reviewed", held), ("released", released), ("rejected", rejected)):
        fields[f"{name}_count"] = _sum(rows, "count")
        fields[name] = Money(amount=_sum(rows, "amount"), currency=currency)
    return fields
