"""Passwords: the policy (ASVS 6.2) and Argon2id off the event loop."""

import asyncio
import os
import sys
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TypeVar

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

from services.errors import RuleViolatedError
from services.settings import Settings

T = TypeVar("T")

MIN_PASSWORD_LENGTH = 8
MAX_PASSWORD_LENGTH = 256
UNUSABLE_HASH = "!"  # no password matches it


def _stand_back() -> None:
    """Of the processor take what the event loop leaves. Where a thread has no priority of its own, its work just competes."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


# Argon2 gives up the GIL. A few threads bound its memory (46 MiB each) and leave the loop's own pool to others.
_threads = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1), thread_name_prefix="argon2", initializer=_stand_back)


class WeakPasswordError(RuleViolatedError):
    """The password breaks the policy: 8 to 256 characters, no common one, not the account's own name or address."""

    code = "weak_password"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a password matched; `new_hash` replaces a hash of an older cost."""

    is_right: bool
    new_hash: str | None = None


class PasswordService:
    @staticmethod
    async def hash(password: str, *, settings: Settings) -> str:
        return await _in_thread(lambda: _hasher(settings).hash(_canonical(password)))

    @staticmethod
    async def verify(password: str, stored: str | None, *, settings: Settings) -> Verdict:
        """Compare a password with a stored hash; with none, or an unusable one, the same work is done and the answer is no."""
        return await _in_thread(lambda: _verify(_canonical(password), stored, settings))

    @staticmethod
    def check_policy(password: str, *, username: str, email: str) -> None:
        """Raises WeakPasswordError. Any characters are welcome and none is demanded."""
        password = _canonical(password)
        if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
            raise WeakPasswordError(f"A password has {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters.")
        folded = password.casefold()
        if folded in {username.casefold(), email.casefold(), email.casefold().partition("@")[0]}:
            raise WeakPasswordError("The password must not be the username or the e-mail address.")
        if folded in _common_passwords():
            raise WeakPasswordError("This password is among the most common ones: choose another.")


def _canonical(password: str) -> str:
    """NFC, so that a password typed on another keyboard or system has the same characters. Length counts after it."""
    return unicodedata.normalize("NFC", password)


def _verify(password: str, stored: str | None, settings: Settings) -> Verdict:
    hasher, dummy = _hasher(settings), _dummy_hash(settings.password_hash_time_cost, settings.password_hash_memory_kib)
    try:
        is_right, new_hash = hasher.verify_and_update(password, stored or dummy)
    except UnknownHashError:
        stored = None
        hasher.verify(password, dummy)
        is_right, new_hash = False, None
    return Verdict(is_right and stored is not None, new_hash if stored is not None else None)


def _hasher(settings: Settings) -> PasswordHash:
    return _make_hasher(settings.password_hash_time_cost, settings.password_hash_memory_kib)


@cache
def _make_hasher(time_cost: int, memory_kib: int) -> PasswordHash:
    return PasswordHash([Argon2Hasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)])


@cache
def _dummy_hash(time_cost: int, memory_kib: int) -> str:
    return _make_hasher(time_cost, memory_kib).hash(os.urandom(16).hex())


@cache
def _common_passwords() -> frozenset[str]:
    text = (files("services.users") / "common_passwords.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("# "))


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_threads, work)
