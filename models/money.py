"""Money: an integer number of minor units and an ISO 4217 currency (`docs/decisions/0003-money.md`)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from decimal import Decimal
from typing import Annotated, Any, Self

from babel.core import Locale
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_serializer

BASIS_POINTS = 10_000  # 100 %
MAX_AMOUNT = 10**15  # minor units; far from where 64-bit sums of many could overflow

# CLDR lists metals, units of account and test codes beside what can be paid with; ISO keeps all but these under X.
_PAYABLE_X = {"XAF", "XCD", "XCG", "XOF", "XPF"}
_CODES = frozenset(code for code in map(str, Locale("en").currencies) if not code.startswith("X") or code in _PAYABLE_X)
# The minor units of ISO 4217, which gateways count in. CLDR's digits say how a currency is written: none for the dinars of RSD,
# which have hundredths all the same.
_DIGITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV"), 0),
    **dict.fromkeys(("XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
_PLAIN = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{1,20})?")


class CurrencyMismatchError(ValueError):
    """Two currencies met in one sum; nothing converts between them."""

    def __init__(self, left: str, right: str) -> None:
        super().__init__(f"{left} and {right} cannot be combined")
        self.left = left
        self.right = right


def _known(code: str) -> str:
    if code not in _CODES:
        raise ValueError("not an ISO 4217 currency code")
    return code


Currency = Annotated[
    str, AfterValidator(_known), Field(description="ISO 4217 code", min_length=3, max_length=3, examples=["USD"])
]
BasisPoints = Annotated[int, Field(ge=0, le=BASIS_POINTS, description="Hundredths of a per cent", examples=[1000])]


def digits_of(currency: str) -> int:
    """How many decimal digits a currency has: 2 for USD, 0 for JPY, 3 for KWD."""
    return _DIGITS.get(currency, 2)


def decimal_text(amount: int, currency: str) -> str:
    """The exact decimal string of an amount in minor units, with all the digits of its currency: `19.90`."""
    digits = digits_of(currency)
    if digits == 0:
        return str(amount)
    whole, part = divmod(abs(amount), 10**digits)
    return f"{'-' if amount < 0 else ''}{whole}.{part:0{digits}d}"


def half_up(numerator: int, denominator: int) -> int:
    """The quotient, rounded to the nearest integer, halves away from zero. The one place where money is rounded."""
    magnitude = (2 * abs(numerator) + denominator) // (2 * denominator)
    return magnitude if numerator >= 0 else -magnitude


def allocate(amount: int, weights: Sequence[int]) -> list[int]:
    """Parts of an amount in proportion to the weights, which add up to it to the last unit.

    What rounding down leaves over goes to the parts that lost most by it, the first among equals; with weights that are all zero
    everything goes to the first part. Raises ValueError without weights or for a negative one.
    """
    if not weights or min(weights) < 0:
        raise ValueError("weights are non-negative, and there is at least one")
    if sum(weights) == 0:
        weights = [1, *([0] * (len(weights) - 1))]
    whole, sign, total = abs(amount), (1 if amount >= 0 else -1), sum(weights)
    parts = [whole * weight // total for weight in weights]
    lost = [whole * weight % total for weight in weights]
    for index in sorted(range(len(weights)), key=lambda at: (-lost[at], at))[: whole - sum(parts)]:
        parts[index] += 1
    return [sign * part for part in parts]


class Money(BaseModel):
    """An amount in minor units. In documents an integer, in JSON an exact decimal string."""

    model_config = ConfigDict(frozen=True)

    amount: Annotated[int, Field(strict=True, ge=-MAX_AMOUNT, le=MAX_AMOUNT, description="Exact decimal", examples=["19.99"])]
    currency: Currency

    @field_serializer("amount", when_used="json")
    def _as_text(self, amount: int) -> str:
        return decimal_text(amount, self.currency)

    @classmethod
    def of(cls, text: str | Decimal, currency: str) -> Self:
        """The amount a decimal says. Raises ValueError for more digits than the currency has, or no plain number."""
        if isinstance(text, Decimal):
            if not text.is_finite() or not -20 <= text.adjusted() <= 20:
                raise ValueError("not an amount of money")
            text = f"{text:f}"
        if not isinstance(text, str):  # a float is never exact
            raise TypeError("money is made from text or a Decimal")
        if not _PLAIN.fullmatch(text):
            raise ValueError("not a decimal number")
        whole, _, part = text.partition(".")
        digits, part = digits_of(currency), part.rstrip("0")
        if len(part) > digits:
            raise ValueError(f"{currency} has {digits} decimal digits")
        return cls(amount=int(whole + part.ljust(digits, "0")), currency=currency)

    @classmethod
    def zero(cls, currency: str) -> Self:
        return cls(amount=0, currency=currency)

    @classmethod
    def total(cls, parts: Iterable["Money"], currency: str) -> "Money":
        """The sum of the parts; zero of `currency` for none. Raises CurrencyMismatchError."""
        return sum(parts, start=Money.zero(currency))

    def __add__(self, other: "Money") -> "Money":
        return Money(amount=self.amount + self._same(other).amount, currency=self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(amount=self.amount - self._same(other).amount, currency=self.currency)

    def __neg__(self) -> "Money":
        return Money(amount=-self.amount, currency=self.currency)

    def __mul__(self, quantity: int) -> "Money":
        return Money(amount=self.amount * quantity, currency=self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.amount < self._same(other).amount

    def __le__(self, other: "Money") -> bool:
        return self.amount <= self._same(other).amount

    def __gt__(self, other: "Money") -> bool:
        return self.amount > self._same(other).amount

    def __ge__(self, other: "Money") -> bool:
        return self.amount >= self._same(other).amount

    def __bool__(self) -> bool:
        return self.amount != 0

    def __str__(self) -> str:
        return f"{decimal_text(self.amount, self.currency)} {self.currency}"

    def share(self, rate: int) -> "Money":
        """This many basis points of the amount, rounded half-up."""
        return Money(amount=half_up(self.amount * rate, BASIS_POINTS), currency=self.currency)

    def allocate(self, weights: Sequence[int]) -> list["Money"]:
        """Parts in proportion to the weights that add up to the whole to the last unit, as `allocate` has them."""
        return [Money(amount=part, currency=self.currency) for part in allocate(self.amount, weights)]

    def formatted(self, locale: str = "en_US") -> str:
        """For people to read: `$1,234.50`."""
        known = Locale.parse(locale)
        digits = digits_of(self.currency)
        pattern = copy(known.currency_formats["standard"])
        pattern.frac_prec = (digits, digits)  # ISO 4217's; what CLDR would show differs for some
        value = Decimal(decimal_text(self.amount, self.currency))
        return str(pattern.apply(value, known, currency=self.currency, currency_digits=False))

    def _same(self, other: "Money") -> "Money":
        if other.currency != self.currency:
            raise CurrencyMismatchError(self.currency, other.currency)
        return other


def money_row(amount: int, currency: str) -> dict[str, Any]:
    """Money as documents hold it, for updates and raw rows."""
    return {"amount": amount, "currency": currency}


_DECIMAL = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,4})?")


def _from_text(value: Any) -> Any:
    if isinstance(value, Money) or not isinstance(value, Mapping):
        return value
    amount, currency = value.get("amount"), value.get("currency")
    if set(value) != {"amount", "currency"} or not isinstance(amount, str) or not isinstance(currency, str):
        raise ValueError("money is an amount, as a decimal string, and a currency")
    if not _DECIMAL.fullmatch(amount):
        raise ValueError("not a decimal number")
    if len(amount.partition(".")[2]) > digits_of(_known(currency)):
        raise ValueError(f"{currency} has {digits_of(currency)} decimal digits")
    return Money.of(amount, currency)


MoneyInput = Annotated[
    Money,
    BeforeValidator(_from_text),
    WithJsonSchema(
        {
            "type": "object",
            "title": "MoneyInput",
            "properties": {
                "amount": {"type": "string", "description": "Exact decimal", "pattern": r"^-?[0-9]{1,15}(\.[0-9]{1,4})?$"},
                "currency": {"type": "string", "description": "ISO 4217 code", "minLength": 3, "maxLength": 3},
            },
            "required": ["amount", "currency"],
            "additionalProperties": False,
            "examples": [{"amount": "19.99", "currency": "USD"}],
        },
        mode="validation",
    ),
]
"""Money as callers send it: `{"amount": "19.99", "currency": "USD"}`, the amount always a decimal string."""
