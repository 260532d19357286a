"""What names and addresses are allowed, and the form in which two of them count as the same."""

import re
import unicodedata
from dataclasses import dataclass

from email_validator import EmailNotValidError, validate_email

from models.users import USERNAME_PATTERN
from services.errors import ConflictError, UnprocessableError

MAX_EMAIL_LENGTH = 254
DELETED_PREFIX = "deleted-"
_RESERVED = frozenset({"admin", "administrator", "agora", "api", "moderator", "root", "support", "system"})
_USERNAME = re.compile(USERNAME_PATTERN)


class InvalidUsernameError(UnprocessableError):
    """Not 3 to 50 ASCII letters, digits, `_` or `-`."""

    code = "invalid_username"

    def __init__(self) -> None:
        super().__init__("A username has 3 to 50 characters: letters a to z, digits, underscore and hyphen.")


class InvalidEmailError(UnprocessableError):
    """Not an e-mail address."""

    code = "invalid_email"

    def __init__(self) -> None:
        super().__init__("This is not a valid e-mail address.")


class UsernameTakenError(ConflictError):
    """Somebody has this username, or has just asked for it."""

    code = "username_taken"

    def __init__(self, username: str) -> None:
        super().__init__("This username is taken.")
        self.username = username


class EmailTakenError(ConflictError):
    """An account has this address. Told only to those who proved that the address is theirs, and to staff."""

    code = "email_taken"

    def __init__(self) -> None:
        super().__init__("This e-mail address has an account already.")


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """An address as its owner writes it, and the form uniqueness and login go by."""

    written: str
    normalized: str


def normalize_username(text: str) -> str:
    """Lower case. Raises InvalidUsernameError, also for any letter that only looks or lower-cases like an ASCII one."""
    if not text.isascii() or not _USERNAME.fullmatch(text.lower()):
        raise InvalidUsernameError
    return text.lower()


def choose_username(text: str) -> str:
    """As `normalize_username`, for a new account. Raises UsernameTakenError for names that are nobody's to take."""
    username = normalize_username(text)
    if username in _RESERVED or username.startswith(DELETED_PREFIX):
        raise UsernameTakenError(username)
    return username


def normalize_email(text: str) -> EmailAddress:
    """NFKC, trimmed, case folded, the domain in its ASCII (IDNA) form. Raises InvalidEmailError.

    Dots and `+tags` count: only the domain's own mail server knows whether it ignores them.
    """
    if len(text) > MAX_EMAIL_LENGTH:
        raise InvalidEmailError
    written = unicodedata.normalize("NFKC", text).strip()
    try:
        parsed = validate_email(written, check_deliverability=False)
    except (EmailNotValidError, UnicodeError) as error:
        raise InvalidEmailError from error
    domain = parsed.ascii_domain or parsed.domain
    normalized = f"{_fold(parsed.local_part)}@{domain.casefold()}"
    if len(normalized) > MAX_EMAIL_LENGTH:
        raise InvalidEmailError
    return EmailAddress(parsed.normalized, normalized)


def _fold(text: str) -> str:
    """Case folding may undo the normal form, so it is applied again."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
