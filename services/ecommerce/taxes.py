"""Taxes: which rates apply where, what a rate comes to, and the staff's table of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Self

from beanie import PydanticObjectId
from pydantic import BaseModel, Field, model_validator

from models.ecommerce.taxes import STANDARD, TaxRate, TaxZone, TaxZoneRead
from models.money import BASIS_POINTS, BasisPoints, decimal_text, half_up
from models.places import Country
from services.ecommerce.discounts import percent, plain
from services.ecommerce.zones import (
    State,
    TaxClass,
    ZoneDraft,
    ZoneName,
    ZoneTable,
    best_zone,
)
from services.inputs import InputPart
from services.settings import Settings
from services.users.permissions import Viewer

TAX_ZONES = ZoneTable(TaxZone, "tax")


@dataclass(frozen=True, slots=True)
class TaxTable:
    """The rates of one place, in basis points by tax class; a class without a rate is taxed as `standard`."""

    code: str
    rates: Mapping[str, int] = field(default_factory=dict)
    shipping_rate: int | None = None  # None: shipping is not taxed
    prices_include_tax: bool = False

    def rate_of(self, tax_class: str) -> int:
        return self.rates.get(tax_class, self.rates.get(STANDARD, 0))

    def on(self, base: int, rate: int, currency: str) -> tuple[int, str]:
        """The tax on a base, or within it where prices include tax, and how it was computed. Rounded half-up."""
        divisor = BASIS_POINTS + rate if self.prices_include_tax else BASIS_POINTS
        tax = half_up(base * rate, divisor)
        text = decimal_text(base, currency)
        rounded = decimal_text(tax, currency)
        if self.prices_include_tax:
            return tax, f"{percent(rate)} within {text}, half-up {rounded}"
        exact = Decimal(text) * rate / BASIS_POINTS
        return tax, f"{percent(rate)} of {text} = {plain(exact)}, half-up {rounded}"


class TaxRateDraft(InputPart, TaxRate):
    """A rate to be."""

    tax_class: TaxClass = Field(default=STANDARD, examples=["standard"])
    rate: BasisPoints


class TaxZoneDraft(ZoneDraft):
    """A tax zone to be."""

    rates: list[TaxRateDraft] = Field(min_length=1, max_length=50)
    shipping_tax_class: TaxClass | None = Field(default=None, description="Null: shipping is not taxed")
    prices_include_tax: bool = False

    @model_validator(mode="after")
    def _one_rate_per_class(self) -> Self:
        one_rate_per_class(self.rates)
        return self


class TaxZoneChanges(BaseModel):
    """What is to change; what is left out stays."""

    name: ZoneName = Field(default_factory=str)
    countries: list[Country] = Field(default_factory=list, max_length=250)
    states: list[State] = Field(default_factory=list, max_length=200)
    rates: list[TaxRateDraft] = Field(default_factory=list, min_length=1, max_length=50)
    shipping_tax_class: TaxClass | None = None
    prices_include_tax: bool = Field(default_factory=bool)
    is_active: bool = Field(default_factory=bool)

    @model_validator(mode="after")
    def _one_rate_per_class(self) -> Self:
        one_rate_per_class(self.rates)
        return self


def one_rate_per_class(rates: Sequence[TaxRate]) -> None:
    """Raises ValueError."""
    if len({rate.tax_class for rate in rates}) < len(rates):
        raise ValueError("a tax class has one rate")


class TaxService:
    @staticmethod
    async def create_tax_zone(draft: TaxZoneDraft, *, viewer: Viewer) -> TaxZoneRead:
        """Raises PermissionDeniedError, ZoneTakenError, InvalidZoneError."""
        return _read(await TAX_ZONES.create(draft, viewer=viewer))

    @staticmethod
    async def get_tax_zone(zone_id: PydanticObjectId, *, viewer: Viewer) -> TaxZoneRead:
        """Raises PermissionDeniedError, ZoneNotFoundError."""
        return _read(await TAX_ZONES.get(zone_id, viewer=viewer))

    @staticmethod
    async def list_tax_zones(*, viewer: Viewer) -> list[TaxZoneRead]:
        """All of them, by code. Raises PermissionDeniedError."""
        return [_read(zone) for zone in await TAX_ZONES.list_all(viewer=viewer)]

    @staticmethod
    async def update_tax_zone(
        zone_id: PydanticObjectId, changes: TaxZoneChanges, *, viewer: Viewer, revision: int | None
    ) -> TaxZoneRead:
        """The zone with the changes in it; `revision` is the one the caller read, None for whichever is current.

        Raises PermissionDeniedError, ZoneNotFoundError, PreconditionError, InvalidZoneError.
        """
        return _read(await TAX_ZONES.update(zone_id, changes, viewer=viewer, revision=revision))

    @staticmethod
    async def delete_tax_zone(zone_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """Orders keep what they were taxed. Raises PermissionDeniedError, ZoneNotFoundError."""
        await TAX_ZONES.delete(zone_id, viewer=viewer)

    @staticmethod
    async def find_taxes(country: str | None, state: str, *, settings: Settings) -> TaxTable:
        """What applies at a place; the settings' rate where no active zone does. No command while the table is kept."""
        zone = best_zone(await TAX_ZONES.active(), country, state)
        return default_taxes(settings) if zone is None else table_of(zone)


def table_of(zone: TaxZone) -> TaxTable:
    rates = {rate.tax_class: rate.rate for rate in zone.rates}
    table = TaxTable(zone.code, rates, prices_include_tax=zone.prices_include_tax)
    if zone.shipping_tax_class is None:
        return table
    return TaxTable(zone.code, rates, table.rate_of(zone.shipping_tax_class), zone.prices_include_tax)


def default_taxes(settings: Settings) -> TaxTable:
    """What applies where no zone does."""
    return TaxTable("default", {STANDARD: settings.tax_basis_points}, prices_include_tax=settings.prices_include_tax)


def _read(zone: TaxZone) -> TaxZoneRead:
    return TaxZoneRead.model_validate(zone.model_dump())
