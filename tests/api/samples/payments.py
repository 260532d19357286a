"""Payments: staff's alone. What paths lead to needs no gateway: a promise by invoice, or a paid one where it is refunded."""

from datetime import timedelta

from beanie import PydanticObjectId

from models.base import now
from models.fraud import FraudAction, FraudCondition, FraudField, FraudOperator, FraudReview, FraudRule
from models.payments import Payment, PaymentState
from tests.api.world import Body, Operation, Provider, Query, World, fixed
from tests.factories.payments import captured_payment, create_payment, make_payment


async def _payment_id(world: World, operation: Operation, variant: str) -> str:
    if "refund" in operation.id:
        captured: Payment = await world.once("captured payment", lambda: captured_payment(method="invoice", gateway="offline"))
        return str(captured.id)
    made: Payment = await world.once("payment", lambda: create_payment(**_authorised()))
    return str(made.id)


def _authorised() -> dict[str, object]:
    moment = now() - timedelta(minutes=5)
    terms = {"method": "invoice", "gateway": "offline", "token": None}
    return {**terms, "state": PaymentState.AUTHORISED, "asked_at": moment, "settled_at": moment, "sent_count": 1}


async def _review_id(world: World, operation: Operation, variant: str) -> str:
    async def make() -> FraudReview:
        held = make_payment(state=PaymentState.IN_REVIEW, method="invoice", gateway="offline", token=None)
        await held.store()
        return await FraudReview(
            payment_id=held.id, subject=held.subject, rule="amount above 10000", amount=held.amount, method=held.method
        ).store()

    made: FraudReview = await world.once("review", make)
    return str(made.id)


async def _rule_id(world: World, operation: Operation, variant: str) -> str:
    async def make() -> FraudRule:
        condition = FraudCondition(field=FraudField.COUNTRY, operator=FraudOperator.IS, values=["AQ"])
        return await FraudRule(name=f"Antarctica {PydanticObjectId()}", conditions=[condition], action=FraudAction.BLOCK).store()

    made: FraudRule = await world.once("rule", make)
    return str(made.id)


async def _gateway(world: World, operation: Operation, variant: str) -> str:
    return "offline"


async def _new_rule(world: World) -> dict[str, object]:
    condition = {"field": "declines_of_customer", "operator": "at_least", "values": ["5"], "window_minutes": 60}
    return {"name": f"Many declines {PydanticObjectId()}", "conditions": [condition], "action": "block"}


_PART = {"amount": {"amount": "9.90", "currency": "USD"}}

VALUES: dict[str, Provider] = {
    "payment_id": _payment_id,
    "review_id": _review_id,
    "rule_id": _rule_id,
    "gateway": _gateway,
}
QUERIES: dict[str, Query] = {}
BODIES: dict[str, Body] = {
    "capture_payment": fixed(**_PART),
    "refund_payment": fixed(**_PART, reason="One piece came back"),
    "create_fraud_rule": _new_rule,
    "update_fraud_rule": fixed(enabled=False),
    "approve_fraud_review": fixed(note="Called the customer"),
    "reject_fraud_review": fixed(note="Nobody answers"),
}


async def _span(world: World, variant: str) -> dict[str, str]:
    return {"gateway": "offline", "since": "2026-11-20T00:00:00Z", "until": "2026-11-21T00:00:00Z"}


QUERIES["reconcile_payments"] = _span
