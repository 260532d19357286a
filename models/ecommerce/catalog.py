"""What the shop sells: the tree of categories, products with their variants, and the attributes they are filtered by."""

from collections.abc import Callable
from enum import StrEnum
from typing import ClassVar

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime
from models.clock import new_id
from models.money import Currency, Money
from models.search import SearchTerm


class ProductCategory(AgoraDocument):
    """A node of the category tree. `path` and `ancestor_ids` repeat what `parent_id` says, for all levels above."""

    watchers: ClassVar[list[Callable[[PydanticObjectId | None], None]]] = []

    name: str
    slug: str
    description: str = ""
    parent_id: PydanticObjectId | None = None
    ancestor_ids: list[PydanticObjectId] = Field(default_factory=list)  # from the root to the parent
    path: str  # slugs from the root to itself, each followed by a slash: `electronics/computers/`
    level: int = 0  # 0 for a root
    image_url: str | None = None
    icon: str | None = None
    sort_order: int = 0
    is_active: bool = True
    meta_title: str | None = None
    meta_description: str | None = None
    products_count: int = 0  # visible products of this very category
    revision: int = 1

    class Settings:
        name = "product_categories"
        indexes = [
            IndexModel([("slug", ASCENDING)], name="slug_unique", unique=True),
            # Children in their order; and whether there are any.
            IndexModel([("parent_id", ASCENDING), ("sort_order", ASCENDING), ("_id", ASCENDING)], name="parent_order"),
            # A subtree: every category below one.
            IndexModel([("ancestor_ids", ASCENDING)], name="ancestors"),
        ]


class ProductStatus(StrEnum):
    DRAFT = "draft"  # seen by staff and its seller
    ACTIVE = "active"  # public, for sale
    OUT_OF_STOCK = "out_of_stock"  # public; turns active by itself when stock arrives
    INACTIVE = "inactive"  # hidden for now
    DISCONTINUED = "discontinued"  # deleted softly: old orders refer to it


VISIBLE_STATUSES = (ProductStatus.ACTIVE, ProductStatus.OUT_OF_STOCK)


class ProductImage(BaseModel):
    url: str
    alt: str = ""
    is_primary: bool = False


class Dimensions(BaseModel):
    """In millimetres: all three, and nothing else."""

    model_config = ConfigDict(extra="forbid")

    length: int = Field(gt=0)
    width: int = Field(gt=0)
    height: int = Field(gt=0)


class AttributeKind(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"  # one of the definition's choices


class AttributeDefinition(AgoraDocument):
    """A typed property that products may have, and whether they can be filtered by it."""

    watchers: ClassVar[list[Callable[[PydanticObjectId | None], None]]] = []

    code: str  # lower case, never changes: `color`
    name: str
    kind: AttributeKind
    unit: str | None = None
    choices: list[str] = Field(default_factory=list)
    is_facet: bool = True
    sort_order: int = 0
    revision: int = 1

    class Settings:
        name = "attribute_definitions"
        indexes = [IndexModel([("code", ASCENDING)], name="code_unique", unique=True)]


class AttributeValue(BaseModel):
    """One value of one attribute; a product has several of the same code when its variants differ in it."""

    code: str
    value: str | int | bool  # numbers are thousandths of the definition's unit, so that they stay exact


class Variant(BaseModel):
    """What is put into a cart: a product has one at least, 100 at most. Stock lies under its id."""

    id: PydanticObjectId = Field(default_factory=new_id)
    sku: str
    title: str = ""  # of its options, `Large / Red`; empty for the only one
    options: dict[str, str] = Field(default_factory=dict)  # by the names in the product's `option_names`
    price: Money
    other_prices: list[Money] = Field(default_factory=list)  # in further currencies, one each; nothing is converted
    compare_at_price: Money | None = None  # what it cost before, above the price
    cost_price: Money | None = None  # never shown to customers
    barcode: str | None = None
    weight_grams: int | None = None
    dimensions: Dimensions | None = None
    image_url: str | None = None
    track_inventory: bool = True
    allow_backorder: bool = False  # sold below zero, knowingly
    is_active: bool = True


class Product(AgoraDocument):
    """A thing for sale. What lists sort and filter by (`price`, `is_available`) follows from its variants and their stock."""

    watchers: ClassVar[list[Callable[[PydanticObjectId | None], None]]] = []

    name: str
    slug: str
    description: str = ""  # Markdown
    description_html: str = ""
    short_description: str = ""
    category_id: PydanticObjectId | None = None
    brand: str = ""
    tags: list[str] = Field(default_factory=list)
    attributes: list[AttributeValue] = Field(default_factory=list)
    # `code=value` of each attribute, brand and tags included: what filters and facet counts look at
    facets: list[str] = Field(default_factory=list)
    option_names: list[str] = Field(default_factory=list)
    variants: list[Variant]
    images: list[ProductImage] = Field(default_factory=list)
    currency: Currency = "USD"
    price: Money  # the lowest of the active variants
    price_max: Money
    status: ProductStatus = ProductStatus.ACTIVE
    is_available: bool = True  # some active variant is in stock, may be backordered, or is not counted
    is_featured: bool = False
    is_digital: bool = False
    tax_class: str = "standard"
    seller_id: PydanticObjectId | None = None  # whose product it is; None is the shop's own
    source_key: str | None = None  # where an imported one comes from: `woocommerce:cc-tee`
    meta_title: str | None = None
    meta_description: str | None = None
    # Counters
    views_count: int = 0
    sales_count: int = 0  # units of paid orders, less what came back
    reviews_count: int = 0  # approved ones
    rating_total: int = 0  # sum of the approved ratings
    rating_average: int = 0  # tenths: 45 is 4.5; 0 without reviews
    revision: int = 1
    terms: list[SearchTerm] = Field(default_factory=list)

    class Settings:
        name = "products"
        indexes = [
            IndexModel([("slug", ASCENDING)], name="slug_unique", unique=True),
            IndexModel([("variants.sku", ASCENDING)], name="sku_unique", unique=True),
            # Which products variants belong to, for the inventory.
            IndexModel([("variants.id", ASCENDING)], name="variant"),
            IndexModel(
                [("source_key", ASCENDING)],
                name="source_key_unique",
                unique=True,
                partialFilterExpression={"source_key": {"$type": "string"}},
            ),
            # A category's subtree; its bestsellers; whether anything is in it.
            IndexModel([("category_id", ASCENDING), ("status", ASCENDING), ("_id", DESCENDING)], name="category_status_newest"),
            # A brand, a tag or any other facet.
            IndexModel([("facets", ASCENDING), ("status", ASCENDING)], name="facets_status"),
            # Everything public, in each of the orders of the shop; staff's lists of a status.
            IndexModel([("status", ASCENDING), ("_id", DESCENDING)], name="status_newest"),
            IndexModel(
                [("status", ASCENDING), ("is_featured", DESCENDING), ("sales_count", DESCENDING), ("_id", DESCENDING)],
                name="status_featured",
            ),
            IndexModel([("status", ASCENDING), ("price.amount", ASCENDING), ("_id", DESCENDING)], name="status_price"),
            IndexModel([("status", ASCENDING), ("sales_count", DESCENDING), ("_id", DESCENDING)], name="status_sales"),
            IndexModel([("status", ASCENDING), ("rating_average", DESCENDING), ("_id", DESCENDING)], name="status_rating"),
            # Whether an attribute is in use.
            IndexModel([("attributes.code", ASCENDING)], name="attribute"),
            # A seller's own products.
            IndexModel([("seller_id", ASCENDING), ("_id", DESCENDING)], name="seller_newest"),
            # Search looks up its rarest term here.
            IndexModel([("terms.term", ASCENDING)], name="terms"),
        ]


class ProductSlug(AgoraDocument):
    """A slug that a product gave up: it redirects, until another product takes it. One product gave it up last."""

    slug: str
    product_id: PydanticObjectId

    class Settings:
        name = "product_slugs"
        indexes = [IndexModel([("slug", ASCENDING)], name="slug_unique", unique=True)]


class ProductViews(AgoraDocument):
    """Views of one product on one UTC day, each visitor counted once per half hour; the truth behind `views_count`."""

    product_id: PydanticObjectId
    day: UtcDatetime  # midnight
    views_count: int = 0

    class Settings:
        name = "product_views"
        indexes = [
            IndexModel([("product_id", ASCENDING), ("day", ASCENDING)], name="product_day_unique", unique=True),
        ]


class ProductVisit(AgoraDocument):
    """The products one visitor looked at on one day: what "viewed together" is counted from.

    `visitor` is what visits call them on that day: a hash under a salt that is deleted, so that nobody is named or followed.
    """

    visitor: str
    day: UtcDatetime
    product_ids: list[PydanticObjectId] = Field(default_factory=list)  # the latest 30; one may be there twice

    class Settings:
        name = "product_visits"
        indexes = [
            IndexModel([("visitor", ASCENDING)], name="visitor_unique", unique=True),
            # Who looked at a product, for the batch.
            IndexModel([("product_ids", ASCENDING), ("_id", DESCENDING)], name="product_newest"),
            # Rubbish goes by itself.
            IndexModel([("day", ASCENDING)], name="day_ttl", expireAfterSeconds=45 * 86_400),
        ]


class RecommendationReason(StrEnum):
    BOUGHT_TOGETHER = "bought_together"  # paid orders hold both
    VIEWED_TOGETHER = "viewed_together"  # visitors looked at both on one day
    POPULAR_IN_CATEGORY = "popular_in_category"  # the same category's bestsellers


class RecommendedProduct(BaseModel):
    product_id: PydanticObjectId
    reason: RecommendationReason
    count: int  # orders, or visits, that hold both


class ProductRecommendation(AgoraDocument):
    """What goes with one product, best first: made by the batch, read with the product.

    `updated_at` is when a batch last wrote it; what a batch has not written is dropped at its end.
    """

    product_id: PydanticObjectId
    items: list[RecommendedProduct]

    class Settings:
        name = "product_recommendations"
        indexes = [
            IndexModel([("product_id", ASCENDING)], name="product_unique", unique=True),
            # What the last batch left behind.
            IndexModel([("updated_at", ASCENDING)], name="updated"),
        ]
