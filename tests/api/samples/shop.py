"""The shop: what paths lead to is the member's where customers own it."""

from tests.api.world import Body, Provider, Query

VALUES: dict[str, Provider] = {}
QUERIES: dict[str, Query] = {}
BODIES: dict[str, Body] = {}
