"""The shop: what paths lead to is the member's where customers own it, the vendor's where sellers do. One module per part."""

from tests.api.samples import catalog, customers, orders, pricing, returns, reviews, wishlists
from tests.api.world import Body, Provider, Query

_PARTS = [catalog, customers, orders, pricing, returns, reviews, wishlists]

VALUES: dict[str, Provider] = {name: value for part in _PARTS for name, value in part.VALUES.items()}
QUERIES: dict[str, Query] = {name: query for part in _PARTS for name, query in part.QUERIES.items()}
BODIES: dict[str, Body] = {name: body for part in _PARTS for name, body in part.BODIES.items()}
