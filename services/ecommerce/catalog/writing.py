"""What sellers and staff hand in, the rules it meets, and what a product stores because of it."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal, Self

from beanie import PydanticObjectId
from pydantic import BaseModel, Field, StrictBool, StringConstraints, model_validator

from models.ecommerce.catalog import (
    AttributeDefinition,
    AttributeKind,
    AttributeValue,
    Dimensions,
    Product,
    ProductImage,
    ProductStatus,
    Variant,
)
from models.money import Money, MoneyInput
from models.weblinks import WebLink
from services.errors import RuleViolatedError
from services.inputs import InputPart
from services.slugs import SLUG_PATTERN
from services.terms import terms_of

MAX_SLUG = 120
MAX_VARIANTS = 100
MAX_TAGS = 20
MAX_IMAGES = 20
MAX_ATTRIBUTES = 50
MAX_OPTIONS = 5
BRAND, TAG = "brand", "tag"
RESERVED_CODES = frozenset({BRAND, TAG, "category", "price", "availability"})

_SPACE = re.compile(r"\s+")
_THOUSANDTHS = Decimal("0.001")
_MAX_NUMBER = 10**12

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Slug = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SLUG, pattern=SLUG_PATTERN)]
Sku = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/+-]*$")]
Markdown = Annotated[str, StringConstraints(max_length=50_000)]
ShortText = Annotated[str, StringConstraints(max_length=500)]
Brand = Annotated[str, StringConstraints(max_length=50, strip_whitespace=True)]
TagText = Annotated[str, StringConstraints(min_length=1, max_length=50, pattern=r"\S")]
OptionName = Annotated[str, StringConstraints(min_length=1, max_length=50, pattern=r"^[^.$\x00]+$")]
OptionValue = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Code = Annotated[str, StringConstraints(min_length=1, max_length=50, pattern=r"^[a-z0-9]+(?:[-_][a-z0-9]+)*$")]
TaxClass = Annotated[str, StringConstraints(min_length=1, max_length=50, pattern=r"^[a-z0-9]+(?:[-_][a-z0-9]+)*$")]
MetaTitle = Annotated[str, StringConstraints(max_length=60)]
MetaDescription = Annotated[str, StringConstraints(max_length=160)]
WantedStatus = Literal[ProductStatus.DRAFT, ProductStatus.ACTIVE, ProductStatus.INACTIVE]


class InvalidProductError(RuleViolatedError):
    """Parts of the product contradict each other, such as two variants with the same SKU or options."""

    code = "invalid_product"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class InvalidAttributeError(RuleViolatedError):
    """The attribute does not exist, or its value is not of its kind or among its choices."""

    code = "invalid_attribute"

    def __init__(self, attribute: str, reason: str) -> None:
        super().__init__(f"The attribute {attribute}: {reason}")
        self.attribute = attribute
        self.reason = reason


class ImageDraft(InputPart):
    """A picture of a product. Of several one is the primary; the first, when none says so."""

    url: WebLink = Field(examples=["https://images.example.com/shirt.jpg"])
    alt: Annotated[str, StringConstraints(max_length=200)] = Field(default="", examples=["A linen shirt on a hanger"])
    is_primary: bool = False


class DimensionsDraft(InputPart, Dimensions):
    """In millimetres: all three, and nothing else."""

    length: int = Field(gt=0, le=100_000)
    width: int = Field(gt=0, le=100_000)
    height: int = Field(gt=0, le=100_000)


class VariantDraft(InputPart):
    """What is put into a cart. `id` keeps an existing variant; without one it is new."""

    id: PydanticObjectId | None = Field(default=None, description="Of the variant to keep; a new one without it")
    sku: Sku = Field(examples=["SHIRT-L-BLUE"])
    options: Annotated[dict[OptionName, OptionValue], Field(max_length=MAX_OPTIONS)] = Field(
        default={}, description="A value for each of the product's `option_names`", examples=[{"Size": "L", "Colour": "Blue"}]
    )
    price: MoneyInput
    other_prices: Annotated[list[MoneyInput], Field(max_length=20)] = Field(default=[], description="In further currencies")
    compare_at_price: MoneyInput | None = Field(default=None, description="What it cost before; above the price")
    cost_price: MoneyInput | None = Field(default=None, description="Never shown to customers")
    barcode: Annotated[str, StringConstraints(max_length=64)] | None = None
    weight_grams: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    dimensions: DimensionsDraft | None = None
    image_url: WebLink | None = None
    track_inventory: bool = Field(default=True, description="False: there is always enough of it")
    allow_backorder: bool = Field(default=False, description="Whether it is sold when there is none, and owed")
    is_active: bool = Field(default=True, description="False: it is not for sale")

    @model_validator(mode="after")
    def _prices_agree(self) -> Self:
        if self.price.amount <= 0 or any(price.amount <= 0 for price in self.other_prices):
            raise ValueError("a price is above zero")
        currencies = [self.price.currency, *(price.currency for price in self.other_prices)]
        if len(set(currencies)) != len(currencies):
            raise ValueError("there is one price for each currency")
        if self.compare_at_price is not None and not (
            self.compare_at_price.currency == self.price.currency and self.compare_at_price > self.price
        ):
            raise ValueError("compare_at_price is above the price, in its currency")
        if self.cost_price is not None and (self.cost_price.currency != self.price.currency or self.cost_price.amount < 0):
            raise ValueError("cost_price is zero or more, in the currency of the price")
        return self


class ProductAttributeDraft(InputPart):
    """One property of a product. Several of one code stand for several values."""

    code: Code = Field(examples=["color"])
    value: StrictBool | Annotated[str, StringConstraints(min_length=1, max_length=200)] = Field(
        description="Text, one of the choices, true or false, or a number as decimal text", examples=["red"]
    )


class ProductDraft(BaseModel):
    """A product to be."""

    name: Name = Field(examples=["Linen shirt"])
    slug: Slug | None = Field(default=None, description="Made from the name when left out", examples=["linen-shirt"])
    description: Markdown = Field(default="", description="Markdown")
    short_description: ShortText = ""
    category_id: PydanticObjectId | None = None
    brand: Brand = Field(default="", examples=["Loom & Co."])
    tags: Annotated[list[TagText], Field(max_length=MAX_TAGS)] = []
    attributes: Annotated[list[ProductAttributeDraft], Field(max_length=MAX_ATTRIBUTES)] = Field(
        default=[], description="Typed properties by the codes of `/shop/attributes`: what products are filtered by"
    )
    option_names: Annotated[list[OptionName], Field(max_length=MAX_OPTIONS)] = Field(
        default=[], description="What its variants differ in", examples=[["Size", "Colour"]]
    )
    variants: Annotated[list[VariantDraft], Field(min_length=1, max_length=MAX_VARIANTS)]
    images: Annotated[list[ImageDraft], Field(max_length=MAX_IMAGES)] = []
    status: WantedStatus = Field(
        default=ProductStatus.DRAFT, description="`active` becomes `out_of_stock` while nothing of it is available"
    )
    is_featured: bool = False
    is_digital: bool = False
    tax_class: TaxClass = "standard"
    seller_id: PydanticObjectId | None = Field(default=None, description="For staff; a seller's products are their own")
    meta_title: MetaTitle | None = None
    meta_description: MetaDescription | None = None


class ProductChanges(BaseModel):
    """What is to change; what is left out stays. Lists are replaced as a whole; variants named by `id` are kept."""

    name: Name = Field(default_factory=str)
    slug: Slug = Field(default_factory=str, description="The old one redirects from then on, until another product takes it")
    description: Markdown = Field(default_factory=str, description="Markdown")
    short_description: ShortText = Field(default_factory=str)
    category_id: PydanticObjectId | None = None
    brand: Brand = Field(default_factory=str)
    tags: Annotated[list[TagText], Field(max_length=MAX_TAGS)] = Field(default_factory=list)
    attributes: Annotated[list[ProductAttributeDraft], Field(max_length=MAX_ATTRIBUTES)] = Field(default_factory=list)
    option_names: Annotated[list[OptionName], Field(max_length=MAX_OPTIONS)] = Field(default_factory=list)
    variants: Annotated[list[VariantDraft], Field(min_length=1, max_length=MAX_VARIANTS)] = Field(default_factory=list)
    images: Annotated[list[ImageDraft], Field(max_length=MAX_IMAGES)] = Field(default_factory=list)
    status: WantedStatus = ProductStatus.DRAFT
    is_featured: bool = Field(default_factory=bool)
    is_digital: bool = Field(default_factory=bool)
    tax_class: TaxClass = Field(default_factory=str)
    meta_title: MetaTitle | None = None
    meta_description: MetaDescription | None = None


def normalized(text: str) -> str:
    """The form in which two tags, brands or values count as one: NFKC, case folded, single spaces."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _SPACE.sub(" ", folded).strip()


def normalized_tags(tags: Iterable[str]) -> list[str]:
    """Each tag once, normalised, in their order."""
    return [tag for tag in dict.fromkeys(map(normalized, tags)) if tag]


def facet(code: str, value: str) -> str:
    """What a product's `facets` hold for this value, and filters look for."""
    return f"{code}={normalized(value)}"


def to_variants(drafts: Sequence[VariantDraft], *, option_names: Sequence[str], known: Sequence[Variant]) -> list[Variant]:
    """The variants to store; those named by an id keep it. Raises InvalidProductError for an id that is not the product's."""
    ids = {variant.id for variant in known}
    variants = []
    for draft in drafts:
        if draft.id is not None and draft.id not in ids:
            raise InvalidProductError("variants", "an id is not that of a variant of this product.")
        fields = draft.model_dump(exclude_none=True)
        title = " / ".join(draft.options[name] for name in option_names if name in draft.options)
        variants.append(Variant(**fields, title=title))
    return variants


def to_images(drafts: Sequence[ImageDraft]) -> list[ProductImage]:
    """The images to store, exactly one of them primary. Raises InvalidProductError when two claim to be."""
    images = [ProductImage(**draft.model_dump()) for draft in drafts]
    primary = [image for image in images if image.is_primary]
    if len(primary) > 1:
        raise InvalidProductError("images", "one image is the primary one.")
    if images and not primary:
        images[0] = images[0].model_copy(update={"is_primary": True})
    return images


def check_variants(variants: Sequence[Variant], option_names: Sequence[str]) -> None:
    """Raises InvalidProductError unless SKUs, ids and options tell the variants apart and all are priced in one currency."""
    if len(set(option_names)) != len(option_names):
        raise InvalidProductError("option_names", "a name stands there twice.")
    if len({variant.price.currency for variant in variants}) > 1:
        raise InvalidProductError("variants", "all have their price in one currency.")
    if len({variant.sku for variant in variants}) != len(variants):
        raise InvalidProductError("variants", "two have the same SKU.")
    if len({variant.id for variant in variants}) != len(variants):
        raise InvalidProductError("variants", "two have the same id.")
    if any(set(variant.options) != set(option_names) for variant in variants):
        raise InvalidProductError("variants", "each has a value for each of the option_names, and no other.")
    choices = [tuple(variant.options[name] for name in option_names) for variant in variants]
    if len(set(choices)) != len(choices):
        raise InvalidProductError("variants", "two have the same options.")


def to_attributes(
    drafts: Sequence[ProductAttributeDraft], definitions: Mapping[str, AttributeDefinition]
) -> list[AttributeValue]:
    """The values to store, each once, in their order. Raises InvalidAttributeError."""
    values: dict[tuple[str, str | int | bool], AttributeValue] = {}
    for draft in drafts:
        definition = definitions.get(draft.code)
        if definition is None:
            raise InvalidAttributeError(draft.code, "there is no such attribute.")
        value = _typed(definition, draft.value)
        values.setdefault((draft.code, value), AttributeValue(code=draft.code, value=value))
    return list(values.values())


def _typed(definition: AttributeDefinition, value: str | bool) -> str | int | bool:
    kind = definition.kind
    if kind is AttributeKind.BOOLEAN:
        if not isinstance(value, bool):
            raise InvalidAttributeError(definition.code, "its value is true or false.")
        return value
    if isinstance(value, bool):
        raise InvalidAttributeError(definition.code, "its value is text.")
    if kind is AttributeKind.NUMBER:
        return _thousandths(definition.code, value)
    if kind is AttributeKind.CHOICE:
        chosen = next((choice for choice in definition.choices if normalized(choice) == normalized(value)), None)
        if chosen is None:
            raise InvalidAttributeError(definition.code, "its value is not among its choices.")
        return chosen
    text = _SPACE.sub(" ", value).strip()
    if not text:
        raise InvalidAttributeError(definition.code, "its value is empty.")
    return text


def _thousandths(code: str, text: str) -> int:
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise InvalidAttributeError(code, "its value is a number.") from error
    if not number.is_finite() or abs(number) > _MAX_NUMBER or number != number.quantize(_THOUSANDTHS):
        raise InvalidAttributeError(code, "its value is a number of at most three decimals.")
    return int(number * 1000)


def attribute_text(value: str | int | bool) -> str:
    """A stored value as text: `red`, `true`, `15.6`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{Decimal(value).scaleb(-3).normalize():f}"
    return value


def derived(product: Product) -> dict[str, Any]:
    """The stored fields that follow from the others: prices, facets and search terms.

    Lists sort and filter by the cheapest of the active variants; when none is active, of all. Which attributes can be filtered
    by is decided when they are: their definition may change its mind.
    """
    prices = [variant.price for variant in product.variants if variant.is_active] or [one.price for one in product.variants]
    facets = [facet(BRAND, product.brand)] if product.brand else []
    facets += [facet(TAG, tag) for tag in product.tags]
    facets += [facet(value.code, attribute_text(value.value)) for value in product.attributes]
    return {
        "price": min(prices, key=_amount),
        "price_max": max(prices, key=_amount),
        "facets": list(dict.fromkeys(facets)),
        "terms": terms_of(_weighted_texts(product)),
    }


def _amount(price: Money) -> int:
    return price.amount


def _weighted_texts(product: Product) -> list[tuple[str, int]]:
    texts = [(product.name, 8), (product.brand, 6)]
    texts += [(variant.sku, 6) for variant in product.variants]
    texts += [(tag, 4) for tag in product.tags]
    texts += [(product.short_description, 3)]
    texts += [(value.value, 2) for value in product.attributes if isinstance(value.value, str)]
    texts += [(title, 2) for title in dict.fromkeys(variant.title for variant in product.variants)]
    return [*texts, (product.description, 1)]


def is_sold_without_stock(variants: Iterable[Variant]) -> bool:
    """Whether some active variant is available whatever lies in stock."""
    return any(variant.is_active and (not variant.track_inventory or variant.allow_backorder) for variant in variants)
