"""Visits and reports: nobody owns them."""

from typing import Any
from uuid import uuid4

from models.base import now
from tests.api.world import Body, Operation, Provider, Query, World


async def _events(world: World) -> dict[str, Any]:
    event = {"id": str(uuid4()), "kind": "page_view", "at": now().isoformat(), "path": "/", "referrer": "", "screen": "large"}
    return {"events": [event]}


async def _report(world: World, operation: Operation, variant: str) -> str:
    return "sales"


async def _segment(world: World, operation: Operation, variant: str) -> str:
    return "loyal"


VALUES: dict[str, Provider] = {"report": _report, "segment": _segment}
QUERIES: dict[str, Query] = {}
BODIES: dict[str, Body] = {"record_events": _events}
