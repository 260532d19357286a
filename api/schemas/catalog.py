"""What sellers and staff send: categories, attributes and products."""

from api.schemas.base import Input
from services.ecommerce.catalog.attributes import AttributeChanges, AttributeDraft
from services.ecommerce.catalog.categories import ProductCategoryChanges, ProductCategoryDraft
from services.ecommerce.catalog.writing import ProductChanges, ProductDraft


class ProductCategoryCreate(ProductCategoryDraft, Input):
    """A new category."""


class ProductCategoryUpdate(ProductCategoryChanges, Input):
    """Changes to a category: what is left out stays."""


class AttributeCreate(AttributeDraft, Input):
    """A new attribute of products."""


class AttributeUpdate(AttributeChanges, Input):
    """Changes to an attribute: what is left out stays."""


class ProductCreate(ProductDraft, Input):
    """A new product. A seller's is their own."""


class ProductUpdate(ProductChanges, Input):
    """Changes to a product: what is left out stays, lists are replaced as a whole."""
