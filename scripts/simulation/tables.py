"""Tables of plain text, and how figures are written in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.money import decimal_text

_LEAST = 14  # of the figures of a table that has one column of them, so that such tables look alike


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a title: what each is about stands left, its figures right. `columns` are their headings, if they need any."""

    title: str
    rows: Sequence[Sequence[str]]
    columns: Sequence[str] = ()

    def lines(self) -> list[str]:
        """As it is printed, with an empty line at its end."""
        if not self.rows:
            return [self.title, "-" * len(self.title), "nothing", ""]
        shown = [self.columns, *self.rows] if self.columns else self.rows
        widths = [max(map(len, cells)) for cells in zip(*shown, strict=True)]
        if len(widths) == 2:
            widths[1] = max(widths[1], _LEAST)
        return [self.title, "-" * len(self.title), *(_line(row, widths) for row in shown), ""]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    figures = (f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
    return "  ".join([f"{row[0]:<{widths[0]}}", *figures])


def counted(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Rows of what was counted, by name."""
    return [(name, f"{number:,}") for name, number in sorted(counts.items())]


def amount_text(amount: int, currency: str) -> str:
    """Without the currency's name: `12,345.60`."""
    whole, point, part = decimal_text(abs(amount), currency).partition(".")
    return f"{'-' if amount < 0 else ''}{int(whole):,}{point}{part}"


def money_text(amount: int, currency: str) -> str:
    return f"{amount_text(amount, currency)} {currency}"


def share_text(part: int, whole: int) -> str:
    """As `3.4 %`, a dash of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "-"
