"""The messages of `/ws`: what a client may say, and what it is told besides the events of `models/live.py`."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.schemas.base import Input

Topic = Annotated[str, Field(min_length=1, max_length=64, description="posts, post:<id>, user:<id> or moderation")]
Echo = Annotated[str | None, Field(default=None, max_length=64, description="Comes back in the answer")]


class Authenticate(Input):
    """The first message of a client that cannot send an Authorization header."""

    type: Literal["authenticate"]
    token: str = Field(min_length=1, max_length=200)


class Subscribe(Input):
    """Follow topics; with `since`, from after that event."""

    type: Literal["subscribe"]
    topics: list[Topic] = Field(min_length=1, max_length=50)
    since: int | None = Field(default=None, ge=0, lt=2**53)
    id: Echo = None


class Unsubscribe(Input):
    type: Literal["unsubscribe"]
    topics: list[Topic] = Field(min_length=1, max_length=50)
    id: Echo = None


class ClientPing(Input):
    type: Literal["ping"]
    id: Echo = None


class Ready(BaseModel):
    """The client is known; `sequence` is the last event told so far."""

    type: Literal["ready"] = "ready"
    user_id: str
    sequence: int


class Subscribed(BaseModel):
    """Sent before the missed events that were asked for."""

    type: Literal["subscribed"] = "subscribed"
    topics: list[str]
    sequence: int
    id: str | None


class Unsubscribed(BaseModel):
    type: Literal["unsubscribed"] = "unsubscribed"
    topics: list[str]
    id: str | None


class Pong(BaseModel):
    type: Literal["pong"] = "pong"
    id: str | None


class ServerPing(BaseModel):
    """Sent every 20 seconds, so that a client sees that the line is alive. Needs no answer."""

    type: Literal["ping"] = "ping"


class ErrorMessage(BaseModel):
    """Something was refused. Errors of form close the connection, those of a topic do not."""

    type: Literal["error"] = "error"
    code: str
    detail: str
    id: str | None = None
