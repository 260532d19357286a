"""What the pages of the admin are made of, and how each kind of value is shown: the one place where text becomes HTML."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from beanie import PydanticObjectId
from markupsafe import Markup

from models.money import Money

NOTHING = Markup('<span class="none">none</span>')


@dataclass(frozen=True)
class Link:
    """Leads to a page of ours. `href` is made here, of ids and fixed words, never of what people wrote."""

    href: str
    text: str


@dataclass(frozen=True)
class Badge:
    """A state. `tone` is `good`, `bad`, `wait` or `plain`; the word says the same as the colour."""

    text: str
    tone: str = "plain"


@dataclass(frozen=True)
class Text:
    """What people or machines wrote, with its line breaks."""

    text: str


Value = Link | Badge | Text | Money | datetime | PydanticObjectId | Enum | str | int | bool | None


@dataclass(frozen=True)
class Field:
    """One thing to be filled in. `kind` is `text`, `number`, `decimal`, `select` or `search`."""

    name: str
    label: str
    kind: str = "text"
    value: str = ""
    options: Sequence[str] = ()
    hint: str = ""
    max_length: int = 500
    is_required: bool = False


@dataclass(frozen=True)
class Action:
    """A form. Without fields it is a button; one that is `grave`, or has fields, opens first.

    `is_once` gives every shown form a key of its own: sent twice, it counts once.
    """

    path: str
    label: str
    fields: Sequence[Field] = ()
    hidden: dict[str, str] = field(default_factory=dict)
    is_grave: bool = False
    is_once: bool = False
    about: str = ""  # which of several like it, for those who do not see its place


@dataclass(frozen=True)
class Row:
    cells: Sequence[Value]
    actions: Sequence[Action] = ()


@dataclass(frozen=True)
class Table:
    """`columns` name the cells; the last one is for actions, if any row has some."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    empty: str = "There is nothing here."

    @property
    def has_actions(self) -> bool:
        return any(row.actions for row in self.rows)

    @property
    def figures(self) -> set[int]:
        """The columns that hold nothing but figures: they stand to the right."""
        cells = {at: [row.cells[at] for row in self.rows if row.cells[at] is not None] for at in range(len(self.columns))}
        return {at for at, column in cells.items() if column and all(_is_figure(cell) for cell in column)}


@dataclass(frozen=True)
class Tab:
    href: str
    text: str
    is_current: bool = False


@dataclass(frozen=True)
class Page:
    """One page. Everything is optional but the title."""

    title: str
    back: Link | None = None
    tabs: Sequence[Tab] = ()
    search: Sequence[Field] = ()
    path: str = ""  # where the search leads
    facts: Sequence[tuple[str, Value]] = ()
    actions: Sequence[Action] = ()
    tables: Sequence[Table] = ()
    paging: Sequence[Link] = ()
    note: str = ""


def shown(value: Value) -> Markup:
    """A value as HTML. Whatever it holds is escaped."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, Link):
        return Markup('<a href="{}">{}</a>').format(value.href, value.text)
    if isinstance(value, Badge):
        return Markup('<span class="badge {}">{}</span>').format(value.tone, value.text)
    if isinstance(value, Text):
        return Markup('<div class="text">{}</div>').format(value.text)
    if isinstance(value, Money):
        return Markup('<span class="figure">{}</span>').format(str(value))
    if isinstance(value, datetime):
        moment = value.astimezone(UTC)
        return Markup('<time datetime="{}">{}</time>').format(f"{moment:%Y-%m-%dT%H:%M:%SZ}", f"{moment:%Y-%m-%d %H:%M} UTC")
    if isinstance(value, PydanticObjectId):
        return Markup("<code>{}</code>").format(str(value))
    if isinstance(value, bool):
        return Markup("yes" if value else "no")
    if isinstance(value, Enum):
        return Markup("{}").format(words(str(value.value)))
    if isinstance(value, int):
        return Markup('<span class="figure">{}</span>').format(f"{value:,}")
    return Markup("{}").format(value)


def _is_figure(value: Value) -> bool:
    return isinstance(value, Money | int) and not isinstance(value, bool)


def words(name: str) -> str:
    """`cash_on_delivery` as people write it."""
    return name.replace("_", " ")
