"""Reviews: what customers say about what they bought."""

from datetime import datetime
from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument
from models.users import AuthorName


class ReviewStatus(StrEnum):
    PENDING = "pending"  # waits for a moderator
    APPROVED = "approved"  # public, and part of the product's rating
    REJECTED = "rejected"


class Review(AgoraDocument):
    """One customer's opinion of one product, verified by the order that brought it to them."""

    product_id: PydanticObjectId
    customer_id: PydanticObjectId
    author_id: PydanticObjectId  # the customer's user
    order_id: PydanticObjectId
    rating: int = Field(ge=1, le=5)
    title: str
    content: str  # Markdown
    content_html: str
    image_urls: list[str] = Field(default_factory=list)
    status: ReviewStatus = ReviewStatus.PENDING
    helpful_count: int = 0  # likes of kind `review`
    revision: int = 1

    class Settings:
        name = "reviews"
        indexes = [
            IndexModel([("product_id", ASCENDING), ("customer_id", ASCENDING)], name="product_customer_unique", unique=True),
            # A product's approved reviews, most helpful first, then newest.
            IndexModel(
                [("product_id", ASCENDING), ("status", ASCENDING), ("helpful_count", DESCENDING), ("_id", DESCENDING)],
                name="product_status_helpful",
            ),
            # One's own reviews, newest first.
            IndexModel([("author_id", ASCENDING), ("_id", DESCENDING)], name="author_newest"),
            # The moderation queue, oldest first.
            IndexModel([("status", ASCENDING), ("_id", ASCENDING)], name="status_oldest"),
        ]


class ReviewRead(BaseModel):
    """A review as everyone sees it."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    product_id: PydanticObjectId
    rating: int = Field(description="1 to 5", examples=[4])
    title: str = Field(examples=["Keeps its colour"])
    content_html: str = Field(description="Rendered from Markdown and sanitised")
    image_urls: list[str]
    status: ReviewStatus
    is_verified: bool = Field(description="Its author bought the product here; true of every review")
    helpful_count: int
    author: AuthorName | None = Field(description="Null when the person left")
    created_at: datetime
    updated_at: datetime
    revision: int


class HelpfulState(BaseModel):
    """Whether the viewer finds a review helpful, and how many people do."""

    model_config = ConfigDict(frozen=True)

    is_helpful: bool
    helpful_count: int = Field(examples=[12])
