"""One's own address book."""

from typing import Annotated

from fastapi import Path, Request, Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import Config, IfMatch, ObjectIdPath, SignedIn
from api.routing import make_router, refuses
from api.schemas.customers import AddressCreate, AddressUpdate
from models.ecommerce.customer_reads import AddressRead
from models.ecommerce.customers import DefaultKind
from services.ecommerce.addresses import AddressBookFullError, AddressKindError, AddressNotFoundError, AddressService
from services.errors import PreconditionError

router = make_router("/shop/addresses", "Shop: addresses")


@router.get("")
async def list_addresses(viewer: SignedIn) -> list[AddressRead]:
    """One's own addresses, at most 50, in the order of entry."""
    return await AddressService.list_addresses(viewer)


@router.post("", status_code=201, response_model=AddressRead, responses=refuses(AddressBookFullError, AddressKindError))
async def create_address(request: Request, body: AddressCreate, viewer: SignedIn, settings: Config) -> Response:
    """Keep an address. The first one of a kind becomes the default."""
    return answer(request, await AddressService.create_address(body, viewer=viewer, settings=settings), status=201)


@router.get("/{address_id}", response_model=AddressRead, responses={**refuses(AddressNotFoundError), **NOT_MODIFIED})
async def get_address(request: Request, address_id: ObjectIdPath, viewer: SignedIn) -> Response:
    """One of one's own addresses, and what it is the default for."""
    return answer(request, await AddressService.get_address(address_id, viewer=viewer))


@router.patch("/{address_id}", response_model=AddressRead, responses=refuses(AddressNotFoundError, PreconditionError))
async def update_address(
    request: Request, address_id: ObjectIdPath, body: AddressUpdate, viewer: SignedIn, revision: IfMatch
) -> Response:
    """Change what an address is for, or replace the place. Orders keep it as it was."""
    return answer(request, await AddressService.update_address(address_id, body, viewer=viewer, revision=revision))


@router.delete("/{address_id}", status_code=204, responses=refuses(AddressNotFoundError))
async def delete_address(address_id: ObjectIdPath, viewer: SignedIn) -> None:
    """Take an address out of the book. Was it a default, the oldest that fits takes its place."""
    await AddressService.delete_address(address_id, viewer=viewer)


@router.put("/{address_id}/default/{kind}", response_model=AddressRead, responses=refuses(AddressNotFoundError, AddressKindError))
async def set_default_address(
    request: Request, address_id: ObjectIdPath, kind: Annotated[DefaultKind, Path(description="What for")], viewer: SignedIn
) -> Response:
    """Make an address the one that is shipped to, or billed at, unless an order says otherwise."""
    return answer(request, await AddressService.set_default(address_id, kind, viewer=viewer))
