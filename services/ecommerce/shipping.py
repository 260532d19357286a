"""Shipping: which ways a parcel can go, and what each costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from models.ecommerce.shipping import NOTHING_SHIPPED
from models.money import decimal_text, digits_of, half_up
from services.ecommerce.pieces import Piece, subtotal_of
from services.settings import Settings


@dataclass(frozen=True, slots=True)
class Carriage:
    """One way to send the lines at hand, with its price in minor units and the reason for it."""

    code: str
    name: str
    amount: int
    detail: str = ""


NO_SHIPPING = Carriage(NOTHING_SHIPPED, "Nothing to ship", 0)


def default_carriage(pieces: Sequence[Piece], *, currency: str, settings: Settings) -> Carriage:
    """What applies where no zone does: one rate, and nothing from a subtotal on. The settings hold units of any currency."""
    rate, free_from = minor_units(settings.shipping_rate, currency), minor_units(settings.free_shipping_from, currency)
    return Carriage("standard", "Standard", *charge(rate, free_from, subtotal_of(pieces), currency))


def charge(rate: int, free_from: int | None, subtotal: int, currency: str) -> tuple[int, str]:
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
