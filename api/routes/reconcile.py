"""Whether everything that is stored adds up: found over the API as by `make reconcile`."""

from typing import Annotated

from api.dependencies import Allowed
from api.routing import make_router, outside_transaction, refuses
from models.reconcile import ReconcileReport
from services.heavy import OverloadedError
from services.reconcile import ReconcileService
from services.users.permissions import Permission, Viewer

router = make_router("/system/reconciliation", "System: reconciliation")

SystemKeeper = Annotated[Viewer, Allowed(Permission.MANAGE_SYSTEM)]


@router.get("", responses=refuses(OverloadedError))
async def report_drift(viewer: SystemKeeper) -> ReconcileReport:
    """Recompute every stored number from its source and tell what differs, with the documents' ids. Takes its time."""
    return await ReconcileService.report_drift(viewer=viewer)


@router.post("/repairs", responses=refuses(OverloadedError))
@outside_transaction
async def repair_drift(viewer: SystemKeeper) -> ReconcileReport:
    """The same, and what is derived from other rows is stored anew. What a person must look at is left as it is."""
    return await ReconcileService.repair_drift(viewer=viewer)
