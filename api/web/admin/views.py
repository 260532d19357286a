"""What a part of the admin is: its pages, the moves that its forms make, and the permission that all of it asks for."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from api.web.admin.desk import ADMIN, Desk, Form
from api.web.admin.layout import Page
from services.users.permissions import Permission

Build = Callable[[Desk], Awaitable[Page]]
Act = Callable[[Desk, Form], Awaitable[str]]


@dataclass(frozen=True)
class Move:
    """What a form does. `act` calls one service and says where to go; `done` is told there.

    When the service refuses, `page` is shown again with its reason.
    """

    act: Act
    page: Build
    done: str


@dataclass(frozen=True)
class View:
    """A part of the admin at `/admin/<name>`. Paths of pages and moves stand below that."""

    name: str
    title: str
    about: str
    permission: Permission
    pages: Mapping[str, Build]
    moves: Mapping[str, Move] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"{ADMIN}/{self.name}"

    def path_of(self, page: Build, named: Mapping[str, str]) -> str:
        """Where a page of this view stands, with what the address named filled in."""
        return self.path + next(path for path, build in self.pages.items() if build is page).format(**named)
