"""The list of all documents: what is bound to the database, and whose indexes are created."""

from models.analytics.dashboards import SavedDashboard
from models.analytics.events import VisitEvent, VisitorSalt
from models.analytics.ledger import LedgerMark, StockDay, VariantMonth, VariantSold
from models.analytics.purchases import CustomerDay, CustomerSale, CustomerTotals, CustomerValue, SegmentSnapshot
from models.analytics.rollups import FactMark, HourRollup, MonthRollup, Rollup, RollupGeneration
from models.audit import AuditEntry
from models.base import AgoraDocument
from models.blog.comments import Comment, CommentBan
from models.blog.posts import Post, PostRevision, PostSlug, PostViews
from models.blog.taxonomy import Category, Tag
from models.ecommerce.carts import Cart, CartAbandonment
from models.ecommerce.catalog import (
    AttributeDefinition,
    Product,
    ProductCategory,
    ProductRecommendation,
    ProductSlug,
    ProductViews,
    ProductVisit,
)
from models.ecommerce.coupons import Coupon, CouponRedemption, Promotion
from models.ecommerce.customers import Address, AddressDefault, Customer, LoyaltyEntry
from models.ecommerce.orders import Order, OrderStatusHistory
from models.ecommerce.returns import ReturnRequest
from models.ecommerce.reviews import Review
from models.ecommerce.shipping import ShippingZone
from models.ecommerce.taxes import TaxZone
from models.ecommerce.wishlists import StockNotice, WishlistItem
from models.events import Checkpoint, DeadLetter, Event
from models.fraud import FraudReview, FraudRule
from models.idempotency import IdempotentAnswer, KeyHolder
from models.imports import ImportFailure, ImportRun
from models.inventory.moving import Stocktake, StocktakeCount, StockTransfer
from models.inventory.purchasing import PurchaseOrder, Supplier
from models.inventory.stock import Reservation, StockLevel, StockLocation, StockMovement
from models.jobs import Job
from models.mails import SentMail
from models.payments import GatewayEvent, Payment, Refund, Transaction
from models.ratelimits import RateWindow
from models.sequences import Sequence
from models.social import Follow, Like
from models.users import AccountToken, DeviceLock, LoginRecord, LoginSession, Registration, User
from models.webhooks import WebhookDelivery, WebhookEndpoint

DOCUMENTS: list[type[AgoraDocument]] = [
    AccountToken,
    Address,
    AddressDefault,
    AttributeDefinition,
    AuditEntry,
    Cart,
    CartAbandonment,
    Category,
    Checkpoint,
    Comment,
    CommentBan,
    Coupon,
    CouponRedemption,
    Customer,
    CustomerDay,
    CustomerSale,
    CustomerTotals,
    CustomerValue,
    DeadLetter,
    DeviceLock,
    Event,
    FactMark,
    Follow,
    FraudReview,
    FraudRule,
    GatewayEvent,
    HourRollup,
    IdempotentAnswer,
    ImportFailure,
    ImportRun,
    Job,
    KeyHolder,
    LedgerMark,
    Like,
    LoginRecord,
    LoginSession,
    LoyaltyEntry,
    MonthRollup,
    Order,
    OrderStatusHistory,
    Payment,
    Post,
    PostRevision,
    PostSlug,
    PostViews,
    Product,
    ProductCategory,
    ProductRecommendation,
    ProductSlug,
    ProductViews,
    ProductVisit,
    Promotion,
    PurchaseOrder,
    RateWindow,
    Refund,
    Registration,
    Reservation,
    ReturnRequest,
    Review,
    Rollup,
    RollupGeneration,
    SavedDashboard,
    SegmentSnapshot,
    SentMail,
    Sequence,
    ShippingZone,
    StockDay,
    StockLevel,
    StockLocation,
    StockMovement,
    StockNotice,
    StockTransfer,
    Stocktake,
    StocktakeCount,
    Supplier,
    Tag,
    TaxZone,
    Transaction,
    User,
    VariantMonth,
    VariantSold,
    VisitEvent,
    VisitorSalt,
    WebhookDelivery,
    WebhookEndpoint,
    WishlistItem,
]
