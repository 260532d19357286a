"""The register of the pages of figures, and of the widgets they show. A new page is a row here, a new widget a part of a row."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from api.web.dashboard.content import CONTENT
from api.web.dashboard.customers import CUSTOMERS
from api.web.dashboard.figures import Sheet
from api.web.dashboard.overview import OVERVIEW
from api.web.dashboard.products import PRODUCTS
from api.web.dashboard.saleparts import nothing_sold
from api.web.dashboard.sales import SALES
from api.web.dashboard.stock import STOCK
from api.web.dashboard.widgets import Reports, Widget, sheet_of


async def _never(reports: Reports) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class View:
    """One page. Everyone who may see reports sees the same on it, so it is made once for all of them."""

    name: str
    path: str
    label: str
    follows: str  # what moves its figures
    widgets: Sequence[Widget]
    quiet: Callable[[Reports], Awaitable[str]] = _never  # what to say instead of charts when nothing happened; else nothing

    @property
    def part_path(self) -> str:
        """Where the figures alone are read again while the page is open."""
        return f"/dashboard/parts/{self.name}"

    async def make(self, reports: Reports) -> Sheet:
        return await sheet_of(self.widgets, reports, quiet=await self.quiet(reports))


VIEWS = [
    View("overview", "/dashboard", "Overview", "new orders", OVERVIEW, nothing_sold),
    View("sales", "/dashboard/sales", "Sales", "new orders", SALES, nothing_sold),
    View("customers", "/dashboard/customers", "Customers", "purchases", CUSTOMERS),
    View("products", "/dashboard/products", "Products", "purchases and visits", PRODUCTS),
    View("stock", "/dashboard/stock", "Stock", "the stock", STOCK),
    View("content", "/dashboard/content", "Content", "readers", CONTENT),
]

WIDGETS = {widget.name: widget for view in VIEWS for widget in view.widgets}
"""By name, in the order of the pages: what a page can be put together from, and what is to be had as a file."""
