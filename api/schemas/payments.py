"""What staff send about payments: amounts, reasons, decisions and rules."""

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from api.schemas.base import Input, with_example
from models.money import Currency, Money
from services.payments.rules import FraudRuleChanges, FraudRuleDraft

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class Amount(Input):
    """An amount of money above zero, as an exact decimal with no more digits than its currency has."""

    amount: str = Field(pattern=r"^\d{1,15}(\.\d{1,4})?$", description="Exact decimal", examples=["19.99"])
    currency: Currency

    @model_validator(mode="after")
    def be_payable(self) -> Self:
        if self.money.amount <= 0:
            raise ValueError("an amount is above zero")
        return self

    @property
    def money(self) -> Money:
        return Money.of(self.amount, self.currency)


class CaptureCreate(Input):
    """A wish to take what was authorised."""

    model_config = with_example(amount={"amount": "19.99", "currency": "USD"})

    amount: Amount | None = Field(default=None, description="A part, after which the rest is let go; everything when left out")


class RefundCreate(Input):
    """A wish to give money back."""

    amount: Amount
    reason: Reason = Field(examples=["One piece came back"])


class ReviewDecision(Input):
    """Why a person lets a payment go on, or refuses it."""

    note: str = Field(default="", max_length=500, examples=["Called the customer"])


class FraudRuleCreate(FraudRuleDraft, Input):
    """A new rule. It counts from the next payment on."""


class FraudRuleUpdate(FraudRuleChanges, Input):
    """Changes to a rule: what is left out stays."""

    model_config = with_example(action="review", priority=10)
