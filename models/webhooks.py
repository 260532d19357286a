"""Outbound webhooks: who wants to hear of what, and every message that goes to them (`docs/decisions/0006-webhooks.md`)."""

from datetime import datetime
from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime


class WebhookTopic(StrEnum):
    """What an endpoint may ask for: the events of which outsiders may hear, under the names of `EventType`."""

    ALL = "*"
    ORDER_PLACED = "order.placed"
    ORDER_CONFIRMED = "order.confirmed"
    ORDER_PROCESSING = "order.processing"
    ORDER_FULFILLED = "order.fulfilled"
    ORDER_SHIPPED = "order.shipped"
    ORDER_DELIVERED = "order.delivered"
    ORDER_CANCELLED = "order.cancelled"
    ORDER_RETURNED = "order.returned"
    ORDER_REFUNDED = "order.refunded"
    ORDER_UPDATED = "order.updated"
    PAYMENT_AUTHORISED = "payment.authorised"
    PAYMENT_CAPTURED = "payment.captured"
    PAYMENT_FAILED = "payment.failed"
    PAYMENT_VOIDED = "payment.voided"
    PAYMENT_HELD = "payment.held"
    REFUND_CREATED = "refund.created"
    REFUND_SUCCEEDED = "refund.succeeded"
    REFUND_FAILED = "refund.failed"
    RETURN_REQUESTED = "return.requested"
    RETURN_APPROVED = "return.approved"
    RETURN_REJECTED = "return.rejected"
    RETURN_RECEIVED = "return.received"
    PRODUCT_CREATED = "product.created"
    PRODUCT_UPDATED = "product.updated"
    PRODUCT_REMOVED = "product.removed"
    STOCK_CHANGED = "stock.changed"
    STOCK_LOW = "stock.low"
    PURCHASE_ORDER_RECEIVED = "purchase_order.received"
    REVIEW_APPROVED = "review.approved"
    REVIEW_WITHDRAWN = "review.withdrawn"
    POST_PUBLISHED = "post.published"
    POST_UPDATED = "post.updated"
    POST_WITHDRAWN = "post.withdrawn"
    COMMENT_APPROVED = "comment.approved"
    COMMENT_WITHDRAWN = "comment.withdrawn"


PING = "webhook.ping"  # the type of a test message; every endpoint gets those that are asked for


class OffReason(StrEnum):
    """Why an endpoint is not active."""

    MANUAL = "manual"  # a person switched it off
    GONE = "gone"  # it answered 410
    FAILING = "failing"  # nothing got through for days


class WebhookEndpoint(AgoraDocument):
    """Where messages go. Its secret is stored nowhere: it follows from the master secret, the id and `secret_generation`."""

    url: str
    topics: list[WebhookTopic]
    description: str = ""
    is_active: bool = True
    off_reason: OffReason | None = None
    secret_generation: int = 1
    previous_secret_until: UtcDatetime | None = None  # until then the secret of the generation before signs, too
    failing_since: UtcDatetime | None = None  # the first failure after the last success
    revision: int = 1

    class Settings:
        name = "webhook_endpoints"
        # A few dozen at most, always read together or by id.
        indexes: list[IndexModel] = []


class DeliveryState(StrEnum):
    PENDING = "pending"  # to be sent at `due_at`, or being sent: then `due_at` is when that attempt is given up for lost
    DELIVERED = "delivered"
    FAILED = "failed"  # given up; may be replayed


class WebhookAttempt(BaseModel):
    """One time a message was sent, and what came back."""

    model_config = ConfigDict(frozen=True)

    at: UtcDatetime
    status: int | None = Field(description="Of the answer; null when none came", examples=[503])
    duration_ms: int
    answer: str = Field(default="", description="How the answer began")
    error: str | None = Field(default=None, description="Why there was no answer", examples=["ConnectTimeout"])


class WebhookDelivery(AgoraDocument):
    """One message to one endpoint. `body` is what is signed and sent, the same on every attempt."""

    endpoint_id: PydanticObjectId
    event_id: PydanticObjectId  # also the message's id for its receivers, who know by it what they have had already
    event_type: str
    body: str
    state: DeliveryState = DeliveryState.PENDING
    due_at: UtcDatetime
    owner: PydanticObjectId | None = None  # of the attempt under way; a new one each time
    attempts_count: int = 0  # begun since it was made or replayed last
    attempts: list[WebhookAttempt] = Field(default_factory=list)  # the last 20
    delivered_at: UtcDatetime | None = None
    last_error: str | None = None
    expires_at: UtcDatetime

    class Settings:
        name = "webhook_deliveries"
        indexes = [
            # An event seen again makes no second message.
            IndexModel([("endpoint_id", ASCENDING), ("event_id", ASCENDING)], name="endpoint_event_unique", unique=True),
            # Whether anything is due.
            IndexModel([("state", ASCENDING), ("due_at", ASCENDING)], name="state_due"),
            # What is due at one endpoint, the longest waiting first.
            IndexModel([("endpoint_id", ASCENDING), ("state", ASCENDING), ("due_at", ASCENDING)], name="endpoint_state_due"),
            # The log of an endpoint, newest first, whole or of one state; what failed since a moment.
            IndexModel([("endpoint_id", ASCENDING), ("_id", DESCENDING)], name="endpoint_newest"),
            IndexModel([("endpoint_id", ASCENDING), ("state", ASCENDING), ("_id", DESCENDING)], name="endpoint_state_newest"),
            # The log is kept for a month.
            IndexModel([("expires_at", ASCENDING)], name="expires_at_ttl", expireAfterSeconds=0),
        ]


class WebhookEndpointRead(BaseModel):
    """An endpoint, without its secret."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    url: str = Field(examples=["https://erp.example.com/agora"])
    topics: list[WebhookTopic]
    description: str
    is_active: bool
    off_reason: OffReason | None = Field(description="Why it is not active")
    previous_secret_until: datetime | None = Field(description="Until then messages carry the former secret's signature, too")
    failing_since: datetime | None = Field(description="Nothing got through since; null when the last message did")
    revision: int = Field(description="Send it as If-Match to change the endpoint", examples=[1])
    created_at: datetime
    updated_at: datetime


class WebhookSecret(BaseModel):
    """A signing secret, shown this once."""

    model_config = ConfigDict(frozen=True)

    secret: str = Field(
        description="For a Standard Webhooks library", examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD3AADTiBAGcs="]
    )
    previous_secret_until: datetime | None = Field(description="Until then the former secret signs, too")


class WebhookEndpointCreated(BaseModel):
    """A new endpoint and its secret, which is not shown again."""

    model_config = ConfigDict(frozen=True)

    endpoint: WebhookEndpointRead
    secret: str = Field(
        description="For a Standard Webhooks library", examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD3AADTiBAGcs="]
    )


class WebhookDeliverySummary(BaseModel):
    """A line of an endpoint's log."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    message_id: str = Field(description="The `webhook-id` under which it is sent", examples=["evt_65f0c0ffee0ddba11ca7f00d"])
    event_type: str = Field(examples=["order.placed"])
    state: DeliveryState
    attempts_count: int = Field(description="Since it was made or replayed last")
    due_at: datetime | None = Field(description="When it is sent next; null when it is not")
    delivered_at: datetime | None
    last_error: str | None = Field(description="Why the last attempt failed", examples=["answered 503"])
    created_at: datetime


class WebhookDeliveryRead(WebhookDeliverySummary):
    """A message with its text and its attempts, at most the last 20."""

    body: str = Field(description="The JSON text that is sent")
    attempts: list[WebhookAttempt]
