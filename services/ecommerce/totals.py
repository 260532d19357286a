"""Totals as plain computation: lines, discounts, shipping and taxes in, every cent of the sum out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from models.ecommerce.pricing import Quote, StepKind
from models.ecommerce.shipping import NOTHING_SHIPPED
from models.money import MAX_AMOUNT, CurrencyMismatchError, decimal_text, money_row
from services.ecommerce.discounts import Discount, take_off
from services.ecommerce.pieces import Piece, subtotal_of
from services.ecommerce.shipping import Carriage
from services.ecommerce.taxes import TaxTable
from services.errors import RuleViolatedError

MAX_SUBTOTAL = MAX_AMOUNT // 4  # with the shipping; a total with its taxes is an amount, too


class PurchaseTooLargeError(RuleViolatedError):
    """The lines come to more than an amount of money can be."""

    code = "purchase_too_large"

    def __init__(self) -> None:
        super().__init__("This is more than can be bought at once.")


@dataclass(slots=True)
class _Sheet:
    """The computation as it goes: what is left of each line and of the shipping, and the steps so far.

    Everything is kept as plain rows and becomes a `Quote` at once: that costs a fraction of making each part by itself.
    """

    currency: str
    left: list[int]
    shipping_left: int
    steps: list[dict[str, Any]] = field(default_factory=list)
    applied: list[dict[str, Any]] = field(default_factory=list)

    def money(self, amount: int) -> dict[str, Any]:
        return money_row(amount, self.currency)

    def note(self, kind: StepKind, rule: str, line: int | None, amount: int, detail: str, *, included: int | None = None) -> None:
        held = None if included is None else self.money(included)
        amounts = {"amount": self.money(amount), "included": held}
        self.steps.append({"kind": kind, "rule": rule, "line": line, "detail": detail, **amounts})


def total_up(
    pieces: Sequence[Piece], *, currency: str, discounts: Sequence[Discount], carriage: Carriage, taxes: TaxTable
) -> Quote:
    """The lines in their order with what each comes to, and the totals.

    Discounts are taken in the order given, each from what the earlier ones left: no line, and not the shipping, falls below zero.
    The amounts of all steps add up to the total. Raises CurrencyMismatchError for a price in another currency, and
    PurchaseTooLargeError.
    """
    _require_bounds(pieces, currency, carriage)
    sheet = _Sheet(currency, [piece.subtotal for piece in pieces], carriage.amount)
    for line, piece in enumerate(pieces):
        price = decimal_text(piece.unit_price.amount, currency)
        sheet.note(StepKind.LINE, "price", line, piece.subtotal, f"{piece.quantity} x {price}")
    if carriage.code != NOTHING_SHIPPED:
        sheet.note(StepKind.SHIPPING, f"shipping:{carriage.code}", None, carriage.amount, carriage.detail)
    for discount in discounts:
        _apply(discount, pieces, sheet)
    line_taxes = [
        _tax_line(line, taxes.rate_of(piece.tax_class), f"tax:{taxes.code}:{piece.tax_class}", taxes, sheet)
        for line, piece in enumerate(pieces)
    ]
    shipping_tax = 0
    if taxes.shipping_rate is not None:
        shipping_tax = _tax_amount(None, taxes.shipping_rate, f"tax:{taxes.code}:shipping", sheet.shipping_left, taxes, sheet)
    lines = [_priced(piece, sheet.left[at], line_taxes[at], taxes, sheet) for at, piece in enumerate(pieces)]
    return Quote.model_validate(
        {
            "lines": lines,
            "totals": _totals(pieces, sum(line_taxes) + shipping_tax, taxes, sheet),
            "discounts": sheet.applied,
            "steps": sheet.steps,
            "shipping_method": carriage.code,
        }
    )


def _require_bounds(pieces: Sequence[Piece], currency: str, carriage: Carriage) -> None:
    for piece in pieces:
        if piece.unit_price.currency != currency:
            raise CurrencyMismatchError(currency, piece.unit_price.currency)
    if subtotal_of(pieces) + carriage.amount > MAX_SUBTOTAL:
        raise PurchaseTooLargeError


def _apply(discount: Discount, pieces: Sequence[Piece], sheet: _Sheet) -> None:
    """Take one discount off; one that comes to nothing leaves no trace."""
    shares = take_off(discount.rule, pieces, currency=sheet.currency, left=sheet.left, shipping_left=sheet.shipping_left)
    taken = 0
    for share in shares:
        if share.line is None:
            sheet.shipping_left -= share.amount
        else:
            sheet.left[share.line] -= share.amount
        taken += share.amount
        sheet.note(StepKind.DISCOUNT, discount.name, share.line, -share.amount, share.detail)
    if taken:
        sheet.applied.append(
            {
                "rule": discount.name,
                "coupon_id": discount.coupon_id,
                "promotion_id": discount.promotion_id,
                "label": discount.label,
                "amount": sheet.money(taken),
            }
        )


def _tax_line(line: int, rate: int, name: str, taxes: TaxTable, sheet: _Sheet) -> int:
    return _tax_amount(line, rate, name, sheet.left[line], taxes, sheet)


def _tax_amount(line: int | None, rate: int, name: str, base: int, taxes: TaxTable, sheet: _Sheet) -> int:
    """The tax on `base`, noted as a step of its own; nothing is noted where nothing is taxed."""
    if not rate:
        return 0
    tax, detail = taxes.on(base, rate, sheet.currency)
    if taxes.prices_include_tax:
        sheet.note(StepKind.TAX, name, line, 0, detail, included=tax)
    else:
        sheet.note(StepKind.TAX, name, line, tax, detail)
    return tax


def _priced(piece: Piece, left: int, tax: int, taxes: TaxTable, sheet: _Sheet) -> dict[str, Any]:
    return {
        "product_id": piece.product_id,
        "variant_id": piece.variant_id,
        "quantity": piece.quantity,
        "unit_price": piece.unit_price,
        "subtotal": sheet.money(piece.subtotal),
        "discount": sheet.money(piece.subtotal - left),
        "tax": sheet.money(tax),
        "total": sheet.money(left if taxes.prices_include_tax else left + tax),
    }


def _totals(pieces: Sequence[Piece], tax: int, taxes: TaxTable, sheet: _Sheet) -> dict[str, Any]:
    goods = sum(sheet.left)
    subtotal = subtotal_of(pieces)
    return {
        "subtotal": sheet.money(subtotal),
        "discount": sheet.money(subtotal - goods),
        "shipping": sheet.money(sheet.shipping_left),
        "tax": sheet.money(tax),
        "total": sheet.money(goods + sheet.shipping_left + (0 if taxes.prices_include_tax else tax)),
        "prices_include_tax": taxes.prices_include_tax,
    }
