"""What people may say about themselves, typed and bounded once for the API, scripts and services alike."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from models.users import Role
from models.weblinks import WebLink
from services.users.identity import MAX_EMAIL_LENGTH
from services.users.passwords import MAX_PASSWORD_LENGTH


class SocialNetwork(StrEnum):
    TWITTER = "twitter"
    LINKEDIN = "linkedin"
    GITHUB = "github"
    INSTAGRAM = "instagram"
    FACEBOOK = "facebook"


PersonName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50)]
Bio = Annotated[str, StringConstraints(max_length=1000)]
UsernameText = Annotated[str, StringConstraints(min_length=3, max_length=50)]
EmailText = Annotated[str, StringConstraints(min_length=3, max_length=MAX_EMAIL_LENGTH)]
# The policy asks for 8 and tells so with a reason of its own; this bound only keeps out what is no password at all.
PasswordText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_PASSWORD_LENGTH)]


class NewAccount(BaseModel):
    """What a person gives to get an account."""

    model_config = ConfigDict(extra="forbid")

    username: UsernameText = Field(description="Letters a to z, digits, `_`, `-`; kept in lower case", examples=["janedoe"])
    email: EmailText = Field(examples=["jane@example.com"])
    first_name: PersonName = Field(examples=["Jane"])
    last_name: PersonName = Field(examples=["Doe"])
    password: PasswordText = Field(description="8 to 256 characters", examples=["correct horse battery"])


class NewUser(NewAccount):
    """An account that staff or a script makes."""

    role: Role = Role.USER


class ProfileChanges(BaseModel):
    """What a person may change of themselves; what is not set stays, null clears."""

    model_config = ConfigDict(extra="forbid")

    first_name: PersonName = Field(default="", examples=["Jane"])
    last_name: PersonName = Field(default="", examples=["Doe"])
    bio: Bio = Field(default="", examples=["Writes about databases."])
    avatar_url: WebLink | None = Field(default=None, examples=["https://example.com/jane.png"])
    website: WebLink | None = Field(default=None, examples=["https://example.com"])
    social_links: dict[SocialNetwork, WebLink] = Field(default_factory=dict, examples=[{"github": "https://github.com/jane"}])

    def given(self) -> dict[str, Any]:
        """Only the fields that were set, in stored form."""
        return self.model_dump(mode="json", exclude_unset=True)
