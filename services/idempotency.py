"""Idempotency-Key: the first answer to a request is stored together with its effect and given again for a day.

A request goes through three steps. It claims its key: one insert, which the unique index refuses to its twins. Its work runs in
one transaction, at whose end the answer is written into the claim, so that effect and answer are kept or lost together. When the
work fails or answers 400 or more, the transaction is aborted and the claim given back: such an answer is not stored, and the
key may be used again.

A claim stands for as long as it is worked on, and not longer. It names the process that holds it. That process knows what it
works on: a claim it could not give back, because the database was away, is free at once. What another process holds stands for
three seconds, and beyond while that process says that it lives. To take a claim over from one that only seemed dead is safe, too:
it cannot settle any more, and its effect is undone. A twin of what is worked on here waits a moment for the answer.
"""

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from beanie import PydanticObjectId

from models.base import now as present
from models.database import DuplicateKeyError, PyMongoError, Session, heed_cancellation, run_transaction
from models.idempotency import IdempotentAnswer, KeyHolder
from services.errors import ConflictError, RuleViolatedError, UnprocessableError

MAX_KEY_LENGTH = 255
STANDS_FOR = timedelta(seconds=3)  # a claim by itself, and all of a process since it last said that it lives
SIGN_OF_LIFE_SECONDS = 1.0
TWIN_WAITS_SECONDS = 2.0
KEPT_FOR = timedelta(hours=24)


class InvalidIdempotencyKeyError(RuleViolatedError):
    """An Idempotency-Key that is empty, too long, or not plain visible ASCII."""

    code = "invalid_idempotency_key"

    def __init__(self) -> None:
        super().__init__(f"An Idempotency-Key has 1 to {MAX_KEY_LENGTH} visible ASCII characters.")


class IdempotencyKeyReusedError(UnprocessableError):
    """The key was used before, for a request that said something else."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for another request: take a new key for a new request.")


class IdempotencyInProgressError(ConflictError):
    """The first request with this key is still being worked on."""

    code = "idempotency_in_progress"
    retry_after = 1

    def __init__(self) -> None:
        super().__init__("A request with this Idempotency-Key is being worked on: try again in a moment.")


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request that carries an Idempotency-Key. `caller` is the user's id, or the network address of an anonymous one."""

    key: str
    caller: str
    method: str
    path: str
    query: bytes = b""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as it was sent the first time; `is_replay` when it is sent again."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_replay: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to answer a key, until it is settled, released, or taken over from a holder that is dead."""

    scope: str
    claim_id: PydanticObjectId


@dataclass(slots=True)
class Operation:
    """A request that is no single transaction. `key`, a digest of caller, path and key, is what it keeps its effects under."""

    claim: Claim
    kept: Answer | None = None

    @property
    def key(self) -> str:
        return self.claim.scope

    async def keep(self, answer: Answer, *, session: Session) -> None:
        """Store the answer in the transaction that turned out to be the whole of it. Raises IdempotencyInProgressError."""
        await IdempotencyService.settle(self.claim, answer, session=session)
        self.kept = answer


@dataclass(frozen=True, slots=True)
class _Work:
    """A request that is worked on here."""

    since: float = field(default_factory=time.monotonic)
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class _Life:
    """This process, from its start to its end, and what it works on, by the ids of the claims."""

    id: PydanticObjectId = field(default_factory=PydanticObjectId)
    at_work: dict[PydanticObjectId, _Work] = field(default_factory=dict)

    def begin(self, claim: Claim) -> None:
        self.at_work[claim.claim_id] = _Work()

    def end(self, claim: Claim) -> None:
        work = self.at_work.pop(claim.claim_id, None)
        if work is not None:
            work.over.set()


_life = _Life()


def _begin_life() -> None:
    global _life
    _life = _Life()


os.register_at_fork(after_in_child=_begin_life)  # or two processes would take each other's claims for their own


class IdempotencyService:
    @staticmethod
    @contextlib.asynccontextmanager
    async def alive() -> AsyncIterator[None]:
        """Say once a second, while anything here takes that long, that this process lives: so long its claims stand."""
        telling = asyncio.create_task(_tell_of_life())
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    @staticmethod
    async def run(
        request: KeyedRequest, *, work: Callable[[], Awaitable[Answer]], secret: bytes, now: datetime | None = None
    ) -> Answer:
        """The stored answer of this key, or that of `work`, run in one transaction with the storing of its answer.

        `work` may run several times, as in `run_transaction`; only the effect of the last run is kept, and none when it raises
        or answers 400 or more. Raises InvalidIdempotencyKeyError, IdempotencyKeyReusedError and IdempotencyInProgressError.
        """
        claimed = await IdempotencyService.claim(request, secret=secret, now=now)
        if isinstance(claimed, Answer):
            return claimed

        async def answer_and_settle(session: Session) -> Answer:
            answer = await work()
            if answer.status >= 400:
                raise _RefusedError(answer)
            await IdempotencyService.settle(claimed, answer, session=session)
            return answer

        try:
            return await run_transaction(answer_and_settle)
        except _RefusedError as refused:
            await IdempotencyService.release(claimed)
            return refused.answer
        except BaseException:
            await IdempotencyService.release(claimed)
            raise
        finally:
            _life.end(claimed)

    @staticmethod
    async def run_outside(
        request: KeyedRequest, *, work: Callable[[Operation], Awaitable[Answer]], secret: bytes, now: datetime | None = None
    ) -> Answer:
        """As `run`, for work that may speak to the outside and so cannot be one transaction.

        `work` is handed the operation, under whose key it keeps whatever it does: run again after a crash, or by a twin that
        took its claim over, it finds what it did and goes on from there. An answer below 500 is stored when `work`
        returns it, unless it was kept before; an exception gives the key back. Raises as `run`.
        """
        claimed = await IdempotencyService.claim(request, secret=secret, now=now)
        if isinstance(claimed, Answer):
            return claimed
        operation = Operation(claimed)
        try:
            answer = await work(operation)
            if answer.status >= 500:
                await IdempotencyService.release(claimed)
            elif answer != operation.kept:  # what an attempt kept that came to nothing is another answer
                await run_transaction(partial(_settle, claimed, answer))
        except BaseException:
            await IdempotencyService.release(claimed)
            raise
        finally:
            _life.end(claimed)
        return answer

    @staticmethod
    async def claim(request: KeyedRequest, *, secret: bytes, now: datetime | None = None) -> Claim | Answer:
        """The right to answer this key, or the answer that was given to it before.

        A claim that nobody works on any more and an answer older than 24 hours are taken over. The digests are keyed with
        `secret`, so that a stored one does not tell what was in a body.
        """
        if not (1 <= len(request.key) <= MAX_KEY_LENGTH and all("!" <= character <= "~" for character in request.key)):
            raise InvalidIdempotencyKeyError
        now = now or present()
        claim = Claim(_digest(secret, request.caller, request.method, request.path, request.key), PydanticObjectId())
        fingerprint = _digest(secret, request.query, request.body)
        claimed: Claim | Answer | None = None
        _life.begin(claim)  # before anybody can see the claim
        try:
            claimed = await _take(claim, fingerprint, now, patience=TWIN_WAITS_SECONDS)
        finally:
            if claimed is not claim:
                _life.end(claim)
        return claimed

    @staticmethod
    async def settle(claim: Claim, answer: Answer, *, session: Session) -> None:
        """Store the answer in the transaction of its effect.

        Raises IdempotencyInProgressError, and so aborts the transaction, when the claim was lost to another request.
        """
        await IdempotentAnswer.change_later(
            {"scope": claim.scope, "claim_id": claim.claim_id, "status": None},
            {"$set": {"status": answer.status, "headers": answer.headers, "body": answer.body}},
            session=session,
            unmet=IdempotencyInProgressError(),
        )

    @staticmethod
    async def release(claim: Claim) -> None:
        """Give the claim back, unless it was settled: a commit of unknown outcome keeps the answer it may have stored.

        When the database cannot be reached the claim stays, and is free because nobody works on it.
        """
        with contextlib.suppress(PyMongoError):
            await IdempotentAnswer.collection().delete_one({"scope": claim.scope, "claim_id": claim.claim_id, "status": None})


async def _tell_of_life() -> None:
    while True:
        heed_cancellation()
        await asyncio.sleep(SIGN_OF_LIFE_SECONDS)
        long_ago = time.monotonic() - SIGN_OF_LIFE_SECONDS
        if any(work.since <= long_ago for work in _life.at_work.values()):
            moment = present()
            update = {"$set": {"alive_until": moment + STANDS_FOR}, "$setOnInsert": {"created_at": moment}}
            with contextlib.suppress(PyMongoError):
                await KeyHolder.change({"_id": _life.id}, update, upsert=True)


async def _settle(claim: Claim, answer: Answer, session: Session) -> None:
    await IdempotencyService.settle(claim, answer, session=session)


class _RefusedError(Exception):
    """Carries an answer that is not stored out of the transaction it aborts."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


async def _take(claim: Claim, fingerprint: str, now: datetime, *, patience: float) -> Claim | Answer:
    """The claim, once it is stored, or the answer there was. Waits so many seconds for what is worked on here."""
    row = IdempotentAnswer(
        scope=claim.scope,
        fingerprint=fingerprint,
        claim_id=claim.claim_id,
        holder_id=_life.id,
        claimed_until=now + STANDS_FOR,
        expires_at=now + KEPT_FOR,
    )
    try:
        await row.store()
    except DuplicateKeyError:
        return await _meet(claim, fingerprint, now, patience=patience)
    return claim


async def _meet(claim: Claim, fingerprint: str, now: datetime, *, patience: float) -> Claim | Answer:
    """What the request that found its key taken does: answer as before, refuse, or take over what is abandoned."""
    row = await IdempotentAnswer.find_row({"scope": claim.scope})
    if row is None:  # given back this very moment; the caller's next attempt finds it free
        raise IdempotencyInProgressError
    held = IdempotentAnswer.from_row(row)
    if held.expires_at <= now or (held.status is None and await _is_abandoned(held, now)):
        # The old claim's id in the condition makes one of several who try succeed.
        taken = await IdempotentAnswer.change(
            {"scope": claim.scope, "claim_id": held.claim_id, "status": held.status},
            {
                "$set": {
                    "fingerprint": fingerprint,
                    "claim_id": claim.claim_id,
                    "holder_id": _life.id,
                    "claimed_until": now + STANDS_FOR,
                    "expires_at": now + KEPT_FOR,
                    "status": None,
                    "headers": None,
                    "body": None,
                }
            },
        )
        if taken is None:
            raise IdempotencyInProgressError
        return claim
    if held.fingerprint != fingerprint:
        raise IdempotencyKeyReusedError
    if held.status is None:
        left = await _wait_for(held.claim_id, patience)
        return await _take(claim, fingerprint, now, patience=left)
    return Answer(held.status, held.headers or {}, held.body or b"", is_replay=True)


async def _wait_for(claim_id: PydanticObjectId, patience: float) -> float:
    """Until this process is done with a claim; the patience that is left. Raises IdempotencyInProgressError."""
    work = _life.at_work.get(claim_id)
    if work is None:
        raise IdempotencyInProgressError
    began = time.monotonic()
    try:
        async with asyncio.timeout(patience):
            await work.over.wait()
    except TimeoutError as error:
        raise IdempotencyInProgressError from error
    return patience - (time.monotonic() - began)


async def _is_abandoned(held: IdempotentAnswer, now: datetime) -> bool:
    """Whether nobody works on a claim: this process knows that of its own, and of others' by their silence."""
    if held.holder_id == _life.id:
        return held.claim_id not in _life.at_work
    if held.claimed_until > now:
        return False
    holder = await KeyHolder.find_row({"_id": held.holder_id}, {"alive_until": 1})
    return holder is None or holder["alive_until"] <= now


def _digest(secret: bytes, *parts: str | bytes) -> str:
    """A keyed digest of the parts, each preceded by its length so that no two lists of parts run together."""
    digest = hashlib.blake2b(key=hashlib.blake2b(secret, person=b"agora-idem").digest(), digest_size=32)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()
