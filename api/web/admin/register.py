"""The register of the parts of the admin, in the order of its menu. A new part is a row here."""

from api.web.admin.bans import BANS
from api.web.admin.comments import COMMENTS
from api.web.admin.coupons import COUPONS
from api.web.admin.customers import CUSTOMERS
from api.web.admin.events import EVENTS
from api.web.admin.fraud import FRAUD
from api.web.admin.jobs import JOBS
from api.web.admin.orders import ORDERS
from api.web.admin.payments import PAYMENTS
from api.web.admin.people import USERS
from api.web.admin.posts import POSTS
from api.web.admin.products import PRODUCTS
from api.web.admin.returns import RETURNS
from api.web.admin.reviews import REVIEWS
from api.web.admin.rules import RULES
from api.web.admin.stock import STOCK
from api.web.admin.trail import AUDIT
from api.web.admin.views import View
from api.web.admin.webhooks import WEBHOOKS
from services.users.permissions import Viewer

# What belongs to one group stands together: the menu starts a group where its name changes.
VIEWS = [
    COMMENTS,
    BANS,
    REVIEWS,
    POSTS,
    ORDERS,
    RETURNS,
    CUSTOMERS,
    PAYMENTS,
    FRAUD,
    RULES,
    PRODUCTS,
    STOCK,
    COUPONS,
    USERS,
    AUDIT,
    WEBHOOKS,
    EVENTS,
    JOBS,
]


def open_to(viewer: Viewer) -> list[View]:
    return [view for view in VIEWS if viewer.can(view.permission)]
