"""Payments: what is to be paid, every word exchanged with a gateway about it, and what was given back."""

from enum import StrEnum
from typing import Any

from beanie import PydanticObjectId
from pydantic import Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime
from models.money import Currency, Money


class PaymentState(StrEnum):
    CREATED = "created"  # written down, the gateway not asked yet
    PROCESSING = "processing"  # the gateway was asked; without an answer the outcome is unknown and is asked about
    IN_REVIEW = "in_review"  # a fraud rule wants a person to look first
    AUTHORISED = "authorised"
    CAPTURED = "captured"
    FAILED = "failed"  # declined, or blocked: nothing was taken
    VOIDED = "voided"


class Payment(AgoraDocument):
    """One attempt to pay one thing. Written before the gateway is called, kept whatever comes of it."""

    subject: str  # what is paid: `order:<id>`
    key: str  # of the attempt, also the gateway's idempotency key: asked twice, charged once
    customer_key: str = ""  # who pays, for the fraud rules
    amount: Money
    method: str
    gateway: str
    gateway_reference: str | None = None  # the gateway's own id
    instrument: str | None = None  # what the gateway told of the card: `visa ****4242`; never a number
    token: str | None = Field(default=None, repr=False)  # the client's one-time token for the gateway; dropped when used
    captures_later: bool = False
    state: PaymentState = PaymentState.CREATED
    failure_code: str | None = None
    failure_message: str | None = None
    # In minor units of `amount.currency`; refundable = captured - refunded - what running refunds hold
    captured: int = 0
    refunded: int = 0
    refundable: int = 0
    asked_at: UtcDatetime | None = None  # when the gateway was last called
    check_at: UtcDatetime | None = None  # when the resolver asks about an unknown outcome
    checks_count: int = 0
    settled_at: UtcDatetime | None = None

    class Settings:
        name = "payments"
        indexes = [
            IndexModel([("key", ASCENDING)], name="key_unique", unique=True),
            # What was tried for one order, newest first.
            IndexModel([("subject", ASCENDING), ("_id", DESCENDING)], name="subject_newest"),
            # Inbound webhooks name the gateway's id.
            IndexModel([("gateway_reference", ASCENDING)], name="gateway_reference"),
            # The resolver: outcomes to ask about. Staff: payments of a state, newest first.
            IndexModel([("state", ASCENDING), ("check_at", ASCENDING)], name="state_check"),
            IndexModel([("state", ASCENDING), ("_id", DESCENDING)], name="state_newest"),
        ]


class TransactionKind(StrEnum):
    CHARGE = "charge"
    AUTHORISE = "authorise"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    STATUS = "status"  # the gateway was asked what became of something
    WEBHOOK = "webhook"  # the gateway told


class TransactionStatus(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    PENDING = "pending"
    UNKNOWN = "unknown"  # no answer came


class Transaction(AgoraDocument):
    """One exchange with a gateway, never changed."""

    payment_id: PydanticObjectId
    refund_id: PydanticObjectId | None = None
    kind: TransactionKind
    status: TransactionStatus
    amount: Money
    gateway: str
    gateway_reference: str | None = None
    gateway_data: dict[str, Any] = Field(default_factory=dict)  # what it said, without anything secret
    duration_ms: int = 0

    class Settings:
        name = "payment_transactions"
        indexes = [
            # A payment's log, in its order.
            IndexModel([("payment_id", ASCENDING), ("_id", ASCENDING)], name="payment_log"),
            # Reconciliation with a gateway's own report of a time.
            IndexModel([("gateway", ASCENDING), ("created_at", ASCENDING)], name="gateway_created"),
        ]


class RefundState(StrEnum):
    PENDING = "pending"  # its amount is held back from the refundable rest; the outcome may be unknown
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Refund(AgoraDocument):
    """Money on its way back, or there."""

    payment_id: PydanticObjectId
    subject: str  # `order:<id>`
    key: str  # also the gateway's idempotency key
    amount: Money
    reason: str
    state: RefundState = RefundState.PENDING
    gateway_reference: str | None = None
    failure_message: str | None = None
    actor_id: PydanticObjectId | None = None
    check_at: UtcDatetime | None = None
    checks_count: int = 0

    class Settings:
        name = "refunds"
        indexes = [
            IndexModel([("key", ASCENDING)], name="key_unique", unique=True),
            IndexModel([("payment_id", ASCENDING), ("_id", ASCENDING)], name="payment_created"),
            IndexModel([("subject", ASCENDING), ("_id", ASCENDING)], name="subject_created"),
            IndexModel([("gateway_reference", ASCENDING)], name="gateway_reference"),
            IndexModel([("state", ASCENDING), ("check_at", ASCENDING)], name="state_check"),
        ]


class GatewayEvent(AgoraDocument):
    """An inbound webhook that was verified: kept so that it takes effect once, however often it comes."""

    gateway: str
    event_id: str
    kind: str
    currency: Currency | None = None
    received_at: UtcDatetime
    handled_at: UtcDatetime | None = None

    class Settings:
        name = "gateway_events"
        indexes = [
            IndexModel([("gateway", ASCENDING), ("event_id", ASCENDING)], name="gateway_event_unique", unique=True),
        ]
