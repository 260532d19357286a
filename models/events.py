"""The outbox: what happened, written in the same transaction as the change itself, and how far each consumer has read it."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime


class EventType(StrEnum):
    """Every kind of event, as `<subject>.<what happened to it>`."""

    REGISTRATION_REQUESTED = "registration.requested"  # payload: registration_id
    PASSWORD_RESET_REQUESTED = "password_reset.requested"  # payload: email
    EMAIL_CHANGE_REQUESTED = "email_change.requested"  # payload: token_id
    USER_CREATED = "user.created"
    USER_UPDATED = "user.updated"
    PASSWORD_CHANGED = "user.password_changed"
    USER_DEACTIVATED = "user.deactivated"
    USER_SESSIONS_REVOKED = "user.sessions_revoked"  # payload: session_ids, or none for all
    USER_FOLLOWED = "user.followed"
    USER_UNFOLLOWED = "user.unfollowed"
    CATEGORY_CHANGED = "category.changed"
    TAG_CHANGED = "tag.changed"
    POST_CREATED = "post.created"
    POST_UPDATED = "post.updated"
    POST_PUBLISHED = "post.published"
    POST_WITHDRAWN = "post.withdrawn"  # no longer public: unpublished, archived or moved to the trash
    POST_LIKED = "post.liked"
    POST_UNLIKED = "post.unliked"
    COMMENT_CREATED = "comment.created"
    COMMENT_APPROVED = "comment.approved"
    COMMENT_WITHDRAWN = "comment.withdrawn"  # no longer public: rejected, marked as spam, or deleted
    COMMENT_LIKED = "comment.liked"
    COMMENT_UNLIKED = "comment.unliked"
    PRODUCT_CATEGORY_CHANGED = "product_category.changed"
    PRODUCT_CREATED = "product.created"
    PRODUCT_UPDATED = "product.updated"
    PRODUCT_REMOVED = "product.removed"  # discontinued
    STOCK_CHANGED = "stock.changed"  # subject product:<id>; payload: variant_id, whether any is available
    STOCK_LOW = "stock.low"  # subject product:<id>; payload: variant_id, location_id, sku, available, threshold
    STOCK_NOTICE_REQUESTED = "stock_notice.requested"  # subject product:<id>; payload: variant_id
    STOCK_NOTICE_DUE = "stock_notice.due"  # subject product:<id>; payload: variant_id, user_id: that person is to be mailed
    CART_ABANDONED = "cart.abandoned"
    CART_REMINDED = "cart.reminded"  # payload: abandonment_id, as of the other two
    CART_RECOVERED = "cart.recovered"
    PROMOTION_CHANGED = "promotion.changed"  # also coupons, tax and shipping tables
    ORDER_PLACED = "order.placed"
    ORDER_CONFIRMED = "order.confirmed"
    ORDER_PROCESSING = "order.processing"
    ORDER_SHIPPED = "order.shipped"  # every piece has left; parcels before it are order.fulfilled
    ORDER_FULFILLED = "order.fulfilled"  # payload: fulfilment_id
    ORDER_DELIVERED = "order.delivered"
    ORDER_CANCELLED = "order.cancelled"
    ORDER_RETURNED = "order.returned"
    ORDER_REFUNDED = "order.refunded"  # wholly
    ORDER_IMPORTED = "order.imported"  # or a credit note for it, with all that had happened; nobody is told but the rollups
    ORDER_UPDATED = "order.updated"  # tracking, notes, hold
    PAYMENT_AUTHORISED = "payment.authorised"
    PAYMENT_CAPTURED = "payment.captured"
    PAYMENT_FAILED = "payment.failed"
    PAYMENT_VOIDED = "payment.voided"
    PAYMENT_HELD = "payment.held"  # for a fraud review
    REFUND_CREATED = "refund.created"
    REFUND_SUCCEEDED = "refund.succeeded"
    REFUND_FAILED = "refund.failed"
    RETURN_REQUESTED = "return.requested"
    RETURN_APPROVED = "return.approved"
    RETURN_REJECTED = "return.rejected"
    RETURN_RECEIVED = "return.received"
    REVIEW_CREATED = "review.created"
    REVIEW_APPROVED = "review.approved"
    REVIEW_WITHDRAWN = "review.withdrawn"
    WEBHOOK_DISABLED = "webhook.disabled"  # by its receiver's doing; payload: reason
    PURCHASE_ORDER_RECEIVED = "purchase_order.received"  # in whole or in part


class Event(AgoraDocument):
    """One fact. `sequence` is empty until the sequencer has numbered it, in the order in which facts became visible."""

    type: EventType
    subject: str  # "post:65f0..." - the aggregate it is about; facts about one subject keep their order
    actor_id: PydanticObjectId | None = None
    payload: dict[str, Any] = Field(default_factory=dict)
    sequence: int | None = None

    class Settings:
        name = "events"
        indexes = [
            # The sequencer's query for facts not numbered yet, and every consumer's "after my checkpoint, in order".
            IndexModel([("sequence", ASCENDING)], name="sequence"),
        ]


class Checkpoint(AgoraDocument):
    """How far a durable consumer has handled the events, and why it stands still when it does."""

    consumer: str
    sequence: int = 0
    failures: int = 0  # of the event after `sequence`
    last_error: str | None = None
    retry_at: UtcDatetime | None = None

    class Settings:
        name = "event_checkpoints"
        indexes = [IndexModel([("consumer", ASCENDING)], name="consumer_unique", unique=True)]


class DeadLetter(AgoraDocument):
    """An event a consumer gave up on, kept with the reason so that a person can look and replay it."""

    consumer: str
    event_id: PydanticObjectId
    sequence: int
    error: str
    failed_at: UtcDatetime
    replay_at: UtcDatetime | None = None  # a person asked for another try

    class Settings:
        name = "event_dead_letters"
        indexes = [
            # One row per consumer and event, however often the consumer crashed between giving up and moving on.
            IndexModel([("consumer", ASCENDING), ("event_id", ASCENDING)], name="consumer_event_unique", unique=True),
            # All of them, or one consumer's, newest first.
            IndexModel([("consumer", ASCENDING), ("_id", DESCENDING)], name="consumer_newest"),
            # What is to be tried again, in the order of the events.
            IndexModel([("replay_at", ASCENDING), ("sequence", ASCENDING)], name="replay_sequence"),
        ]


class ConsumerRead(BaseModel):
    """How far a consumer of events has come."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(examples=["account_mail"])
    sequence: int = Field(description="The last event it passed", examples=[1041])
    lag: int = Field(description="Events it has yet to pass", examples=[0])
    failures: int = Field(description="Times the event after `sequence` failed in a row")
    last_error: str | None = Field(description="Why it stands still")
    retry_at: datetime | None = Field(description="When it tries again")
    dead_letters_count: int = Field(description="Events it gave up on")


class DeadLetterRead(BaseModel):
    """An event that a consumer gave up on. What the event says is not told: it may be personal."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    consumer: str
    event_id: PydanticObjectId
    event_type: EventType | None = Field(description="Null when the event is gone")
    subject: str | None = Field(examples=["order:65f0c0ffee0ddba11ca7f00d"])
    sequence: int
    error: str
    failed_at: datetime
    replay_at: datetime | None = Field(description="Since when it waits for another try; null when nobody asked for one")
