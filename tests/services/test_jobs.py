import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from beanie import PydanticObjectId
from pymongo.errors import AutoReconnect

from models.base import now
from models.database import Database, run_transaction
from models.events import Event, EventType
from models.jobs import Job
from services import worker as worker_module
from services.events import Consumer, EventService
from services.jobs import JobRunningError, JobService, RecurringJob
from services.settings import Settings
from services.worker import PUMP, WorkerService, event_pump, make_jobs
from tests.races import patiently

pytestmark = pytest.mark.usefixtures("database")

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def make_job(run: Callable[[], Awaitable[str | None]], **over: timedelta) -> RecurringJob:
    return RecurringJob("tidy", over.get("every", HOUR), run, over.get("lease", timedelta(seconds=30)))


async def stored() -> Job:
    row = await Job.find_row({"name": "tidy"})
    assert row is not None
    return Job.from_row(row)


class Runs:
    """Counts its runs, and how many were at work at once at most."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.count = 0
        self.most_at_once = 0
        self.begun = asyncio.Event()
        self._now = 0
        self._seconds = seconds

    async def __call__(self) -> str | None:
        self.count += 1
        self.begun.set()
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self._now -= 1
        return f"run {self.count}"


class TestRunIfDue:
    async def test_due_job_runs_and_is_due_again_an_hour_after_it_began(self) -> None:
        runs = Runs()
        job = make_job(runs)
        await JobService.register(job, clock=lambda: NOON)

        await JobService.run_if_due(job, clock=lambda: NOON + timedelta(minutes=5))

        after = await stored()
        assert runs.count == 1
        assert (after.run_count, after.last_result, after.last_error) == (1, "run 1", None)
        assert after.last_started_at == NOON + timedelta(minutes=5)
        assert after.next_run_at == NOON + timedelta(minutes=65)
        assert (after.owner, after.leased_until) == (None, None)

    async def test_job_that_is_not_due_is_left_alone(self) -> None:
        runs = Runs()
        job = make_job(runs)
        await JobService.register(job, clock=lambda: NOON)
        before = await stored()

        assert await JobService.run_if_due(job, clock=lambda: NOON - timedelta(seconds=1)) is None

        assert runs.count == 0
        assert await stored() == before

    async def test_failing_job_keeps_its_error_and_its_schedule(self) -> None:
        async def fail() -> str | None:
            raise RuntimeError("no disk")

        job = make_job(fail)
        await JobService.register(job, clock=lambda: NOON)

        await JobService.run_if_due(job, clock=lambda: NOON)

        after = await stored()
        assert after.last_error == "RuntimeError: no disk"
        assert after.next_run_at == NOON + HOUR
        assert after.leased_until is None

    async def test_race_of_fifty_workers_runs_a_due_job_once(self) -> None:
        for round in range(5):
            runs = Runs(0.02)
            job = make_job(runs)
            at = NOON + 2 * round * HOUR

            async def due(at: datetime = at, job: RecurringJob = job) -> Job | None:
                await JobService.register(job, clock=lambda: at)
                return await JobService.run_if_due(job, clock=lambda: at)

            finished = await asyncio.gather(*(due() for _ in range(50)))

            assert runs.count == 1
            assert sum(job is not None for job in finished) == 1
            assert (await stored()).run_count == round + 1

    async def test_job_of_a_killed_worker_is_taken_over_when_its_lease_is_over(self) -> None:
        runs = Runs()
        job = make_job(runs)
        await JobService.register(job, clock=lambda: NOON)
        await Job.change({"name": "tidy"}, {"$set": {"owner": PydanticObjectId(), "leased_until": NOON + timedelta(seconds=30)}})

        assert await JobService.run_if_due(job, clock=lambda: NOON + timedelta(seconds=29)) is None
        assert await JobService.run_if_due(job, clock=lambda: NOON + timedelta(seconds=30)) is not None
        assert runs.count == 1

    async def test_lease_is_renewed_while_the_job_runs(self) -> None:
        over = asyncio.Event()

        async def work() -> str:
            await over.wait()
            return "done"

        async def leased_until(*, other_than: datetime | None) -> datetime | None:
            async with asyncio.timeout(patiently(3)):
                while True:
                    found = (await stored()).leased_until
                    if found != other_than:
                        return found
                    await asyncio.sleep(0.02)

        job = make_job(work, lease=timedelta(seconds=2))
        await JobService.register(job)
        first = asyncio.create_task(JobService.run_if_due(job))
        lease_over = await leased_until(other_than=None)
        await leased_until(other_than=lease_over)

        assert lease_over is not None
        assert await JobService.run_if_due(job, clock=lambda: lease_over) is None
        over.set()
        finished = await first
        assert finished is not None
        assert (finished.run_count, finished.last_result) == (1, "done")

    async def test_worker_that_lost_its_lease_stops_and_does_not_report(self) -> None:
        runs = Runs(300)
        job = make_job(runs, lease=timedelta(seconds=0.4))
        await JobService.register(job)
        mine = asyncio.create_task(JobService.run_if_due(job))
        await asyncio.wait_for(runs.begun.wait(), patiently(2))
        other = PydanticObjectId()
        await Job.change({"name": "tidy"}, {"$set": {"owner": other}})

        assert await asyncio.wait_for(mine, patiently(2)) is None

        after = await stored()
        assert (after.owner, after.run_count) == (other, 0)

    async def test_cancelled_worker_gives_the_job_back_at_once(self) -> None:
        runs = Runs(300)
        job = make_job(runs)
        await JobService.register(job)
        mine = asyncio.create_task(JobService.run_if_due(job))
        await asyncio.wait_for(runs.begun.wait(), patiently(2))

        mine.cancel()
        with pytest.raises(asyncio.CancelledError):
            await mine

        after = await stored()
        assert (after.owner, after.leased_until, after.run_count) == (None, None, 0)
        quick = Runs()
        assert await JobService.run_if_due(make_job(quick)) is not None
        assert quick.count == 1


class TestSecondsSinceReport:
    async def test_is_none_before_any_worker_and_counts_from_the_last_word_after(self) -> None:
        assert await JobService.seconds_since_report() is None
        await JobService.run_now(make_job(Runs()))
        reported = (await stored()).updated_at
        assert await JobService.seconds_since_report(clock=lambda: reported + timedelta(seconds=90)) == 90


class TestRunNow:
    async def test_runs_a_job_that_is_not_due(self) -> None:
        runs = Runs()
        job = make_job(runs)
        await JobService.register(job, clock=lambda: NOON)
        await JobService.run_if_due(job, clock=lambda: NOON)

        finished = await JobService.run_now(job, clock=lambda: NOON + timedelta(minutes=1))

        assert (runs.count, finished.run_count, finished.last_result) == (2, 2, "run 2")
        assert [row["name"] for row in await Job.find_rows({}, sort=[("name", 1)])] == ["tidy"]

    async def test_refuses_while_a_worker_runs_it(self) -> None:
        runs = Runs(300)
        job = make_job(runs)
        running = asyncio.create_task(JobService.run_now(job))
        await asyncio.wait_for(runs.begun.wait(), patiently(2))
        before = await stored()

        with pytest.raises(JobRunningError) as refused:
            await JobService.run_now(job)

        assert refused.value.code == "job_running"
        assert await stored() == before
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def record(number: int) -> None:
    await run_transaction(
        lambda session: EventService.record(session, EventType.USER_CREATED, "user:1", payload={"number": number})
    )


class TestListDue:
    async def test_names_what_is_due_and_run_by_nobody(self) -> None:
        for name in ("due", "later", "running", "silent"):
            await JobService.register(RecurringJob(name, HOUR, Runs(0)))
        moment = now()
        await Job.change({"name": "later"}, {"$set": {"next_run_at": moment + timedelta(seconds=1)}})
        await Job.change({"name": "running"}, {"$set": {"leased_until": moment + timedelta(seconds=1)}})
        await Job.change({"name": "silent"}, {"$set": {"leased_until": moment - timedelta(seconds=1)}})
        assert sorted(await JobService.list_due(clock=lambda: moment)) == ["due", "silent"]


class Seen:
    """A consumer that notes what it saw, and when."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.news = asyncio.Event()
        self.consumer = Consumer("seen", {EventType.USER_CREATED}, self.handle)

    async def handle(self, event: Event) -> None:
        self.numbers.append(event.payload["number"])
        self.news.set()


class TestWorker:
    async def test_event_reaches_its_consumer_within_200_ms(self) -> None:
        seen = Seen()
        worker = asyncio.create_task(WorkerService.run([], [seen.consumer]))
        try:
            await record(0)
            await asyncio.wait_for(seen.news.wait(), patiently(5))
            await asyncio.sleep(0.5)  # the stream is open by now
            delays = []
            for number in range(1, 6):
                seen.news.clear()
                await record(number)
                begun = asyncio.get_running_loop().time()
                await asyncio.wait_for(seen.news.wait(), patiently(5))
                delays.append(asyncio.get_running_loop().time() - begun)
            assert sorted(delays)[2] < patiently(0.2)
            assert seen.numbers == [0, 1, 2, 3, 4, 5]
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)

    async def test_two_workers_share_the_jobs_and_one_of_them_pumps(self) -> None:
        seen, runs = Seen(), Runs(0.05)
        job = make_job(runs, every=timedelta(seconds=0.2))
        workers = [asyncio.create_task(WorkerService.run([job], [seen.consumer])) for _ in range(2)]
        for number in range(20):
            await record(number)
            await asyncio.sleep(0.05)
        workers[0].cancel()
        await asyncio.gather(workers[0], return_exceptions=True)
        await record(20)
        try:
            async with asyncio.timeout(patiently(5)):
                while len(seen.numbers) < 21:
                    seen.news.clear()
                    await seen.news.wait()
        finally:
            workers[1].cancel()
            await asyncio.gather(workers[1], return_exceptions=True)

        assert seen.numbers == list(range(21))
        assert runs.most_at_once == 1
        assert runs.count >= 2
        names = [row["name"] for row in await Job.find_rows({}, sort=[("name", 1)])]
        assert names == [PUMP, "tidy"]

    async def test_ends_where_the_driver_loses_the_cancellation(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = asyncio.Event()

        async def asked_and_lost(job: RecurringJob) -> None:
            asked.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(30)

        monkeypatch.setattr(JobService, "run_if_due", asked_and_lost)
        worker = asyncio.create_task(WorkerService.run([make_job(Runs())], []))
        await asyncio.wait_for(asked.wait(), patiently(5))
        worker.cancel()

        ended, _ = await asyncio.wait([worker], timeout=patiently(5))

        assert ended == {worker}

    async def test_consumer_that_fails_does_not_stop_the_others(self) -> None:
        async def fail(event: Event) -> None:
            raise RuntimeError("down")

        seen = Seen()
        failing = Consumer("failing", {EventType.USER_CREATED}, fail)
        worker = asyncio.create_task(WorkerService.run([], [failing, seen.consumer]))
        await record(1)
        try:
            await asyncio.wait_for(seen.news.wait(), patiently(5))
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
        assert seen.numbers == [1]

    async def test_database_that_goes_away_is_waited_for(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = Seen()
        real = EventService.pump
        outages = 3

        async def shaky(consumers: list[Consumer], *, now: datetime | None = None) -> int:
            nonlocal outages
            if outages:
                outages -= 1
                raise AutoReconnect("gone")
            return await real(consumers, now=now)

        monkeypatch.setattr(EventService, "pump", staticmethod(shaky))
        monkeypatch.setattr(worker_module, "IDLE_SECONDS", 0.05)
        worker = asyncio.create_task(WorkerService.run([], [seen.consumer]))
        await record(1)
        try:
            await asyncio.wait_for(seen.news.wait(), patiently(8))
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
        assert outages == 0
        (row,) = await Job.find_rows({})
        assert (now() - row["updated_at"]) < timedelta(seconds=patiently(5))


async def test_pump_is_a_leased_job_of_six_seconds() -> None:
    assert event_pump([]).lease == timedelta(seconds=6)


def test_r13_nothing_waits_longer_than_half_a_minute_for_a_killed_worker(settings: Settings) -> None:
    """A lease is renewed for as long as the work takes, so that none needs to be as long as that."""
    jobs = make_jobs(settings)
    assert max(job.lease for job in jobs) <= timedelta(seconds=30)
    assert {job.name: job.lease.total_seconds() for job in jobs if job.name in ("resolve_payments", "settle_owed")} == {
        "resolve_payments": 10,
        "settle_owed": 15,
    }
