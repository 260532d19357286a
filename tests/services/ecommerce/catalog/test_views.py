"""Which products the same visitor looked at on one day: from the events of visits, and by nothing that leads to a person."""

from datetime import timedelta

import pytest
from beanie import PydanticObjectId

from models.analytics.events import VisitEvent, VisitKind, VisitorSalt
from models.ecommerce.catalog import ProductVisit
from services.analytics.visits.collector import VisitCollector
from services.analytics.visits.traffic import TrafficService
from services.analytics.visits.visitors import VisitorSalts
from services.ecommerce.catalog.views import MAX_REMEMBERED
from services.settings import Settings
from tests.factories.visits import BROWSER, NOON, create_event, make_event, make_visitor

pytestmark = pytest.mark.usefixtures("database")


async def test_products_of_one_visitor_and_day_are_together(settings: Settings) -> None:
    one, two = PydanticObjectId(), PydanticObjectId()
    visits = VisitCollector(settings, salts=VisitorSalts(site="shop"))
    for address, product, at in (("a", one, NOON), ("a", two, NOON), ("b", two, NOON), ("a", two, NOON + timedelta(days=1))):
        visits.note(VisitKind.PRODUCT_VIEW, make_visitor(address), subject=f"product:{product}", now=at)
    visits.note(VisitKind.PRODUCT_VIEW, make_visitor("c", is_willing=False), subject=f"product:{one}", now=NOON)
    visits.note(VisitKind.POST_VIEW, make_visitor("a"), subject=f"post:{one}", now=NOON)
    await visits.flush()

    for _ in range(2):
        await TrafficService.roll_up_all()

    rows = await ProductVisit.find_rows({})
    assert sorted((row["day"].day, sorted(row["product_ids"])) for row in rows) == sorted(
        [(21, sorted([one, two])), (21, [two]), (22, [two])]
    )
    assert BROWSER not in str(rows)


async def test_name_goes_with_the_salt_of_its_day(settings: Settings) -> None:
    """The same person, looked up again when the salt is gone, is somebody else: there is no key that stays."""
    for _ in range(2):
        visits = VisitCollector(settings, salts=VisitorSalts(site="shop"))
        visits.note(VisitKind.PRODUCT_VIEW, make_visitor(), subject=f"product:{PydanticObjectId()}", now=NOON)
        await visits.flush()
        await TrafficService.roll_up_all()
        await VisitorSalt.collection().delete_many({})

    assert len({row["visitor"] for row in await ProductVisit.find_rows({})}) == 2


async def test_visit_remembers_its_latest_products() -> None:
    ids = [PydanticObjectId() for _ in range(MAX_REMEMBERED + 5)]
    for start in (0, 20):
        events = [
            make_event(VisitKind.PRODUCT_VIEW, "a", NOON + timedelta(minutes=15 * number), subject=f"product:{ids[number]}")
            for number in range(start, min(start + 20, len(ids)))
        ]
        await VisitEvent.collection().insert_many([event.row() for event in events])
        await TrafficService.roll_up_all()

    [row] = await ProductVisit.find_rows({})
    assert row["product_ids"] == ids[-MAX_REMEMBERED:]


async def test_what_was_rolled_up_is_told_once_and_views_of_nothing_are_none() -> None:
    await create_event(VisitKind.PRODUCT_VIEW, "a")
    await create_event(VisitKind.PAGE_VIEW, "b", subject=f"product:{PydanticObjectId()}")

    await TrafficService.roll_up_all()

    assert await ProductVisit.count_rows({}) == 0
