"""From the counts of rollups to the figures of reports."""

from collections.abc import Mapping
from typing import Any

from models.analytics.reports import ReportWindow, SalesChange, SalesFigures
from models.money import BASIS_POINTS, Money, half_up
from services.analytics.periods import Period

Totals = Mapping[str, int]  # a metric that never happened has no entry


def window_of(period: Period) -> ReportWindow:
    starts_at, ends_at = period.bounds
    return ReportWindow(start=period.start, end=period.end, timezone=period.zone.key, starts_at=starts_at, ends_at=ends_at)


def window_or_none(period: Period | None) -> ReportWindow | None:
    return None if period is None else window_of(period)


def sales_fields(totals: Totals, currency: str) -> dict[str, Any]:
    """The fields of SalesFigures, zero where nothing happened."""
    orders, total, refunds = totals.get("orders", 0), totals.get("total", 0), totals.get("refunds", 0)
    return {
        "orders_count": orders,
        "units_count": totals.get("units", 0),
        **{name: Money(amount=totals.get(name, 0), currency=currency) for name in ("gross", "discount", "tax", "shipping")},
        "total": Money(amount=total, currency=currency),
        "refunds": Money(amount=refunds, currency=currency),
        "refunds_count": totals.get("refunded_count", 0),
        "net": Money(amount=total - refunds, currency=currency),
        "average_order_value": Money(amount=half_up(total, orders) if orders else 0, currency=currency),
        "cancelled_count": totals.get("cancelled", 0),
    }


def sales_figures(totals: Totals, currency: str) -> SalesFigures:
    return SalesFigures(**sales_fields(totals, currency))


def line_fields(totals: Totals, currency: str) -> dict[str, Any]:
    """The fields of LineFigures."""
    return {
        "orders_count": totals.get("orders", 0),
        "units_count": totals.get("units", 0),
        **{name: Money(amount=totals.get(name, 0), currency=currency) for name in ("gross", "discount", "tax", "total")},
        "returned_units_count": totals.get("returned_units", 0),
    }


def change_of(now: SalesFigures, before: SalesFigures) -> SalesChange:
    """How far each figure moved, in basis points of its size before."""
    moved: dict[str, int | None] = {}
    for name in SalesChange.model_fields:
        new, old = getattr(now, name), getattr(before, name)
        moved[name] = change(new.amount, old.amount) if isinstance(new, Money) else change(new, old)
    return SalesChange(**moved)


def change(new: int, old: int) -> int | None:
    """In basis points of the size before, half-up; None where that was 0."""
    return half_up((new - old) * BASIS_POINTS, abs(old)) if old else None


def rate(part: int, whole: int) -> int | None:
    """The part in basis points of the whole, half-up; None where that is 0."""
    return half_up(part * BASIS_POINTS, whole) if whole else None
