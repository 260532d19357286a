"""What all inputs share, and the texts that more than one of them takes."""

from typing import Annotated

from pydantic import AfterValidator, AnyHttpUrl, BaseModel, ConfigDict, StringConstraints, TypeAdapter


class Input(BaseModel):
    """A request body. Unknown fields are refused, so that nothing is accepted and quietly dropped."""

    model_config = ConfigDict(extra="forbid")


_URL = TypeAdapter(AnyHttpUrl)


def _checked_url(value: str) -> str:
    """The text as given; it must be an http(s) URL without credentials."""
    url = _URL.validate_python(value)
    if url.username or url.password:
        raise ValueError("a link must not hold credentials")
    return value


HttpLink = Annotated[str, StringConstraints(max_length=500), AfterValidator(_checked_url)]
"""An http or https URL, kept as written."""
