"""How payments went, and what fraud rules did."""

from fastapi import Request
from starlette.responses import Response

from api.reports import Analyst, ReportPeriod, answer_report, reports
from api.routing import make_router
from models.analytics.payments import FraudReport, PaymentReport
from services.analytics.reports.payments import PaymentReportService

router = make_router("/analytics/payments", "Analytics: payments")


@router.get("", response_model=PaymentReport, responses=reports())
async def get_payment_report(request: Request, viewer: Analyst, scope: ReportPeriod) -> Response:
    """Attempts, captures, failures by reason and refunds, by method and gateway, and what is open now."""
    return await answer_report(request, scope, make=lambda: PaymentReportService.get_payments(scope, viewer=viewer))


@router.get("/fraud", response_model=FraudReport, responses=reports())
async def get_fraud_report(request: Request, viewer: Analyst, scope: ReportPeriod) -> Response:
    """What fraud rules held back and blocked, and what people decided, by rule."""
    return await answer_report(request, scope, make=lambda: PaymentReportService.get_fraud(scope, viewer=viewer))
