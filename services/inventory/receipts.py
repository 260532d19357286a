"""Deliveries that may be reported twice: a key names each, and the ledger remembers it."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from beanie import PydanticObjectId
from pydantic import BaseModel, Field, StringConstraints

from models.database import Session
from models.inventory.stock import StockMovement
from services.errors import ConflictError, UnprocessableError
from services.inventory.stock import MAX_QUANTITY

MAX_LINES = 200

ReceiptKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"),
    Field(description="Names the delivery, such as its note: reported again under it nothing happens", examples=["DN-4711"]),
]


class ReceiptKeyReusedError(ConflictError):
    """Other pieces were received under this key before."""

    code = "receipt_key_reused"

    def __init__(self, key: str) -> None:
        super().__init__("Other pieces were received under this key: a new delivery needs a key of its own.")
        self.key = key


class UnknownLineError(UnprocessableError):
    """A line that the order or transfer does not have, or one named twice."""

    code = "unknown_line"

    def __init__(self, line_id: PydanticObjectId) -> None:
        super().__init__("There is no such line, or it is named twice.")
        self.line_id = line_id


class ReceivedPieces(BaseModel):
    """Pieces of one line that came."""

    line_id: PydanticObjectId
    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY, examples=[6])]


def pieces_by_line(received: Sequence[ReceivedPieces], known: Sequence[PydanticObjectId]) -> dict[PydanticObjectId, int]:
    """Raises UnknownLineError."""
    pieces: dict[PydanticObjectId, int] = {}
    for line in received:
        if line.line_id not in known or line.line_id in pieces:
            raise UnknownLineError(line.line_id)
        pieces[line.line_id] = line.quantity
    return pieces


async def was_received(reference: str, key: str, pieces: Mapping[PydanticObjectId, int], *, session: Session) -> bool:
    """Whether these pieces came under this key before, as the ledger has it. Raises ReceiptKeyReusedError for other pieces."""
    prefix = f"{reference}:{key}:"
    rows = await StockMovement.find_rows({"reference": reference}, {"key": 1, "quantity": 1}, session=session)
    # `<reference>:<key>:<line>:<variant>:<location>`; keys hold no colon
    before = {PydanticObjectId(row["key"].split(":")[3]): row["quantity"] for row in rows if row["key"].startswith(prefix)}
    if before and before != dict(pieces):
        raise ReceiptKeyReusedError(key)
    return bool(before)
