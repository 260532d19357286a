"""What importing files came to: the runs of `make import`, and their dead letters."""

from typing import Annotated

from api.dependencies import Allowed, Cursor, Cursors, Limit, ObjectIdPath, Paging
from api.routing import make_router, refuses
from models.imports import ImportFailureRead, ImportRunRead
from services.imports.runs import ImportRunNotFoundError, ImportService
from services.pagination import CursorPage, InvalidCursorError, Page
from services.users.permissions import Permission, Viewer

router = make_router("/imports", "Shop: imports")

CatalogKeeper = Annotated[Viewer, Allowed(Permission.MANAGE_CATALOG)]


@router.get("")
async def list_imports(viewer: CatalogKeeper, page: Paging) -> Page[ImportRunRead]:
    """The files that were imported, newest first, with what became of the things in them."""
    return await ImportService.list_runs(page, viewer=viewer)


@router.get("/{import_id}/failures", responses=refuses(ImportRunNotFoundError, InvalidCursorError))
async def list_import_failures(
    import_id: ObjectIdPath, viewer: CatalogKeeper, cursors: Cursors, cursor: Cursor = None, limit: Limit = 20
) -> CursorPage[ImportFailureRead]:
    """The rows of a file that were not imported, or not wholly, in their order, each with its line and the reason."""
    return await ImportService.list_failures(import_id, viewer=viewer, cursors=cursors, cursor=cursor, limit=limit)
