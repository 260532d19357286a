"""One of everything that the admin shows."""

from datetime import timedelta

from beanie import PydanticObjectId

from api.web.admin.views import View
from models.audit import AuditEntry
from models.base import now
from models.blog.comments import CommentStatus
from models.ecommerce.orders import OrderStatus, OrderStatusHistory
from models.fraud import FraudReview
from models.inventory.stock import StockMovement
from models.jobs import Job
from models.payments import Refund, Transaction, TransactionKind, TransactionStatus
from models.webhooks import DeliveryState, WebhookAttempt
from tests.factories.blog import create_post
from tests.factories.catalog import create_product
from tests.factories.comments import create_comment
from tests.factories.inventory import stock
from tests.factories.orders import create_order, make_line
from tests.factories.payments import captured_payment, create_payment
from tests.factories.users import create_user
from tests.factories.webhooks import create_delivery, create_endpoint


class World:
    """One of everything that a page shows, and the paths of all pages."""

    def __init__(self, ids: dict[str, dict[str, str]]) -> None:
        self.ids = ids

    @classmethod
    async def made(cls, text: str = "plain") -> "World":
        """`text` stands wherever people may write."""
        person = await create_user(first_name=text[:50], last_name=text[:50])
        comment = await create_comment(
            post=await create_post(), status=CommentStatus.PENDING, content=text, author_name=text, user_agent=text
        )
        order = await create_order(
            status=OrderStatus.CONFIRMED,
            lines=[make_line(name=text, sku=text)],
            customer_notes=text,
            admin_notes=text,
            is_held=True,
            hold_reason=text,
            user_id=person.id,
            email=f"{text}@example.com",
        )
        await OrderStatusHistory(
            order_id=order.id, old_status=None, new_status=OrderStatus.CONFIRMED, changed_at=now(), changed_by=text, reason=text
        ).store()
        payment = await captured_payment(subject=f"order:{order.id}", failure_message=text, instrument=text)
        await Refund(
            payment_id=payment.id,
            subject=payment.subject,
            gateway="sandbox",
            key=str(PydanticObjectId()),
            amount=payment.amount,
            reason=text,
            failure_message=text,
            check_at=now(),
        ).store()
        await Transaction(
            payment_id=payment.id,
            kind=TransactionKind.CHARGE,
            status=TransactionStatus.SUCCEEDED,
            amount=payment.amount,
            gateway="sandbox",
            gateway_reference=text,
            gateway_data={"said": text},
            duration_ms=3,
        ).store()
        held = await create_payment(subject=payment.subject)
        review = await FraudReview(
            payment_id=held.id, subject=text, rule=text, amount=held.amount, method="card", note=text
        ).store()
        product = await create_product(name=text)
        level = await stock(product.variants[0], 5, product=product)
        await StockMovement.change({"variant_id": level.variant_id}, {"$set": {"reason": text, "reference": text}})
        endpoint = await create_endpoint(description=text, url=f"https://hooks.example.com/{text}")
        delivery = await create_delivery(
            endpoint,
            state=DeliveryState.FAILED,
            body=text,
            last_error=text,
            attempts=[WebhookAttempt(at=now(), status=500, duration_ms=2, answer=text, error=text)],
        )
        await Job(name="tidy_up", next_run_at=now() + timedelta(hours=1), last_error=text, last_result=text).store()
        await AuditEntry(action="made", subject=text, address=text, details={"note": text}).store()
        return cls(
            {
                "comments": {"id": str(comment.id)},
                "fraud": {"id": str(review.id)},
                "orders": {"id": str(order.id)},
                "payments": {"id": str(payment.id)},
                "stock": {"id": str(level.id)},
                "users": {"id": str(person.id)},
                "webhooks": {"id": str(endpoint.id), "delivery_id": str(delivery.id)},
                "jobs": {"name": "tidy_up"},
                "products": {},
                "audit": {},
            }
        )

    def pages(self, view: View) -> list[str]:
        return [view.path + path.format(**self.ids[view.name]) for path in view.pages]

    def moves(self, view: View) -> list[str]:
        return [view.path + path.format(**self.ids[view.name]) for path in view.moves]
