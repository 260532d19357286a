"""The properties products may have and be filtered by: public to read, kept by staff."""

from typing import Annotated

from fastapi import Request
from starlette.responses import Response

from api.conditional import answer
from api.dependencies import Allowed, ObjectIdPath, RequiredIfMatch
from api.routing import make_router, refuses
from api.schemas.catalog import AttributeCreate, AttributeUpdate
from models.ecommerce.catalog_reads import AttributeRead
from services.ecommerce.catalog.attributes import (
    AttributeInUseError,
    AttributeNotFoundError,
    AttributeService,
    AttributeTakenError,
    InvalidAttributeDefinitionError,
)
from services.errors import PreconditionError, PreconditionRequiredError
from services.users.permissions import Permission, Viewer

router = make_router("/shop/attributes", "Shop: categories and attributes")

CatalogKeeper = Annotated[Viewer, Allowed(Permission.MANAGE_CATALOG)]


@router.get("")
async def list_attributes() -> list[AttributeRead]:
    """The properties products may have, in their order."""
    return await AttributeService.list_attributes()


@router.post("", status_code=201, responses=refuses(AttributeTakenError, InvalidAttributeDefinitionError))
async def create_attribute(body: AttributeCreate, viewer: CatalogKeeper) -> AttributeRead:
    """Define an attribute. Its code and kind never change."""
    return await AttributeService.create_attribute(body, viewer=viewer)


@router.patch(
    "/{attribute_id}",
    response_model=AttributeRead,
    responses=refuses(
        AttributeNotFoundError,
        AttributeInUseError,
        InvalidAttributeDefinitionError,
        PreconditionError,
        PreconditionRequiredError,
    ),
)
async def update_attribute(
    request: Request, attribute_id: ObjectIdPath, body: AttributeUpdate, viewer: CatalogKeeper, revision: RequiredIfMatch
) -> Response:
    """Change an attribute; `If-Match` names its `revision`, as in `"3"`."""
    return answer(request, await AttributeService.update_attribute(attribute_id, body, viewer=viewer, revision=revision))


@router.delete("/{attribute_id}", status_code=204, responses=refuses(AttributeNotFoundError, AttributeInUseError))
async def delete_attribute(attribute_id: ObjectIdPath, viewer: CatalogKeeper) -> None:
    """Remove an attribute that no product has."""
    await AttributeService.delete_attribute(attribute_id, viewer=viewer)
