"""Taxes: which rates apply where, and what a rate comes to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from models.ecommerce.taxes import STANDARD
from models.money import BASIS_POINTS, decimal_text, half_up
from services.ecommerce.discounts import percent, plain
from services.settings import Settings


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


def default_taxes(settings: Settings) -> TaxTable:
    """What applies where no zone does."""
    return TaxTable("default", {STANDARD: settings.tax_basis_points}, prices_include_tax=settings.prices_include_tax)
