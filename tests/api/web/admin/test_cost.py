"""What a page of the admin asks of the database: the same for one row as for many."""

import asyncio

from models.blog.comments import CommentStatus
from models.inventory.stock import StockLevel, StockMovement
from models.payments import Payment, Refund
from services.cache import clear_all_caches
from services.payments.gateways import Gateways
from services.payments.payments import PaymentService
from services.settings import Settings
from tests.api.web.admin.conftest import Clerk
from tests.api.web.admin.world import World
from tests.commands import CommandLog, Commands
from tests.factories.blog import create_post
from tests.factories.catalog import create_product
from tests.factories.comments import create_comment
from tests.factories.inventory import stock
from tests.factories.orders import create_order
from tests.factories.payments import RecordingListener, create_payment

# Commands of each page, the session's own read left out: it is kept for a second.
BUDGETS = {
    "/admin": 11,  # one for each thing that waits, and one more where webhooks were given up
    "/admin/comments": 3,  # the queue, its authors' names, its posts'
    "/admin/bans": 2,
    "/admin/reviews": 3,  # the queue, its authors' names, its products'
    "/admin/posts": 2,  # the posts, their authors' names
    "/admin/posts/{posts}": 2,
    "/admin/fraud": 1,
    "/admin/rules": 1,
    "/admin/rules/{rules}": 1,
    "/admin/orders": 2,  # the page, its count
    "/admin/orders/{orders}": 6,  # the order, its owner twice, its timeline, its returns, its payments
    "/admin/returns": 1,
    "/admin/returns/{returns}": 1,
    "/admin/customers": 3,  # the page, its count, their accounts
    "/admin/customers/{customers}": 4,
    "/admin/coupons": 2,
    "/admin/payments": 1,
    "/admin/payments/{payments}": 3,
    "/admin/stock": 4,  # the page, its count, the locations, the products' names
    "/admin/stock/{stock}": 4,
    "/admin/products": 3,
    "/admin/products/{products}": 6,  # the product, its categories, its levels, their count and names, the locations
    "/admin/users": 2,
    "/admin/users/{users}": 1,
    "/admin/webhooks": 3,  # the endpoints, and of which of them messages were given up
    "/admin/webhooks/{webhooks}": 3,
    "/admin/events": 5,  # the consumers, the last event, the letters and their count, their events
    "/admin/jobs": 1,
    "/admin/audit": 1,
}


class TestBudgets:
    async def test_pages_keep_their_budgets(self, admin: Clerk, commands: CommandLog) -> None:
        world = await World.made()
        for _ in range(3):
            await create_comment(post=await create_post(), status=CommentStatus.PENDING, author_id=admin.user.id)
            order = await create_order()
            await create_payment(subject=f"order:{order.id}")
            product = await create_product()
            await stock(product.variants[0], 3, product=product)
        spent: dict[str, Commands] = {}

        for path in BUDGETS:
            clear_all_caches()
            await admin.get("/admin")  # the session is known from here on
            with commands.counting() as spent[path]:
                await admin.page(path.format(**{name: ids.get("id") for name, ids in world.ids.items()}))

        assert {path: sent.sent for path, sent in spent.items() if len(sent.sent) != BUDGETS[path]} == {}


class TestImpatience:
    async def test_a_refund_pressed_ten_times_is_given_back_once(
        self, manager: Clerk, gateway: Gateways, settings: Settings
    ) -> None:
        made = await create_payment()
        await PaymentService.execute(made.id, gateways=gateway, listener=RecordingListener(), settings=settings)
        page = f"/admin/payments/{made.id}"
        fields = {"amount": "9.90", "reason": "Broken", "form_key": await manager.key(page)}

        answers = await asyncio.gather(*(manager.send(f"{page}/refund", **fields) for _ in range(10)))

        assert {answer.status_code for answer in answers} <= {303, 409}
        assert 303 in [answer.status_code for answer in answers]
        row = await Payment.find_row({"_id": made.id})
        assert row is not None
        assert (row["refunded"], row["refundable"], await Refund.count_rows({})) == (990, 4000, 1)

    async def test_an_adjustment_pressed_ten_times_counts_once(self, manager: Clerk) -> None:
        product = await create_product()
        level = await stock(product.variants[0], 10, product=product)
        page = f"/admin/stock/{level.id}"
        fields = {"quantity": "5", "reason": "Found", "form_key": await manager.key(page)}

        answers = await asyncio.gather(*(manager.send(f"{page}/adjust", **fields) for _ in range(10)))

        assert {answer.status_code for answer in answers} <= {303, 409}
        assert 303 in [answer.status_code for answer in answers]
        row = await StockLevel.find_row({"_id": level.id})
        assert row is not None
        assert (row["on_hand"], await StockMovement.count_rows({"variant_id": level.variant_id})) == (15, 2)
