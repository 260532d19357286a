"""How payments went and what fraud rules did: from rollups, by when it happened, and what is open now.

An attempt counts when it was begun, once anybody answered: a gateway, a fraud rule, a person. An outcome counts when it came, a
refund when it succeeded: what comes later moves its own time alone. So a payment that failed, or was let go, and was captured all
the same is both. Payments that came with an import were never tried here and count nowhere.
"""

from collections.abc import Callable, Iterable, Mapping
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
from models.analytics.rollups import Dimension
from models.fraud import FraudReview, FraudReviewState
from models.money import Money
from models.payments import Payment, PaymentState, Refund, RefundState
from services.analytics.reports.figures import Totals, rate, window_of, window_or_none
from services.analytics.rollups.counting import add_up
from services.analytics.rollups.rollups import RollupService, Sums
from services.analytics.scopes import ReportScope
from services.heavy import rollup_reads
from services.users.permissions import Permission, Viewer

Row = dict[str, Any]

BLOCKED = "blocked"  # the failure code of what a rule refused
_TRIED = ("attempts", "captured_count", "failed", "voided")


class PaymentReportService:
    @staticmethod
    async def get_payments(scope: ReportScope, *, viewer: Viewer) -> PaymentReport:
        """Attempts, outcomes and refunds of the period by method, gateway and reason, all zero when there were none.

        Six commands, eight where days of UTC are cut; a comparison costs none. Raises PermissionDeniedError and OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        currency, earlier = scope.currency, scope.previous
        async with rollup_reads():
            found = await RollupService.by_key_within(Dimension.PAYMENT, currency=currency, bounds=scope.bounds)
            failures = await RollupService.by_key(Dimension.FAILURE, currency=currency, period=scope.period)
            open_payments = await Payment.aggregate_rows(open_pipeline(currency, PaymentState.PROCESSING))
            open_refunds = await Refund.aggregate_rows(open_pipeline(currency, RefundState.PENDING))
        sums = _together(found[-1].values())
        methods = _grouped(found[-1], lambda method, gateway: method)
        gateways = _grouped(found[-1], lambda method, gateway: gateway)
        return PaymentReport(
            window=window_of(scope.period),
            currency=currency,
            figures=PaymentFigures(**_figures(currency, sums)),
            **_refunds(currency, sums),
            failed_refunds_count=sums.get("failed_refunds", 0),
            failures=[
                FailureCount(code=code, count=own["failed"])
                for code, own in sorted(failures.items(), key=lambda one: (-one[1]["failed"], one[0]))
            ],
            methods=[
                MethodPayments(method=method, **_figures(currency, own))
                for method, own in sorted(methods.items())
                if _is_told(own, _TRIED)
            ],
            gateways=[
                GatewayPayments(gateway=gateway, **_refunds(currency, own), **_figures(currency, own))
                for gateway, own in sorted(gateways.items())
                if _is_told(own, (*_TRIED, "refunded_count"))
            ],
            open_payments_count=_sum(open_payments, "count"),
            open_refunds_count=_sum(open_refunds, "count"),
            previous_window=window_or_none(earlier),
            previous=None if earlier is None else PaymentFigures(**_figures(currency, _together(found[0].values()))),
        )

    @staticmethod
    async def get_fraud(scope: ReportScope, *, viewer: Viewer) -> FraudReport:
        """What the rules held back and people decided in the period, by rule, all zero when nothing was.

        Five commands, seven where days of UTC are cut. Raises PermissionDeniedError and OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        currency, period = scope.currency, scope.period
        async with rollup_reads():
            found = await RollupService.by_key(Dimension.RULE, currency=currency, period=period)
            blocked = await RollupService.totals(Dimension.FAILURE, key=BLOCKED, currency=currency, period=period)
            rows = await FraudReview.aggregate_rows(waiting_pipeline(currency))
        waiting = {row["_id"]: int(row["count"]) for row in rows}
        return FraudReport(
            window=window_of(period),
            currency=currency,
            figures=FraudFigures(**_fraud(currency, _together(found.values()))),
            open_count=sum(waiting.values()),
            blocked_count=blocked["failed"],
            blocked=Money(amount=blocked["amount"], currency=currency),
            rules=[
                RuleFraud(rule=rule, open_count=waiting.get(rule, 0), **_fraud(currency, found.get(rule, {})))
                for rule in sorted({*found, *waiting})
            ],
        )


def open_pipeline(currency: str, state: PaymentState | RefundState) -> list[Row]:
    """One row, `{"count": 2}`, or none."""
    return [
        {"$match": {"state": state}},
        {"$match": {"amount.currency": currency}},
        {"$group": {"_id": None, "count": {"$sum": 1}}},
        {"$project": {"_id": 0}},
    ]


def waiting_pipeline(currency: str) -> list[Row]:
    """Rows `{"_id": "amount above 10000", "count": 2}`, of what is open now; starts in `fraud_reviews`."""
    return [
        {"$match": {"state": FraudReviewState.OPEN}},
        {"$match": {"amount.currency": currency}},
        {"$group": {"_id": "$rule", "count": {"$sum": 1}}},
    ]


def _sum(rows: Iterable[Mapping[str, Any]], field: str) -> int:
    return sum(int(row[field]) for row in rows)


def _together(parts: Iterable[Totals]) -> Sums:
    sums: Sums = {}
    for part in parts:
        add_up(sums, part)
    return sums


def _grouped(found: Mapping[str, Sums], name_of: Callable[[str, str], str]) -> dict[str, Sums]:
    """The sums of ways to pay, `card/stripe`, by one part of their names."""
    groups: dict[str, Sums] = {}
    for way, sums in found.items():
        method, _, gateway = way.partition("/")
        add_up(groups.setdefault(name_of(method, gateway), {}), sums)
    return groups


def _is_told(sums: Totals, names: Iterable[str]) -> bool:
    return any(sums.get(name) for name in names)


def _figures(currency: str, sums: Totals) -> dict[str, Any]:
    """The fields of PaymentFigures."""
    captured, failed = sums.get("captured_count", 0), sums.get("failed", 0)
    return {
        "attempts_count": sums.get("attempts", 0),
        "captured_count": captured,
        "captured": Money(amount=sums.get("captured", 0), currency=currency),
        "failed_count": failed,
        "voided_count": sums.get("voided", 0),
        "capture_rate": rate(captured, captured + failed),
    }


def _refunds(currency: str, sums: Totals) -> dict[str, Any]:
    return {
        "refunds_count": sums.get("refunded_count", 0),
        "refunds": Money(amount=sums.get("refunds", 0), currency=currency),
    }


def _fraud(currency: str, sums: Totals) -> dict[str, Any]:
    """The fields of FraudFigures."""
    fields: dict[str, Any] = {}
    for name in ("reviewed", "released", "rejected"):
        fields[f"{name}_count"] = sums.get(f"{name}_count", 0)
        fields[name] = Money(amount=sums.get(name, 0), currency=currency)
    return fields
