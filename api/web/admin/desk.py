"""One request to the admin: who asks, what they named in the address, and the form they sent."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import urlencode

from beanie import PydanticObjectId
from bson import ObjectId
from fastapi import Request
from pydantic import BaseModel, ValidationError

from api.web import signin
from api.web.admin.layout import CHECKED, Link, Tab, words
from services.errors import NotFoundError, UnprocessableError
from services.idempotency import Answer, IdempotencyService, KeyedRequest, Operation
from services.pagination import CursorCodec, PageRequest
from services.payments.gateways import Gateways
from services.payments.listeners import PaymentListener
from services.settings import Settings
from services.users.permissions import Viewer

ADMIN = "/admin"
PER_PAGE = 20
KEY_FIELD = "form_key"
MAX_FORM_BYTES = 256 * 1024  # a product's description is long
MAX_FORM_FIELDS = 250  # and a return has two of them for each of up to 100 lines

Choice = TypeVar("Choice", bound=StrEnum)
Schema = TypeVar("Schema", bound=BaseModel)


class BadFormError(UnprocessableError):
    """What was filled in is not what the form asks for."""

    code = "bad_form"


class PageNotFoundError(NotFoundError):
    """The address names nothing that there is."""

    code = "page_not_found"

    def __init__(self) -> None:
        super().__init__("page")


@dataclass(frozen=True)
class Form:
    """A form as it was sent. Every field is text."""

    fields: Mapping[str, str]
    body: bytes

    def get(self, name: str) -> str:
        """What was filled in, without blanks around it; empty when nothing was."""
        return self.fields.get(name, "").strip()

    def flag(self, name: str) -> bool:
        """Whether a box is checked."""
        return self.get(name) == CHECKED

    def number(self, name: str) -> int | None:
        """A whole number; None when nothing was filled in. Raises BadFormError."""
        text = self.get(name)
        if not text:
            return None
        try:
            return int(text) if len(text) <= 12 and text.isascii() else _refuse(name)
        except ValueError:
            return _refuse(name)


def _refuse(name: str) -> int:
    raise BadFormError(f"The {words(name)} is a whole number.")


class Desk:
    """What the pages and moves of one request work with."""

    def __init__(self, request: Request, viewer: Viewer, *, path: str) -> None:
        state = request.app.state
        self.request = request
        self.viewer = viewer
        self.path = path  # of the page that is shown, also when a refused move shows it again
        self.settings: Settings = state.settings
        self.cursors: CursorCodec = state.cursors
        self.gateways: Gateways = state.gateways
        self.listener: PaymentListener = state.payment_listener

    def id(self, name: str = "id") -> PydanticObjectId:
        """The id of that name in the path. Raises PageNotFoundError."""
        text = self.request.path_params[name]
        if not ObjectId.is_valid(text):
            raise PageNotFoundError
        return PydanticObjectId(text)

    def asked(self, name: str, *, max_length: int = 500) -> str | None:
        """A parameter of the address; None when it is missing or empty. Raises BadFormError."""
        value = self.request.query_params.get(name, "").strip()
        if len(value) > max_length or "\0" in value:
            raise BadFormError(f"The {words(name)} is too long or not text.")
        return value or None

    def choice(self, name: str, kind: type[Choice]) -> Choice | None:
        """One of a few words in the address; None for none. Raises BadFormError."""
        value = self.asked(name)
        if value is None:
            return None
        if value not in list(kind):
            raise BadFormError(f"The {words(name)} is one of: {', '.join(kind)}.")
        return kind(value)

    @property
    def page(self) -> PageRequest:
        """Raises BadFormError and InvalidPageError."""
        text = self.asked("page") or "1"
        if not (text.isascii() and text.isdigit() and len(text) <= 5):
            raise BadFormError("The page is a number.")
        return PageRequest(int(text), PER_PAGE)

    @property
    def cursor(self) -> str | None:
        return self.asked("cursor")

    def here(self, **parameters: str | None) -> str:
        """This page with these parameters instead of its own; an absent one is None."""
        kept = {name: value for name, value in parameters.items() if value}
        return f"{self.path}?{urlencode(kept)}" if kept else self.path

    def further(self, next_cursor: str | None, **parameters: str | None) -> list[Link]:
        """The way on in an endless list."""
        links = [Link(self.here(**parameters), "Back to the start")] if self.cursor else []
        if next_cursor is not None:
            links.append(Link(self.here(**parameters, cursor=next_cursor), "Next"))
        return links

    def numbered(self, page: int, total_pages: int, **parameters: str | None) -> list[Link]:
        """The way to the pages before and after."""
        links = []
        if page > 1:
            links.append(Link(self.here(**parameters, page=str(page - 1)), "Previous"))
        if page < total_pages:
            links.append(Link(self.here(**parameters, page=str(page + 1)), "Next"))
        return links

    def tabs(self, name: str, kind: type[StrEnum], current: StrEnum | None, *, has_all: bool = True) -> list[Tab]:
        """A tab per word, after one for all of them."""
        every = [Tab(self.here(), "all", current is None)] if has_all else []
        return every + [Tab(self.here(**{name: one.value}), words(one.value), one is current) for one in kind]

    async def read_form(self) -> Form:
        """The form that was sent. Raises as `signin.read_form`, and BadFormError for a NUL character."""
        fields = await signin.read_form(self.request, max_bytes=MAX_FORM_BYTES, max_fields=MAX_FORM_FIELDS)
        if any("\0" in part for pair in fields.items() for part in pair):
            raise BadFormError("A form holds no NUL character.")
        # Browsers end the lines of what they send in two characters; what is kept ends them in one.
        return Form({name: text.replace("\r\n", "\n") for name, text in fields.items()}, await self.request.body())

    async def once(self, form: Form, work: Callable[[], Awaitable[str | None]]) -> str:
        """Where `work`, run in one transaction, says to go, or this page; a form sent again does nothing more.

        Raises as `IdempotencyService.run`.
        """

        async def answer() -> Answer:
            return Answer(303, {"location": await work() or self.path}, b"")

        done = await IdempotencyService.run(self._keyed(form), work=answer, secret=self.settings.secret_bytes)
        return done.headers["location"]

    async def once_outside(self, form: Form, work: Callable[[str], Awaitable[None]]) -> str:
        """As `once` for work that speaks to the outside, in no transaction. It is given a key to keep its effects under.

        Raises as `IdempotencyService.run_outside`.
        """

        async def answer(operation: Operation) -> Answer:
            await work(operation.key)
            return Answer(303, {"location": self.path}, b"")

        done = await IdempotencyService.run_outside(self._keyed(form), work=answer, secret=self.settings.secret_bytes)
        return done.headers["location"]

    def _keyed(self, form: Form) -> KeyedRequest:
        path = self.request.url.path
        return KeyedRequest(form.get(KEY_FIELD), str(self.viewer.user_id), "POST", path, b"", form.body)


def new_key() -> str:
    return secrets.token_urlsafe(24)


def filled(schema: type[Schema], values: Mapping[str, Any]) -> Schema:
    """The values as the API would take them. Raises BadFormError, which names what is wrong."""
    try:
        return schema.model_validate(dict(values))
    except ValidationError as error:
        problems = [_told(item["loc"], item["msg"]) for item in error.errors(include_url=False)[:5]]
        raise BadFormError(". ".join(problems)) from error


def _told(place: tuple[int | str, ...], reason: str) -> str:
    """Positions in lists say nothing to who sees a form."""
    where = " ".join(words(part) for part in place if isinstance(part, str))
    reason = reason.removeprefix("Value error, ")
    return f"{where.capitalize()}: {reason}" if where else reason
