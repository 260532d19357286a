"""Is Agora alive, and is it ready: for load balancers, orchestrators and people."""

import asyncio
import contextlib

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from api import metrics
from models.database import Database, PyMongoError
from services.indexes import DriftKind, IndexDrift
from services.jobs import JobService

router = APIRouter(tags=["Operations"], generate_unique_id_function=lambda route: route.name)

_PING_SECONDS = 1.0
_WORKER_SILENT_SECONDS = 120.0


class Liveness(BaseModel):
    status: str = Field(examples=["ok"])
    version: str = Field(description="Of Agora: what `CHANGELOG.md` tells about", examples=["0.1.0"])


class Readiness(BaseModel):
    """`ready` is what load balancers need. A silent worker does not take the API out of service: it is reported."""

    ready: bool
    database: bool = Field(description="The database answered a ping within a second")
    indexes: bool = Field(description="Every declared index exists as declared")
    worker_age_seconds: float | None = Field(description="Since the worker last reported; null when it never did")
    worker: bool = Field(description="The worker reported within two minutes")


@router.get("/livez")
async def livez(request: Request) -> Liveness:
    """The process answers, and says which version it is. Says nothing of what it depends on."""
    return Liveness(status="ok", version=request.app.version)


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Not ready: the body says why"}})
async def readyz(request: Request, response: Response) -> Readiness:
    """The process can serve: its database answers and its indexes stand."""
    database: Database = request.app.state.database
    drift: list[IndexDrift] = request.app.state.index_drift
    reachable = False
    age: float | None = None
    with contextlib.suppress(TimeoutError, PyMongoError):
        async with asyncio.timeout(_PING_SECONDS):
            await database.feel_pulse()
            reachable = True
            age = await JobService.seconds_since_report()
    indexes = not any(row.kind is not DriftKind.UNDECLARED for row in drift)
    ready = reachable and indexes
    if not ready:
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    return Readiness(
        ready=ready,
        database=reachable,
        indexes=indexes,
        worker_age_seconds=age,
        worker=age is not None and age < _WORKER_SILENT_SECONDS,
    )


@router.get("/metrics", include_in_schema=False)
async def prometheus_metrics() -> Response:
    return Response(metrics.exposition(), media_type=metrics.CONTENT_TYPE)
