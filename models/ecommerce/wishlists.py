"""What people want and have not bought: their wish list, and what they wait for to come back in stock."""

from datetime import datetime

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument
from models.money import Money


class WishlistItem(AgoraDocument):
    """A variant somebody keeps in mind, at most once each; `created_at` is when they put it there."""

    user_id: PydanticObjectId
    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    price_when_added: Money  # in the person's currency where the variant had a price in it, else in its own

    class Settings:
        name = "wishlist_items"
        indexes = [
            IndexModel([("user_id", ASCENDING), ("variant_id", ASCENDING)], name="user_variant_unique", unique=True),
            # Somebody's list, newest first.
            IndexModel([("user_id", ASCENDING), ("_id", DESCENDING)], name="user_newest"),
        ]


class StockNotice(AgoraDocument):
    """Somebody waits for a variant to be had again. The row goes in the transaction that decides to write to them: one row, one
    mail.
    """

    user_id: PydanticObjectId
    product_id: PydanticObjectId
    variant_id: PydanticObjectId

    class Settings:
        name = "stock_notices"
        indexes = [
            # Whether somebody waits for a variant, and everybody who does.
            IndexModel([("variant_id", ASCENDING), ("user_id", ASCENDING)], name="variant_user_unique", unique=True),
            # What somebody waits for, newest first.
            IndexModel([("user_id", ASCENDING), ("_id", DESCENDING)], name="user_newest"),
            # Which variants of a product are waited for, when its stock or the product itself has changed.
            IndexModel([("product_id", ASCENDING)], name="product"),
        ]


class ListedVariant(BaseModel):
    """A variant on somebody's list as it is now."""

    model_config = ConfigDict(frozen=True)

    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    name: str | None = Field(description="The product's; null when it is gone without a trace", examples=["Linen shirt"])
    slug: str | None = Field(description="The address of its page; null while it has none", examples=["linen-shirt"])
    sku: str | None = Field(examples=["LINEN-M"])
    options: dict[str, str] = Field(examples=[{"Size": "M"}])
    image_url: str | None
    is_for_sale: bool = Field(description="Product and variant are public; stock is another matter")
    is_available: bool = Field(description="For sale, and in stock or sold without: it can be put into the cart")


class WishlistItemRead(ListedVariant):
    """Something on a wish list, with what it costs now and did cost."""

    price: Money | None = Field(
        description="Now, in the currency of `price_when_added` where there is one; null while it is not for sale"
    )
    price_when_added: Money
    added_at: datetime


class StockNoticeRead(ListedVariant):
    """Something somebody waits for; they are mailed once, when it can be bought again."""

    requested_at: datetime
