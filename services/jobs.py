"""Recurring work, leased: one worker at a time runs a job, and another takes it over when that one falls silent."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from beanie import PydanticObjectId

from models.base import now as present
from models.database import (
    DatabaseUnavailableError,
    DuplicateKeyError,
    PyMongoError,
    Session,
    heed_cancellation,
    is_unavailable,
    run_transaction,
)
from models.jobs import Job, JobRead, JobState
from services.audit import AuditService
from services.errors import InvalidStateError, NotFoundError
from services.users.permissions import Permission, Viewer

log = structlog.get_logger(__name__)

Clock = Callable[[], datetime]


OVERDUE_AFTER = timedelta(minutes=1)


class JobNotFoundError(NotFoundError):
    """No worker has ever known a job of this name."""

    code = "job_not_found"

    def __init__(self, name: str) -> None:
        super().__init__("job", name)


class JobRunningError(InvalidStateError):
    """A worker is running the job at this moment."""

    code = "job_running"

    def __init__(self, name: str) -> None:
        super().__init__(f"The job {name} is running already.")
        self.name = name


@dataclass(frozen=True, slots=True)
class RecurringJob:
    """What to run and how often. `run` returns a line worth keeping, or None.

    A run may be cut off at any point and begun again by another worker, so every effect of it must bear repetition.
    """

    name: str
    every: timedelta
    run: Callable[[], Awaitable[str | None]]
    lease: timedelta = timedelta(seconds=30)


class JobService:
    @staticmethod
    async def list_jobs(*, viewer: Viewer, clock: Clock = present) -> list[JobRead]:
        """Every job that a worker has known, by name. Raises PermissionDeniedError."""
        viewer.require(Permission.MANAGE_SYSTEM)
        moment = clock()
        return [_read(Job.from_row(row), moment) for row in await Job.find_rows({}, sort=[("name", 1)], limit=100)]

    @staticmethod
    async def request_run(name: str, *, viewer: Viewer, clock: Clock = present) -> JobRead:
        """Make the job due now: whichever worker looks next runs it. What a person asks for is audited.

        Raises PermissionDeniedError, JobNotFoundError, and JobRunningError while a worker runs it.
        """
        viewer.require(Permission.MANAGE_SYSTEM)
        moment = clock()

        async def work(session: Session) -> Job | None:
            asked = await Job.change(
                {"name": name, "$or": [{"leased_until": None}, {"leased_until": {"$lte": moment}}]},
                {"$set": {"next_run_at": moment}},
                session=session,
            )
            if asked is not None:
                await AuditService.record(session, "job.requested", subject=f"job:{name}", actor_id=viewer.user_id)
            return asked

        asked = await run_transaction(work, hot=[f"job:{name}"])
        if asked is None:
            if await Job.find_row({"name": name}, {"_id": 1}) is None:
                raise JobNotFoundError(name)
            raise JobRunningError(name)
        return _read(asked, moment)

    @staticmethod
    async def seconds_since_report(*, clock: Clock = present) -> float | None:
        """Since any worker last took, renewed or finished a job; None when none ever did."""
        rows = await Job.find_rows({}, {"updated_at": 1}, sort=[("updated_at", -1)], limit=1)
        return (clock() - rows[0]["updated_at"]).total_seconds() if rows else None

    @staticmethod
    async def register(job: RecurringJob, *, clock: Clock = present) -> None:
        """Make the job's row, due at once, unless it exists."""
        with contextlib.suppress(DuplicateKeyError):
            await Job(name=job.name, next_run_at=clock()).store()

    @staticmethod
    async def list_due(*, clock: Clock = present) -> list[str]:
        """The names of the jobs that are due and that nobody runs."""
        moment = clock()
        free = {"$or": [{"leased_until": None}, {"leased_until": {"$lte": moment}}]}
        return [row["name"] for row in await Job.find_rows({"next_run_at": {"$lte": moment}, **free}, {"name": 1}, limit=100)]

    @staticmethod
    async def run_if_due(job: RecurringJob, *, clock: Clock = present) -> Job | None:
        """Run the job if it is due and nobody runs it; the job as it then is, or None when it was not ours to run.

        An error of the job is logged and kept as `last_error`, and the job stays on schedule. The lease is renewed meanwhile;
        when it cannot be, the run is cancelled before another worker may begin. Cancelling the caller gives the job back.
        """
        return await _run(job, {"next_run_at": {"$lte": clock()}}, clock)

    @staticmethod
    async def run_now(job: RecurringJob, *, clock: Clock = present) -> Job:
        """Run the job whether or not it is due. Raises JobRunningError while a worker runs it."""
        await JobService.register(job, clock=clock)
        finished = await _run(job, {}, clock)
        if finished is None:
            raise JobRunningError(job.name)
        return finished


def _read(job: Job, moment: datetime) -> JobRead:
    is_running = job.leased_until is not None and job.leased_until > moment
    if is_running:
        state = JobState.RUNNING
    elif job.next_run_at > moment:
        state = JobState.IDLE
    else:
        # A lease that ran out has been waiting for a taker since then, however long ago the run was due.
        waiting_since = max(job.next_run_at, job.leased_until or job.next_run_at)
        state = JobState.OVERDUE if moment - waiting_since > OVERDUE_AFTER else JobState.DUE
    fields = job.model_dump(exclude={"owner"})
    return JobRead(
        **{name: fields[name] for name in JobRead.model_fields if name in fields},
        state=state,
        owner=job.owner if is_running else None,
        owned_since=job.last_started_at if is_running else None,
    )


async def _run(job: RecurringJob, condition: dict[str, object], clock: Clock) -> Job | None:
    # A fresh owner for every run: one that lost its lease cannot renew or finish what another has taken since.
    owner = PydanticObjectId()
    asked = time.monotonic()
    started = clock()
    taken = await Job.change(
        {"name": job.name, **condition, "$or": [{"leased_until": None}, {"leased_until": {"$lte": started}}]},
        {"$set": {"owner": owner, "leased_until": started + job.lease, "last_started_at": started}},
    )
    if taken is None:
        return None
    try:
        result, error = await _leased_run(job, owner, asked, clock)
    except asyncio.CancelledError:
        with contextlib.suppress(PyMongoError):
            await Job.change({"name": job.name, "owner": owner}, {"$set": {"owner": None, "leased_until": None}})
        raise
    finished = clock()
    report = {"last_finished_at": finished, "last_result": result, "last_error": error}
    schedule = {"owner": None, "leased_until": None, "next_run_at": max(finished, started + job.every)}
    return await _report(job, owner, {"$set": {**report, **schedule}, "$inc": {"run_count": 1}})


async def _report(job: RecurringJob, owner: PydanticObjectId, update: dict[str, object]) -> Job | None:
    """The finished job, written down once; a database that is away is given as long as the lease may last."""
    deadline = time.monotonic() + job.lease.total_seconds()
    while True:
        try:
            return await Job.change({"name": job.name, "owner": owner}, update)
        except PyMongoError as error:
            heed_cancellation()
            if not is_unavailable(error) or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)


async def _leased_run(job: RecurringJob, owner: PydanticObjectId, asked: float, clock: Clock) -> tuple[str | None, str | None]:
    """The run's result and error. Raises CancelledError when the caller is cancelled or the lease is lost."""
    run = asyncio.ensure_future(job.run())
    renewal = asyncio.create_task(_renew(job, owner, asked, clock))
    try:
        await asyncio.wait({run, renewal}, return_when=asyncio.FIRST_COMPLETED)
        if not run.done():
            log.warning("job_lease_lost", job=job.name)
            return None, "the lease was lost"
        return run.result(), None
    except (PyMongoError, DatabaseUnavailableError) as error:
        heed_cancellation()
        log.warning("job_failed", job=job.name, reason=type(error).__name__)
        return None, f"{type(error).__name__}: {error}"[:500]
    except Exception as error:
        heed_cancellation()
        log.exception("job_failed", job=job.name)
        return None, f"{type(error).__name__}: {error}"[:500]
    finally:
        for task in (run, renewal):
            task.cancel()
        await asyncio.gather(run, renewal, return_exceptions=True)


async def _renew(job: RecurringJob, owner: PydanticObjectId, asked: float, clock: Clock) -> None:
    """Prolong the lease while the job runs; returns when it is lost, or about to be over with the database away.

    Measured on the monotonic clock from before the lease was asked for, so it ends here before it ends anywhere else.
    """
    seconds = job.lease.total_seconds()
    held_until = asked + seconds
    while time.monotonic() < held_until - seconds / 10:
        heed_cancellation()
        await asyncio.sleep(seconds / 4)
        asked = time.monotonic()
        try:
            async with asyncio.timeout(max(0.01, held_until - seconds / 10 - asked)):
                renewed = await Job.change({"name": job.name, "owner": owner}, {"$set": {"leased_until": clock() + job.lease}})
        except (TimeoutError, PyMongoError):
            heed_cancellation()
            continue
        if renewed is None:
            return
        held_until = asked + seconds
