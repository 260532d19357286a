"""Imports: staff sees them all, nobody owns one."""

from tests.api.world import Body, Operation, Provider, Query, World
from tests.factories.imports import create_run


async def _import_id(world: World, operation: Operation, variant: str) -> str:
    return str((await world.once("import", create_run)).id)


VALUES: dict[str, Provider] = {"import_id": _import_id}
QUERIES: dict[str, Query] = {}
BODIES: dict[str, Body] = {}
