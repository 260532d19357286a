"""Where in the admin the things lead that others name: `order:<id>` and the like."""

from beanie import PydanticObjectId
from bson import ObjectId

from api.web.admin.desk import ADMIN
from api.web.admin.layout import Link, Value, words
from services.users.permissions import Permission, Viewer

_PAGES = {
    "fraud_rule": "rules",
    "order": "orders",
    "payment": "payments",
    "post": "posts",
    "product": "products",
    "return": "returns",
    "user": "users",
    "webhook_endpoint": "webhooks",
}


def subject_link(subject: str) -> Value:
    """A link where there is a page of it, else the subject as it is."""
    kind, _, key = subject.partition(":")
    if kind in _PAGES and ObjectId.is_valid(key):
        return Link(f"{ADMIN}/{_PAGES[kind]}/{key}", f"{words(kind)} {key[-6:]}")
    return subject


def payment_link(payment_id: PydanticObjectId) -> Link:
    return Link(f"{ADMIN}/payments/{payment_id}", f"payment {str(payment_id)[-6:]}")


def user_link(user_id: PydanticObjectId | None, text: str | None = None) -> Value:
    """None for nobody."""
    if user_id is None:
        return None
    return Link(f"{ADMIN}/users/{user_id}", text or f"user {str(user_id)[-6:]}")


def product_link(product_id: PydanticObjectId, name: str, viewer: Viewer) -> Value:
    """Who lists something of a product need not be who keeps products: to them it is its name alone."""
    return Link(f"{ADMIN}/products/{product_id}", name) if viewer.can(Permission.MANAGE_CATALOG) else name


def post_link(post_id: PydanticObjectId, title: str, viewer: Viewer) -> Value:
    """As `product_link`."""
    return Link(f"{ADMIN}/posts/{post_id}", title) if viewer.can(Permission.EDIT_ANY_POST) else title
