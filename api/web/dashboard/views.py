"""The register of the pages of figures: what the navigation shows, and what each is made of. A new page is a row here."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from api.web.dashboard.controls import Controls
from api.web.dashboard.figures import Sheet
from api.web.dashboard.overview import overview
from api.web.dashboard.sales import sales_page
from services.users.permissions import Viewer


@dataclass(frozen=True, slots=True)
class View:
    """One page. `make` gives what it shows; everyone who may see reports sees the same, so it is made once for all of them."""

    name: str
    path: str
    label: str
    make: Callable[[Controls, Viewer], Awaitable[Sheet]]

    @property
    def part_path(self) -> str:
        """Where the figures alone are read again while the page is open."""
        return f"/dashboard/parts/{self.name}"


VIEWS = [
    View("overview", "/dashboard", "Overview", overview),
    View("sales", "/dashboard/sales", "Sales", sales_page),
]
