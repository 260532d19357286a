"""What a cart shows: its lines at present prices, what is wrong with them, and what the order would come to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from beanie import PydanticObjectId

from models.database import Session
from models.ecommerce.cart_reads import CartLineRead, CartRead, LineProblem, LineProblemKind
from models.ecommerce.carts import Cart, CartLine
from models.ecommerce.customers import DefaultKind
from models.ecommerce.pricing import PricedLine
from services.ecommerce.cart_writing import CartDraft, CartHolder, stored_carts
from services.ecommerce.catalog.purchasable import PURCHASABLE_FIELDS, Purchasable, purchasables_in
from services.ecommerce.customers import key_of_customer
from services.ecommerce.pricing import Piece, PricingRequest, PricingService
from services.inventory.stock import StockService
from services.settings import Settings

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Preview:
    """Where a cart's preview ships to and how; what is not said is the customer's default address, or nothing."""

    country: str | None = None
    state: str = ""
    shipping_method: str | None = None


@dataclass(frozen=True, slots=True)
class Buyer:
    """What pricing wants to know of who buys."""

    customer_key: str | None = None
    is_first_order: bool = False


async def read_cart(
    holder: CartHolder,
    *,
    settings: Settings,
    preview: Preview,
    now: datetime,
    new_token: str | None = None,
    session: Session | None = None,
) -> CartRead:
    """The holder's cart, with a guest's that will join it; the empty one when there is none. Writes nothing.

    With `session` as its transaction has left it.

    Two commands and those of the pricing (none without coupons): the carts with everything their lines refer to in one pipeline,
    and the stock.
    """
    rows = await Cart.aggregate_rows(_pipeline(holder), session=session) if holder.owners else []
    carts = {row["owner"]: Cart.from_row({field: row[field] for field in Cart.model_fields if field in row}) for row in rows}
    stored = stored_carts(holder, list(carts.values()), now=now)
    draft = stored.draft(settings.currency)
    refs = [(line.product_id, line.variant_id) for line in draft.lines]
    things = purchasables_in(_products(rows), refs, currency=draft.currency)
    stock = await StockService.available([line.variant_id for line in draft.lines if _is_counted(things.get(line.variant_id))])
    customer = rows[0]["customer"][0] if rows and rows[0]["customer"] else None
    preview = _at_home(preview, rows[0]) if rows else preview
    priced = await PricingService.quote(
        pricing_request(draft, things, buyer=buyer_of(holder, customer), preview=preview), settings=settings, now=now
    )
    amounts = {line.variant_id: line for line in priced.quote.lines}
    lines = [_to_line(line, things.get(line.variant_id), stock, amounts.get(line.variant_id)) for line in draft.lines]
    return CartRead.model_construct(
        currency=draft.currency,
        lines=lines,
        pieces_count=sum(line.quantity for line in draft.lines),
        coupon_codes=draft.codes,
        coupon_problems=priced.problems,
        totals=priced.quote.totals,
        discounts=priced.quote.discounts,
        shipping_method=priced.quote.shipping_method,
        country=preview.country,
        state=preview.state,
        is_orderable=bool(lines) and all(_is_orderable(line) for line in lines),
        revision=stored.revision,
        expires_at=stored.own.expires_at if stored.own is not None and stored.revision else None,
        cart_token=new_token,
    )


def pricing_request(
    draft: CartDraft, things: Mapping[PydanticObjectId, Purchasable], *, buyer: Buyer, preview: Preview
) -> PricingRequest:
    """The lines that are for sale, as pricing takes them."""
    pieces = [
        Piece(
            product_id=line.product_id,
            variant_id=line.variant_id,
            category_ids=thing.category_ids,
            unit_price=thing.price,
            quantity=line.quantity,
            is_digital=thing.is_digital,
            tax_class=thing.tax_class,
            weight_grams=thing.weight_grams,
        )
        for line in draft.lines
        if (thing := things.get(line.variant_id)) is not None and thing.is_for_sale
    ]
    return PricingRequest(
        pieces=pieces,
        currency=draft.currency,
        coupon_codes=draft.codes,
        customer_key=buyer.customer_key,
        is_first_order=buyer.is_first_order,
        country=preview.country,
        state=preview.state,
        shipping_method=preview.shipping_method,
    )


def buyer_of(holder: CartHolder, customer: Mapping[str, Any] | None) -> Buyer:
    """A guest is nobody yet; who is signed in and has no profile has not bought anything."""
    if holder.viewer is None:
        return Buyer()
    if customer is None:
        return Buyer(None, True)
    return Buyer(key_of_customer(customer["_id"]), customer["orders_count"] == 0)


def _pipeline(holder: CartHolder) -> list[Row]:
    """Rows of carts, each with what it refers to:

    `{"owner": "user:...", "lines": [...], "products": [{..., "variants": [...]}], "categories": [...], "customer": [{...}],
    "defaults": [...], "addresses": [...]}`.

    Ids are gathered into lists first: the embedded server looks nothing up by a path that leads through a list.
    """
    viewer = holder.viewer
    return [
        {"$match": {"owner": {"$in": holder.owners}}},
        # Of the person who is signed in, whichever cart it is; of nobody for a guest, where no id would match every customer
        # without an account.
        {"$set": {"buyer": {"$literal": "nobody" if viewer is None else viewer.user_id}}},
        _join("customers", "buyer", "user_id", "customer"),
        {
            "$set": {
                "product_ids": _each("lines", "product_id"),
                "customer_ids": _each("customer", "_id"),
            }
        },
        _join("products", "product_ids", "_id", "products"),
        _join("address_defaults", "customer_ids", "customer_id", "defaults"),
        {"$set": {"category_ids": _each("products", "category_id"), "address_ids": _each("defaults", "address_id")}},
        _join("product_categories", "category_ids", "_id", "categories"),
        _join("addresses", "address_ids", "_id", "addresses"),
        {
            "$project": {
                **_CART_FIELDS,
                **{f"products.{field}": 1 for field in PURCHASABLE_FIELDS if not field.startswith("category.")},
                "products._id": 1,
                "categories._id": 1,
                "categories.ancestor_ids": 1,
                "customer._id": 1,
                "customer.orders_count": 1,
                "defaults.kind": 1,
                "defaults.address_id": 1,
                "addresses._id": 1,
                "addresses.address.country": 1,
                "addresses.address.state": 1,
            }
        },
    ]


_CART_FIELDS = {
    **dict.fromkeys(("owner", "user_id", "currency", "lines", "coupon_codes", "revision", "active_at", "expires_at"), 1),
    "merged_into": 1,
}


def _each(source: str, field: str) -> Row:
    return {"$map": {"input": f"${source}", "as": "one", "in": f"$$one.{field}"}}


def _join(collection: str, local: str, foreign: str, name: str) -> Row:
    return {"$lookup": {"from": collection, "localField": local, "foreignField": foreign, "as": name}}


def _products(rows: Sequence[Row]) -> list[Row]:
    """The products of all rows as `purchasables_in` wants them."""
    categories = {category["_id"]: category for row in rows for category in row["categories"]}
    return [
        {**product, "category": [categories[product["category_id"]]] if product["category_id"] in categories else []}
        for row in rows
        for product in row["products"]
    ]


def _at_home(preview: Preview, row: Row) -> Preview:
    """The preview at the customer's default address unless it names a country."""
    if preview.country is not None:
        return preview
    places = {address["_id"]: address["address"] for address in row["addresses"]}
    for default in row["defaults"]:
        place = places.get(default["address_id"])
        if default["kind"] == DefaultKind.SHIPPING and place is not None:
            return Preview(place["country"], place["state"], preview.shipping_method)
    return preview


def _is_counted(thing: Purchasable | None) -> bool:
    """Whether there can be too few of it."""
    return thing is not None and thing.is_for_sale and thing.tracks_inventory and not thing.allow_backorder


def _to_line(
    line: CartLine, thing: Purchasable | None, stock: Mapping[PydanticObjectId, int], amounts: PricedLine | None
) -> CartLineRead:
    return CartLineRead.model_construct(
        product_id=line.product_id,
        variant_id=line.variant_id,
        name=thing.name if thing else None,
        sku=thing.sku if thing else None,
        options=thing.options if thing else {},
        image_url=thing.image_url if thing else None,
        quantity=line.quantity,
        unit_price=amounts.unit_price if amounts else None,
        subtotal=amounts.subtotal if amounts else None,
        discount=amounts.discount if amounts else None,
        tax=amounts.tax if amounts else None,
        total=amounts.total if amounts else None,
        is_digital=thing.is_digital if thing else False,
        added_at=line.added_at,
        problems=problems_of(line, thing, stock.get(line.variant_id) if _is_counted(thing) else None),
    )


def problems_of(line: CartLine, thing: Purchasable | None, available: int | None) -> list[LineProblem]:
    """What is wrong with a line; `available` is None for what cannot run out."""
    if thing is None or not thing.is_for_sale:
        return [_problem(LineProblemKind.GONE, "This is not for sale any more.")]
    problems = []
    if line.price_seen != thing.price:
        detail = f"The price changed from {line.price_seen} to {thing.price}."
        problems.append(_problem(LineProblemKind.PRICE_CHANGED, detail, old_price=line.price_seen, new_price=thing.price))
    if available is not None and available <= 0:
        problems.append(_problem(LineProblemKind.OUT_OF_STOCK, "This is out of stock.", available=0))
    elif available is not None and available < line.quantity:
        detail = f"Only {available} are left."
        problems.append(_problem(LineProblemKind.INSUFFICIENT_STOCK, detail, available=available))
    return problems


def _problem(kind: LineProblemKind, detail: str, **more: Any) -> LineProblem:
    return LineProblem(**{"kind": kind, "detail": detail, "old_price": None, "new_price": None, "available": None, **more})


def _is_orderable(line: CartLineRead) -> bool:
    return all(problem.kind is LineProblemKind.PRICE_CHANGED for problem in line.problems)
