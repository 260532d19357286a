"""A retailer's order lines: rows of one invoice are a sale, rows of a credit note (`C...`) what was given back."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from babel.core import Locale

from models.money import Money
from services.imports.files import SourceRow
from services.imports.sources import ReadingTerms, Trouble
from services.imports.spool import RowGroup
from services.imports.values import RefusedRowError, cut, money_of, name_of, sku_of, whole_of

REQUIRED = frozenset({"stockcode", "description", "quantity", "invoicedate"})
COLUMNS = REQUIRED | {"invoiceno", "unitprice", "customerid"}
COLUMNS_TWO = REQUIRED | {"invoice", "price", "customer id"}
"""The same data set was published twice, under different names of its columns."""

LOCAL = ZoneInfo("Europe/London")
_EARLIEST = 1971  # ids hold no time before 1970
MAX_PIECES = 1_000_000
MAX_LINE = 10**11  # minor units; five thousand of them are an amount of money still
SHIPPING_CODES = frozenset({"POST", "DOT", "C2"})
DISCOUNT_CODES = frozenset({"D"})
_CHARGES = frozenset({"M", "S", "BANK CHARGES", "AMAZONFEE", "CRUK"})
_BOOKKEEPING = frozenset({"B", "ADJUST", "ADJUST2"})
_VOUCHER = re.compile(r"GIFT_\d+(_\d+)?|DCGS.*VOUCHER")
_NUMBER = re.compile(r"[A-Z]?[0-9A-Z-]{1,30}")
_FORMS = ("%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%m/%d/%y %H:%M")

# Names that the file has and CLDR has not. Names of no one country are left out.
_NAMED = {"EIRE": "IE", "USA": "US", "UK": "GB", "RSA": "ZA", "HONG KONG": "HK", "CZECH REPUBLIC": "CZ", "KOREA": "KR"}
_COUNTRIES = {
    str(name).upper(): str(code) for code, name in Locale("en").territories.items() if len(str(code)) == 2 and str(code).isalpha()
} | _NAMED


@dataclass(frozen=True, slots=True)
class RetailLine:
    """Pieces of one product, or a charge: how many, and at what price each. Both are above zero, or the price is zero."""

    row: SourceRow
    code: str
    name: str
    quantity: int
    unit_price: Money

    @property
    def amount(self) -> Money:
        return self.unit_price * self.quantity


@dataclass(slots=True)
class RetailDocument:
    """An invoice or a credit note. Amounts are positive in both.

    `goods` are products, `charges` postage and what else is charged and is no product, `discounts` what was taken off as a line
    of its own. `adjustments` are no part of it.
    """

    number: str
    row: SourceRow
    is_credit: bool
    customer: str | None  # None for a guest
    placed_at: datetime
    country: str | None
    goods: list[RetailLine] = field(default_factory=list)
    charges: list[RetailLine] = field(default_factory=list)
    discounts: list[RetailLine] = field(default_factory=list)
    adjustments: list[Trouble] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether nothing but adjustments of stock stood under its number."""
        return not (self.goods or self.charges or self.discounts)

    @property
    def total(self) -> int:
        """Minor units of what was charged, or given back."""
        charged = sum(line.amount.amount for line in (*self.goods, *self.charges))
        taken = sum(line.amount.amount for line in self.discounts)
        return charged + taken if self.is_credit else charged - taken


def key_of(row: SourceRow) -> str:
    """The number of the invoice. Raises RefusedRowError."""
    number = _cell(row, "invoiceno", "invoice").upper()
    if not _NUMBER.fullmatch(number):
        raise RefusedRowError("the row has no number of an invoice")
    return number


def read_document(group: RowGroup, terms: ReadingTerms) -> RetailDocument:
    """The invoice or credit note of a number. Raises RefusedRowError, for all its lines when one of them is broken."""
    head = group.rows[0]
    document = RetailDocument(
        number=group.key,
        row=head,
        is_credit=group.key.startswith("C"),
        customer=_customer(head),
        placed_at=_moment(head["invoicedate"], terms.now),
        country=_COUNTRIES.get(name_of(head["country"]).upper()),
    )
    for row in group.rows:
        if _customer(row) != document.customer:
            raise RefusedRowError(f"line {row.line} is for another customer")
        try:
            _enter(document, row, terms.currency)
        except RefusedRowError as error:
            raise RefusedRowError(f"line {row.line}: {error}") from error
    taken = sum(line.amount.amount for line in document.discounts)
    if not document.is_credit and taken > sum(line.amount.amount for line in document.goods):
        raise RefusedRowError("more is taken off than its goods cost")
    return document


def is_goods(code: str) -> bool:
    """Whether a stock code stands for a product."""
    return not (code in SHIPPING_CODES | DISCOUNT_CODES | _CHARGES | _BOOKKEEPING or _VOUCHER.fullmatch(code))


def product_sku(code: str) -> str:
    return sku_of(code)


def _enter(document: RetailDocument, row: SourceRow, currency: str) -> None:
    code = " ".join(row["stockcode"].split()).upper()
    if not code:
        raise RefusedRowError("it has no stock code")
    name = name_of(row["description"])
    quantity = whole_of(row["quantity"], what="quantity")
    price = money_of(_cell(row, "unitprice", "price"), currency)
    if not name and not price.amount:
        document.adjustments.append(Trouble(row, "no sale: a price of 0 and no description are a correction of stock"))
        return
    if code in _BOOKKEEPING or price.amount < 0:
        raise RefusedRowError(f"{code} at {row['unitprice'] or row['price']} is bookkeeping and no sale")
    if not quantity or abs(quantity) > MAX_PIECES:
        raise RefusedRowError(f"the quantity {quantity} is none that can be sold")
    if price.amount * abs(quantity) > MAX_LINE:
        raise RefusedRowError(f"{quantity} at {price} are more than a line can come to")
    line = RetailLine(row, code, name or code, abs(quantity), price)
    if document.is_credit:
        if quantity > 0:
            raise RefusedRowError("a credit note gives back: its quantities are below zero")
        # A discount given afterwards is money given back, like everything here.
        _lines_of(document, code).append(line)
    elif code in DISCOUNT_CODES and quantity < 0:
        document.discounts.append(line)
    elif quantity < 0:
        document.adjustments.append(Trouble(row, "no sale: fewer than no pieces outside a credit note are a correction of stock"))
    else:
        (document.goods if is_goods(code) else document.charges).append(line)


def _lines_of(document: RetailDocument, code: str) -> list[RetailLine]:
    if is_goods(code):
        return document.goods
    return document.discounts if code in DISCOUNT_CODES else document.charges


def _cell(row: SourceRow, *names: str) -> str:
    return next((row[name] for name in names if row[name]), "")


def _customer(row: SourceRow) -> str | None:
    """The number without the `.0` that spreadsheets leave behind; None for a guest."""
    text = _cell(row, "customerid", "customer id")
    return cut(text.removesuffix(".0"), 40) or None


def _moment(text: str, now: datetime) -> datetime:
    """The time in UTC of a local time. Of an hour that came twice it is the first. Raises RefusedRowError."""
    for form in _FORMS:
        try:
            moment = datetime.strptime(text, form).replace(tzinfo=LOCAL)
        except ValueError:
            continue
        if not (moment.year >= _EARLIEST and moment <= now):
            raise RefusedRowError(f"the time {text} is none at which something was sold")
        return moment.astimezone(UTC)
    raise RefusedRowError(f"the time {cut(text, 40) or '(none)'} is not one like 12/1/2010 8:26")
