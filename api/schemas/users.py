"""What account routes take, and what a login answers."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from api.schemas.base import Input, with_example
from models.users import Role, UserAccount
from services.users.inputs import EmailText, NewAccount, NewUser, PasswordText, ProfileChanges

Token = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Register(Input, NewAccount): ...


class UserCreate(Input, NewUser): ...


class ProfileUpdate(Input, ProfileChanges): ...


class TokenInput(Input):
    token: Token = Field(description="From the mailed link", examples=["mailed-token"])


class LoginInput(Input):
    login: EmailText = Field(description="Username or e-mail address", examples=["janedoe"])
    password: PasswordText = Field(examples=["correct horse battery"])
    device_token: Token | None = Field(
        default=None, description="From an earlier login on this device, where no cookies are kept", examples=[None]
    )


class ForgotPassword(Input):
    email: EmailText = Field(examples=["jane@example.com"])


class ResetPassword(TokenInput):
    new_password: PasswordText = Field(description="8 to 256 characters", examples=["a new horse battery"])


class ChangePassword(Input):
    current_password: PasswordText = Field(examples=["correct horse battery"])
    new_password: PasswordText = Field(description="8 to 256 characters", examples=["a new horse battery"])


class ChangeEmail(Input):
    new_email: EmailText = Field(examples=["jane@example.org"])
    password: PasswordText = Field(description="The current password", examples=["correct horse battery"])


class DeleteAccount(Input):
    password: PasswordText = Field(description="The current password", examples=["correct horse battery"])


class RoleChange(Input):
    role: Role


class Lock(Input):
    model_config = with_example(minutes=30)

    minutes: int = Field(default=30, ge=1, le=525_600, description="How long nobody may sign in")


class Accepted(BaseModel):
    """The request was taken; what follows is sent by mail, if anything follows."""

    detail: str = Field(examples=["If that is possible, a mail is on its way."])


class LoginRead(BaseModel):
    """An open session. `token` goes into `Authorization: Bearer`; it is told only here."""

    token: str
    expires_at: datetime
    device_token: str = Field(description="Send it with later logins from this device; browsers have it as a cookie")
    user: UserAccount


class RevokedSessions(BaseModel):
    revoked_count: int = Field(description="Sessions that were ended", examples=[2])
