"""What a part of the admin is: its pages, the moves that its forms make, and the permission that all of it asks for."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from api.web.admin.desk import ADMIN, Desk, Form
from api.web.admin.layout import Page
from services.users.permissions import Permission
from services.waiting import Waiting

Build = Callable[[Desk], Awaitable[Page]]
Act = Callable[[Desk, Form], Awaitable[str | None]]


class Group(StrEnum):
    """What the menu keeps together."""

    CONTENT = "Content"
    SALES = "Sales"
    SHOP = "Shop"
    PEOPLE = "People"
    SYSTEM = "System"


@dataclass(frozen=True)
class Move:
    """What a form does: `act` calls one service. Then `page` is shown, or what `act` says to show instead, and `done` is told.

    When the service refuses, `page` is shown again with its reason and with what was filled in.
    """

    act: Act
    page: Build
    done: str


@dataclass(frozen=True)
class Queue:
    """Something of a part that waits for people, and which of the part's lists it stands in."""

    kind: Waiting
    label: str
    query: str = ""


@dataclass(frozen=True)
class View:
    """A part of the admin at `/admin/<name>`. Paths of pages and moves stand below that.

    The last words of the paths of its moves differ: the page that is shown after a move is told that word.
    """

    name: str
    title: str
    about: str
    group: Group
    permission: Permission
    pages: Mapping[str, Build]
    moves: Mapping[str, Move] = field(default_factory=dict)
    queues: Sequence[Queue] = ()

    @property
    def path(self) -> str:
        return f"{ADMIN}/{self.name}"

    def path_of(self, page: Build, named: Mapping[str, str]) -> str:
        """Where a page of this view stands, with what the address named filled in."""
        return self.path + next(path for path, build in self.pages.items() if build is page).format(**named)
