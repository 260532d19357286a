"""What writers and editors send: posts, their times, categories and tags."""

from typing import Annotated

from pydantic import Field, StringConstraints

from api.schemas.base import Input
from models.base import UtcDatetime
from models.weblinks import WebLink
from services.blog.categories import CategoryChanges, CategoryDraft
from services.blog.writing import PostChanges, PostDraft


class PostCreate(PostDraft, Input):
    """A new post. Its author is whoever sends it."""

    featured_image: WebLink | None = None


class PostUpdate(PostChanges, Input):
    """Changes to a post: what is left out stays, null empties what can be empty."""

    featured_image: WebLink | None = None


class ScheduleCreate(Input):
    """When a draft is to publish itself."""

    scheduled_at: UtcDatetime = Field(examples=["2030-01-01T09:00:00Z"])


class CategoryCreate(CategoryDraft, Input):
    """A new category."""


class CategoryUpdate(CategoryChanges, Input):
    """Changes to a category: what is left out stays."""


class TagUpdate(Input):
    """Another name for a tag; its slug follows."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)] = Field(examples=["Full text search"])
