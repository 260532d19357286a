"""Every name of the sources leads somewhere: `docs/sources.md` lists the places, and each of them exists."""

import ast
import importlib
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import pytest

from models.documents import DOCUMENTS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "sources.md").read_text("utf-8")

# SPEC A18, as far as it is built.
METHODS = {
    "002 blog": """
        Post.calculate_reading_time Post.publish BlogService.create_user BlogService.create_post BlogService.get_published_posts
        BlogService.get_post_with_author_and_category BlogService.add_comment BlogService.like_post BlogService.follow_user
        BlogService.search_posts BlogService.get_popular_posts BlogService.get_user_feed BlogService.get_blog_stats
        CategoryService.create_category CategoryService.get_categories_with_post_counts TagService.get_or_create_tags
        TagService.get_popular_tags ConnectionManager.connect ConnectionManager.disconnect ConnectionManager.broadcast
        setup_database create_sample_data run_blog_demo get_current_user
    """,
    "002 users": """
        User.full_name User.is_locked User.lock_account User.unlock_account User.record_login_attempt LoginSession.is_expired
        LoginSession.extend_session LoginSession.invalidate LoginSession.cleanup_expired init_user_management
        UserService.create_user UserService.get_user_by_id UserService.update_user UserService.delete_user
        UserService.create_login_session UserService.get_active_sessions UserService.extend_session UserService.invalidate_session
    """,
    "002 shop": """
        Cart.add_item Cart.remove_item Cart.calculate_total CartService.get_or_create_cart CartService.add_to_cart
        CartService.update_cart_item CartService.get_cart_details
        OrderService.create_order OrderService.get_customer_orders OrderService.update_order_status
        Coupon.is_valid ProductService.search_products ProductService.get_product_details
        ProductService.update_product_rating ReviewService.create_review
        AnalyticsService.get_sales_report AnalyticsService.get_top_products AnalyticsService.get_customer_insights
    """,
    "000": """
        Money.add Money.multiply
        Product.is_available Product.reduce_stock ProductRepository.find_by_id ProductRepository.find_by_category
        ProductRepository.save OrderItem.subtotal Order.add_item Order.total Order.confirm Order.ship Order.cancel
        OrderRepository.find_by_id OrderRepository.find_by_customer OrderRepository.save OrderService.create_order
        OrderService.checkout_order OrderService.get_customer_orders payment_service.process_payment
        notification_service.send_order_confirmation Order.deliver
    """,
    "001": """
        UserService.RegisterUser UserService.LoginUser LikeService.LikePost LikeService.UnlikePost FollowService.FollowUser
        FollowService.UnfollowUser CommentService.CreateComment CommentService.GetPostComments FeedService.GetUserFeed
        ProductService.AddProduct ProductService.GetProduct ProductService.SearchProducts
        PaymentService.AddGateway PaymentService.ProcessPayment PaymentService.GetPayment PaymentGateway.GetPaymentStatus
        TransactionService.CreateTransaction TransactionService.GetTransaction RefundService.CreateRefund
        FraudDetectionService.AddRule FraudDetectionService.CheckFraud
        PaymentGateway.ProcessPayment PaymentGateway.RefundPayment WebhookService.CreateWebhook
        NotificationService.EmailService NotificationService.SMSService OrderService.CreateOrder
        CartService.AddToCart InventoryService.ReserveStock InventoryService.ReleaseStock
    """,
}

# SPEC A19 "IDX-002 users", the publication's collections, and "users module".
INDEXES = {
    "users": {"username unique", "email unique", "role", "is_active", "role + is_active"},
    "blog_categories": {"slug unique", "name", "is_active"},
    "tags": {"slug unique", "name", "usage_count"},
    "posts": {
        "slug unique",
        "author",
        "category",
        "status",
        "published_at",
        "views",
        "likes",
        "status + published_at",
        "author + status",
        "category + status",
        "tags",
        "text on title, content, excerpt",
    },
    "comments": {"post", "author", "parent", "status", "post + status + created_at", "author + created_at"},
    "likes": {"post", "user", "post + user unique"},
    "follows": {"follower", "following", "follower + following unique"},
    "product_categories": {"slug unique", "parent", "path", "is_active", "sort_order", "parent + sort_order"},
    "products": {
        "slug unique",
        "sku unique",
        "category",
        "brand",
        "status",
        "price",
        "is_featured",
        "sales",
        "rating",
        "category + status",
        "brand + status",
        "price + status",
        "tags",
        "text on name, description, tags",
    },
    "customers": {"email unique", "phone", "is_active", "email + is_active"},
    "addresses": {"customer", "customer + type"},
    "address_defaults": {"customer + default_shipping", "customer + default_billing"},
    "orders": {
        "number unique",
        "customer",
        "status",
        "payment_status",
        "created_at",
        "customer + created_at",
        "status + created_at",
        "user",
    },
    "order_items": {"order"},
    "payments": {"order"},
    "reviews": {
        "product + customer unique",
        "product",
        "customer",
        "order",
        "rating",
        "is_approved",
        "product + is_approved",
        "customer + created_at",
    },
    "carts": {"customer unique", "expires_at TTL", "user + product unique"},
    "login_sessions": {"session_token unique", "expires_at"},
    "coupons": {"code unique", "is_active", "starts_at", "expires_at", "is_active + starts_at + expires_at"},
}

# Every item of SPEC that names a TRAP, as far as it is built.
TRAPS = """
    X-07 X-09 X-12 X-13 X-14 X-15 X-16 X-17 X-18 X-19 X-20 X-21 X-26 X-28 X-32
    USR-M2 USR-M3 USR-M4 USR-M6 USR-S1 USR-S2 USR-S3 USR-S4 USR-S6 USR-S7 USR-S8 USR-S9
    BLG-M2 BLG-M6 BLG-S1 BLG-S3 BLG-S4 BLG-S7 BLG-S8 BLG-S10 BLG-S11 BLG-S13 BLG-S15 BLG-S16 BLG-S17 BLG-A2 BLG-A3 BLG-A4
    PAY-1 PAY-2 PAY-3 PAY-4 PAY-5 PAY-6 PAY-7
    COM-M3 COM-M5 COM-S2 COM-S3 COM-S4 COM-S27
    INV-1
    COM-M10 COM-S14 COM-S15
    COM-M7 COM-S10 COM-S11 COM-S12 COM-S13 COM-S16 COM-S19 COM-S21
    COM-M1 COM-M6 COM-S7 COM-S18 COM-S28
"""

# Every item of SPEC A3 to A5, and what A18 lists of 003 and 004.
ITEMS = """
    COM-M1 COM-M2 COM-M3 COM-M4 COM-M5 COM-M6 COM-M7 COM-M8 COM-M9 COM-M10 COM-M11
    COM-S1 COM-S2 COM-S3 COM-S4 COM-S5 COM-S6 COM-S7 COM-S8 COM-S9 COM-S10 COM-S11 COM-S12 COM-S13 COM-S14 COM-S15 COM-S16
    COM-S17 COM-S18 COM-S19 COM-S20 COM-S21 COM-S22 COM-S23 COM-S24 COM-S25 COM-S26 COM-S27 COM-S28 COM-S29
    COM-A1 COM-A2 COM-P1 COM-P2 COM-P3 COM-P4 COM-P5
    INV-1 INV-2 INV-3 INV-4 INV-5 INV-6 PAY-M1 PAY-1 PAY-2 PAY-3 PAY-4 PAY-5 PAY-6 PAY-7
"""
BULLETS = {"products", "cart", "orders", "coupons", "payments", "transactions", "commands"}


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = PAGE.split(f"# {heading}\n")[1].split("\n#")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]


def split_place(place: str) -> tuple[str, list[str]]:
    """The module, and the names within it, of `module.Class.method`."""
    parts = place.split(".")
    for end in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:end])
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            return ".".join(parts[:end]), parts[end:]
    raise LookupError(place)


def names_in(path: str) -> Iterator[str]:
    for node in ast.parse((ROOT / path).read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}::{item.name}" for item in node.body if hasattr(item, "name"))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


class TestMethods:
    def test_every_named_one_is_in_the_table_once(self) -> None:
        listed = [(source, name) for source, name, *_ in (*rows_of("Methods"), *rows_of("Not built yet"))]
        assert sorted(listed) == sorted((source, name) for source, names in METHODS.items() for name in names.split())

    @pytest.mark.parametrize("place", sorted({row[2] for row in rows_of("Methods")}))
    def test_place_can_be_called(self, place: str) -> None:
        module, names = split_place(place)
        found: object = reduce(getattr, names, importlib.import_module(module))
        assert names
        assert callable(found) or isinstance(found, property)

    def test_what_is_not_built_says_why(self) -> None:
        assert all(why for *_, why in rows_of("Not built yet"))


class TestItems:
    def test_every_item_is_in_the_table_once(self) -> None:
        listed = [item for item, *_ in rows_of("Items")]
        assert sorted(listed) == sorted([*ITEMS.split(), "REG-004", *(f"REG-003 {bullet}" for bullet in BULLETS)])

    def test_each_is_shown_by_a_test_or_says_why_not(self) -> None:
        for item, _, test in rows_of("Items"):
            path, _, name = test.partition("::")
            assert name in set(names_in(path)), (item, test)


class TestIndexes:
    def test_every_named_one_is_in_the_table_once(self) -> None:
        listed = [(collection, named) for collection, named, *_ in rows_of("Indexes")]
        assert sorted(listed) == sorted((collection, named) for collection, keys in INDEXES.items() for named in keys)

    def test_each_is_declared_or_dropped_for_a_reason(self) -> None:
        declared = {
            (vars(document.Settings)["name"], index.document["name"])
            for document in DOCUMENTS
            for index in document.Settings.indexes
        }
        for collection, named, index, why in rows_of("Indexes"):
            assert (collection, index) in declared or (index == "dropped" and why), (collection, named)


class TestTraps:
    def test_every_trap_is_in_the_table(self) -> None:
        assert {item for item, *_ in rows_of("Traps")} == set(TRAPS.split())

    def test_each_named_test_exists(self) -> None:
        for item, _, test in rows_of("Traps"):
            path, _, name = test.partition("::")
            assert name in set(names_in(path)), (item, test)
