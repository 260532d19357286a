"""One of everything that the admin shows."""

from datetime import timedelta

from beanie import PydanticObjectId

from api.web.admin.views import View
from models.audit import AuditEntry
from models.base import now
from models.blog.comments import CommentBan, CommentStatus
from models.ecommerce.catalog import ProductImage
from models.ecommerce.orders import Fulfilment, OrderStatus, OrderStatusHistory
from models.ecommerce.returns import ReturnLine, ReturnReason, ReturnRequest
from models.ecommerce.reviews import Review
from models.events import Checkpoint, DeadLetter
from models.fraud import FraudAction, FraudCondition, FraudField, FraudOperator, FraudReview, FraudRule
from models.inventory.stock import StockMovement
from models.jobs import Job
from models.payments import Refund, Transaction, TransactionKind, TransactionStatus
from models.webhooks import DeliveryState, WebhookAttempt
from services.markdown import render_comment
from tests.factories.blog import create_post
from tests.factories.catalog import create_product
from tests.factories.comments import create_comment
from tests.factories.customers import create_customer
from tests.factories.inventory import stock
from tests.factories.orders import create_order, make_line
from tests.factories.payments import captured_payment, create_payment
from tests.factories.pricing import create_coupon
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
        post = await create_post(title=text, content=text, excerpt=text)
        comment = await create_comment(post=post, status=CommentStatus.PENDING, content=text, author_name=text, user_agent=text)
        customer = await create_customer(user=person, first_name=text[:50], last_name=text[:50])
        ban = await CommentBan(key=f"email:{text}", reason=text, banned_by=person.id).store()
        order = await create_order(
            status=OrderStatus.CONFIRMED,
            lines=[make_line(name=text, sku=text)],
            fulfilments=[Fulfilment(lines=[], carrier=text, tracking_number=text, shipped_at=now())],
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
        suspect = await FraudReview(
            payment_id=held.id, subject=text, rule=text, amount=held.amount, method="card", note=text
        ).store()
        rule = await FraudRule(
            name=text,
            description=text,
            conditions=[FraudCondition(field=FraudField.METHOD, operator=FraudOperator.IS, values=[text])],
            action=FraudAction.REVIEW,
        ).store()
        coupon = await create_coupon(name=text)
        product = await create_product(
            name=text,
            description=text,
            short_description=text,
            brand=text,
            images=[ProductImage(url=f"https://hooks.example.com/{text}", alt=text)],
        )
        review = await Review(
            product_id=product.id,
            customer_id=person.id,
            author_id=person.id,
            order_id=order.id,
            rating=4,
            title=text,
            content=text,
            content_html=render_comment(text),
        ).store()
        line = order.lines[0]
        returned = await ReturnRequest(
            number="RMA-20261121-000001",
            order_id=order.id,
            lines=[
                ReturnLine(
                    line_id=line.id,
                    sku=text,
                    name=text,
                    variant_id=line.variant_id,
                    quantity=1,
                    reason=ReturnReason.OTHER,
                )
            ],
            notes=text,
            staff_notes=text,
            requested_at=now(),
        ).store()
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
        await Checkpoint(consumer="account_mail", failures=2, last_error=text).store()
        letter = await DeadLetter(
            consumer="account_mail", event_id=PydanticObjectId(), sequence=7, error=text, failed_at=now()
        ).store()
        await AuditEntry(action="made", subject=text, address=text, details={"note": text}).store()
        return cls(
            {
                "comments": {"id": str(comment.id)},
                "bans": {"id": str(ban.id)},
                "reviews": {"id": str(review.id)},
                "posts": {"id": str(post.id)},
                "fraud": {"id": str(suspect.id)},
                "rules": {"id": str(rule.id)},
                "orders": {"id": str(order.id), "parcel_id": str(order.fulfilments[0].id)},
                "returns": {"id": str(returned.id)},
                "coupons": {"id": str(coupon.id)},
                "payments": {"id": str(payment.id)},
                "stock": {"id": str(level.id)},
                "customers": {"id": str(customer.id)},
                "users": {"id": str(person.id)},
                "webhooks": {"id": str(endpoint.id), "delivery_id": str(delivery.id)},
                "events": {"id": str(letter.id), "name": "account_mail"},
                "jobs": {"name": "tidy_up"},
                "products": {"id": str(product.id), "variant_id": str(product.variants[0].id), "at": "0"},
                "audit": {},
            }
        )

    def pages(self, view: View) -> list[str]:
        return [view.path + path.format(**self.ids[view.name]) for path in view.pages]

    def moves(self, view: View) -> list[str]:
        return [view.path + path.format(**self.ids[view.name]) for path in view.moves]
