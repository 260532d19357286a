"""What the pages of the admin are made of, and how each kind of value is shown: the one place where text becomes HTML."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum

from beanie import PydanticObjectId
from markupsafe import Markup

from api.web import formats
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
class Figures:
    """What is made of figures: a span of prices."""

    text: str


@dataclass(frozen=True)
class Text:
    """What people or machines wrote, with its line breaks."""

    text: str


@dataclass(frozen=True)
class Html:
    """What people wrote, as `services/markdown.py` rendered and sanitised it: the one value that is not escaped."""

    html: str


Value = Link | Badge | Figures | Text | Html | Money | datetime | PydanticObjectId | Enum | str | int | bool | None

CHECKED = "on"  # what browsers send of a box that is checked; of others they send nothing


@dataclass(frozen=True)
class Field:
    """One thing to be filled in. `kind` is `text`, `lines`, `number`, `decimal`, `select`, `check` or `search`."""

    name: str
    label: str
    kind: str = "text"
    value: str = ""
    options: Sequence[tuple[str, str]] = ()  # of a `select`: what is sent, and what is read
    hint: str = ""
    max_length: int = 500
    is_required: bool = False
    now: str | None = None  # what it holds by now, where that is not what was filled in


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
    is_open: bool = False
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

    @property
    def holds_sent(self) -> bool:
        """Whether a form stands open here with what was sent."""
        rows = (row for table in self.tables for row in table.rows)
        return any(one.is_open for one in [*self.actions, *(one for row in rows for one in row.actions)])


def options(of: type[Enum] | Iterable[Enum]) -> list[tuple[str, str]]:
    """The words of an enum, to choose from."""
    return [(str(one.value), words(str(one.value))) for one in of]


def check(name: str, label: str, *, is_checked: bool) -> Field:
    return Field(name, label, "check", CHECKED if is_checked else "")


def kept(page: Page, path: str, sent: Mapping[str, str], *, is_stale: bool) -> Page:
    """The page with the form of that path open, and in it what was filled in.

    Where `is_stale`, each field that meanwhile holds something else tells that, too.
    """

    def refilled(action: Action) -> Action:
        if action.path != path or not action.fields:
            return action
        return replace(action, fields=[_refilled(one, sent, is_stale) for one in action.fields], is_open=True)

    def row_refilled(row: Row) -> Row:
        return replace(row, actions=[refilled(one) for one in row.actions])

    return replace(
        page,
        actions=[refilled(one) for one in page.actions],
        tables=[replace(table, rows=[row_refilled(row) for row in table.rows]) for table in page.tables],
    )


def _refilled(field: Field, sent: Mapping[str, str], is_stale: bool) -> Field:
    value = sent.get(field.name, "" if field.kind == "check" else field.value)
    now = field.value if is_stale and field.value.strip() != value.strip() else None
    if now is not None and field.kind == "check":
        now = "yes" if now else "no"
    if now is not None and field.kind == "select":
        now = next((text for sent_as, text in field.options if sent_as == now), now)
    return replace(field, value=value, now=now)


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
    if isinstance(value, Html):
        return Markup('<div class="text html">') + Markup(value.html) + Markup("</div>")
    if isinstance(value, Figures):
        return Markup('<span class="figure">{}</span>').format(value.text)
    if isinstance(value, Money):
        return Markup('<span class="figure">{}</span>').format(formats.money(value))
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
    return isinstance(value, Figures | Money | int) and not isinstance(value, bool)


def words(name: str) -> str:
    """`cash_on_delivery` as people write it."""
    return name.replace("_", " ")
