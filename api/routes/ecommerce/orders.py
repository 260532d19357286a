"""Orders: placing them without a cart, reading, paying and cancelling them."""

from typing import Annotated

from beanie import PydanticObjectId
from fastapi import Query, Request
from starlette.responses import Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import Client, Config, GatewaysOf, ListenerOf, ObjectIdPath, OperationKey, Paging, SignedIn
from api.orders import OrderAccessOf
from api.routing import make_router, outside_transaction, refuses
from api.schemas.orders import OrderCreate, OrderPaymentCreate
from models.ecommerce.orders import OrderExplanation, OrderRead, OrderSummary, OrderTracking, StatusChange
from services.ecommerce.addresses import AddressNotFoundError
from services.ecommerce.carts import NotForSaleError
from services.ecommerce.checkout.completion import CheckoutService, OrderNotPayableError, PaymentDeclinedError
from services.ecommerce.checkout.direct import DirectOrderService, InvalidUnitPriceError, VariantNeededError
from services.ecommerce.checkout.placement import PaymentMethodNeededError, PriceChangedError
from services.ecommerce.couponreasons import COUPON_ERRORS
from services.ecommerce.customers import CustomerNotFoundError
from services.ecommerce.orders.administration import AnyCaseStatus
from services.ecommerce.orders.cancellation import CancellationService
from services.ecommerce.orders.reading import OrderNotFoundError, OrderService
from services.ecommerce.orders.transitions import OrderTransitionError
from services.ecommerce.shipping import ShippingMethodNotOfferedError
from services.inventory.reservations import OutOfStockError
from services.pagination import Page
from services.payments.gateways import UnknownGatewayError, UnknownMethodError

router = make_router("/orders", "Orders")

_FOUND = refuses(OrderNotFoundError)


@router.post("/", status_code=201, include_in_schema=False)
@router.post(
    "",
    status_code=201,
    responses=refuses(
        CustomerNotFoundError,
        VariantNeededError,
        InvalidUnitPriceError,
        PriceChangedError,
        NotForSaleError,
        OutOfStockError,
        AddressNotFoundError,
        PaymentMethodNeededError,
        ShippingMethodNotOfferedError,
        *COUPON_ERRORS.values(),
    ),
)
async def create_order(body: OrderCreate, viewer: SignedIn, settings: Config) -> OrderRead:
    """Place an order that waits for its payment, at present prices. Staff may order for any customer.

    Its stock is held until `expires_at`; pay it at `/orders/{id}/payments`. What costs nothing is confirmed at once.
    """
    return await DirectOrderService.create_order(body, viewer=viewer, settings=settings)


@router.get("/", include_in_schema=False)
@router.get("")
async def list_orders(
    paging: Paging,
    viewer: SignedIn,
    status: Annotated[AnyCaseStatus | None, Query(description="Only orders of this status, in any case")] = None,
    customer_id: Annotated[PydanticObjectId | None, Query(description="Only this customer's orders")] = None,
) -> Page[OrderSummary]:
    """One's own orders, newest first; staff is shown everybody's."""
    return await OrderService.list_orders(paging, viewer=viewer, status=status, customer_id=customer_id)


@router.get("/{order_id}", response_model=OrderRead, responses={**_FOUND, **NOT_MODIFIED})
async def get_order(request: Request, order_id: ObjectIdPath, access: OrderAccessOf) -> Response:
    """An order of one's own, of a guest who sends its token, or any one for staff."""
    return answer(request, await OrderService.get_order(order_id, access=access))


@router.delete("/{order_id}", responses=refuses(OrderNotFoundError, OrderTransitionError))
async def cancel_order(
    order_id: ObjectIdPath,
    access: OrderAccessOf,
    settings: Config,
    gateways: GatewaysOf,
    listener: ListenerOf,
    reason: Annotated[str, Query(max_length=500, description="Kept in the order's history")] = "",
) -> OrderRead:
    """Cancel an order before it is packed, staff before it has left. Stock, coupon, points and money are given back.

    One that is cancelled already is answered as it is. Nothing is deleted.
    """
    return await CancellationService.cancel_order(
        order_id, access=access, gateways=gateways, listener=listener, settings=settings, reason=reason
    )


@router.post(
    "/{order_id}/payments",
    status_code=201,
    responses=refuses(
        OrderNotFoundError,
        OrderNotPayableError,
        PaymentDeclinedError,
        OutOfStockError,
        UnknownGatewayError,
        UnknownMethodError,
    ),
)
@outside_transaction
async def pay_order(
    order_id: ObjectIdPath,
    body: OrderPaymentCreate,
    access: OrderAccessOf,
    client: Client,
    settings: Config,
    gateways: GatewaysOf,
    key: OperationKey,
) -> OrderRead:
    """Pay an order that waits for it; declined, it waits on. The amount is the order's."""
    return await CheckoutService.pay_order(
        order_id,
        body,
        access=access,
        key=key,
        gateways=gateways,
        settings=settings,
        client_address=client.address,
    )


@router.get("/{order_id}/history", responses=_FOUND)
async def get_order_history(order_id: ObjectIdPath, access: OrderAccessOf) -> list[StatusChange]:
    """Every step the order took, the oldest first."""
    return await OrderService.get_history(order_id, access=access)


@router.get("/{order_id}/tracking", response_model=OrderTracking, responses={**_FOUND, **NOT_MODIFIED})
async def get_order_tracking(request: Request, order_id: ObjectIdPath, access: OrderAccessOf) -> Response:
    """Where the order is: its parcels, and how much of it has left."""
    return answer(request, await OrderService.get_tracking(order_id, access=access))


@router.get("/{order_id}/explain", responses=_FOUND)
async def explain_order(order_id: ObjectIdPath, access: OrderAccessOf) -> OrderExplanation:
    """Which rule gave which cent of the total. The amounts of the steps add up to it."""
    return await OrderService.explain(order_id, access=access)
