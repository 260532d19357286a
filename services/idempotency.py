"""Idempotency-Key: the first answer to a request is stored together with its effect and given again for a day.

A request goes through three steps. It claims its key: one insert, which the unique index refuses to its twins. Its work runs in
one transaction, at whose end the answer is written into the claim, so that effect and answer are kept or lost together. When the
work fails or answers 400 or more, the transaction is aborted and the claim given back: such an answer is not stored, and the
key may be used again. A process that dies in between leaves a claim that is free again after five seconds.
"""

import contextlib
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from beanie import PydanticObjectId

from models.base import now as present
from models.database import DuplicateKeyError, PyMongoError, Session, run_transaction
from models.idempotency import IdempotentAnswer
from services.errors import ConflictError, RuleViolatedError, UnprocessableError

MAX_KEY_LENGTH = 255
# Short, so that a client whose first request died with its process or its database is answered soon. To take a claim over from
# a request that is merely slow is safe: that one cannot settle any more, and its effect is undone.
CLAIM_FOR = timedelta(seconds=5)
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
    """The right to answer a key, until it is settled, released, or taken over when five seconds old."""

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


class IdempotencyService:
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

    @staticmethod
    async def run_outside(
        request: KeyedRequest, *, work: Callable[[Operation], Awaitable[Answer]], secret: bytes, now: datetime | None = None
    ) -> Answer:
        """As `run`, for work that may speak to the outside and so cannot be one transaction.

        `work` is handed the operation, under whose key it keeps whatever it does: run again after a crash, or at once by a twin
        that took over a slow claim, it finds what it did and goes on from there. An answer below 500 is stored when `work`
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
        return answer

    @staticmethod
    async def claim(request: KeyedRequest, *, secret: bytes, now: datetime | None = None) -> Claim | Answer:
        """The right to answer this key, or the answer that was given to it before.

        A claim older than five seconds and an answer older than 24 hours are taken over. The digests are keyed with `secret`,
        so that a stored one does not tell what was in a body.
        """
        if not (1 <= len(request.key) <= MAX_KEY_LENGTH and all("!" <= character <= "~" for character in request.key)):
            raise InvalidIdempotencyKeyError
        now = now or present()
        claim = Claim(_digest(secret, request.caller, request.method, request.path, request.key), PydanticObjectId())
        fingerprint = _digest(secret, request.query, request.body)
        try:
            await IdempotentAnswer(
                scope=claim.scope,
                fingerprint=fingerprint,
                claim_id=claim.claim_id,
                claimed_until=now + CLAIM_FOR,
                expires_at=now + KEPT_FOR,
            ).store()
        except DuplicateKeyError:
            return await _meet(claim, fingerprint, now)
        return claim

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

        When the database cannot be reached the claim runs out by itself.
        """
        with contextlib.suppress(PyMongoError):
            await IdempotentAnswer.collection().delete_one({"scope": claim.scope, "claim_id": claim.claim_id, "status": None})


async def _settle(claim: Claim, answer: Answer, session: Session) -> None:
    await IdempotencyService.settle(claim, answer, session=session)


class _RefusedError(Exception):
    """Carries an answer that is not stored out of the transaction it aborts."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


async def _meet(claim: Claim, fingerprint: str, now: datetime) -> Claim | Answer:
    """What the request that found its key taken does: answer as before, refuse, or take over what is abandoned."""
    row = await IdempotentAnswer.find_row({"scope": claim.scope})
    if row is None:  # given back this very moment; the caller's next attempt finds it free
        raise IdempotencyInProgressError
    held = IdempotentAnswer.from_row(row)
    is_over = held.expires_at <= now or (held.status is None and held.claimed_until <= now)
    if is_over:
        # The old claim's id in the condition makes one of several who try succeed.
        taken = await IdempotentAnswer.change(
            {"scope": claim.scope, "claim_id": held.claim_id, "status": held.status},
            {
                "$set": {
                    "fingerprint": fingerprint,
                    "claim_id": claim.claim_id,
                    "claimed_until": now + CLAIM_FOR,
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
        raise IdempotencyInProgressError
    return Answer(held.status, held.headers or {}, held.body or b"", is_replay=True)


def _digest(secret: bytes, *parts: str | bytes) -> str:
    """A keyed digest of the parts, each preceded by its length so that no two lists of parts run together."""
    digest = hashlib.blake2b(key=hashlib.blake2b(secret, person=b"agora-idem").digest(), digest_size=32)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()
