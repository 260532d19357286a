"""Who may touch stock."""

from typing import Annotated

from api.dependencies import Allowed
from services.users.permissions import Permission, Viewer

StockKeeper = Annotated[Viewer, Allowed(Permission.MANAGE_INVENTORY)]
