"""Customers: who buys, how much, and what they ordered. Their accounts stand among the users."""

from enum import StrEnum

from api.web.admin.desk import ADMIN, Desk
from api.web.admin.layout import Badge, Field, Link, Page, Row, Table, Value
from api.web.admin.orders import orders_table
from api.web.admin.subjects import user_link
from api.web.admin.views import Group, View
from models.ecommerce.customer_reads import CustomerDetails
from services.ecommerce.customers import CustomerService
from services.ecommerce.orders.reading import OrderService
from services.users.permissions import Permission, Viewer

_PATH = f"{ADMIN}/customers"


class _State(StrEnum):
    ACTIVE = "active"
    GONE = "gone"


async def _list(desk: Desk) -> Page:
    state, wanted = desk.choice("state", _State), desk.asked("search", max_length=254)
    is_active = None if state is None else state is _State.ACTIVE
    found = await CustomerService.list_customers(desk.page, viewer=desk.viewer, is_active=is_active, search=wanted)
    columns = ["Customer", "Username", "E-mail", "Orders", "Spent", "Points", "State", "Since"]
    return Page(
        title="Customers",
        tabs=desk.tabs("state", _State, state),
        path=desk.path,
        search=[Field("search", "Whole username or e-mail", "search", wanted or "", max_length=254)],
        tables=[Table(_counted(found.total_count), columns, [_row(one) for one in found.items], "No such customer.")],
        paging=desk.numbered(found.page, found.total_pages, state=state, search=wanted),
    )


def _counted(count: int) -> str:
    return "1 customer" if count == 1 else f"{count:,} customers, newest first"


def _name(customer: CustomerDetails) -> str:
    return f"{customer.first_name} {customer.last_name}".strip() or customer.source_key or "somebody without a name"


def _row(customer: CustomerDetails) -> Row:
    return Row(
        [
            Link(f"{_PATH}/{customer.id}", _name(customer)),
            customer.username,
            customer.email,
            customer.orders_count,
            customer.spent,
            customer.points_balance,
            _state(customer),
            customer.created_at,
        ]
    )


def _state(customer: CustomerDetails) -> Badge:
    return Badge("active", "good") if customer.is_active else Badge("gone", "bad")


async def _detail(desk: Desk) -> Page:
    customer = await CustomerService.get_customer(desk.id(), viewer=desk.viewer)
    orders = await OrderService.list_orders(desk.page, viewer=desk.viewer, customer_id=customer.id)
    return Page(
        title=_name(customer),
        back=Link(_PATH, "Customers"),
        facts=_facts(customer, desk.viewer),
        tables=[orders_table(orders.items, orders.total_count, "They ordered nothing yet.")],
        paging=desk.numbered(orders.page, orders.total_pages),
    )


def _facts(customer: CustomerDetails, viewer: Viewer) -> list[tuple[str, Value]]:
    username = customer.username
    return [
        ("State", _state(customer)),
        ("Account", user_link(customer.user_id, username) if viewer.can(Permission.READ_USER) else username),
        ("E-mail", customer.email),
        ("Phone", customer.phone),
        ("Orders, paid and kept", customer.orders_count),
        ("Spent", customer.spent),
        ("Points", customer.points_balance),
        ("Addresses", customer.addresses_count),
        ("Language", customer.language),
        ("Agrees to news", customer.newsletter_subscribed),
        ("Imported as", customer.source_key),
        ("Since", customer.created_at),
    ]


CUSTOMERS = View(
    "customers",
    "Customers",
    "who buys, and how much",
    Group.SALES,
    Permission.MANAGE_ORDERS,
    pages={"": _list, "/{id}": _detail},
)
