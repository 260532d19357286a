"""Fraud: the rules, and the payments that wait for a person."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import Allowed, Config, Cursor, Cursors, GatewaysOf, IfMatch, Limit, ListenerOf, ObjectIdPath
from api.routing import make_router, outside_transaction, refuses
from api.schemas.payments import FraudRuleCreate, FraudRuleUpdate, ReviewDecision
from models.fraud import FraudReviewRead, FraudReviewState, FraudRuleRead
from services.errors import PreconditionError
from services.pagination import CursorPage, InvalidCursorError
from services.payments.gateways import UnknownGatewayError
from services.payments.reviews import FraudReviewDecidedError, FraudReviewNotFoundError, FraudReviewService
from services.payments.rules import (
    FraudRuleNameTakenError,
    FraudRuleNotFoundError,
    FraudRuleService,
    TooManyFraudRulesError,
)
from services.users.permissions import Permission, Viewer

router = make_router("/payments/fraud", "Payments: fraud")

Cashier = Annotated[Viewer, Allowed(Permission.MANAGE_PAYMENTS)]


@router.get("/rules")
async def list_fraud_rules(viewer: Cashier) -> list[FraudRuleRead]:
    """All rules in the order in which they are asked: the first that fits decides."""
    return await FraudRuleService.list_rules(viewer=viewer)


@router.post("/rules", status_code=201, responses=refuses(FraudRuleNameTakenError, TooManyFraudRulesError))
async def create_fraud_rule(body: FraudRuleCreate, viewer: Cashier) -> FraudRuleRead:
    """Add a rule; it counts from the next payment on."""
    return await FraudRuleService.create_rule(body, viewer=viewer)


@router.get("/rules/{rule_id}", response_model=FraudRuleRead, responses={**refuses(FraudRuleNotFoundError), **NOT_MODIFIED})
async def get_fraud_rule(request: Request, rule_id: ObjectIdPath, viewer: Cashier) -> Response:
    """A rule with its conditions, on or off."""
    return answer(request, await FraudRuleService.get_rule(rule_id, viewer=viewer))


@router.patch("/rules/{rule_id}", response_model=FraudRuleRead, responses=refuses(FraudRuleNotFoundError, PreconditionError))
async def update_fraud_rule(
    request: Request, rule_id: ObjectIdPath, body: FraudRuleUpdate, viewer: Cashier, revision: IfMatch
) -> Response:
    """Change a rule, or switch it off and on."""
    return answer(request, await FraudRuleService.update_rule(rule_id, body, viewer=viewer, revision=revision))


@router.delete("/rules/{rule_id}", status_code=204, responses=refuses(FraudRuleNotFoundError))
async def delete_fraud_rule(rule_id: ObjectIdPath, viewer: Cashier) -> None:
    """Remove a rule. Without any rule the default ones hold."""
    await FraudRuleService.delete_rule(rule_id, viewer=viewer)


@router.get("/reviews", responses=refuses(InvalidCursorError))
async def list_fraud_reviews(
    viewer: Cashier,
    cursors: Cursors,
    state: Annotated[FraudReviewState, Query(description="Which reviews")] = FraudReviewState.OPEN,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> CursorPage[FraudReviewRead]:
    """Payments that wait for a decision, the newest first."""
    return await FraudReviewService.list_reviews(viewer=viewer, cursors=cursors, state=state, cursor=cursor, limit=limit)


@router.post(
    "/reviews/{review_id}/approve",
    responses=refuses(FraudReviewNotFoundError, FraudReviewDecidedError, UnknownGatewayError),
)
@outside_transaction
async def approve_fraud_review(
    review_id: ObjectIdPath,
    body: ReviewDecision,
    viewer: Cashier,
    gateways: GatewaysOf,
    listener: ListenerOf,
    settings: Config,
) -> FraudReviewRead:
    """Let the payment go on; it is charged now."""
    return await FraudReviewService.approve_review(
        review_id, viewer=viewer, note=body.note, gateways=gateways, listener=listener, settings=settings
    )


@router.post("/reviews/{review_id}/reject", responses=refuses(FraudReviewNotFoundError, FraudReviewDecidedError))
async def reject_fraud_review(
    review_id: ObjectIdPath, body: ReviewDecision, viewer: Cashier, listener: ListenerOf
) -> FraudReviewRead:
    """Refuse the payment; nothing was charged."""
    return await FraudReviewService.reject_review(review_id, viewer=viewer, note=body.note, listener=listener)
