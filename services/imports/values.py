"""Cells as values: exact money, whole pieces, grams and millimetres, and texts that were HTML. Pure, and strict."""

import html
import re
from decimal import ROUND_HALF_UP, Decimal
from html.parser import HTMLParser

from pydantic import TypeAdapter, ValidationError

from models.money import Money, digits_of
from models.weblinks import WebLink
from services.inventory.stock import MAX_QUANTITY

_GRAMS = {
    "kg": Decimal(1000),
    "g": Decimal(1),
    "lb": Decimal("453.59237"),
    "lbs": Decimal("453.59237"),
    "oz": Decimal("28.349523"),
}
_MILLIMETRES = {"mm": Decimal(1), "cm": Decimal(10), "m": Decimal(1000), "in": Decimal("25.4"), "yd": Decimal("914.4")}
_PLAIN = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{0,12})?|[+-]?\.[0-9]{1,12}")
_UNIT = re.compile(r"\((\w+)\)$")
_TAG = re.compile(r"</?(?:p|br|div|span|strong|b|em|i|u|ul|ol|li|h[1-6]|a|table|tr|td|img|script|style|meta|hr)\b[^<>]*>", re.I)
_SPECIAL = re.compile(r"([\\`*_\[\]<])")
_BLOCKS = {"p", "div", "table", "tr", "ul", "ol", "blockquote", "section", "article", "hr"}
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
_MARKS = {"strong": "**", "b": "**", "em": "*", "i": "*"}
_UNSEEN = {"script", "style", "head", "title", "template", "iframe", "object"}
_LINK = TypeAdapter(WebLink)


class RefusedRowError(ValueError):
    """What a row says cannot be taken: one sentence for a person, without its full stop."""


def money_of(text: str, currency: str, *, what: str = "price") -> Money:
    """Raises RefusedRowError for anything but a decimal of at most the currency's digits: nothing is rounded."""
    plain = _plain(text, what)
    if len(plain.partition(".")[2].rstrip("0")) > digits_of(currency):
        raise RefusedRowError(f"the {what} {text} has more digits than {currency}")
    try:
        return Money.of(plain, currency)
    except ValueError as error:
        raise RefusedRowError(f"the {what} {text} is not an amount of {currency}") from error


def whole_of(text: str, *, what: str) -> int:
    """A whole number; `6.0` is one. Raises RefusedRowError."""
    number = Decimal(_plain(text, what))
    if number != int(number):
        raise RefusedRowError(f"the {what} {text} is no whole number")
    return int(number)


def stock_of(text: str) -> int:
    """Pieces in stock; none for a negative number, which is what was sold without having it. Raises RefusedRowError."""
    pieces = whole_of(text, what="stock")
    if pieces > MAX_QUANTITY:
        raise RefusedRowError(f"a stock of {pieces} is more than can be entered")
    return max(0, pieces)


def unit_of(column: str, default: str) -> str:
    """The unit in the name of a column, `weight (kg)`."""
    found = _UNIT.search(column)
    return found.group(1) if found else default


def grams_of(text: str, unit: str) -> int | None:
    """Rounded half-up; None for an empty cell and for zero, which stands for "not known". Raises RefusedRowError."""
    return _measured(text, _GRAMS.get(unit), "weight") if text else None


def millimetres_of(text: str, unit: str) -> int | None:
    """As `grams_of`."""
    return _measured(text, _MILLIMETRES.get(unit), "measure") if text else None


def is_true(text: str) -> bool:
    return text.casefold() in {"1", "true", "yes", "y"}


def web_link(text: str) -> str | None:
    """The address, when it is one of the web without credentials."""
    try:
        return _LINK.validate_python(text)
    except ValidationError:
        return None


def name_of(text: str) -> str:
    """One line of text: entities resolved, spaces single."""
    return " ".join(html.unescape(_unguarded(text)).split())


def markdown_of(text: str) -> str:
    """Markdown that says what a text says, which may be HTML. Whatever it holds: the catalogue renders it, and cleans it."""
    text = _unguarded(text.replace("\\n", "\n"))
    if not _TAG.search(text):
        return html.unescape(text).strip()
    parser = _MarkdownWriter()
    parser.feed(text)
    parser.close()
    return parser.text


def cut(text: str, length: int) -> str:
    """The text, or its beginning up to a word's end and an ellipsis."""
    if len(text) <= length:
        return text
    head = text[: length - 1]
    return (head.rpartition(" ")[0] or head).rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def sku_of(text: str) -> str:
    """A SKU as the catalogue allows them: other signs become hyphens; empty when nothing is left."""
    return re.sub(r"[^A-Za-z0-9._/+-]+", "-", text).lstrip("._/+-").rstrip("-")[:64]


def split_list(text: str) -> list[str]:
    r"""The parts of `a, b\, c`: commas behind a backslash are no separators."""
    parts = (part.replace("\\,", ",").strip() for part in re.split(r"(?<!\\),", text))
    return [part for part in parts if part]


def _unguarded(text: str) -> str:
    """Without the apostrophe by which exporters keep spreadsheets from taking a text for a formula."""
    return text[1:] if text[:1] == "'" and text[1:2] in ("=", "+", "-", "@") else text


def _plain(text: str, what: str) -> str:
    if not text:
        raise RefusedRowError(f"the {what} is missing")
    if not _PLAIN.fullmatch(text):
        raise RefusedRowError(f"the {what} {cut(text, 40)} is no plain number")
    sign = "-" if text.startswith("-") else ""
    whole, _, part = text.lstrip("+-").partition(".")
    return f"{sign}{whole or '0'}{'.' if part else ''}{part}"


def _measured(text: str, factor: Decimal | None, what: str) -> int | None:
    if factor is None:
        raise RefusedRowError(f"the unit of the {what} is not known")
    value = Decimal(_plain(text, what)) * factor
    if value < 0:
        raise RefusedRowError(f"the {what} {text} is below zero")
    return int(value.quantize(Decimal(1), ROUND_HALF_UP)) or None


class _MarkdownWriter(HTMLParser):
    """Keeps paragraphs, headings, lists, emphasis and links; drops what is not text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._out: list[str] = []
        self._unseen = 0
        self._links: list[str | None] = []

    @property
    def text(self) -> str:
        joined = re.sub(r"[ \t]*\n[ \t]*", "\n", "".join(self._out))
        return re.sub(r"\n{3,}", "\n\n", joined).strip()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag == "br":
            self._out.append("  \n")
        elif tag == "li":
            self._out.append("\n- ")
        elif tag in _HEADINGS:
            self._out.append("\n\n" + "#" * int(tag[1]) + " ")
        elif tag in _BLOCKS:
            self._out.append("\n\n")
        elif tag in _MARKS:
            self._out.append(_MARKS[tag])
        elif tag == "a":
            target = web_link(dict(attrs).get("href") or "")
            self._links.append(target)
            self._out.append("[" if target else "")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag in _BLOCKS or tag in _HEADINGS:
            self._out.append("\n\n")
        elif tag in _MARKS:
            self._out.append(_MARKS[tag])
        elif tag == "a" and self._links and (target := self._links.pop()):
            self._out.append(f"](<{target}>)")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self._out.append(_SPECIAL.sub(r"\\\1", re.sub(r"\s+", " ", data)))
