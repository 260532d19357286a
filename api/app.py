"""The application: what it is made of, and what lives as long as it does."""

import contextlib
import gc
from collections.abc import AsyncIterator
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from api import documentation, errors, health, outbound
from api.middleware.edge import EdgeMiddleware
from api.middleware.identity import IdentityMiddleware
from api.openapi import DESCRIPTION, build_openapi
from api.routes import ROUTERS
from api.web import pages
from models.database import Database
from models.documents import DOCUMENTS
from services.analytics.visits.collector import VisitCollector
from services.analytics.visits.visitors import VisitorSalts
from services.blog.discovery import DISCOVERY_CONSUMER
from services.blog.pages import PAGE_CONSUMER
from services.blog.reading import REFERENCE_CONSUMER
from services.blog.views import post_views
from services.ecommerce.catalog.pages import PRODUCT_PAGE_CONSUMER
from services.ecommerce.catalog.reference import CATALOG_REFERENCE_CONSUMER
from services.ecommerce.catalog.views import product_views
from services.ecommerce.orders.settlement import OrderSettlement
from services.ecommerce.pricing import PROMOTION_CONSUMER
from services.idempotency import IdempotencyService
from services.indexes import IndexDrift, IndexService
from services.live import LiveHub
from services.logs import hold_back_wires
from services.pagination import CursorCodec
from services.payments.gateways import make_gateways
from services.settings import Settings

log = structlog.get_logger(__name__)

VERSION = "0.1.0"
_REQUEST_HEADERS = ("Cart-Token", "Idempotency-Key", "If-Match", "If-None-Match", "X-Order-Token", "X-Request-ID")
_ANSWER_HEADERS = (
    *("Content-Disposition", "ETag", "Idempotent-Replayed", "Location", "RateLimit", "RateLimit-Policy"),
    *("Retry-After", "X-Request-ID"),
)

# What this process keeps, and forgets when another process changed it.
_CACHES = [
    REFERENCE_CONSUMER,
    PAGE_CONSUMER,
    DISCOVERY_CONSUMER,
    CATALOG_REFERENCE_CONSUMER,
    PRODUCT_PAGE_CONSUMER,
    PROMOTION_CONSUMER,
]


def create_app(settings: Settings, *, database: Database | None = None) -> FastAPI:
    """The ASGI application. It opens its own database and creates the indexes that miss there, unless it is handed one that
    is already bound: whoever opened that one prepared it.
    """
    hold_back_wires()  # also in a program that sets up its own logs
    app = Agora(
        title="Agora",
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # `documentation` serves it
        lifespan=_lifespan,
        redirect_slashes=False,
        middleware=_middleware(settings),
    )
    app.state.settings = settings
    app.state.cursors = CursorCodec(settings.secret_bytes)
    app.state.given_database = database
    app.state.views = post_views(settings.secret_bytes)
    app.state.product_views = product_views(settings.secret_bytes)
    app.state.visitor_salts = VisitorSalts(site=settings.base_url)
    app.state.visits = VisitCollector(settings, salts=app.state.visitor_salts)
    app.state.gateways = make_gateways(settings)
    app.state.payment_listener = OrderSettlement(settings)
    app.state.live = LiveHub(listeners=_CACHES)
    errors.install(app)
    for router in [*ROUTERS, health.router]:
        app.router.routes.extend(router.routes)
    documentation.install(app)
    pages.install(app)
    return app


def freeze_startup_objects() -> None:
    """Take what was made until now out of the garbage collector's sight: it lives as long as the process."""
    gc.collect()
    gc.freeze()


class Agora(FastAPI):
    """FastAPI with the OpenAPI document completed by what every operation of ours has in common."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            base = get_openapi(
                title=self.title,
                version=self.version,
                description=self.description,
                routes=self.routes,
                webhooks=outbound.router.routes,
            )
            self.openapi_schema = build_openapi(self, base)
        return self.openapi_schema


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        app.state.database, app.state.index_drift = app.state.given_database, []
        if app.state.database is None:
            app.state.database = await _open_database(app.state.settings, stack)
            app.state.index_drift = await _create_indexes()
        stack.push_async_callback(app.state.gateways.close)
        for noted in (app.state.views, app.state.product_views, app.state.visits):
            await stack.enter_async_context(noted.running(app.state.settings.views_flush_seconds))
        await stack.enter_async_context(IdempotencyService.alive())
        await stack.enter_async_context(app.state.live.running(poll_seconds=app.state.settings.live_poll_seconds))
        yield


async def _open_database(settings: Settings, stack: contextlib.AsyncExitStack) -> Database:
    database = Database.connect(
        settings.mongodb_uri, settings.database, pool_size=settings.pool_size, timeout_ms=settings.database_timeout_ms
    )
    stack.push_async_callback(database.close)
    await database.bind(DOCUMENTS)
    return database


async def _create_indexes() -> list[IndexDrift]:
    """Create what is missing; report what differs and leave it to a person."""
    drift = await IndexService.create_missing()
    for row in drift:
        log.warning("index_drift", kind=row.kind, collection=row.collection, index=row.index)
    return drift


def _middleware(settings: Settings) -> list[Middleware]:
    layers = [
        Middleware(
            EdgeMiddleware,
            max_body_bytes=settings.max_body_bytes,
            transport_security=settings.is_production,
        )
    ]
    if settings.cors_origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_credentials=settings.cors_credentials,
                allow_methods=["*"],
                allow_headers=["Authorization", "Content-Type", *_REQUEST_HEADERS],
                expose_headers=_ANSWER_HEADERS,
            )
        )
    layers.append(Middleware(IdentityMiddleware, settings=settings))
    return layers
