"""What callers send about comments and bans."""

from typing import Annotated

from pydantic import Field

from api.schemas.base import Id, Input
from models.base import UtcDatetime
from models.blog.comments import BanKind, ModerationAction
from models.weblinks import WebLink
from services.blog.comments import MAX_LENGTH, MAX_NAME_LENGTH, Guest
from services.blog.moderation import MAX_BULK
from services.users.identity import MAX_EMAIL_LENGTH

CommentText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_LENGTH,
        description="Markdown without headings and images",
        examples=["**Clear** and useful, thanks."],
    ),
]


class GuestInput(Input):
    """Who writes, when nobody is signed in. Only moderators see the mail address."""

    name: str = Field(min_length=1, max_length=MAX_NAME_LENGTH, examples=["Ada"])
    email: str = Field(min_length=3, max_length=MAX_EMAIL_LENGTH, examples=["ada@example.com"])
    website: WebLink | None = Field(default=None, examples=["https://ada.example"])

    def as_guest(self) -> Guest:
        return Guest(self.name, self.email, self.website)


class CommentCreate(Input):
    content: CommentText
    parent_id: Id | None = Field(default=None, description="The comment this one answers")
    guest: GuestInput | None = Field(default=None, description="Needed when nobody is signed in, without effect otherwise")


class CommentUpdate(Input):
    content: CommentText


class ModerationCreate(Input):
    """One action for many comments."""

    action: ModerationAction = Field(examples=["approve"])
    comment_ids: list[Id] = Field(min_length=1, max_length=MAX_BULK, examples=[["65f0c0ffee0ddba11ca7f00d"]])


class CommentBanCreate(Input):
    kind: BanKind = Field(examples=["address"])
    value: str = Field(
        min_length=1,
        max_length=MAX_EMAIL_LENGTH,
        description="A user's id, a mail address, or a network address",
        examples=["203.0.113.7"],
    )
    reason: str = Field(default="", max_length=500, examples=["Advertises casinos"])
    expires_at: UtcDatetime | None = Field(default=None, description="Without it the ban is for ever")
