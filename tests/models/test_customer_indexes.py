"""Every read of carts, customers, addresses and points is served by a declared index, as it is really sent."""

from datetime import timedelta

from models.base import now
from models.database import Database
from models.ecommerce.customers import DefaultKind
from models.users import Role
from services.ecommerce.abandonment import AbandonmentService
from services.ecommerce.addresses import AddressChanges, AddressService
from services.ecommerce.cart_reading import _pipeline
from services.ecommerce.carts import CartHolder, CartItem, CartService
from services.ecommerce.customers import CustomerService
from services.ecommerce.loyalty import LoyaltyService, entries_of
from services.pagination import CursorCodec, PageRequest
from services.settings import Settings
from tests.commands import CommandLog, Read
from tests.factories.carts import CART_TOKEN, create_cart
from tests.factories.catalog import create_product
from tests.factories.customers import create_address, create_customer
from tests.factories.users import create_user, viewer_of
from tests.shapes import serving_index

OURS = {"carts", "cart_abandonments", "customers", "addresses", "address_defaults", "loyalty_entries"}


async def test_every_read_and_list_is_served(database: Database, settings: Settings, commands: CommandLog) -> None:
    user, manager = await create_user(), viewer_of(await create_user(role=Role.MANAGER))
    customer, viewer, moment = await create_customer(user=user), viewer_of(user), now()
    address = await create_address(customer, defaults=(DefaultKind.SHIPPING,))
    product = await create_product(track_inventory=False)
    await create_cart((product, 1))
    holder, cursors = CartHolder(viewer, CART_TOKEN), CursorCodec(b"0" * 32)

    with commands.counting() as sent:
        await CartService.add(holder, CartItem(product.id, product.variants[0].id), settings=settings)
        await AbandonmentService.mark_abandoned(settings=settings, now=moment)
        await AbandonmentService.report(viewer=manager, starts_at=moment, ends_at=moment + timedelta(days=1))
        await CustomerService.of(viewer, settings=settings)
        await CustomerService.list_customers(PageRequest(), viewer=manager)
        await CustomerService.list_customers(PageRequest(), viewer=manager, is_active=True)
        await AddressService.list_addresses(viewer)
        await AddressService.update_address(address.id, AddressChanges(), viewer=viewer)
        await AddressService.find_default(customer.id, DefaultKind.SHIPPING)
        first = await LoyaltyService.list_points(viewer=viewer, cursors=cursors)
        await LoyaltyService.list_points(
            viewer=viewer, cursors=cursors, cursor=cursors.encode(f"points:{customer.id}", customer.id)
        )
        await entries_of(customer.id, session=None)

    assert first.items == []
    reads = [read for read in sent.reads if read.collection in OURS]
    assert {read.collection for read in reads} == OURS
    assert [read for read in reads if serving_index(read) is None] == []


async def test_what_a_cart_is_joined_with_is_found_by_an_index(database: Database) -> None:
    holder = CartHolder(viewer_of(await create_user()), CART_TOKEN)
    joins = [stage["$lookup"] for stage in _pipeline(holder) if "$lookup" in stage]

    served = {join["from"]: serving_index(Read(join["from"], {join["foreignField"]: 1}, [])) for join in joins}

    assert served == {
        "customers": "user_unique",
        "products": "_id_",
        "address_defaults": "customer_kind_unique",
        "product_categories": "_id_",
        "addresses": "_id_",
    }
