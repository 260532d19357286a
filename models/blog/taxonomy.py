"""What posts are sorted by: categories and tags."""

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument


class Category(AgoraDocument):
    """A section of the publication; a post is in one or none."""

    name: str
    slug: str
    description: str = ""
    color: str = "#000000"
    is_active: bool = True
    posts_count: int = 0  # published posts
    revision: int = 1

    class Settings:
        name = "blog_categories"
        indexes = [
            IndexModel([("slug", ASCENDING)], name="slug_unique", unique=True),
            # The public list: active ones, fullest first.
            IndexModel([("is_active", ASCENDING), ("posts_count", DESCENDING), ("_id", ASCENDING)], name="active_fullest"),
        ]


class Tag(AgoraDocument):
    """A word posts are marked with; made on first use."""

    name: str
    slug: str
    usage_count: int = 0  # published posts

    class Settings:
        name = "tags"
        indexes = [
            IndexModel([("slug", ASCENDING)], name="slug_unique", unique=True),
            # Popular tags.
            IndexModel([("usage_count", DESCENDING), ("_id", ASCENDING)], name="most_used"),
        ]


class CategoryName(BaseModel):
    """A category as other things show it."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    name: str = Field(examples=["Technology"])
    slug: str = Field(examples=["technology"])
    color: str = Field(description="#RRGGBB", examples=["#3498db"])


class TagName(BaseModel):
    """A tag as other things show it."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    name: str = Field(examples=["MongoDB"])
    slug: str = Field(examples=["mongodb"])


class CategoryRead(CategoryName):
    """A category as its list shows it."""

    description: str
    is_active: bool
    posts_count: int = Field(description="Published posts", examples=[12])
    revision: int


class TagRead(TagName):
    """A tag as the list of popular ones shows it."""

    usage_count: int = Field(description="Published posts", examples=[7])
