"""Fraud: rules as data, and the payments a person has to look at."""

from datetime import datetime
from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime
from models.money import Money


class FraudField(StrEnum):
    """What a condition looks at. Amounts are in whole units of the payment's own currency; nothing converts."""

    AMOUNT = "amount"
    CURRENCY = "currency"
    METHOD = "method"
    GATEWAY = "gateway"
    COUNTRY = "country"  # of the billing address; empty when it is not known
    ACCOUNT_AGE_HOURS = "account_age_hours"  # 0 for guests
    # Within `window_minutes`:
    DECLINES_OF_CUSTOMER = "declines_of_customer"  # declined by a gateway, or not answered yet
    DECLINES_OF_ADDRESS = "declines_of_address"  # from one network address
    PAYMENTS_OF_CUSTOMER = "payments_of_customer"  # tried at all
    PAYMENTS_OF_ADDRESS = "payments_of_address"


class FraudOperator(StrEnum):
    ABOVE = "above"
    AT_LEAST = "at_least"
    BELOW = "below"
    IS = "is"
    IS_NOT = "is_not"


class FraudAction(StrEnum):
    ALLOW = "allow"  # and look at no further rule
    REVIEW = "review"  # a person decides before anything is charged
    BLOCK = "block"


class FraudCondition(BaseModel):
    """One comparison. `values` are decimal numbers or texts as the field asks; `is` means one of them, `is_not` none."""

    model_config = ConfigDict(frozen=True)

    field: FraudField
    operator: FraudOperator
    values: list[str]
    window_minutes: int = 0


class FraudRule(AgoraDocument):
    """All of its conditions must hold; the first rule that fits, lowest priority number first, decides."""

    name: str
    description: str = ""
    conditions: list[FraudCondition]
    action: FraudAction
    enabled: bool = True
    priority: int = 100
    revision: int = 1

    class Settings:
        name = "fraud_rules"
        indexes = [
            IndexModel([("name", ASCENDING)], name="name_unique", unique=True),
            # All of them in the order in which they are asked.
            IndexModel([("priority", ASCENDING), ("_id", ASCENDING)], name="priority"),
        ]


class FraudReviewState(StrEnum):
    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"


class FraudReview(AgoraDocument):
    """A payment held back until someone decides; one per payment."""

    payment_id: PydanticObjectId
    subject: str
    rule: str  # its name, as it was
    amount: Money
    method: str
    state: FraudReviewState = FraudReviewState.OPEN
    decided_by: PydanticObjectId | None = None
    decided_at: UtcDatetime | None = None
    note: str = ""

    class Settings:
        name = "fraud_reviews"
        indexes = [
            IndexModel([("payment_id", ASCENDING)], name="payment_unique", unique=True),
            # The queue, newest first.
            IndexModel([("state", ASCENDING), ("_id", DESCENDING)], name="state_newest"),
        ]


class FraudConditionRead(BaseModel):
    model_config = ConfigDict(frozen=True)

    field: FraudField
    operator: FraudOperator
    values: list[str]
    window_minutes: int


class FraudRuleRead(BaseModel):
    """One rule."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    name: str = Field(examples=["amount above 10000"])
    description: str
    conditions: list[FraudConditionRead] = Field(description="All of them must hold")
    action: FraudAction
    enabled: bool
    priority: int = Field(description="The lowest is asked first; the first rule that fits decides", examples=[100])
    revision: int = Field(description="Send it as If-Match to change the rule as it was read", examples=[1])


class FraudReviewRead(BaseModel):
    """One payment in the queue, or what was decided about it."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    payment_id: PydanticObjectId
    subject: str = Field(description="What is paid", examples=["order:65f0c0ffee0ddba11ca7f00d"])
    rule: str = Field(description="The rule that held it back", examples=["amount above 10000"])
    amount: Money
    method: str = Field(examples=["card"])
    state: FraudReviewState
    decided_by: PydanticObjectId | None
    decided_at: datetime | None
    note: str
    created_at: datetime
