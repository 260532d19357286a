"""The shop as `make fuzz` meets it: what there is to name, what becomes a caller's own, and what nobody may be shown."""

import contextlib
import secrets
import socket
import threading
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

from beanie import PydanticObjectId
from pydantic import SecretStr

from models.base import AgoraDocument, now
from models.ecommerce.carts import Cart, CartLine
from models.ecommerce.catalog import VISIBLE_STATUSES, AttributeDefinition, Product, ProductCategory
from models.ecommerce.coupons import Coupon, Promotion
from models.ecommerce.customers import Address, Customer
from models.ecommerce.orders import Order, OrderStatus
from models.ecommerce.returns import ReturnRequest, ReturnStatus
from models.ecommerce.reviews import Review
from models.ecommerce.shipping import ShippingZone
from models.ecommerce.taxes import TaxZone
from models.events import Checkpoint, DeadLetter
from models.fraud import FraudReview, FraudRule
from models.imports import ImportRun
from models.inventory.moving import Stocktake, StockTransfer
from models.inventory.purchasing import PurchaseOrder, Supplier
from models.inventory.stock import StockLevel, StockLocation
from models.jobs import Job
from models.money import Money
from models.payments import Payment, PaymentState
from models.places import PostalAddress
from models.users import User
from models.webhooks import DeliveryState, WebhookDelivery, WebhookEndpoint, WebhookTopic
from scripts.sandbox.books import Books
from scripts.sandbox.gateway import SandboxGatewayServer, make_server
from services.settings import Settings
from services.webhooks.signing import endpoint_secret

MOST = 25
CARD_NUMBER = "4000056655665556"  # sent in the place of a token, and never to be seen again
TOKENS = ["tok_ok", "tok_ok", "tok_declined", "tok_review", "tok_refund_refused", CARD_NUMBER]

# What the name of a parameter or field stands for, where a path begins like this; the first that fits.
_BY_PATH: list[tuple[str, dict[str, str]]] = [
    ("/shop/products", {"key": "product_key", "slug": "product_slug", "tag": "product_tag", "category": "product_category"}),
    ("/shop/categories", {"key": "product_category_key", "parent_id": "product_category_id"}),
    ("/shop/tax-zones", {"zone_id": "tax_zone_id"}),
    ("/shop/shipping-zones", {"zone_id": "shipping_zone_id"}),
    ("/shop/cart", {"code": "coupon_code"}),
    ("/blog/categories", {"key": "category_key"}),
    ("/blog/posts", {"key": "post_key"}),
    ("/inventory", {"order_id": "purchase_order_id"}),
    ("/payments/fraud", {"review_id": "fraud_review_id"}),
    ("/jobs", {"name": "job_name"}),
    ("/events", {"name": "consumer_name"}),
]

_IDS: dict[str, type[AgoraDocument]] = {
    "address_id": Address,
    "attribute_id": AttributeDefinition,
    "coupon_id": Coupon,
    "customer_id": Customer,
    "delivery_id": WebhookDelivery,
    "endpoint_id": WebhookEndpoint,
    "fraud_review_id": FraudReview,
    "import_id": ImportRun,
    "letter_id": DeadLetter,
    "level_id": StockLevel,
    "location_id": StockLocation,
    "payment_id": Payment,
    "promotion_id": Promotion,
    "review_id": Review,
    "rule_id": FraudRule,
    "shipping_zone_id": ShippingZone,
    "stocktake_id": Stocktake,
    "supplier_id": Supplier,
    "tax_zone_id": TaxZone,
    "transfer_id": StockTransfer,
}


def known_as(path: str, name: str) -> str:
    """Under which name the values for a parameter or field of this path are known."""
    for beginning, names in _BY_PATH:
        if path.removeprefix("/api/v1").startswith(beginning) and name in names:
            return names[name]
    return name


async def shop_things() -> dict[str, list[str]]:
    """Ids and names of what the shop holds, the newest of each kind, by the names of `known_as`."""
    things: dict[str, list[str]] = {}
    for name, document in _IDS.items():
        rows = await _newest(document)
        things[name] = [str(row["_id"]) for row in rows]
        _by_state(things, name, rows)
    categories = await _newest(ProductCategory)
    coupons = await _newest(Coupon)
    things |= {
        "product_category_id": [str(row["_id"]) for row in categories],
        "product_category": [row["slug"] for row in categories],
        "product_category_key": [row["slug"] for row in categories] + [str(row["_id"]) for row in categories],
        "coupon_code": [row["code"] for row in coupons],
        "coupon_codes": [row["code"] for row in coupons],
        "job_name": [row["name"] for row in await _newest(Job)],
        "consumer_name": [row["consumer"] for row in await _newest(Checkpoint)],
        "batch": sorted({row["batch"] for row in coupons if row["batch"]}),
        "from_location_id": things["location_id"],
        "to_location_id": things["location_id"],
        "shipping_address_id": things["address_id"],
        "billing_address_id": things["address_id"],
        "payment_token": TOKENS,
        "gateway": ["sandbox"],
        "currency": ["USD", "USD", "USD", "EUR"],
        "country": ["US", "DE"],
        "amount": ["0.01", "5.00", "19.99"],
        "unit_price": ["19.99"],
        "min_price": ["5.00"],
        "max_price": ["500.00"],
        "url": ["https://93.184.215.14/agora"],  # an address, because names are looked up
        **{name: ["2026-10-20T00:00:00Z"] for name in ("since", "starts_at")},
        **{name: ["2026-11-01T00:00:00Z"] for name in ("until", "ends_at", "moment", "occurred_at")},
    }
    things |= await _products()
    orders = [row for status in OrderStatus for row in await _newest(Order, {"status": status})]
    things["order_id"] = things["order_ids"] = [str(row["_id"]) for row in orders]
    things["subject"] = [f"order:{row['_id']}" for row in orders[:5]]
    things["fulfilment_id"] = [str(parcel["id"]) for row in orders for parcel in row["fulfilments"]]
    bought = await _newest(PurchaseOrder)
    things["purchase_order_id"] = [str(row["_id"]) for row in bought]
    returns = [row for status in ReturnStatus for row in await _newest(ReturnRequest, {"status": status})]
    things["return_id"] = [str(row["_id"]) for row in returns]
    moved = await _newest(StockTransfer)
    for name, rows in (("order_id", orders), ("purchase_order_id", bought), ("return_id", returns)):
        _by_state(things, name, rows)
    for row in [*orders, *bought, *moved]:
        things[f"lines of {row['_id']}"] = [str(line["id"]) for line in row["lines"]]
    for row in returns:
        things[f"lines of {row['_id']}"] = [str(line["line_id"]) for line in row["lines"]]
    for row in orders:
        if row["fulfilments"]:
            things[f"parcels of {row['_id']}"] = [str(parcel["id"]) for parcel in row["fulfilments"]]
    return things


def _by_state(things: dict[str, list[str]], name: str, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        state = row.get("status") or row.get("state")
        if isinstance(state, str):
            things.setdefault(f"{state} {name}", []).append(str(row["_id"]))


async def _products() -> dict[str, list[str]]:
    rows = await _newest(Product, {"status": {"$in": list(VISIBLE_STATUSES)}})
    products = [Product.from_row(row) for row in rows]
    ids = [str(product.id) for product in products]
    slugs = [product.slug for product in products]
    found = {
        "product_id": ids,
        "product_ids": ids,
        "product_slug": slugs,
        "product_key": slugs + ids,
        "brand": sorted({product.brand for product in products}),
        "product_tag": sorted({tag for product in products for tag in product.tags}),
        "attribute": sorted({facet for product in products for facet in product.facets if "=" in facet}),
        "variant_id": [str(variant.id) for product in products for variant in product.variants],
    }
    for product in products:
        found[f"variants of {product.id}"] = [str(variant.id) for variant in product.variants]
    return found


async def _newest(document: type[AgoraDocument], query: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    return await document.find_rows(query or {}, sort=[("_id", -1)], limit=MOST)


# What becomes the caller's own: nothing is asked but that operations get past the question whose it is.


async def make_own(operation: str, name: str, user_id: PydanticObjectId) -> str | None:
    """The id of an order, return, review or address that is this person's from now on; None where none is asked for."""
    make = _OWN.get(name)
    return await make(operation, user_id) if make is not None and operation in _OWN_OPERATIONS else None


async def fill_cart(user_id: PydanticObjectId) -> Cart:
    """The cart of this person: a new one holds two things and a code."""
    row = await Cart.find_row({"owner": f"user:{user_id}"})
    if row is not None:
        return Cart.from_row(row)
    moment = now()
    coupons = [coupon["code"] for coupon in await _newest(Coupon, {"is_active": True})]
    products = [Product.from_row(row) for row in await _newest(Product, {"status": "active"})]
    chosen = secrets.SystemRandom().sample(products, min(2, len(products)))
    lines = [
        CartLine(
            product_id=product.id,
            variant_id=product.variants[0].id,
            quantity=1,
            price_seen=product.variants[0].price,
            added_at=moment,
        )
        for product in chosen
    ]
    return await Cart(
        owner=f"user:{user_id}",
        user_id=user_id,
        lines=lines,
        coupon_codes=coupons[:1],
        active_at=moment,
        expires_at=moment + timedelta(days=30),
    ).store()


async def _own_order(operation: str, user_id: PydanticObjectId) -> str | None:
    statuses = {"request_return": ["delivered"], "pay_order": ["pending"], "cancel_order": ["pending", "confirmed"]}
    rows = await _newest(Order, {"status": {"$in": statuses.get(operation, [status.value for status in OrderStatus])}})
    return await _adopt(Order, rows, {"user_id": user_id})


async def _own_return(operation: str, user_id: PydanticObjectId) -> str | None:
    adopted = await _adopt(ReturnRequest, await _newest(ReturnRequest), {"user_id": user_id})
    if adopted is not None:
        row = await ReturnRequest.find_row({"_id": PydanticObjectId(adopted)})
        await Order.collection().update_one({"_id": row and row["order_id"]}, {"$set": {"user_id": user_id}})
    return adopted


async def _own_review(operation: str, user_id: PydanticObjectId) -> str | None:
    return await _adopt(Review, await _newest(Review), {"author_id": user_id})


async def _own_address(operation: str, user_id: PydanticObjectId) -> str | None:
    row = await Customer.find_row({"user_id": user_id})
    customer = Customer.from_row(row) if row else await Customer(user_id=user_id, spent=Money.zero("USD")).store()
    return str((await Address(customer_id=customer.id, address=_place("1 Market Street")).store()).id)


async def _adopt(document: type[AgoraDocument], rows: list[dict[str, Any]], owner: dict[str, Any]) -> str | None:
    if not rows:
        return None
    chosen = secrets.choice(rows)["_id"]
    await document.collection().update_one({"_id": chosen}, {"$set": owner})
    return str(chosen)


def _place(line: str) -> PostalAddress:
    return PostalAddress(first_name="Jane", last_name="Doe", line1=line, city="Springfield", postal_code="62701", country="US")


_OWN: dict[str, Callable[[str, PydanticObjectId], Awaitable[str | None]]] = {
    "address_id": _own_address,
    "order_id": _own_order,
    "return_id": _own_return,
    "review_id": _own_review,
}
_OWN_OPERATIONS = frozenset(
    {
        *("get_address", "update_address", "delete_address", "set_default_address"),
        *("get_order", "cancel_order", "pay_order", "get_order_history", "get_order_tracking", "explain_order"),
        *("request_return", "list_order_returns", "get_return", "cancel_return", "update_review", "delete_review"),
    }
)
CART_OPERATIONS = frozenset(
    {
        *("get_cart", "update_cart_item", "remove_from_cart", "clear_cart"),
        *("add_cart_coupon", "remove_cart_coupon", "checkout"),
    }
)

# Secrets

# What staff may see of orders, returns and products, in the answers that are about nothing else.
_ORDER_ANSWERS = frozenset(
    {
        *("list_orders", "get_order", "get_staff_order", "change_order_status", "create_fulfilment", "update_tracking"),
        *(
            "deliver_fulfilment",
            "update_order_notes",
            "hold_order",
            "release_order",
            "cancel_order",
            "pay_order",
            "export_orders",
        ),
    }
)
_NOTE_ANSWERS = _ORDER_ANSWERS - {"list_orders", "get_order", "cancel_order", "pay_order", "export_orders"}
_RETURN_ANSWERS = frozenset({"list_return_queue", "approve_return", "reject_return", "receive_return", "refund_return"})
_PRODUCT_ANSWERS = frozenset({"get_product_for_edit", "update_product"})
_ADDRESS_ANSWERS = _ORDER_ANSWERS - {"list_orders", "export_orders"}


async def plant_in_shop(
    victim: User, *, settings: Settings
) -> tuple[list[tuple[str, str, frozenset[str]]], dict[str, list[str]]]:
    """Give the victim an order, a return, an address and a payment that hold secrets, and others to the house.

    Returns the secrets (name, value, operations that may tell staff), and what is the victim's.
    """
    mark = secrets.token_hex(8)
    street, notes, staff_notes, guest = (f"canary{number}{mark}" for number in range(4, 8))
    cost = f"{secrets.randbelow(90_000) + 10_000}.{secrets.randbelow(90) + 10}"
    nobody: frozenset[str] = frozenset()

    row = await Customer.find_row({"user_id": victim.id})
    customer = Customer.from_row(row) if row else await Customer(user_id=victim.id, spent=Money.zero("USD")).store()
    address = await Address(customer_id=customer.id, address=_place(street)).store()
    product = Product.from_row((await _newest(Product, {"status": "active"}))[0])
    price = Money.of(cost, "USD").model_dump()
    await Product.collection().update_one({"_id": product.id}, {"$set": {"variants.0.cost_price": price}})
    order = Order.from_row((await _newest(Order, {"status": "delivered"}))[-1])
    token_hash = secrets.token_hex(32)
    theirs = {
        "user_id": victim.id,
        "customer_id": customer.id,
        "admin_notes": notes,
        "email": f"{guest}@example.com",
        "shipping_address": _place(street).model_dump(),
        "guest_token_hash": token_hash,
    }
    await Order.collection().update_one({"_id": order.id}, {"$set": theirs})
    request = ReturnRequest.from_row((await _newest(ReturnRequest))[-1])
    mine = {"user_id": victim.id, "customer_id": customer.id, "order_id": order.id, "staff_notes": staff_notes}
    await ReturnRequest.collection().update_one({"_id": request.id}, {"$set": mine})
    card = f"tok_{secrets.token_hex(12)}"
    payment = await Payment(
        subject=f"order:{order.id}",
        key=f"fuzz-{mark}",
        amount=order.totals.total,
        method="card",
        gateway="sandbox",
        token=card,
        state=PaymentState.IN_REVIEW,
    ).store()
    endpoint = await WebhookEndpoint(url="https://93.184.215.14/canary", topics=[WebhookTopic.ORDER_PLACED]).store()
    await _leave_traces(endpoint)
    shared = settings.sandbox_gateway_secret
    planted = [
        ("street of an address", street, _ADDRESS_ANSWERS),
        ("notes of staff on an order", notes, _NOTE_ANSWERS),
        ("notes of staff on a return", staff_notes, _RETURN_ANSWERS),
        ("address of who ordered", guest, _ORDER_ANSWERS),
        ("hash of a guest's token", token_hash, nobody),
        ("price that was paid for a product", cost, _PRODUCT_ANSWERS),
        ("token of a card", card, nobody),
        ("number of a card", CARD_NUMBER, nobody),
        ("secret of a webhook", endpoint_secret(endpoint.id, 1, settings=settings), nobody),
        *([("secret of the gateway", shared.get_secret_value(), nobody)] if shared else []),
    ]
    return planted, {
        "address_id": [str(address.id)],
        "customer_id": [str(customer.id)],
        "endpoint_id": [str(endpoint.id)],
        "order_id": [str(order.id)],
        "payment_id": [str(payment.id)],
        "product_key": [product.slug, str(product.id)],
        "product_id": [str(product.id)],
        "product_slug": [product.slug],
        "return_id": [str(request.id)],
    }


async def _leave_traces(endpoint: WebhookEndpoint) -> None:
    """What workers, gateways and fraud rules leave behind, none of which is at work here."""
    moment = now()
    await Job(name="fuzz", next_run_at=moment).store()
    await Checkpoint(consumer="fuzz").store()
    for number in range(1, 6):
        await DeadLetter(
            consumer="fuzz", event_id=PydanticObjectId(), sequence=number, error="it failed", failed_at=moment
        ).store()
        await WebhookDelivery(
            endpoint_id=endpoint.id,
            event_id=PydanticObjectId(),
            event_type="order.placed",
            body="{}",
            state=DeliveryState.FAILED,
            due_at=moment,
            expires_at=moment + timedelta(days=30),
        ).store()
        terms: dict[str, Any] = {"amount": Money.of("49.90", "USD"), "method": "invoice", "gateway": "offline"}
        promised = Payment(subject="fuzz:promised", key=f"fuzz-promised-{number}-{endpoint.id}", **terms)
        await promised.model_copy(update={"state": PaymentState.AUTHORISED, "asked_at": moment, "sent_count": 1}).store()
        held = await Payment(
            subject="fuzz:held", key=f"fuzz-held-{number}-{endpoint.id}", state=PaymentState.IN_REVIEW, **terms
        ).store()
        await FraudReview(
            payment_id=held.id, subject=held.subject, rule="amount above 10000", amount=held.amount, method=held.method
        ).store()


# The gateway


@contextlib.contextmanager
def beside_a_sandbox(settings: Settings) -> Iterator[Settings]:
    """These settings with a sandbox gateway, served on loopback from a thread of its own until the block ends."""
    secret = "whsec_" + b64encode(secrets.token_bytes(32)).decode()
    server = make_server(SandboxGatewayServer(secret, Books(), pause=0.05))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="sandbox")
        thread.start()
        try:
            yield settings.model_copy(
                update={"sandbox_gateway_url": url, "sandbox_gateway_secret": SecretStr(secret), "gateway_timeout_seconds": 2.0}
            )
        finally:
            server.should_exit = True
            thread.join()
