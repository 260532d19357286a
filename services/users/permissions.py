"""Who may do what: permissions, the one table from role to permissions, and the caller as services see it."""

from dataclasses import dataclass
from enum import StrEnum

from beanie import PydanticObjectId

from models.users import Role
from services.errors import PermissionDeniedError


class Permission(StrEnum):
    CREATE_USER = "create_user"
    READ_USER = "read_user"  # accounts of others, with their private fields
    UPDATE_USER = "update_user"  # lock, unlock, edit
    DELETE_USER = "delete_user"  # deactivate and anonymise
    MANAGE_ROLES = "manage_roles"
    VIEW_REPORTS = "view_reports"
    READ_AUDIT = "read_audit"
    WRITE_POSTS = "write_posts"  # one's own
    EDIT_ANY_POST = "edit_any_post"
    MANAGE_TAXONOMY = "manage_taxonomy"  # categories and tags
    MODERATE_COMMENTS = "moderate_comments"  # also approve, ban
    WRITE_PRODUCTS = "write_products"  # one's own
    MANAGE_CATALOG = "manage_catalog"  # everyone's products, categories, attributes, imports
    MODERATE_REVIEWS = "moderate_reviews"
    MANAGE_PROMOTIONS = "manage_promotions"  # coupons, promotions, tax and shipping tables
    MANAGE_ORDERS = "manage_orders"  # see, move, fulfil, cancel, returns, customers
    MANAGE_PAYMENTS = "manage_payments"  # capture, void, refund, fraud rules and reviews, reconciliation
    MANAGE_INVENTORY = "manage_inventory"  # stock, suppliers, purchase orders, transfers, stocktakes
    MANAGE_WEBHOOKS = "manage_webhooks"  # outbound endpoints, deliveries, replay
    MANAGE_SYSTEM = "manage_system"  # jobs, events, indexes


_USER: frozenset[Permission] = frozenset()
_VENDOR = _USER | {Permission.WRITE_PRODUCTS}
_AUTHOR = _USER | {Permission.WRITE_POSTS}
_EDITOR = _AUTHOR | {
    Permission.EDIT_ANY_POST,
    Permission.MANAGE_TAXONOMY,
    Permission.MODERATE_COMMENTS,
    Permission.MODERATE_REVIEWS,
}
_MANAGER = _EDITOR | {
    Permission.VIEW_REPORTS,
    Permission.READ_USER,
    Permission.WRITE_PRODUCTS,
    Permission.MANAGE_CATALOG,
    Permission.MANAGE_PROMOTIONS,
    Permission.MANAGE_ORDERS,
    Permission.MANAGE_PAYMENTS,
    Permission.MANAGE_INVENTORY,
}
_ADMIN = frozenset(Permission)

ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.SUPER_ADMIN: _ADMIN,
    Role.ADMIN: _ADMIN,
    Role.MANAGER: _MANAGER,
    Role.EDITOR: _EDITOR,
    Role.AUTHOR: _AUTHOR,
    Role.VENDOR: _VENDOR,
    Role.USER: _USER,
}

# Highest first; nobody grants a role above their own, or acts on someone who stands above them.
RANKS: dict[Role, int] = {role: rank for rank, role in enumerate(reversed(Role))}


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who is asking: a signed-in person, as their session vouches for them. Nobody signed in is None."""

    user_id: PydanticObjectId
    username: str
    role: Role
    session_id: PydanticObjectId | None = None  # None for scripts and jobs acting as someone

    def can(self, permission: Permission) -> bool:
        return permission in ROLE_PERMISSIONS[self.role]

    def require(self, permission: Permission) -> None:
        """Raises PermissionDeniedError."""
        if not self.can(permission):
            raise PermissionDeniedError


SYSTEM = Viewer(PydanticObjectId("000000000000000000000001"), "system", Role.SUPER_ADMIN)
"""Scripts and jobs that act for nobody. Never the viewer of a request; the audit log names no actor for it."""
