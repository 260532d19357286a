"""Who asks for an order: somebody signed in, a guest with the token of their order, or both."""

from typing import Annotated

from fastapi import Depends, Header, Request

from services.ecommerce.orders.reading import OrderAccess


async def order_access(
    request: Request,
    token: Annotated[
        str | None,
        Header(alias="X-Order-Token", max_length=200, description="A guest's: told when the order was placed"),
    ] = None,
) -> OrderAccess:
    return OrderAccess(request.state.viewer, token)


OrderAccessOf = Annotated[OrderAccess, Depends(order_access)]
