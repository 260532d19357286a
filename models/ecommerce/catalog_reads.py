"""The catalogue as it is answered: categories, products in lists, on their page and for staff, facets and recommendations."""

from datetime import datetime
from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field

from models.ecommerce.catalog import AttributeKind, Dimensions, ProductStatus, RecommendationReason
from models.ecommerce.reviews import ReviewRead
from models.money import Currency, Money


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class ProductCategoryName(Frozen):
    """A category as other things show it."""

    id: PydanticObjectId
    name: str = Field(examples=["Laptops"])
    slug: str = Field(examples=["laptops"])
    path: str = Field(description="Slugs from the root to itself", examples=["electronics/computers/laptops/"])


class ProductCategoryRead(ProductCategoryName):
    """A category by itself."""

    description: str
    parent_id: PydanticObjectId | None
    level: int = Field(description="0 for a root", examples=[2])
    image_url: str | None
    icon: str | None
    sort_order: int
    is_active: bool
    meta_title: str | None
    meta_description: str | None
    products_count: int = Field(description="Public products of this very category", examples=[12])
    revision: int


class ProductCategoryNode(ProductCategoryName):
    """A category in the tree, its children in their order."""

    icon: str | None
    image_url: str | None
    products_count: int = Field(description="Public products of this very category")
    total_count: int = Field(description="Public products of it and of everything below it")
    children: list["ProductCategoryNode"]


class ProductCategoryPage(Frozen):
    """A category with the way to it and what is directly below it."""

    category: ProductCategoryRead
    breadcrumb: list[ProductCategoryName] = Field(description="From the root to the category itself")
    children: list[ProductCategoryName]


class AttributeRead(Frozen):
    """A typed property that products may have."""

    id: PydanticObjectId
    code: str = Field(examples=["color"])
    name: str = Field(examples=["Colour"])
    kind: AttributeKind
    unit: str | None
    choices: list[str]
    is_facet: bool = Field(description="Whether products can be filtered by it")
    sort_order: int
    revision: int


class ImageRead(Frozen):
    url: str
    alt: str
    is_primary: bool


class AttributeShown(Frozen):
    """One property of a product."""

    code: str
    name: str
    value: str | bool = Field(description="Numbers as exact decimal text", examples=["15.6"])
    unit: str | None


class Availability(StrEnum):
    IN_STOCK = "in_stock"
    LOW = "low"  # at or below the threshold
    BACKORDER = "backorder"  # none left, sold all the same
    OUT_OF_STOCK = "out_of_stock"


class VariantRead(Frozen):
    """What is put into a cart."""

    id: PydanticObjectId
    sku: str
    title: str
    options: dict[str, str]
    price: Money
    other_prices: list[Money]
    compare_at_price: Money | None
    barcode: str | None
    weight_grams: int | None
    dimensions: Dimensions | None
    image_url: str | None
    availability: Availability


class ProductSummary(Frozen):
    """A product as lists show it."""

    id: PydanticObjectId
    name: str = Field(examples=["Linen shirt"])
    slug: str = Field(examples=["linen-shirt"])
    short_description: str
    brand: str
    tags: list[str]
    category: ProductCategoryName | None
    price: Money = Field(description="The lowest of its variants")
    price_max: Money
    image: ImageRead | None
    is_available: bool
    is_featured: bool
    is_digital: bool
    rating_average: float = Field(description="Of approved reviews, one decimal; 0 without any", examples=[4.5])
    reviews_count: int


class RatingSummary(Frozen):
    """What approved reviews say in figures."""

    average: float = Field(description="One decimal; 0 without any", examples=[4.5])
    count: int


class ProductRead(ProductSummary):
    """A product as its page shows it."""

    description_html: str = Field(description="Rendered from Markdown and sanitised")
    breadcrumb: list[ProductCategoryName] = Field(description="From the root category to its own")
    attributes: list[AttributeShown]
    option_names: list[str]
    variants: list[VariantRead]
    images: list[ImageRead]
    meta_title: str | None
    meta_description: str | None
    views_count: int
    sales_count: int = Field(description="Pieces sold, less what came back")
    rating: RatingSummary
    reviews: list[ReviewRead] = Field(description="The ten most helpful, then newest")
    related: list[ProductSummary] = Field(description="Up to four others of its category")
    created_at: datetime
    updated_at: datetime
    revision: int


class VariantEdit(Frozen):
    """A variant as staff and its seller see it."""

    id: PydanticObjectId
    sku: str
    title: str
    options: dict[str, str]
    price: Money
    other_prices: list[Money]
    compare_at_price: Money | None
    cost_price: Money | None
    barcode: str | None
    weight_grams: int | None
    dimensions: Dimensions | None
    image_url: str | None
    track_inventory: bool
    allow_backorder: bool
    is_active: bool


class AttributeEdit(Frozen):
    code: str
    value: str | bool = Field(description="Numbers as exact decimal text")


class ProductEdit(Frozen):
    """A product as staff and its seller see it, whatever its status."""

    id: PydanticObjectId
    name: str
    slug: str
    description: str = Field(description="Markdown")
    description_html: str
    short_description: str
    category_id: PydanticObjectId | None
    brand: str
    tags: list[str]
    attributes: list[AttributeEdit]
    option_names: list[str]
    variants: list[VariantEdit]
    images: list[ImageRead]
    currency: Currency
    price: Money
    price_max: Money
    status: ProductStatus
    is_available: bool
    is_featured: bool
    is_digital: bool
    tax_class: str
    seller_id: PydanticObjectId | None
    source_key: str | None
    meta_title: str | None
    meta_description: str | None
    views_count: int
    sales_count: int
    reviews_count: int
    rating_average: float
    created_at: datetime
    updated_at: datetime
    revision: int


class ProductListed(ProductSummary):
    """A product in the lists of staff and sellers."""

    status: ProductStatus
    seller_id: PydanticObjectId | None
    skus: list[str]
    sales_count: int
    updated_at: datetime


class FacetValue(Frozen):
    """One value that results can be narrowed to, and how many are left then."""

    value: str = Field(description="To be sent back in the filter", examples=["red"])
    label: str = Field(examples=["Red"])
    count: int


class Facet(Frozen):
    """The values of one property among the results; its own filter is not applied to its counts."""

    code: str = Field(examples=["color"])
    name: str = Field(examples=["Colour"])
    values: list[FacetValue] = Field(description="Most frequent first, then by value")


class PriceRange(Frozen):
    """The lowest and highest prices among the results, the price filter not applied; null when there are none."""

    lowest: Money | None
    highest: Money | None


class AvailabilityCounts(Frozen):
    available: int
    unavailable: int


class SearchFacets(Frozen):
    """What the results can be narrowed by."""

    categories: list[FacetValue] = Field(description="Slugs; each product counts for its own category")
    facets: list[Facet] = Field(description="Brand, tags, then attributes in their order")
    price: PriceRange
    availability: AvailabilityCounts


class RecommendationRead(Frozen):
    """A product that goes with another, and why."""

    product: ProductSummary
    reason: RecommendationReason
    explanation: str = Field(examples=["Bought together in 12 orders."])


class SearchFilters(Frozen):
    """What was asked for, as it was understood."""

    query: str
    category: str | None = Field(description="A slug; everything below it is included")
    brands: list[str]
    tags: list[str]
    attributes: list[str] = Field(examples=[["color:red"]])
    currency: Currency
    min_price: Money | None
    max_price: Money | None
    available: bool | None
    seller_id: PydanticObjectId | None
    sort: str


class ProductSearchPage(Frozen):
    """One page of what a search found."""

    items: list[ProductSummary]
    page: int = Field(examples=[1])
    limit: int = Field(examples=[20])
    total_count: int = Field(examples=[42])
    total_pages: int = Field(examples=[3])
    filters: SearchFilters
    facets: SearchFacets | None = Field(description="Null unless asked for")
