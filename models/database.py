"""The driver seam: everything the two lanes do differently lives here and nowhere else.

The `pymongo` lane is Beanie 2 on PyMongo's own async driver, the `motor` lane Beanie 1.30 on Motor. The lane is told by Beanie's
version, because other packages may bring Motor along. The rest of Agora speaks to collections through the calls on which both
drivers agree (`find_one`, `insert_one`, `update_one`, `cursor.to_list(None)`) and comes here for sessions, transactions,
aggregations and change streams.
"""

import asyncio
import contextlib
import importlib
import inspect
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence, Set
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, Literal, TypeVar
from weakref import WeakValueDictionary

import beanie
from pymongo.errors import BulkWriteError, ConnectionFailure, DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.monitoring import CommandListener

__all__ = [
    "LANE",
    "Collection",
    "Database",
    "DatabaseUnavailableError",
    "DuplicateKeyError",
    "LateWrite",
    "PyMongoError",
    "Session",
    "after_commit",
    "aggregate",
    "collection_of",
    "duplicate_index",
    "heed_cancellation",
    "in_transaction",
    "is_overtaken",
    "is_unavailable",
    "postpone",
    "run_transaction",
    "send_postponed",
    "start_again",
    "watch",
]

LANE: Literal["pymongo", "motor"] = "pymongo" if int(version("beanie").split(".")[0]) >= 2 else "motor"

# The drivers' own classes differ by lane; both are used only through the calls they share.
Session = Any
Collection = Any

T = TypeVar("T")

_WRITE_CONFLICT = 112
_DUPLICATE_KEY = 11000
# Codes of a transaction, or a write beside one, that lost to others. Within a transaction MongoDB puts a label beside them, but
# not to the single writes of a bulk, nor does the embedded server to a plain write.
_OVERTAKEN = frozenset({24, _WRITE_CONFLICT, 246, 251})  # lock timeout, conflict, snapshot gone, no such transaction
# How the embedded server tells, as an internal error, that `release_orphans` of another process ended a transaction in the midst
# of a statement.
_ENDED = "transaction already closed"
# Codes of a server that is going, or has been away and forgot what it was asked about. Only some of them make the driver raise
# ConnectionFailure, and none does so for the single writes of a bulk.
_INTERRUPTED = frozenset(
    {
        *(6, 7, 89, 9001),  # it cannot reach another one
        *(43, 206, 237),  # cursor or session unknown, cursor killed
        *(50, 262),  # its own time is over
        *(91, 189, 10107, 11600, 11601, 11602, 13435, 13436),  # ending, stepping down, interrupted
        *(133, 134),  # no server to read from yet
    }
)
_TRANSACTION_SECONDS = 20.0
_UNREACHABLE_SECONDS = 2.0


class DatabaseUnavailableError(Exception):
    """The database cannot be reached, or died while a commit was under way and its outcome is unknown."""


async def _value(maybe: Any) -> Any:
    """Await what one lane returns as a coroutine and the other as a value."""
    return await maybe if inspect.isawaitable(maybe) else maybe


class Database:
    """One client and one database of it; made once per process (or test) and closed with it."""

    def __init__(self, client: Any, name: str, *, make_pulse: Callable[[], Any] | None = None) -> None:
        """`make_pulse` makes the client of which `feel_pulse` asks, by default this one."""
        self.client = client
        self._make_pulse = make_pulse
        self._pulse: Any = None
        self.name = name
        self.raw = client[name]
        self.is_closed = False

    @classmethod
    def connect(
        cls,
        uri: str,
        name: str,
        *,
        pool_size: int = 50,
        timeout_ms: int = 10_000,
        listeners: Sequence[CommandListener] = (),
        **options: Any,
    ) -> "Database":
        """A client for `uri`; it connects on first use, so this never fails for a server that is down."""
        if LANE == "pymongo":
            factory = importlib.import_module("pymongo").AsyncMongoClient
        else:
            factory = importlib.import_module("motor.motor_asyncio").AsyncIOMotorClient
        waits = {"timeoutMS": timeout_ms, "serverSelectionTimeoutMS": int(_UNREACHABLE_SECONDS * 1000)}
        client = factory(
            uri, tz_aware=True, appname="agora", maxPoolSize=pool_size, event_listeners=list(listeners), **waits, **options
        )
        return cls(client, name, make_pulse=partial(factory, uri, appname="agora", maxPoolSize=1, **waits, **options))

    async def bind(self, documents: Sequence[type[beanie.Document]]) -> None:
        """Point the document classes at this database. Creates no index: `services.indexes` does, and reports drift."""
        global _bound
        await beanie.init_beanie(database=self.raw, document_models=list(documents), skip_indexes=True)
        _bound = self

    async def ping(self) -> None:
        await self.client.admin.command("ping")

    async def feel_pulse(self) -> None:
        """As `ping`, on a connection kept for that: it answers while hundreds of requests wait for those of the pool."""
        if self._pulse is None:
            self._pulse = self.client if self._make_pulse is None else self._make_pulse()
        await self._pulse.admin.command("ping")

    async def drop(self) -> None:
        await self.client.drop_database(self.name)

    async def release_orphans(self) -> None:
        """End the transactions a killed process left behind, whose locks would otherwise stand for a minute or more."""
        await self.client.admin.command({"killAllSessions": []})

    async def close(self) -> None:
        self.is_closed = True
        if self._pulse is not None and self._pulse is not self.client:
            await _value(self._pulse.close())
        await _value(self.client.close())


def collection_of(document: type[beanie.Document]) -> Collection:
    """The driver's own collection of a document class."""
    reveal = document.get_pymongo_collection if LANE == "pymongo" else document.get_motor_collection
    return reveal()


async def aggregate(collection: Collection, pipeline: Sequence[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
    """All rows of a pipeline, in its order. One command for a bounded result; bound it with `$limit` or `$group`."""
    cursor = await _value(collection.aggregate(list(pipeline), **options))
    rows: list[dict[str, Any]] = await cursor.to_list(None)
    return rows


@contextlib.asynccontextmanager
async def watch(collection: Collection, pipeline: Sequence[dict[str, Any]] = ()) -> AsyncIterator[Any]:
    """A change stream over one collection. `await stream.next()` waits for a change; `try_next()` does not."""
    stream = await _value(collection.watch(list(pipeline)))
    async with stream as opened:
        yield opened


def is_unavailable(error: BaseException) -> bool:
    """True for a server that cannot be reached, was away, or is going; for a timeout of ours; and once our client is closed."""
    if isinstance(error, DatabaseUnavailableError | ConnectionFailure):
        return True
    if not isinstance(error, PyMongoError):
        return False
    is_closed = _bound is not None and _bound.is_closed
    return is_closed or error.timeout or _is_all(_codes(error), _INTERRUPTED)


def is_overtaken(error: BaseException) -> bool:
    """True for what lost to others, a transaction again and again until its time was over: it may be tried once more."""
    if not isinstance(error, PyMongoError):
        return False
    return error.has_error_label("TransientTransactionError") or _is_all(_codes(error), _OVERTAKEN) or _ENDED in str(error)


def _codes(error: PyMongoError) -> set[int | None]:
    """Why the server refused: of a bulk, the codes of its writes; nothing when the error is the driver's own."""
    if isinstance(error, BulkWriteError):
        return {write["code"] for write in error.details["writeErrors"]}
    return {error.code} if isinstance(error, OperationFailure) else set()


def _is_all(codes: Set[int | None], of: Set[int | None]) -> bool:
    return bool(codes) and codes <= of


def heed_cancellation() -> None:
    """Raise CancelledError if the running task was asked to end.

    An operation of the driver that is cancelled under way may report that as a failure of its own, or finish all the same, and
    the cancellation is lost. A loop that is meant to end by cancellation calls this in every round and after every failure.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def start_again(reason: str) -> OperationFailure:
    """An error for work inside a transaction that found it was overtaken: raised there, it makes the transaction start again."""
    return OperationFailure(reason, _WRITE_CONFLICT, {"errorLabels": ["TransientTransactionError"]})


def duplicate_index(error: DuplicateKeyError) -> str:
    """The name of the unique index that refused the write, or an empty string.

    Read from the message, because the embedded server sends no `keyPattern` with a failed update.
    """
    found = re.search(r"index: (?:\S+\.\$)?(\S+)", str(error))
    return found.group(1) if found else ""


# Beanie binds document classes to one database for the whole process; transactions follow the same binding.
_bound: Database | None = None
_ambient: ContextVar[Session | None] = ContextVar("ambient_session", default=None)
_after_commit: ContextVar[list[Callable[[], None]] | None] = ContextVar("after_commit", default=None)
_postponed: ContextVar["list[LateWrite] | None"] = ContextVar("postponed", default=None)
_hot_locks: WeakValueDictionary[tuple[asyncio.AbstractEventLoop, Hashable], asyncio.Lock] = WeakValueDictionary()


async def run_transaction(work: Callable[[Session], Awaitable[T]], *, hot: Sequence[Hashable] = ()) -> T:
    """Run `work(session)` in one transaction and return its result; inside a running transaction, join that one.

    `work` may run several times: it starts again when the server reports a conflict, with jittered back-off, so it must have no
    effect outside the database. It never starts again once a commit may have reached the disk: then, and when the server stays
    away, `DatabaseUnavailableError` is raised.

    `hot` names what many callers are about to change at once (a document's id, say). Callers of this process that share a name
    queue here instead of conflicting in the server; correctness never rests on it.
    """
    joined = _ambient.get()
    if joined is not None:
        return await work(joined)
    async with contextlib.AsyncExitStack() as queue:
        for key in sorted(set(hot), key=str):
            name = (asyncio.get_running_loop(), key)
            lock = _hot_locks.setdefault(name, asyncio.Lock())
            await queue.enter_async_context(lock)
        assert _bound is not None, "no database is bound: call Database.bind first"
        return await _attempt_until_committed(work, _bound.client)


def in_transaction() -> bool:
    """True inside the work of `run_transaction`, where nothing may speak to the outside."""
    return _ambient.get() is not None


def after_commit(call: Callable[[], None]) -> None:
    """Call this once the running transaction, the outermost one, has been committed; at once when there is none.

    For what must not happen earlier, such as forgetting what a cache holds: forgotten before the commit, it would be read back
    as it was. The call must be harmless when nothing was committed: it is made also when the outcome is unknown.
    """
    waiting = _after_commit.get()
    if waiting is None:
        call()
    else:
        waiting.append(call)


@dataclass(frozen=True, slots=True)
class LateWrite:
    """A write whose answer nobody waits for: it is sent with the others of its transaction, in one command, before the commit.

    `unmet` is raised when it is an update and nothing met its filter; `refused` makes the error of a duplicate key another one.
    """

    collection: Collection
    operation: Mapping[str, Any]  # of the `bulkWrite` command, without the number of its collection
    unmet: Exception | None = None
    refused: Callable[[DuplicateKeyError], Exception] | None = None


def postpone(write: LateWrite, session: Session) -> bool:
    """Keep a write for the end of the running transaction; false, and nothing kept, when `session` is not that of one."""
    waiting = _postponed.get()
    if waiting is None or _ambient.get() is not session:
        return False
    waiting.append(write)
    return True


async def send_postponed(session: Session | None, collection: Collection | None = None) -> None:
    """Send what was postponed in this transaction, so that it can be read: if any of it goes to `collection`, or at all."""
    waiting = _postponed.get()
    if not waiting or _ambient.get() is not session:
        return
    if collection is not None and all(write.collection.name != collection.name for write in waiting):
        return
    sent = waiting[:]
    waiting.clear()
    await _write_together(sent, session)


async def _write_together(writes: Sequence[LateWrite], session: Session) -> None:
    """All of these by MongoDB 8's `bulkWrite`, in order, up to the first that fails."""
    assert _bound is not None
    names = list(dict.fromkeys(write.collection.full_name for write in writes))
    operations = []
    for write in writes:
        (kind, first), *rest = write.operation.items()
        target = {kind: names.index(write.collection.full_name)}
        operations.append({**target, "document": first} if kind == "insert" else {**target, "filter": first, **dict(rest)})
    command = {"bulkWrite": 1, "ops": operations, "nsInfo": [{"ns": name} for name in names]}
    answer = await _bound.client.admin.command(command, session=session)
    for told, write in zip(answer["cursor"]["firstBatch"], writes, strict=False):
        if told["ok"] and (told["n"] or write.unmet is None):
            continue
        if told["ok"] and write.unmet is not None:
            raise write.unmet
        if told["code"] != _DUPLICATE_KEY:
            raise OperationFailure(told["errmsg"], told["code"], told)
        error = DuplicateKeyError(told["errmsg"], told["code"], told)
        raise error if write.refused is None else write.refused(error) from error


async def _attempt_until_committed(work: Callable[[Session], Awaitable[T]], client: Any) -> T:
    started = time.monotonic()
    attempt = 0
    while True:
        session = await _value(client.start_session())
        async with session:
            await _value(session.start_transaction())
            waiting: list[Callable[[], None]] = []
            session_token, waiting_token, late_token = _ambient.set(session), _after_commit.set(waiting), _postponed.set([])
            try:
                result = await work(session)
                await send_postponed(session)
            except BaseException as error:
                with contextlib.suppress(PyMongoError):
                    await session.abort_transaction()
                if not _starts_again(error, time.monotonic() - started):
                    raise
            else:
                try:
                    if await _commit(session):
                        return result
                finally:
                    for call in waiting:
                        call()
            finally:
                _ambient.reset(session_token)
                _after_commit.reset(waiting_token)
                _postponed.reset(late_token)
        attempt += 1
        await asyncio.sleep(random.uniform(0.5, 1.0) * min(0.2, 0.002 * 2**attempt))  # jitter, no secret


def _starts_again(error: BaseException, elapsed: float) -> bool:
    """Nothing was committed yet, so a conflict is retried for long and an unreachable server for a moment."""
    if not isinstance(error, PyMongoError):
        return False
    if is_unavailable(error):
        return elapsed < _UNREACHABLE_SECONDS
    return is_overtaken(error) and elapsed < _TRANSACTION_SECONDS


async def _commit(session: Session) -> bool:
    """True when committed, false when the server refused it for a conflict.

    Any other failure leaves the outcome unknown: the embedded server answers a commit repeated after its restart with "no such
    transaction" although the first one was kept, and running the work again would then double its effect.
    """
    try:
        await session.commit_transaction()
    except OperationFailure as error:
        if error.code == _WRITE_CONFLICT:
            return False
        raise DatabaseUnavailableError("the outcome of a commit is unknown") from error
    except PyMongoError as error:
        raise DatabaseUnavailableError("the outcome of a commit is unknown") from error
    return True
