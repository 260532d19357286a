"""`make openapi`: write down what callers rely on, docs/openapi.json and docs/problems.md, which tests compare with the code."""

import importlib
import json
import pkgutil
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import services
from api.app import create_app
from api.errors import status_of
from services.errors import AppError
from services.settings import Settings

DOCS = Path(__file__).parent.parent / "docs"
SNAPSHOT = DOCS / "openapi.json"
REGISTER = DOCS / "problems.md"

_HEAD = """\
# Every code of an error

What `code` of a problem can be, by status. [api.md](api.md#errors) says what to do about each status. `make openapi` writes this
page.
"""
# What is refused by no service.
_OTHERS = {
    "malformed_body": (400, "The body is no JSON."),
    "no_such_path": (404, "There is nothing at this path."),
    "method_not_allowed": (405, "The path does not take this method; `Allow` names those it takes."),
    "body_too_large": (413, "The body is longer than the limit."),
    "unsupported_media_type": (415, "The body is no `application/json`."),
    "malformed_input": (422, "The request is not well formed; `errors` says where."),
    "internal_error": (500, "Something went wrong on our side; the log has it under `request_id`."),
    "database_unavailable": (503, "The database cannot be reached right now."),
    "too_much_at_once": (503, "Too many changed one thing at once."),
    "shutting_down": (503, "This process is ending; another one, or the next, answers."),
}


def current_document() -> str:
    """The document as the code describes the API now. It depends on no setting, and needs no database."""
    settings = Settings(_env_file=None, secret_key="-" * 32, mongodb_uri="mongodb://127.0.0.1")
    return json.dumps(create_app(settings).openapi(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def current_register() -> str:
    """The codes of all errors as a page: a table for each status, by code."""
    for module in pkgutil.walk_packages(services.__path__, "services."):
        importlib.import_module(module.name)
    codes = dict(_OTHERS)
    for error in _errors(AppError):
        codes[error.code] = (int(status_of(error)), " ".join((error.__doc__ or "").partition("\n\n")[0].split()))
    parts = [_HEAD]
    for status in sorted({status for status, _ in codes.values()}):
        rows = [f"| `{code}` | {meaning} |" for code, (of, meaning) in sorted(codes.items()) if of == status]
        parts.append("\n".join([f"## {status} {HTTPStatus(status).phrase}\n", "| code | means |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


def _errors(family: type[AppError]) -> Iterator[type[AppError]]:
    for error in family.__subclasses__():
        if error.__module__.startswith(("services.", "api.routing")):
            yield error
        yield from _errors(error)


def main() -> None:
    SNAPSHOT.write_text(current_document(), "utf-8")
    REGISTER.write_text(current_register(), "utf-8")
    print(f"{SNAPSHOT.name}: {len(json.loads(SNAPSHOT.read_text('utf-8'))['paths'])} paths; {REGISTER.name}")


if __name__ == "__main__":
    main()
