"""The reports beside sales: what each pipeline matches first is found by a declared index, as it is really sent."""

from datetime import date
from zoneinfo import ZoneInfo

from beanie import PydanticObjectId

from models.base import now
from models.database import Database
from models.documents import DOCUMENTS
from models.users import Role
from services.analytics.periods import Period
from services.analytics.purchases.purchases import PurchaseService
from services.analytics.reports.content import ContentReportService
from services.analytics.reports.customers import CustomerReportService
from services.analytics.reports.inventory import InventoryReportService
from services.analytics.reports.payments import PaymentReportService
from services.analytics.reports.segments import SegmentService
from services.analytics.reports.users import UserReportService
from services.analytics.scopes import ReportScope
from services.pagination import CursorCodec
from services.users.permissions import Viewer
from tests.commands import CommandLog, Read
from tests.factories.inventory import a_variant, stock

VIEWER = Viewer(PydanticObjectId(), "manager", Role.MANAGER)
# One row per variant and location, or per account, and the report is of all of them: nothing to narrow.
WHOLE = {"stock_levels", "users"}


async def test_every_report_is_served(database: Database, commands: CommandLog) -> None:
    period = Period(date(2026, 10, 1), date(2026, 12, 1), ZoneInfo("Europe/Berlin"))
    scope = ReportScope(period, "USD", is_compared=True)
    await stock(a_variant(), 3)

    with commands.counting() as sent:
        await CustomerReportService.get_customer_insights(scope, viewer=VIEWER)
        await CustomerReportService.get_cohorts(scope, viewer=VIEWER)
        await SegmentService.get_segments("USD", viewer=VIEWER)
        await InventoryReportService.get_turnover(scope, viewer=VIEWER)
        await InventoryReportService.list_cover(scope, viewer=VIEWER, cursors=CursorCodec(b"0" * 32))
        await InventoryReportService.get_dead_stock("USD", viewer=VIEWER, now=now())
        await PaymentReportService.get_payments(scope, viewer=VIEWER)
        await PaymentReportService.get_fraud(scope, viewer=VIEWER)
        await ContentReportService.get_content(scope, viewer=VIEWER)
        await UserReportService.get_users(scope, viewer=VIEWER)
        await PurchaseService.recount(PydanticObjectId())

    unserved = [read for read in sent.reads if not _is_led(read)]
    assert {read.collection for read in unserved} == WHOLE
    assert [read.filter for read in unserved if read.collection == "users"] == [{}]
    assert len(sent.reads) > 25


def _is_led(read: Read) -> bool:
    """Whether ids are matched, or an index begins with what is; the rest is the pipeline's second stage, on purpose."""
    if "_id" in read.filter:
        return True
    document = next(found for found in DOCUMENTS if vars(found.Settings)["name"] == read.collection)
    return any(next(iter(index.document["key"])) in read.filter for index in document.Settings.indexes)
