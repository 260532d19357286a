"""Checkout: from a cart to a paid order in one request."""

from api.carts import CartHolderOf
from api.dependencies import Client, Config, GatewaysOf, KeepAnswer, OperationKey
from api.routing import make_router, outside_transaction, refuses
from api.schemas.orders import CheckoutCreate
from api.visits import TrackerOf
from models.analytics.events import VisitKind
from services.ecommerce.addresses import AddressNotFoundError
from services.ecommerce.carts import CartEmptyError, NotForSaleError
from services.ecommerce.checkout.buyers import AddressNeededError, GuestEmailNeededError
from services.ecommerce.checkout.completion import CheckedOut, CheckoutService, PaymentDeclinedError
from services.ecommerce.checkout.placement import CartChangedError, PaymentMethodNeededError, PriceChangedError
from services.ecommerce.couponreasons import COUPON_ERRORS
from services.ecommerce.shipping import ShippingMethodNotOfferedError
from services.errors import PreconditionError
from services.inventory.reservations import OutOfStockError
from services.payments.gateways import UnknownGatewayError, UnknownMethodError
from services.users.identity import InvalidEmailError

router = make_router("/shop/checkout", "Shop: checkout")


@router.post(
    "",
    status_code=201,
    responses=refuses(
        CartEmptyError,
        CartChangedError,
        PreconditionError,
        PriceChangedError,
        NotForSaleError,
        OutOfStockError,
        AddressNeededError,
        AddressNotFoundError,
        GuestEmailNeededError,
        InvalidEmailError,
        PaymentMethodNeededError,
        PaymentDeclinedError,
        UnknownGatewayError,
        UnknownMethodError,
        ShippingMethodNotOfferedError,
        *COUPON_ERRORS.values(),
    ),
)
@outside_transaction
async def checkout(
    body: CheckoutCreate,
    holder: CartHolderOf,
    client: Client,
    settings: Config,
    gateways: GatewaysOf,
    key: OperationKey,
    keep: KeepAnswer,
    tracker: TrackerOf,
) -> CheckedOut:
    """Order what lies in the cart and pay for it: all of it or nothing. The same `Idempotency-Key` is the same order.

    Declined, there is no order and the cart is as it was. While the outcome of a payment is not known, the order's
    `payment_status` is `pending`: read it again, do not pay again.
    """
    tracker.note(VisitKind.CHECKOUT, key=key)
    checked_out = await CheckoutService.checkout(
        body, holder=holder, key=key, gateways=gateways, settings=settings, client_address=client.address, keep=keep
    )
    if checked_out.order.paid_at is not None:
        tracker.note(VisitKind.PAID, key=key)
    return checked_out
