"""Visits and reports, which nobody owns, and a saved dashboard, which is the manager's."""

from typing import Any
from uuid import uuid4

from models.analytics.dashboards import SavedDashboard
from models.base import now
from tests.api.world import Body, Operation, Provider, Query, World, fixed
from tests.factories.dashboards import create_dashboard


async def _events(world: World) -> dict[str, Any]:
    event = {"id": str(uuid4()), "kind": "page_view", "at": now().isoformat(), "path": "/", "referrer": "", "screen": "large"}
    return {"events": [event]}


async def _report(world: World, operation: Operation, variant: str) -> str:
    return "sales"


async def _segment(world: World, operation: Operation, variant: str) -> str:
    return "loyal"


async def _dashboard_id(world: World, operation: Operation, variant: str) -> str:
    manager = await world.person("manager")
    dashboard: SavedDashboard = await world.once("dashboard", lambda: create_dashboard(owner=manager))
    return str(dashboard.id)


VALUES: dict[str, Provider] = {"report": _report, "segment": _segment, "dashboard_id": _dashboard_id}
QUERIES: dict[str, Query] = {}
BODIES: dict[str, Body] = {
    "record_events": _events,
    "create_dashboard": fixed(name="Monday morning", range={"last_days": 7}, widgets=["tile-net"]),
    "update_dashboard": fixed(name="Monday evening"),
}
