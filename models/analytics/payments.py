"""What reports of payments and of fraud tell."""

from pydantic import Field

from models.analytics.reports import Frozen, ReportWindow
from models.money import Currency, Money


class PaymentFigures(Frozen):
    """Payments within a time: attempts when they were begun, outcomes when they came. All zero when nothing happened."""

    attempts_count: int = Field(description="Payments begun", examples=[60])
    captured_count: int = Field(description="Payments whose money was taken", examples=[51])
    captured: Money = Field(description="What was taken; refunds do not lessen it")
    failed_count: int = Field(description="Declined by the gateway, blocked by a rule, or refused by a person", examples=[7])
    voided_count: int = Field(description="Let go again; nothing was taken", examples=[1])
    capture_rate: int | None = Field(
        description="captured_count / (captured_count + failed_count), in basis points, half-up; null when there were none",
        examples=[8793],
    )


class MethodPayments(PaymentFigures):
    """Those of one method."""

    method: str = Field(examples=["card"])


class GatewayPayments(PaymentFigures):
    """Those through one gateway."""

    gateway: str = Field(examples=["stripe"])
    refunds_count: int = Field(examples=[3])
    refunds: Money = Field(description="What was given back")


class FailureCount(Frozen):
    """Payments that failed for one reason."""

    code: str = Field(description="The gateway's code; `blocked` by a rule, `rejected` by a person", examples=["card_declined"])
    count: int = Field(examples=[5])


class PaymentReport(Frozen):
    """How payments went in a period, and what is open now."""

    window: ReportWindow
    currency: Currency
    figures: PaymentFigures
    refunds_count: int = Field(description="Refunds that succeeded within the period, whenever the payment was", examples=[3])
    refunds: Money
    failed_refunds_count: int = Field(description="Refunds the gateway refused within it", examples=[0])
    failures: list[FailureCount] = Field(description="Failed payments by reason, the most frequent first, then by code")
    methods: list[MethodPayments] = Field(description="By method, those with something to tell, by name")
    gateways: list[GatewayPayments] = Field(description="By gateway, those with something to tell, by name")
    open_payments_count: int = Field(description="Sent to a gateway, the outcome not known yet, now", examples=[0])
    open_refunds_count: int = Field(description="On their way or of unknown outcome, now", examples=[0])
    previous_window: ReportWindow | None = Field(description="Null unless a comparison was asked for; so is the next")
    previous: PaymentFigures | None


class FraudFigures(Frozen):
    """What the fraud rules held back within a time, and what people decided within it."""

    reviewed_count: int = Field(description="Payments held for a person to look at", examples=[6])
    reviewed: Money
    released_count: int = Field(description="Reviews that let the payment go on", examples=[4])
    released: Money
    rejected_count: int = Field(description="Reviews that refused it", examples=[1])
    rejected: Money


class RuleFraud(FraudFigures):
    """What one rule held back."""

    rule: str = Field(description="Its name, as it was", examples=["amount above 10000"])
    open_count: int = Field(description="Waiting for a decision, now", examples=[1])


class FraudReport(Frozen):
    """Fraud rules at work in a period. A block names no rule: it is told in one sum."""

    window: ReportWindow
    currency: Currency
    figures: FraudFigures
    open_count: int = Field(description="Waiting for a decision, now", examples=[1])
    blocked_count: int = Field(description="Payments that a rule refused outright within the period", examples=[2])
    blocked: Money
    rules: list[RuleFraud] = Field(description="Rules that held something back or have something waiting, by name")
