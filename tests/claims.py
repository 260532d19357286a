"""Requests under one key from several processes, told in one."""

import contextlib
from collections.abc import Iterator

from services import idempotency


@contextlib.contextmanager
def another_process() -> Iterator[None]:
    """What happens inside is done by another process, which ends with it: it knows nothing of what this one works on."""
    mine, idempotency._life = idempotency._life, idempotency._Life()
    try:
        yield
    finally:
        idempotency._life = mine
