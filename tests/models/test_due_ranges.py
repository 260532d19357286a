"""Jobs that look for what is due name both ends of its time: most rows have none, and the embedded server walks all of those."""

from models.database import Database
from services.blog.lifecycle import PublishingService
from services.ecommerce.abandonment import AbandonmentService
from services.ecommerce.orders.jobs import OrderJobService
from services.ecommerce.orders.settlement import OrderSettlement
from services.payments.gateways import Gateways
from services.payments.payments import PaymentService
from services.settings import Settings
from tests.commands import CommandLog


async def test_every_range_of_times_that_may_be_missing_has_a_lower_end(
    database: Database, commands: CommandLog, settings: Settings
) -> None:
    with commands.counting() as sent:
        await PublishingService.publish_due()
        await AbandonmentService.mark_abandoned(settings=settings)
        await OrderJobService.expire_due()
        await PaymentService.resolve_due(gateways=Gateways([]), listener=OrderSettlement(settings), settings=settings)

    ranges = [part for read in sent.reads for part in read.filter.values() if isinstance(part, dict)]
    assert len(ranges) == 6
    assert all("$gt" in part for part in ranges)
