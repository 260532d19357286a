"""Payments: what is to be paid, every word exchanged with a gateway about it, and what was given back."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime
from models.money import Money


class PaymentState(StrEnum):
    CREATED = "created"  # written down, the gateway not asked yet
    PROCESSING = "processing"  # the gateway was asked; without an answer the outcome is unknown and is asked about
    IN_REVIEW = "in_review"  # a fraud rule wants a person to look first
    AUTHORISED = "authorised"
    CAPTURED = "captured"
    FAILED = "failed"  # declined, or blocked: nothing was taken
    VOIDED = "voided"


class PaymentOperation(StrEnum):
    """What is being done to an authorised payment; one at a time."""

    CAPTURE = "capture"
    VOID = "void"


class Payment(AgoraDocument):
    """One attempt to pay one thing. Written before the gateway is called, kept whatever comes of it."""

    subject: str  # what is paid: `order:<id>`
    key: str  # of the attempt, also the gateway's idempotency key: asked twice, charged once
    customer_key: str = ""  # who pays, for the fraud rules
    amount: Money
    method: str
    gateway: str
    gateway_reference: str | None = None  # the gateway's own id
    # For the fraud rules, when it is known: where the payer is, since when they have an account, and from where they ask
    country: str | None = None
    payer_since: UtcDatetime | None = None
    client_address: str | None = None
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
    asked_at: UtcDatetime | None = None  # when the charge was last sent to the gateway; None: never
    sent_count: int = 0  # how often, always under the one key
    operation: PaymentOperation | None = None  # under way at the gateway, or of unknown outcome
    operation_amount: int = 0
    operation_key: str | None = None  # of the last one, also when it is over: asked for twice, done once
    check_at: UtcDatetime | None = None  # when the resolver asks about an unknown outcome
    checks_count: int = 0
    declined_at: UtcDatetime | None = None  # by the gateway, for the fraud rules
    settled_at: UtcDatetime | None = None
    # What a later word overtook, for reports: a payment that failed, or was let go, may be captured all the same
    failed_at: UtcDatetime | None = None
    failed_code: str | None = None
    voided_at: UtcDatetime | None = None

    class Settings:
        name = "payments"
        indexes = [
            IndexModel([("key", ASCENDING)], name="key_unique", unique=True),
            # What was tried for one order, newest first.
            IndexModel([("subject", ASCENDING), ("_id", DESCENDING)], name="subject_newest"),
            # Inbound webhooks name the gateway's id.
            IndexModel([("gateway_reference", ASCENDING)], name="gateway_reference"),
            # The resolver: outcomes to ask about.
            IndexModel([("state", ASCENDING), ("check_at", ASCENDING)], name="state_check"),
            # Staff: payments of a state, newest first.
            IndexModel([("state", ASCENDING), ("_id", DESCENDING)], name="state_newest"),
            # The fraud rules: what one customer, or one network address, tried lately.
            IndexModel([("customer_key", ASCENDING), ("asked_at", ASCENDING)], name="customer_asked"),
            IndexModel([("client_address", ASCENDING), ("asked_at", ASCENDING)], name="address_asked"),
            # Reconciliation with a gateway's own report of a time.
            IndexModel([("gateway", ASCENDING), ("asked_at", ASCENDING)], name="gateway_asked"),
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
    ABSENT = "absent"  # the gateway has never heard of it


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
            # The log of one gateway, newest first.
            IndexModel([("gateway", ASCENDING), ("_id", DESCENDING)], name="gateway_newest"),
        ]


class RefundState(StrEnum):
    PENDING = "pending"  # its amount is held back from the refundable rest; the outcome may be unknown
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Refund(AgoraDocument):
    """Money on its way back, or there."""

    payment_id: PydanticObjectId
    subject: str  # `order:<id>`
    gateway: str
    key: str  # also the gateway's idempotency key
    amount: Money
    reason: str
    state: RefundState = RefundState.PENDING
    gateway_reference: str | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    actor_id: PydanticObjectId | None = None
    asked_at: UtcDatetime | None = None  # when it was last sent to the gateway; None: never
    sent_count: int = 0
    check_at: UtcDatetime | None = None
    checks_count: int = 0
    settled_at: UtcDatetime | None = None

    class Settings:
        name = "refunds"
        indexes = [
            IndexModel([("key", ASCENDING)], name="key_unique", unique=True),
            # What was given back of one payment, and of everything paid for one order.
            IndexModel([("payment_id", ASCENDING), ("_id", ASCENDING)], name="payment_created"),
            IndexModel([("subject", ASCENDING), ("_id", ASCENDING)], name="subject_created"),
            # Inbound webhooks name the gateway's id.
            IndexModel([("gateway_reference", ASCENDING)], name="gateway_reference"),
            # The resolver: outcomes to ask about.
            IndexModel([("state", ASCENDING), ("check_at", ASCENDING)], name="state_check"),
            # Reconciliation with a gateway's own report of a time.
            IndexModel([("gateway", ASCENDING), ("asked_at", ASCENDING)], name="gateway_asked"),
        ]


class GatewayEvent(AgoraDocument):
    """An inbound webhook that was verified and took its effect, written together with that: however often it comes."""

    gateway: str
    event_id: str
    kind: str
    payment_id: PydanticObjectId | None = None  # None: about nothing of ours
    refund_id: PydanticObjectId | None = None
    handled_at: UtcDatetime

    class Settings:
        name = "gateway_events"
        indexes = [
            IndexModel([("gateway", ASCENDING), ("event_id", ASCENDING)], name="gateway_event_unique", unique=True),
        ]


class TransactionRead(BaseModel):
    """One exchange with the gateway."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    refund_id: PydanticObjectId | None
    kind: TransactionKind
    status: TransactionStatus
    amount: Money
    gateway_reference: str | None
    gateway_data: dict[str, Any] = Field(description="What the gateway said, without secrets and card numbers")
    duration_ms: int
    created_at: datetime


class RefundRead(BaseModel):
    """Money given back, or on its way."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    payment_id: PydanticObjectId
    subject: str = Field(examples=["order:65f0c0ffee0ddba11ca7f00d"])
    amount: Money
    reason: str = Field(examples=["One piece came back"])
    state: RefundState = Field(description="`pending` may mean that the gateway's answer was lost: it is asked about")
    gateway_reference: str | None
    failure_code: str | None
    failure_message: str | None
    actor_id: PydanticObjectId | None
    created_at: datetime
    settled_at: datetime | None


class PaymentRead(BaseModel):
    """One attempt to pay, as staff see it."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    subject: str = Field(description="What is paid", examples=["order:65f0c0ffee0ddba11ca7f00d"])
    amount: Money
    captured: Money = Field(description="What was taken")
    refunded: Money = Field(description="What was given back of it")
    refundable: Money = Field(description="What can still be given back: captured, less refunds done and under way")
    method: str = Field(examples=["card"])
    gateway: str = Field(examples=["stripe"])
    gateway_reference: str | None
    instrument: str | None = Field(examples=["visa ****4242"])
    state: PaymentState = Field(description="`processing` means that the outcome is not known yet: it is asked about")
    operation: PaymentOperation | None = Field(description="Under way at the gateway, or of unknown outcome")
    failure_code: str | None
    failure_message: str | None
    created_at: datetime
    settled_at: datetime | None


class PaymentDetail(PaymentRead):
    """One attempt to pay with everything that was exchanged about it."""

    transactions: list[TransactionRead] = Field(description="Oldest first")
    refunds: list[RefundRead] = Field(description="Oldest first")
