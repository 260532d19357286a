"""What pages of figures are made of: tiles, charts with their tables, and rankings, as texts that a template only places."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from api.web import formats
from models.money import Money

Tone = Literal["good", "bad", "flat"]
Better = Literal["more", "less", "neither"]


@dataclass(frozen=True, slots=True)
class Change:
    """How far a figure moved from the period before. The words say it; the tone's colour only repeats them."""

    text: str
    arrow: str
    tone: Tone
    before: str  # the figure it moved from; empty where there was none


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure, large. Without a `change` nothing is compared."""

    key: str
    label: str
    value: str
    note: str = ""
    change: Change | None = None
    template: ClassVar[str] = "tile"


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure in a table: how people read it, and the exact number for the chart."""

    text: str
    number: str


@dataclass(frozen=True, slots=True)
class Series:
    """One column of a chart's table, and how it is drawn; what is `told` stands in the table alone."""

    name: str
    shape: Literal["bar", "line", "dotted", "told"] = "bar"


@dataclass(frozen=True, slots=True)
class ChartRow:
    label: str
    cells: Sequence[Cell]
    short: str = ""  # for an axis, where the label is long


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, which is drawn from its table by the script of the pages; without scripts the table stands for itself."""

    key: str
    title: str
    summary: str  # what a reader who cannot see it should know first
    first_column: str
    series: Sequence[Series]
    rows: Sequence[ChartRow]
    prefix: str = ""  # of the axis, such as a currency's sign
    is_across: bool = False  # bars from left to right, for names instead of times
    is_stacked: bool = False  # bars of one row on top of each other: parts of a whole
    template: ClassVar[str] = "chart"

    @property
    def is_empty(self) -> bool:
        """Nothing happened: only zeros."""
        return all(float(cell.number or 0) == 0 for row in self.rows for cell in row.cells)


@dataclass(frozen=True, slots=True)
class Table:
    """A ranking or another plain table. The first column is what the rows are about."""

    key: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    empty: str
    note: str = ""
    words: int = 1  # how many of the first columns are words, which begin where their head does
    is_broad: bool = False  # too many columns for half the page
    small: Sequence[str] = ()  # under the first cell of each row, if there is anything
    template: ClassVar[str] = "ranking"


@dataclass(frozen=True, slots=True)
class HeatCell:
    """A share in a heat table. The colour, of `level` 0 to 5, only repeats the words."""

    text: str
    note: str
    level: int


@dataclass(frozen=True, slots=True)
class Heat:
    """A table whose cells are shaded by their size; rows may end early."""

    key: str
    title: str
    columns: Sequence[str]  # of everything: what the rows are about, how many, and the cells
    rows: Sequence[tuple[str, str, Sequence[HeatCell]]]
    empty: str
    note: str
    template: ClassVar[str] = "heat"


@dataclass(frozen=True, slots=True)
class Untold:
    """In the place of what cannot be told of this period: why not."""

    key: str
    title: str
    reason: str
    template: ClassVar[str] = "untold"


Shown = Tile | Chart | Table | Heat | Untold


@dataclass(frozen=True, slots=True)
class FileLink:
    """Where something is to be had as a file."""

    label: str
    name: str  # for those who hear the link without what is around it
    address: str


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one report."""

    report: str
    links: Sequence[FileLink]


@dataclass(frozen=True, slots=True)
class Panel:
    """A chart or a table, and its files."""

    shown: Shown
    files: Sequence[FileLink] = ()


@dataclass(frozen=True, slots=True)
class Sheet:
    """Everything a page of figures shows."""

    tiles: Sequence[Tile] = ()
    tile_files: Sequence[Files] = ()
    charts: Sequence[Panel] = ()
    tables: Sequence[Panel] = ()
    empty: str = ""  # instead of the charts, when nothing happened at all


def money_cell(amount: Money) -> Cell:
    return Cell(formats.money(amount), formats.plain(amount))


def count_cell(number: int) -> Cell:
    return Cell(formats.count(number), str(number))


def change_of(basis_points: int | None, *, before: str, better: Better = "more") -> Change:
    """From the change in basis points of the figure before; None where that was nothing to compare with."""
    if basis_points is None:
        return Change("none in the period before", "", "flat", "")
    if basis_points == 0:
        return Change("no change", "", "flat", before)
    is_more = basis_points > 0
    text = f"{formats.share(abs(basis_points))} {'more' if is_more else 'less'}"
    tone: Tone = "flat" if better == "neither" else "good" if is_more is (better == "more") else "bad"
    return Change(text, "▲" if is_more else "▼", tone, before)
