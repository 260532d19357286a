"""Saved dashboards as the service would have left them."""

from typing import Any

from beanie import PydanticObjectId

from models.analytics.dashboards import DashboardRange, DashboardWidget, SavedDashboard
from models.users import Role, User
from tests.factories.users import create_user


def make_dashboard(**over: Any) -> SavedDashboard:
    """Two widgets over the last week, of nobody known, unsaved."""
    fields: dict[str, Any] = {
        "owner_id": PydanticObjectId(),
        "place": 0,
        "name": "Monday morning",
        "range": DashboardRange(last_days=7, start=None, end=None),
        "timezone": None,
        "granularity": None,
        "is_compared": True,
        "currency": None,
        "widgets": [DashboardWidget.TILE_NET, DashboardWidget.CHART_ORDERS],
    }
    fields.update(over)
    return SavedDashboard(**{"name_key": fields["name"].casefold(), **fields})


async def create_dashboard(*, owner: User | None = None, **over: Any) -> SavedDashboard:
    owner = owner or await create_user(role=Role.MANAGER)
    return await make_dashboard(**{"owner_id": owner.id, **over}).store()
