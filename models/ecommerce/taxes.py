"""Tax tables: what is taxed how much, and where."""

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, IndexModel

from models.base import AgoraDocument
from models.money import BasisPoints

STANDARD = "standard"  # the class of what names none, and of classes that a zone has no rate for


class TaxRate(BaseModel):
    """What goods of one class are taxed."""

    model_config = ConfigDict(frozen=True)

    tax_class: str = STANDARD
    rate: BasisPoints


class TaxZone(AgoraDocument):
    """Where these rates are charged. One that names the state goes before one of the country, that before one of everywhere."""

    code: str
    name: str
    countries: list[str] = Field(default_factory=list)  # ISO 3166; none: everywhere
    states: list[str] = Field(default_factory=list)  # of the one country; none: all of it
    rates: list[TaxRate]
    shipping_tax_class: str | None = None  # None: shipping is not taxed
    prices_include_tax: bool = False
    is_active: bool = True
    revision: int = 1

    class Settings:
        name = "tax_zones"
        # The whole table is small, read at once and kept: it needs no other index.
        indexes = [IndexModel([("code", ASCENDING)], name="code_unique", unique=True)]


class TaxZoneRead(BaseModel):
    """A tax zone, as staff see it."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    code: str
    name: str
    countries: list[str] = Field(description="ISO 3166 codes; none is everywhere")
    states: list[str] = Field(description="Of the one country; none is all of it")
    rates: list[TaxRate]
    shipping_tax_class: str | None = Field(description="The class shipping is taxed as; null when it is not taxed")
    prices_include_tax: bool
    is_active: bool
    revision: int
