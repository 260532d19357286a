"""Links to other sites, as people may leave them."""

from typing import Annotated

from pydantic import AfterValidator, AnyHttpUrl, StringConstraints, TypeAdapter

_URL = TypeAdapter(AnyHttpUrl)


def _checked(value: str) -> str:
    url = _URL.validate_python(value)
    if url.username or url.password:
        raise ValueError("a link must not hold credentials")
    return value


WebLink = Annotated[str, StringConstraints(max_length=500), AfterValidator(_checked)]
"""An http or https URL without credentials, kept as written."""
