"""Every router of the API, the busiest first: routes are tried in this order, and each one that is not it costs its share."""

from fastapi import APIRouter

from api.routes import auth, events, imports, inventory, jobs, live, reconcile, social, syndication, users, webhooks
from api.routes.analytics import content as content_reports
from api.routes.analytics import customers as customer_reports
from api.routes.analytics import dashboards as saved_dashboards
from api.routes.analytics import events as visit_events
from api.routes.analytics import exports as report_files
from api.routes.analytics import inventory as stock_reports
from api.routes.analytics import payments as payment_reports
from api.routes.analytics import sales as sales_reports
from api.routes.analytics import users as user_reports
from api.routes.analytics import visits as visit_reports
from api.routes.blog import categories, comments, discovery, likes, posts, revisions, tags
from api.routes.ecommerce import (
    addresses,
    attributes,
    cart,
    checkout,
    coupons,
    customers,
    orderdesk,
    orders,
    products,
    promotions,
    returns,
    reviews,
    shipping,
    taxes,
    wishlists,
)
from api.routes.ecommerce import categories as product_categories
from api.routes.payments import desk, fraud

ROUTERS: list[APIRouter] = [
    posts.router,
    comments.router,
    likes.router,
    discovery.router,
    categories.router,
    tags.router,
    products.router,
    product_categories.router,
    attributes.router,
    social.router,
    auth.router,
    *users.ROUTERS,
    revisions.router,
    live.router,
    visit_events.router,
    syndication.router,
    webhooks.router,
    jobs.router,
    events.router,
    reconcile.router,
    reviews.router,
    shipping.router,
    coupons.router,
    promotions.router,
    taxes.router,
    desk.router,
    fraud.router,
    *cart.ROUTERS,
    checkout.router,
    wishlists.router,
    orderdesk.router,  # before orders: its fixed paths would be ids there
    orders.router,
    returns.router,
    customers.router,
    *inventory.ROUTERS,
    addresses.router,
    imports.router,
    sales_reports.router,
    visit_reports.router,
    customer_reports.router,
    stock_reports.router,
    payment_reports.router,
    content_reports.router,
    user_reports.router,
    report_files.router,
    saved_dashboards.router,
]
