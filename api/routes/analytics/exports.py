"""Reports as files for spreadsheets."""

from typing import Annotated, Any

from fastapi import Path, Query
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.reports import Analyst, ReportPeriod
from api.routing import make_router, refuses
from services.analytics.exports.exports import EXPORTERS, Export, ExportService, Ranking, ReportNotFoundError
from services.analytics.exports.files import MEDIA_TYPES, ExportFormat
from services.analytics.periods import InvalidPeriodError
from services.analytics.reports.content import NoHoursError
from services.analytics.reports.customers import TooManyCohortsError
from services.analytics.reports.sales import TopBy
from services.analytics.scopes import UnknownTimeZoneError
from services.heavy import OverloadedError

router = make_router("/analytics", "Analytics: export")

_MAX_ROWS = 1_000
_NAMES = ", ".join(f"`{name}`" for name in EXPORTERS)
_FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A row per row of the report, below a head that names currencies and units",
        "content": {
            MEDIA_TYPES[ExportFormat.CSV].partition(";")[0]: {"schema": {"type": "string"}},
            MEDIA_TYPES[ExportFormat.XLSX]: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


class FileResponse(StreamingResponse):
    """Sends an export and closes it, whether or not anybody stayed to read it."""

    def __init__(self, export: Export) -> None:
        self._export = export
        headers = {
            "Content-Disposition": f'attachment; filename="{export.name}"',
            "Content-Length": str(export.size),
            "Cache-Control": "no-store",
        }
        super().__init__(export.chunks(), media_type=export.media_type, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._export.close()


@router.get(
    "/{report}/export",
    response_class=StreamingResponse,
    responses={
        **_FILES,
        **refuses(
            ReportNotFoundError,
            InvalidPeriodError,
            UnknownTimeZoneError,
            NoHoursError,
            TooManyCohortsError,
            OverloadedError,
        ),
    },
)
async def export_report(
    report: Annotated[
        str,
        Path(
            max_length=40,
            description=f"One of {_NAMES}. `orders` is every order placed within the period; `dead-stock` is what lies there and "
            "was not sold since it began; `segments` and `roles` are of now.",
            examples=["sales"],
        ),
    ],
    viewer: Analyst,
    scope: ReportPeriod,
    format: Annotated[ExportFormat, Query(description="Of the file")] = ExportFormat.CSV,
    by: Annotated[TopBy, Query(description="The figure that ranks products and categories")] = TopBy.TOTAL,
    limit: Annotated[int, Query(ge=1, le=_MAX_ROWS, description="Of what is ranked: how many at most")] = 100,
) -> FileResponse:
    """A report as CSV or XLSX: the rows of its JSON. Text in it is never a formula."""
    export = await ExportService.export(report, scope, viewer=viewer, format=format, ranking=Ranking(by, limit))
    return FileResponse(export)
