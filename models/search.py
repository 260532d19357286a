"""What search finds documents by."""

from pydantic import BaseModel


class SearchTerm(BaseModel):
    """A normalised word of a document and its weight in it."""

    term: str
    weight: int
