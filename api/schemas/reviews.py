"""What callers send about reviews."""

from pydantic import Field

from api.schemas.base import Id, Input
from models.weblinks import WebLink
from services.ecommerce.reviews import MAX_IMAGES, MAX_LENGTH, MAX_TITLE_LENGTH, ReviewText


class ReviewUpdate(Input):
    rating: int = Field(ge=1, le=5, description="1 to 5", examples=[4])
    title: str = Field(min_length=1, max_length=MAX_TITLE_LENGTH, examples=["Keeps its colour"])
    content: str = Field(
        min_length=1, max_length=MAX_LENGTH, description="Markdown without headings and images", examples=["Washed *ten* times."]
    )
    image_urls: list[WebLink] = Field(default_factory=list, max_length=MAX_IMAGES, examples=[["https://images.example/worn.jpg"]])

    def as_text(self) -> ReviewText:
        return ReviewText(self.rating, self.title, self.content, self.image_urls)


class ReviewCreate(ReviewUpdate):
    order_id: Id = Field(description="The order that brought the product", examples=["65f0c0ffee0ddba11ca7f00d"])
