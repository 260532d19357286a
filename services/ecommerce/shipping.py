"""Shipping: which ways a parcel can go, what each costs, and the staff's table of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Self

from beanie import PydanticObjectId
from pydantic import BaseModel, Field, StringConstraints, model_validator

from models.ecommerce.shipping import (
    NOTHING_SHIPPED,
    ShippingMethod,
    ShippingMethodRead,
    ShippingZone,
    ShippingZoneRead,
    WeightTier,
)
from models.money import Money, MoneyInput, decimal_text, digits_of, half_up
from models.places import Country
from services.ecommerce.pieces import Piece, subtotal_of, weight_of
from services.ecommerce.zones import (
    State,
    ZoneDraft,
    ZoneName,
    ZoneTable,
    best_zone,
)
from services.errors import RuleViolatedError
from services.inputs import InputPart
from services.settings import Settings
from services.users.permissions import Viewer

SHIPPING_ZONES = ZoneTable(ShippingZone, "shipping")

MethodCode = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,30}$")]
MethodName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class ShippingMethodNotOfferedError(RuleViolatedError):
    """Nothing can be sent there this way, or not this parcel in this currency."""

    code = "shipping_method_not_offered"

    def __init__(self, method: str | None) -> None:
        super().__init__("Choose another way of shipping." if method else "This cannot be shipped there.")
        self.method = method


@dataclass(frozen=True, slots=True)
class Carriage:
    """One way to send the lines at hand, with its price in minor units and the reason for it."""

    code: str
    name: str
    amount: int
    detail: str = ""


NO_SHIPPING = Carriage(NOTHING_SHIPPED, "Nothing to ship", 0)


class WeightTierDraft(InputPart, WeightTier):
    """A tier to be."""

    up_to_grams: int = Field(ge=1, le=100_000_000)
    rate: MoneyInput


class ShippingMethodDraft(InputPart, ShippingMethod):
    """A method to be."""

    code: MethodCode = Field(examples=["standard"])
    name: MethodName = Field(examples=["Standard"])
    rate: MoneyInput
    free_from: MoneyInput | None = Field(default=None, description="The subtotal, before discounts, from which it costs nothing")
    tiers: list[WeightTierDraft] = Field(default_factory=list, max_length=20, description="From light to heavy; none: one rate")  # type: ignore[assignment]  # narrower than what is stored

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        amounts = [self.rate, *([self.free_from] if self.free_from else []), *(tier.rate for tier in self.tiers)]
        if len({money.currency for money in amounts}) > 1:
            raise ValueError("a method is priced in one currency")
        if any(money.amount < 0 for money in amounts):
            raise ValueError("shipping costs nothing or something")
        weights = [tier.up_to_grams for tier in self.tiers]
        if weights != sorted(set(weights)):
            raise ValueError("tiers go from light to heavy")
        if self.code == NOTHING_SHIPPED:
            raise ValueError(f"`{NOTHING_SHIPPED}` is the method of orders without a parcel")
        return self


class ShippingZoneDraft(ZoneDraft):
    """A shipping zone to be."""

    methods: list[ShippingMethodDraft] = Field(max_length=20, description="In the order in which they are offered")

    @model_validator(mode="after")
    def _each_method_once(self) -> Self:
        each_method_once(self.methods)
        return self


class ShippingZoneChanges(BaseModel):
    """What is to change; what is left out stays."""

    name: ZoneName = Field(default_factory=str)
    countries: list[Country] = Field(default_factory=list, max_length=250)
    states: list[State] = Field(default_factory=list, max_length=200)
    methods: list[ShippingMethodDraft] = Field(default_factory=list, max_length=20)
    is_active: bool = Field(default_factory=bool)

    @model_validator(mode="after")
    def _each_method_once(self) -> Self:
        each_method_once(self.methods)
        return self


def each_method_once(methods: Sequence[ShippingMethod]) -> None:
    """In one currency a code names one method. Raises ValueError."""
    if len({(method.code, method.rate.currency) for method in methods}) < len(methods):
        raise ValueError("a zone offers a method once in a currency")


class ShippingService:
    @staticmethod
    async def create_shipping_zone(draft: ShippingZoneDraft, *, viewer: Viewer) -> ShippingZoneRead:
        """Raises PermissionDeniedError, ZoneTakenError, InvalidZoneError."""
        return _read(await SHIPPING_ZONES.create(draft, viewer=viewer))

    @staticmethod
    async def get_shipping_zone(zone_id: PydanticObjectId, *, viewer: Viewer) -> ShippingZoneRead:
        """Raises PermissionDeniedError, ZoneNotFoundError."""
        return _read(await SHIPPING_ZONES.get(zone_id, viewer=viewer))

    @staticmethod
    async def list_shipping_zones(*, viewer: Viewer) -> list[ShippingZoneRead]:
        """All of them, by code. Raises PermissionDeniedError."""
        return [_read(zone) for zone in await SHIPPING_ZONES.list_all(viewer=viewer)]

    @staticmethod
    async def update_shipping_zone(
        zone_id: PydanticObjectId, changes: ShippingZoneChanges, *, viewer: Viewer, revision: int | None
    ) -> ShippingZoneRead:
        """The zone with the changes in it; `revision` is the one the caller read, None for whichever is current.

        Raises PermissionDeniedError, ZoneNotFoundError, PreconditionError, InvalidZoneError.
        """
        return _read(await SHIPPING_ZONES.update(zone_id, changes, viewer=viewer, revision=revision))

    @staticmethod
    async def delete_shipping_zone(zone_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """Orders keep what their shipping cost. Raises PermissionDeniedError, ZoneNotFoundError."""
        await SHIPPING_ZONES.delete(zone_id, viewer=viewer)

    @staticmethod
    async def list_shipping_methods(
        *, country: str | None, state: str = "", currency: str | None = None, settings: Settings
    ) -> list[ShippingMethodRead]:
        """What is offered at a place in a currency (the shop's own if left out), in the staff's order; empty when nothing is.

        Where no zone lies, the one method of the settings.
        """
        currency = currency or settings.currency
        zone = best_zone(await SHIPPING_ZONES.active(), country, state)
        if zone is None:
            return [_default_method(currency, settings)]
        return [_offered(method) for method in zone.methods if method.rate.currency == currency]

    @staticmethod
    async def find_carriages(
        pieces: Sequence[Piece], *, currency: str, country: str | None, state: str, settings: Settings
    ) -> list[Carriage]:
        """The ways in which these lines can be sent there, each with its price; empty when there is none.

        No command while the table is kept.
        """
        zone = best_zone(await SHIPPING_ZONES.active(), country, state)
        if zone is None:
            return [default_carriage(pieces, currency=currency, settings=settings)]
        found = (carriage_by(method, pieces) for method in zone.methods if method.rate.currency == currency)
        return [carriage for carriage in found if carriage is not None]


def default_carriage(pieces: Sequence[Piece], *, currency: str, settings: Settings) -> Carriage:
    """What applies where no zone does: one rate, and nothing from a subtotal on. The settings hold units of any currency."""
    rate, free_from = minor_units(settings.shipping_rate, currency), minor_units(settings.free_shipping_from, currency)
    return Carriage("standard", "Standard", *_charge(rate, free_from, subtotal_of(pieces), currency))


def carriage_by(method: ShippingMethod, pieces: Sequence[Piece]) -> Carriage | None:
    """What a method costs for these lines; None when they are heavier than it takes."""
    rate, weighed = method.rate.amount, ""
    if method.tiers:
        weight = weight_of(pieces)
        tier = next((tier for tier in method.tiers if weight <= tier.up_to_grams), None)
        if tier is None:
            return None
        rate, weighed = tier.rate.amount, f"{weight} g, up to {tier.up_to_grams} g: "
    free_from = None if method.free_from is None else method.free_from.amount
    amount, detail = _charge(rate, free_from, subtotal_of(pieces), method.rate.currency)
    return Carriage(method.code, method.name, amount, weighed + detail)


def _charge(rate: int, free_from: int | None, subtotal: int, currency: str) -> tuple[int, str]:
    """The price of a parcel and the reason for it. The subtotal is that before discounts."""
    if free_from is None:
        return rate, decimal_text(rate, currency)
    threshold = decimal_text(free_from, currency)
    if subtotal >= free_from:
        return 0, f"free from a subtotal of {threshold}"
    return rate, f"{decimal_text(rate, currency)} below a subtotal of {threshold}"


def minor_units(amount: Decimal, currency: str) -> int:
    """A setting's amount in minor units of a currency, rounded half-up where it has fewer digits."""
    numerator, denominator = amount.as_integer_ratio()
    return half_up(numerator * 10 ** digits_of(currency), denominator)


def _default_method(currency: str, settings: Settings) -> ShippingMethodRead:
    return ShippingMethodRead(
        code="standard",
        name="Standard",
        rate=Money(amount=minor_units(settings.shipping_rate, currency), currency=currency),
        free_from=Money(amount=minor_units(settings.free_shipping_from, currency), currency=currency),
        is_by_weight=False,
    )


def _offered(method: ShippingMethod) -> ShippingMethodRead:
    lightest = method.tiers[0].rate if method.tiers else method.rate
    return ShippingMethodRead(
        code=method.code, name=method.name, rate=lightest, free_from=method.free_from, is_by_weight=bool(method.tiers)
    )


def _read(zone: ShippingZone) -> ShippingZoneRead:
    return ShippingZoneRead.model_validate(zone.model_dump())
