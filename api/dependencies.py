"""What handlers ask for, as `Annotated` types, so that their signatures read as prose.

Every dependency is a coroutine function, although none waits: FastAPI sends plain functions through a thread pool, which costs
more than everything else a request does here.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from beanie import PydanticObjectId
from fastapi import Depends, Path, Query, Request
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel

from api.conditional import named_revision, required_revision
from api.visits import Tracker
from models.analytics.events import VisitKind
from models.database import Session
from services.errors import UnauthenticatedError
from services.idempotency import Answer, Operation
from services.pagination import MAX_LIMIT, CursorCodec, PageRequest
from services.payments.gateways import Gateways
from services.payments.listeners import PaymentListener
from services.settings import Settings
from services.users.permissions import Permission, Viewer
from services.users.sessions import ClientInfo
from services.views import Visit


async def known_viewer(request: Request) -> Viewer | None:
    viewer: Viewer | None = request.state.viewer
    return viewer


async def signed_in(request: Request) -> Viewer:
    """Raises UnauthenticatedError."""
    viewer = await known_viewer(request)
    if viewer is None:
        raise UnauthenticatedError
    return viewer


@dataclass(frozen=True)
class Allows:
    """Callable per permission; comparable, so that the OpenAPI document, the routes and the tests can find it."""

    permission: Permission

    async def __call__(self, request: Request) -> Viewer:
        viewer = await signed_in(request)
        viewer.require(self.permission)
        return viewer


def Allowed(permission: Permission) -> Any:
    """A dependency that refuses with 401 who is not signed in, and with 403 who lacks the permission."""
    return Depends(Allows(permission))


Guard = Callable[[Request], Awaitable[Viewer]]


def guards_of(dependant: Dependant) -> list[Guard]:
    """Those of a handler's dependencies that refuse callers for who they are, in the order in which they are asked."""
    guards: list[Guard] = []
    for inner in dependant.dependencies:
        if inner.call is signed_in:
            guards.append(signed_in)
        elif isinstance(inner.call, Allows):
            guards.append(inner.call)
        guards += guards_of(inner)
    return guards


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _cursors(request: Request) -> CursorCodec:
    cursors: CursorCodec = request.app.state.cursors
    return cursors


async def _client(request: Request) -> ClientInfo:
    client: ClientInfo = request.state.client
    return client


async def _gateways(request: Request) -> Gateways:
    gateways: Gateways = request.app.state.gateways
    return gateways


async def _listener(request: Request) -> PaymentListener:
    listener: PaymentListener = request.app.state.payment_listener
    return listener


async def _operation_key(request: Request) -> str:
    key: str = request.state.operation.key
    return key


async def _keep_answer(request: Request) -> Callable[[Session, BaseModel], Awaitable[None]]:
    operation: Operation = request.state.operation
    status = request.scope["route"].status_code

    async def keep(session: Session, answer: BaseModel) -> None:
        body = answer.model_dump_json(by_alias=True).encode()
        await operation.keep(Answer(status, {"content-type": "application/json"}, body), session=session)

    return keep


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads a page, if that is known, and the visit that it is. One dependency, because pages are read most."""

    viewer: Viewer | None
    visit: Visit


async def known_reader(request: Request) -> Reader:
    return Reader(request.state.viewer, Tracker(request).visit(request.app.state.views, VisitKind.POST_VIEW))


async def _product_visit(request: Request) -> Visit:
    return Tracker(request).visit(request.app.state.product_views, VisitKind.PRODUCT_VIEW)


async def _page(
    page: Annotated[int, Query(ge=1, le=10_000, description="Page number, from 1")] = 1,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items per page")] = 20,
) -> PageRequest:
    return PageRequest(page, limit)


MaybeSignedIn = Annotated[Viewer | None, Depends(known_viewer)]
SignedIn = Annotated[Viewer, Depends(signed_in)]
Config = Annotated[Settings, Depends(_settings)]
Cursors = Annotated[CursorCodec, Depends(_cursors)]
Client = Annotated[ClientInfo, Depends(_client)]
GatewaysOf = Annotated[Gateways, Depends(_gateways)]
ListenerOf = Annotated[PaymentListener, Depends(_listener)]
"""Who is told when a payment or a refund moves."""
OperationKey = Annotated[str, Depends(_operation_key)]
"""What a handler marked with `outside_transaction` keeps its effects under."""
KeepAnswer = Annotated[Callable[[Session, BaseModel], Awaitable[None]], Depends(_keep_answer)]
"""Stores what such a handler is going to answer in the transaction that turned out to be the whole of its work."""
ThisReader = Annotated[Reader, Depends(known_reader)]
ProductVisitOf = Annotated[Visit, Depends(_product_visit)]
Paging = Annotated[PageRequest, Depends(_page)]
Cursor = Annotated[str | None, Query(max_length=500, description="`next_cursor` of the stretch before")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items to return")]
IfMatch = Annotated[int | None, Depends(named_revision)]
RequiredIfMatch = Annotated[int | None, Depends(required_revision)]


ObjectIdPath = Annotated[
    PydanticObjectId, Path(description="An id, 24 hexadecimal digits", examples=["65f0c0ffee0ddba11ca7f00d"])
]
