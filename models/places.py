"""Where people live and parcels go."""

from typing import Annotated

import phonenumbers
from babel.core import Locale
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

# What CLDR lists besides countries: unions, test regions, placeholders.
_COUNTRIES = frozenset(code for code in map(str, Locale("en").territories) if len(code) == 2 and code.isalpha()) - {
    *("EU", "EZ", "UN", "QO", "XA", "XB", "ZZ")
}


def _country(code: str) -> str:
    code = code.upper()
    if code not in _COUNTRIES:
        raise ValueError("not an ISO 3166 country code")
    return code


def _phone(value: str) -> str:
    try:
        number = phonenumbers.parse(value)
    except phonenumbers.NumberParseException as error:
        raise ValueError("write the phone number with its country: +1 202 555 0143") from error
    if not phonenumbers.is_possible_number(number):
        raise ValueError("not a possible phone number")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


Country = Annotated[
    str, AfterValidator(_country), Field(min_length=2, max_length=2, description="ISO 3166 code", examples=["US"])
]
Phone = Annotated[str, StringConstraints(max_length=40), AfterValidator(_phone), Field(examples=["+12025550143"])]
"""A phone number, stored as E.164."""

Text = StringConstraints(strip_whitespace=True)


class PostalAddress(BaseModel):
    """A place, as it was when it was written down: orders keep a copy."""

    model_config = ConfigDict(frozen=True)

    first_name: Annotated[str, Text] = Field(min_length=1, max_length=50, examples=["Jane"])
    last_name: Annotated[str, Text] = Field(min_length=1, max_length=50, examples=["Doe"])
    company: Annotated[str, Text] = Field(default="", max_length=100)
    line1: Annotated[str, Text] = Field(min_length=1, max_length=100, examples=["1 Market Street"])
    line2: Annotated[str, Text] = Field(default="", max_length=100)
    city: Annotated[str, Text] = Field(min_length=1, max_length=100, examples=["Springfield"])
    state: Annotated[str, Text] = Field(default="", max_length=100, examples=["IL"])
    postal_code: Annotated[str, Text] = Field(min_length=1, max_length=20, examples=["62701"])
    country: Country
    phone: Phone | None = None
