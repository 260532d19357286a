"""The fraud check: rules as data, asked before anything is charged."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from models.database import Session
from models.fraud import FraudAction, FraudCondition, FraudField, FraudOperator, FraudRule
from models.money import decimal_text
from models.payments import Payment, PaymentState
from services.cache import Cache

MAX_RULES = 200
MAX_COUNT = 1000  # how far declines and payments are counted

WINDOWED_FIELDS = frozenset(
    {
        FraudField.DECLINES_OF_CUSTOMER,
        FraudField.DECLINES_OF_ADDRESS,
        FraudField.PAYMENTS_OF_CUSTOMER,
        FraudField.PAYMENTS_OF_ADDRESS,
    }
)
NUMERIC_FIELDS = WINDOWED_FIELDS | {FraudField.AMOUNT, FraudField.ACCOUNT_AGE_HOURS}
ORDERING_OPERATORS = frozenset({FraudOperator.ABOVE, FraudOperator.AT_LEAST, FraudOperator.BELOW})


def _above(amount: str) -> FraudCondition:
    return FraudCondition(field=FraudField.AMOUNT, operator=FraudOperator.ABOVE, values=[amount])


def _declines(subject: FraudField) -> FraudCondition:
    return FraudCondition(field=subject, operator=FraudOperator.AT_LEAST, values=["20"], window_minutes=10)


def default_rules() -> list[FraudRule]:
    """The rules a shop begins with. They also hold while there is not a single rule: no rules never means no check."""
    card = FraudCondition(field=FraudField.METHOD, operator=FraudOperator.IS, values=["card"])
    return [
        FraudRule(
            name="20 declines of a customer in 10 minutes",
            description="Someone tries cards.",
            conditions=[_declines(FraudField.DECLINES_OF_CUSTOMER)],
            action=FraudAction.BLOCK,
            priority=10,
        ),
        FraudRule(
            name="20 declines of a network address in 10 minutes",
            description="Someone tries cards under many names.",
            conditions=[_declines(FraudField.DECLINES_OF_ADDRESS)],
            action=FraudAction.BLOCK,
            priority=11,
        ),
        FraudRule(name="amount above 10000", conditions=[_above("10000")], action=FraudAction.REVIEW, priority=100),
        FraudRule(name="card amount above 5000", conditions=[card, _above("5000")], action=FraudAction.REVIEW, priority=101),
    ]


_rules: Cache[str, list[FraudRule]] = Cache("fraud_rules", ttl=2, size=1)


def forget_rules() -> None:
    """For after a rule was made, changed or removed."""
    _rules.invalidate()


async def _load() -> list[FraudRule]:
    rows = await FraudRule.find_rows({}, sort=[("priority", 1), ("_id", 1)], limit=MAX_RULES)
    return [FraudRule.from_row(row) for row in rows] or default_rules()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say, and which of them said it; nothing when none fits."""

    action: FraudAction = FraudAction.ALLOW
    rule: str | None = None


@dataclass(slots=True)
class _Case:
    """The payment under judgement; what has to be counted is counted once and only when a rule asks."""

    payment: Payment
    now: datetime
    session: Session
    counts: dict[tuple[FraudField, int], int] = field(default_factory=dict)


class FraudService:
    @staticmethod
    async def check(payment: Payment, *, session: Session, now: datetime) -> Verdict:
        """The verdict of the first rule that fits, lowest priority first.

        The rules themselves are held for two seconds: so long may another process ask by those of before.
        """
        case = _Case(payment, now, session)
        for rule in await _rules.get_or_load("all", _load):
            if rule.enabled and await _fits(rule.conditions, case):
                return Verdict(rule.action, rule.name)
        return Verdict()


async def _fits(conditions: Sequence[FraudCondition], case: _Case) -> bool:
    for condition in conditions:
        if not _holds(condition, await _value(condition, case)):
            return False
    return bool(conditions)


def _holds(condition: FraudCondition, value: str | Decimal) -> bool:
    if isinstance(value, Decimal):
        wanted = [Decimal(text) for text in condition.values]
        if condition.operator in ORDERING_OPERATORS:
            return _compares(condition.operator, value, wanted[0])
        return (value in wanted) == (condition.operator is FraudOperator.IS)
    return (value.casefold() in {text.casefold() for text in condition.values}) == (condition.operator is FraudOperator.IS)


def _compares(operator: FraudOperator, value: Decimal, limit: Decimal) -> bool:
    if operator is FraudOperator.ABOVE:
        return value > limit
    return value >= limit if operator is FraudOperator.AT_LEAST else value < limit


async def _value(condition: FraudCondition, case: _Case) -> str | Decimal:
    payment = case.payment
    if condition.field in WINDOWED_FIELDS:
        key = (condition.field, condition.window_minutes)
        if key not in case.counts:
            case.counts[key] = await _count(*key, case)
        return Decimal(case.counts[key])
    match condition.field:
        case FraudField.AMOUNT:
            return Decimal(decimal_text(payment.amount.amount, payment.amount.currency))
        case FraudField.ACCOUNT_AGE_HOURS:
            age = case.now - payment.payer_since if payment.payer_since else timedelta(0)
            return Decimal(int(age.total_seconds() // 3600))
        case FraudField.CURRENCY:
            return payment.amount.currency
        case FraudField.METHOD:
            return payment.method
        case FraudField.GATEWAY:
            return payment.gateway
        case _:
            return payment.country or ""


async def _count(subject: FraudField, minutes: int, case: _Case) -> int:
    """Payments of one customer or network address that were sent to a gateway within the window, this one not among them.

    One that is not answered yet counts as declined, so that many at once do not slip through together.
    """
    payment = case.payment
    of_customer = subject in (FraudField.DECLINES_OF_CUSTOMER, FraudField.PAYMENTS_OF_CUSTOMER)
    name, value = ("customer_key", payment.customer_key) if of_customer else ("client_address", payment.client_address)
    if not value:
        return 0
    query: dict[str, Any] = {name: value, "asked_at": {"$gt": case.now - timedelta(minutes=minutes)}}
    rows = await Payment.find_rows(query, {"state": 1, "declined_at": 1}, limit=MAX_COUNT, session=case.session)
    others = [row for row in rows if row["_id"] != payment.id]
    if subject in (FraudField.PAYMENTS_OF_CUSTOMER, FraudField.PAYMENTS_OF_ADDRESS):
        return len(others)
    return sum(1 for row in others if row["declined_at"] is not None or row["state"] == PaymentState.PROCESSING)
