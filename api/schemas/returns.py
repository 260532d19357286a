"""What callers send about returns."""

from pydantic import Field

from api.schemas.base import Id, Input, with_example
from api.schemas.payments import Amount
from models.ecommerce.returns import Disposition, ReturnReason
from services.ecommerce.returns.pieces import MAX_LINES, ReceivedPart, ReturnPart
from services.ecommerce.returns.requests import MAX_NOTES_LENGTH

_EXAMPLE_ID = "65f0c0ffee0ddba11ca7f00d"


class ReturnLineInput(Input):
    line_id: Id = Field(description="A line of the order", examples=[_EXAMPLE_ID])
    quantity: int = Field(ge=1, le=1_000_000, description="Pieces", examples=[1])
    reason: ReturnReason = Field(examples=["does_not_fit"])


class ReturnCreate(Input):
    lines: list[ReturnLineInput] = Field(min_length=1, max_length=MAX_LINES)
    notes: str = Field(default="", max_length=MAX_NOTES_LENGTH, examples=["One of the three is too small."])

    def as_parts(self) -> list[ReturnPart]:
        return [ReturnPart(line_id=line.line_id, quantity=line.quantity, reason=line.reason) for line in self.lines]


class ReturnDecision(Input):
    """A decision of staff."""

    model_config = with_example(staff_notes="Worn once, as it seems.")

    staff_notes: str | None = Field(default=None, max_length=MAX_NOTES_LENGTH, description="Never shown to the customer")


class ReceivedLineInput(Input):
    line_id: Id = Field(description="A line of the order", examples=[_EXAMPLE_ID])
    quantity: int = Field(ge=1, le=1_000_000, description="Pieces that arrived", examples=[1])
    disposition: Disposition = Field(description="Back on the shelf, or not", examples=["restock"])


class ReturnReceipt(Input):
    lines: list[ReceivedLineInput] = Field(
        max_length=MAX_LINES, description="What arrived; pieces that did not may be asked for again"
    )
    staff_notes: str | None = Field(default=None, max_length=MAX_NOTES_LENGTH, description="Never shown to the customer")

    def as_parts(self) -> list[ReceivedPart]:
        return [ReceivedPart(line_id=line.line_id, quantity=line.quantity, disposition=line.disposition) for line in self.lines]


class ReturnRefund(Input):
    model_config = with_example(amount={"amount": "19.99", "currency": "USD"})

    amount: Amount | None = Field(default=None, description="Less than the received pieces are worth; all of it when left out")
