"""What is to be priced: so many pieces of one variant, with everything about it that decides a price."""

from collections.abc import Sequence
from dataclasses import dataclass

from beanie import PydanticObjectId

from models.money import Money


@dataclass(frozen=True, slots=True)
class Piece:
    """One line. `category_ids` names the product's category and all above it; weights are of one piece."""

    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    category_ids: tuple[PydanticObjectId, ...]
    unit_price: Money
    quantity: int
    is_digital: bool = False
    tax_class: str = "standard"
    weight_grams: int = 0

    @property
    def subtotal(self) -> int:
        """In minor units."""
        return self.unit_price.amount * self.quantity


def subtotal_of(pieces: Sequence[Piece]) -> int:
    """Of all lines, before any discount; in minor units."""
    return sum(piece.subtotal for piece in pieces)


def weight_of(pieces: Sequence[Piece]) -> int:
    """Of what is shipped, in grams."""
    return sum(piece.weight_grams * piece.quantity for piece in pieces if not piece.is_digital)


def is_shipped(pieces: Sequence[Piece]) -> bool:
    """Whether there is a parcel at all: downloads alone, or nothing, need none."""
    return any(not piece.is_digital for piece in pieces)
