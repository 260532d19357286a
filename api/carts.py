"""Whose cart a request is about."""

from typing import Annotated

from fastapi import Depends, Header, Request

from services.ecommerce.carts import CartHolder


async def cart_holder(
    request: Request,
    cart_token: Annotated[
        str | None,
        Header(alias="Cart-Token", max_length=100, description="Of a guest's cart; signed in, that cart joins one's own"),
    ] = None,
) -> CartHolder:
    return CartHolder(request.state.viewer, cart_token)


CartHolderOf = Annotated[CartHolder, Depends(cart_holder)]
