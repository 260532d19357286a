"""Widgets: what pages of figures are put together from, and the reports that widgets are made of.

A page is a list of widgets. Each asks for the reports it needs; a report that several of them need is read once, and all are
read side by side. So any choice of widgets makes a page.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from api.web.dashboard.controls import Controls
from api.web.dashboard.figures import FileLink, Files, Panel, Sheet, Shown, Tile, Untold
from api.web.formats import MISSING
from services.analytics.exports.exports import Ranking
from services.analytics.exports.files import ExportFormat
from services.analytics.scopes import ReportScope
from services.cache import Cache
from services.errors import UnprocessableError
from services.users.permissions import Viewer

FILES = "/dashboard/files"

T = TypeVar("T")

# What reads raw rows instead of sums is not read every second for everybody who looks.
_calm: Cache[Hashable, Any] = Cache("dashboard-calm", ttl=10.0, size=64)


class Reports:
    """The reports of one page at one moment, each read when the first widget asks for it, and once."""

    def __init__(self, controls: Controls, viewer: Viewer) -> None:
        self.controls = controls
        self.viewer = viewer
        self._asked: dict[Hashable, asyncio.Task[Any]] = {}

    @property
    def scope(self) -> ReportScope:
        return self.controls.scope

    async def read(self, report: Callable[..., Awaitable[T]], subject: Hashable = None, **wishes: Any) -> T:
        """The report on the subject, the page's scope where none is named. Raises what the report raises."""
        subject = subject or self.scope
        return await self._once((report, subject, *sorted(wishes.items())), lambda: self._load(report, subject, wishes))

    async def read_calmly(self, report: Callable[..., Awaitable[T]], subject: Hashable = None, **wishes: Any) -> T:
        """As `read`, and as it was ten seconds ago at most: for what costs more than a look at sums."""
        subject = subject or self.scope
        key = (report, subject, *sorted(wishes.items()))
        return await self._once(key, lambda: _calm.get_or_load(key, lambda: self._load(report, subject, wishes)))

    async def _load(self, report: Callable[..., Awaitable[T]], subject: Hashable, wishes: dict[str, Any]) -> T:
        return await report(subject, viewer=self.viewer, **wishes)

    async def _once(self, key: Hashable, load: Callable[[], Awaitable[T]]) -> T:
        async def run() -> T:
            return await load()

        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(run())
        found: T = await task
        return found


def _same(scope: ReportScope) -> ReportScope:
    return scope


@dataclass(frozen=True, slots=True)
class File:
    """The report that a widget's file holds, and what of it."""

    report: str  # a name of `EXPORTERS`
    scope: Callable[[ReportScope], ReportScope] = _same
    ranking: Ranking | None = None


@dataclass(frozen=True, slots=True)
class Widget:
    """One thing a page can show. `name` is the same for good: pages that people put together keep it."""

    kind: Literal["tile", "chart", "table"]
    key: str
    title: str  # where widgets are chosen
    make: Callable[[Reports], Awaitable[Shown]]
    file: File | None = None

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.key}"

    def links(self, controls: Controls, *, called: str) -> list[FileLink]:
        """Where its file is to be had, in each format."""
        if self.file is None:
            return []
        address = f"{FILES}/{self.name}"
        return [FileLink(one.upper(), f"{called} as {one.upper()}", f"{address}.{one}{controls.asked}") for one in ExportFormat]


async def sheet_of(widgets: Sequence[Widget], reports: Reports, *, quiet: str = "") -> Sheet:
    """What the widgets show, in their order. Those that cannot be told of the period say why in their place.

    `quiet` stands instead of charts and tables. Raises what else their reports raise.
    """
    wanted = [one for one in widgets if one.kind == "tile" or not quiet]
    made = await asyncio.gather(*(one.make(reports) for one in wanted), return_exceptions=True)
    shown = [(widget, _told(widget, found)) for widget, found in zip(wanted, made, strict=True)]
    return Sheet(
        tiles=[one for _, one in shown if isinstance(one, Tile)],
        tile_files=_first_of_each_report((widget for widget in wanted if widget.kind == "tile"), reports.controls),
        charts=[_panel(widget, one, reports) for widget, one in shown if widget.kind == "chart"],
        tables=[_panel(widget, one, reports) for widget, one in shown if widget.kind == "table"],
        empty=quiet,
    )


def _told(widget: Widget, found: Shown | BaseException) -> Shown:
    if isinstance(found, UnprocessableError):
        if widget.kind == "tile":
            return Tile(widget.key, widget.title, MISSING, found.detail)
        return Untold(widget.key, widget.title, found.detail)
    if isinstance(found, BaseException):
        raise found
    return found


def _panel(widget: Widget, shown: Shown, reports: Reports) -> Panel:
    return Panel(shown, () if isinstance(shown, Untold) else widget.links(reports.controls, called=widget.title))


def _first_of_each_report(widgets: Iterable[Widget], controls: Controls) -> list[Files]:
    """Tiles of one report share its file."""
    firsts: dict[str, Widget] = {}
    for widget in widgets:
        if widget.file is not None:
            firsts.setdefault(widget.file.report.replace("-", " ").capitalize(), widget)
    return [Files(report, widget.links(controls, called=report)) for report, widget in firsts.items()]
