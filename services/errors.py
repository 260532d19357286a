"""The errors services raise; `api/errors.py` holds the one table from family to HTTP status.

    AppError
    |-- NotFoundError          nothing there, or nothing the caller may know of
    |-- ConflictError          someone else has it: a name, a slug, a key
    |-- InvalidStateError      the subject is not in a state that allows this
    |-- RuleViolatedError      a rule of the domain says no
    |-- UnprocessableError     well-formed, but it contradicts itself or an earlier request
    |-- PermissionDeniedError  known, but not allowed
    |-- UnauthenticatedError   not known, or no longer
    |-- RateLimitedError       too often; says when again
    |-- PreconditionError      the caller's copy is stale, or it must name the one it edits
    `-- UnavailableError       a part of the system is away; says when again

A concrete error sits beside the service that raises it, subclasses one family, has a `code` of its own that never changes, and
keeps the offending values as attributes. `str(error)` is one sentence for the person who made the request: it holds no secret
and nothing about other people.
"""

from typing import ClassVar


class AppError(Exception):
    """Base of everything a service refuses on purpose."""

    code: ClassVar[str]
    # True for a refusal that is the outcome of something done, such as a declined card: under an Idempotency-Key it is kept
    # and given again, instead of trying once more.
    is_final: ClassVar[bool] = False
    # In how many seconds the same request may be answered otherwise, where that is known.
    retry_after: int | None = None

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotFoundError(AppError):
    """There is no such thing, or none the caller may know of."""

    code = "not_found"

    def __init__(self, kind: str, key: object = None) -> None:
        super().__init__(f"There is no such {kind}.")
        self.kind = kind
        self.key = key


class ConflictError(AppError):
    """What the caller wants is taken."""

    code = "conflict"


class InvalidStateError(AppError):
    """The subject's state does not allow this transition."""

    code = "invalid_state"


class RuleViolatedError(AppError):
    """A rule of the domain refuses a well-formed request."""

    code = "rule_violated"


class UnprocessableError(AppError):
    """The request is well formed and contradicts itself, or an earlier one under the same key."""

    code = "unprocessable"


class PermissionDeniedError(AppError):
    """The caller is known and may not do this."""

    code = "permission_denied"

    def __init__(self, detail: str = "You may not do this.") -> None:
        super().__init__(detail)


class UnauthenticatedError(AppError):
    """The caller is not signed in, or not any more."""

    code = "unauthenticated"

    def __init__(self, detail: str = "Sign in first.") -> None:
        super().__init__(detail)


class RateLimitedError(AppError):
    """Too many attempts; `retry_after` is in seconds."""

    code = "rate_limited"

    def __init__(self, retry_after: int, detail: str = "Too many requests.") -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class PreconditionError(AppError):
    """The version the caller names is not the current one."""

    code = "precondition_failed"

    def __init__(self, detail: str = "It has changed since you read it: read it again.") -> None:
        super().__init__(detail)


def require_revision(named: int | None, present: int) -> None:
    """Raise PreconditionError unless the caller named the present revision, or none: then it may be any."""
    if named not in (None, present):
        raise PreconditionError


class PreconditionRequiredError(PreconditionError):
    """The caller must say which version it changes."""

    code = "precondition_required"

    def __init__(self, detail: str = "Say which version you change: send its ETag as If-Match.") -> None:
        super().__init__(detail)


class UnavailableError(AppError):
    """A part of the system is away or overloaded; `retry_after` is in seconds."""

    code = "unavailable"

    def __init__(self, detail: str = "Agora cannot answer right now.", retry_after: int = 2) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
