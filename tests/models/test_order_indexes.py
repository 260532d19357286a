"""Every read of orders is served by a declared index, as it is really sent."""

from beanie import PydanticObjectId

from models.database import Database
from models.ecommerce.orders import OrderStatus
from models.users import Role
from services.ecommerce.checkout.placement import find_placed
from services.ecommerce.orders.export import OrderExportService
from services.ecommerce.orders.jobs import OrderJobService
from services.ecommerce.orders.reading import OrderAccess, OrderService
from services.pagination import PageRequest
from services.settings import Settings
from tests.commands import CommandLog
from tests.factories.checkout import Till
from tests.factories.orders import create_order
from tests.factories.users import create_user, viewer_of
from tests.shapes import serving_index


async def test_every_list_look_up_and_job_is_served(database: Database, settings: Settings, commands: CommandLog) -> None:
    clerk, user = viewer_of(await create_user(role=Role.MANAGER)), viewer_of(await create_user())
    order = await create_order(user_id=user.user_id)
    page = PageRequest()

    with commands.counting() as sent:
        await OrderService.list_orders(page, viewer=user)
        await OrderService.list_orders(page, viewer=user, status=OrderStatus.PENDING)
        await OrderService.list_orders(page, viewer=user, customer_id=PydanticObjectId())
        await OrderService.list_orders(page, viewer=clerk)
        await OrderService.list_orders(page, viewer=clerk, status=OrderStatus.PENDING)
        await OrderService.list_orders(page, viewer=clerk, customer_id=PydanticObjectId())
        await OrderService.list_orders(page, viewer=clerk, customer_id=PydanticObjectId(), status=OrderStatus.PENDING)
        await OrderService.search_orders(page, viewer=clerk, key="jane@example.com")
        await OrderService.search_orders(page, viewer=clerk, key=order.number)
        await OrderService.get_history(order.id, access=OrderAccess(user))
        await find_placed("no such key")
        await OrderJobService.process_due()
        await OrderJobService.expire_due()
        await OrderJobService.settle_owed(gateways=Till(settings).gateways, settings=settings)
        async for _ in OrderExportService.export(viewer=clerk):
            pass

    found = [(read.collection, serving_index(read)) for read in sent.reads]
    assert found == [
        ("orders", "user_newest"),
        ("orders", "user_status_newest"),
        ("orders", "user_newest"),  # counted
        ("orders", "user_newest"),
        ("orders", "_id_"),
        ("orders", "status_newest"),
        ("orders", "customer_newest"),
        ("orders", "customer_status_newest"),
        ("orders", "email_newest"),
        ("orders", "number_unique"),
        ("orders", "_id_"),
        ("order_status_history", "order_timeline"),
        ("orders", "placement_key_unique"),
        ("orders", "status_newest"),
        ("orders", "status_newest"),
        ("orders", "_id_"),  # the order that is pending, looked at and left
        ("orders", "status_expires"),
        ("orders", "owing"),
        ("orders", "_id_"),
    ]
