"""What coupons and automatic promotions to be have in common: a rule that makes sense and a span of time."""

from datetime import datetime
from typing import Annotated, Self

from beanie import PydanticObjectId
from pydantic import BaseModel, Field, StringConstraints, model_validator

from models.base import UtcDatetime
from models.ecommerce.coupons import DiscountKind, DiscountRule
from models.money import BASIS_POINTS, MoneyInput
from services.errors import RuleViolatedError
from services.inputs import InputPart

MAX_QUANTITY = 10_000
MAX_SCOPE = 500

OfferName = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)]
Rate = Annotated[int, Field(ge=1, le=BASIS_POINTS, description="Basis points: 1000 is 10 %", examples=[1000])]

_NEEDS: dict[DiscountKind, set[str]] = {
    DiscountKind.PERCENTAGE: {"rate"},
    DiscountKind.FIXED_AMOUNT: {"amount"},
    DiscountKind.FREE_SHIPPING: set(),
    DiscountKind.BUY_X_GET_Y: {"buy_quantity", "get_quantity"},
}


class InvalidSpanError(RuleViolatedError):
    """An offer ends after it starts."""

    code = "invalid_offer_span"

    def __init__(self) -> None:
        super().__init__("An offer expires after it starts.")


class DiscountRuleDraft(InputPart, DiscountRule):
    """A rule to be: it has what its kind needs and nothing else, in one currency, and takes no more than all."""

    rate: Rate | None = Field(
        default=None, description="Of percentages; of what is given in buy X get Y, where it is 100 % if left out"
    )
    amount: MoneyInput | None = Field(default=None, description="Of fixed amounts")
    maximum_discount: MoneyInput | None = Field(default=None, description="What it takes off at most")
    minimum_subtotal: MoneyInput | None = Field(default=None, description="Of all lines, before discounts")
    minimum_quantity: int | None = Field(default=None, ge=1, le=MAX_QUANTITY, description="Of eligible pieces")
    buy_quantity: int | None = Field(default=None, ge=1, le=MAX_QUANTITY, description="X of buy X get Y: pieces to pay in full")
    get_quantity: int | None = Field(default=None, ge=1, le=MAX_QUANTITY, description="Y of buy X get Y: pieces that are given")
    product_ids: list[PydanticObjectId] = Field(default_factory=list, max_length=MAX_SCOPE)
    category_ids: list[PydanticObjectId] = Field(
        default_factory=list, max_length=MAX_SCOPE, description="What lies below them is part of them"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = {name for name in ("rate", "amount", "buy_quantity", "get_quantity") if getattr(self, name) is not None}
        needed = _NEEDS[self.kind]
        if needed - given:
            raise ValueError(f"{self.kind} needs {', '.join(sorted(needed - given))}")
        extra = given - needed - ({"rate"} if self.kind is DiscountKind.BUY_X_GET_Y else set())
        if extra:
            raise ValueError(f"{self.kind} has no {', '.join(sorted(extra))}")
        moneys = [money for money in (self.amount, self.maximum_discount, self.minimum_subtotal) if money is not None]
        if any(money.amount <= 0 for money in moneys):
            raise ValueError("amounts are above zero")
        if len({money.currency for money in moneys}) > 1:
            raise ValueError("a rule is in one currency")
        return self


class SpanDraft(BaseModel):
    """From when to when."""

    starts_at: UtcDatetime | None = Field(default=None, examples=["2030-01-01T00:00:00Z"])
    expires_at: UtcDatetime | None = Field(default=None, description="No longer valid then", examples=["2030-02-01T00:00:00Z"])

    @model_validator(mode="after")
    def _starts_before_it_expires(self) -> Self:
        if self.starts_at is not None and self.expires_at is not None and self.starts_at >= self.expires_at:
            raise ValueError("an offer expires after it starts")
        return self


def check_span(starts_at: datetime | None, expires_at: datetime | None) -> None:
    """Raises InvalidSpanError."""
    if starts_at is not None and expires_at is not None and starts_at >= expires_at:
        raise InvalidSpanError
