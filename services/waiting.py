"""What waits for people: how much of each kind, for those who may work on it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from models.base import AgoraDocument
from models.blog.comments import Comment, CommentStatus
from models.ecommerce.orders import Order, OrderStatus
from models.ecommerce.returns import ReturnRequest, ReturnStatus
from models.ecommerce.reviews import Review, ReviewStatus
from models.events import DeadLetter
from models.fraud import FraudReview, FraudReviewState
from models.inventory.stock import StockLevel
from services.users.permissions import Permission, Viewer
from services.webhooks.deliveries import WebhookDeliveryService


class Waiting(StrEnum):
    COMMENTS = "comments"  # to moderate
    REVIEWS = "reviews"  # to moderate
    ORDERS = "orders"  # to send
    RETURNS_ASKED = "returns_asked"  # to decide
    RETURNS_COMING = "returns_coming"  # to take in
    RETURNS_RECEIVED = "returns_received"  # to pay back
    FRAUD_REVIEWS = "fraud_reviews"  # to decide
    LOW_STOCK = "low_stock"  # to order again
    WEBHOOKS = "webhooks"  # messages that were given up
    DEAD_LETTERS = "dead_letters"  # events that a consumer gave up on


@dataclass(frozen=True, slots=True)
class _Kind:
    permission: Permission
    count: Callable[[Viewer], Awaitable[int]]


def _rows(permission: Permission, document: type[AgoraDocument], query: Mapping[str, object]) -> _Kind:
    async def count(viewer: Viewer) -> int:
        return await document.count_rows(query)

    return _Kind(permission, count)


async def _given_up(viewer: Viewer) -> int:
    return sum((await WebhookDeliveryService.count_failed(viewer=viewer)).values())


# Each by a field under an index of its own.
_KINDS = {
    Waiting.COMMENTS: _rows(Permission.MODERATE_COMMENTS, Comment, {"status": CommentStatus.PENDING}),
    Waiting.REVIEWS: _rows(Permission.MODERATE_REVIEWS, Review, {"status": ReviewStatus.PENDING}),
    Waiting.ORDERS: _rows(Permission.MANAGE_ORDERS, Order, {"status": OrderStatus.PROCESSING}),
    Waiting.RETURNS_ASKED: _rows(Permission.MANAGE_ORDERS, ReturnRequest, {"status": ReturnStatus.REQUESTED}),
    Waiting.RETURNS_COMING: _rows(Permission.MANAGE_ORDERS, ReturnRequest, {"status": ReturnStatus.APPROVED}),
    Waiting.RETURNS_RECEIVED: _rows(Permission.MANAGE_ORDERS, ReturnRequest, {"status": ReturnStatus.RECEIVED}),
    Waiting.FRAUD_REVIEWS: _rows(Permission.MANAGE_PAYMENTS, FraudReview, {"state": FraudReviewState.OPEN}),
    Waiting.LOW_STOCK: _rows(Permission.MANAGE_INVENTORY, StockLevel, {"is_low": True}),
    Waiting.WEBHOOKS: _Kind(Permission.MANAGE_WEBHOOKS, _given_up),
    Waiting.DEAD_LETTERS: _rows(Permission.MANAGE_SYSTEM, DeadLetter, {}),
}


class WaitingService:
    @staticmethod
    async def count(*, viewer: Viewer) -> dict[Waiting, int]:
        """How much waits now of each kind that the viewer may work on; empty for who may work on none.

        A command a kind, side by side, and one more when webhooks were given up.
        """
        mine = {waiting: kind for waiting, kind in _KINDS.items() if viewer.can(kind.permission)}
        counts = await asyncio.gather(*(kind.count(viewer) for kind in mine.values()))
        return dict(zip(mine, counts, strict=True))
