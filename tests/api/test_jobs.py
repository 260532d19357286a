from datetime import timedelta

import httpx2
import pytest
from beanie import PydanticObjectId

from models.audit import AuditEntry
from models.base import now
from models.database import Database, Session, run_transaction
from models.events import Checkpoint, DeadLetter, Event, EventType
from models.jobs import Job
from models.users import Role
from services.deadletters import DeadLetterService
from services.events import MAX_FAILURES, Consumer, EventService
from services.jobs import JobService, RecurringJob
from tests.api.conftest import Headers, SignIn


@pytest.fixture
async def admin(as_role: SignIn) -> Headers:
    return await as_role(Role.ADMIN)


async def keep_job(name: str, **over: object) -> Job:
    return await Job(**{"name": name, "next_run_at": now() + timedelta(hours=1), **over}).store()


async def record(*types: EventType) -> list[Event]:
    async def work(session: Session) -> list[Event]:
        return [
            await EventService.record(session, type, f"user:{PydanticObjectId()}", payload={"email": "x@y.z"}) for type in types
        ]

    return await run_transaction(work)


class TestListJobs:
    async def test_each_state_is_told(self, client: httpx2.AsyncClient, admin: Headers, database: Database) -> None:
        moment, owner = now(), PydanticObjectId()
        minute = timedelta(minutes=1)
        await keep_job("a_running", owner=owner, leased_until=moment + minute, last_started_at=moment, next_run_at=moment)
        await keep_job("b_idle", last_result="3 posts", run_count=7, last_finished_at=moment)
        await keep_job("c_due", next_run_at=moment)
        await keep_job("d_overdue", next_run_at=moment - 2 * minute, last_error="RuntimeError: no")
        await keep_job("e_abandoned", owner=owner, leased_until=moment - 2 * minute, next_run_at=moment - 3 * minute)
        await keep_job("f_taken_over_soon", owner=owner, leased_until=moment, next_run_at=moment - 60 * minute)

        jobs = (await client.get("/api/v1/jobs", headers=admin)).json()

        assert {job["name"]: job["state"] for job in jobs} == {
            "a_running": "running",
            "b_idle": "idle",
            "c_due": "due",
            "d_overdue": "overdue",
            "e_abandoned": "overdue",
            "f_taken_over_soon": "due",
        }
        assert (jobs[0]["owner"], jobs[1]["owner"], jobs[4]["owner"]) == (str(owner), None, None)
        assert jobs[0]["owned_since"] == moment.isoformat().replace("+00:00", "Z")
        assert (jobs[1]["last_result"], jobs[1]["run_count"], jobs[3]["last_error"]) == ("3 posts", 7, "RuntimeError: no")


class TestRequestJobRun:
    async def test_whichever_worker_looks_next_runs_it(
        self, client: httpx2.AsyncClient, admin: Headers, database: Database
    ) -> None:
        runs = []

        async def run() -> str:
            runs.append(1)
            return "done"

        job = RecurringJob("tidy", timedelta(hours=1), run)
        await JobService.register(job)
        assert await JobService.run_if_due(job) is not None
        assert await JobService.run_if_due(job) is None

        answer = await client.post("/api/v1/jobs/tidy/run", headers=admin)

        assert (answer.status_code, answer.json()["state"]) == (202, "due")
        assert await JobService.run_if_due(job) is not None
        assert await JobService.run_if_due(job) is None
        assert len(runs) == 2
        (entry,) = await AuditEntry.find_rows({"action": "job.requested"})
        assert entry["subject"] == "job:tidy"

    async def test_not_while_it_runs_and_not_what_is_unknown(
        self, client: httpx2.AsyncClient, admin: Headers, database: Database
    ) -> None:
        job = await keep_job("tidy", owner=PydanticObjectId(), leased_until=now() + timedelta(minutes=1))
        running = await client.post("/api/v1/jobs/tidy/run", headers=admin)
        assert (running.status_code, running.json()["code"]) == (409, "job_running")
        assert (await Job.find_rows({}))[0]["next_run_at"] == job.next_run_at
        unknown = await client.post("/api/v1/jobs/nothing/run", headers=admin)
        assert (unknown.status_code, unknown.json()["code"]) == (404, "job_not_found")
        assert await AuditEntry.find_rows({"action": "job.requested"}) == []


class TestConsumers:
    async def test_how_far_each_came_and_why_it_stands_still(
        self, client: httpx2.AsyncClient, admin: Headers, database: Database
    ) -> None:
        async def fail(event: Event) -> None:
            raise RuntimeError("no")

        async def pass_by(event: Event) -> None: ...

        await record(*[EventType.USER_CREATED] * 3)
        types = {EventType.USER_CREATED}
        await EventService.pump([Consumer("failing", types, fail), Consumer("fine", types, pass_by)])

        failing, fine = (await client.get("/api/v1/events/consumers", headers=admin)).json()

        assert (failing["name"], failing["sequence"], failing["lag"], failing["failures"]) == ("failing", 0, 3, 1)
        assert failing["last_error"] == "RuntimeError: no"
        assert failing["retry_at"] is not None
        assert (fine["name"], fine["sequence"], fine["lag"], fine["last_error"]) == ("fine", 3, 0, None)


class TestDeadLetters:
    async def test_r13_poison_is_set_aside_shown_and_handled_on_request(
        self, client: httpx2.AsyncClient, admin: Headers, database: Database
    ) -> None:
        handled: list[PydanticObjectId] = []
        is_mended = False

        async def handle(event: Event) -> None:
            if not is_mended:
                raise RuntimeError("poison")
            handled.append(event.id)

        consumer = Consumer("test", {EventType.USER_CREATED}, handle)
        first, second = await record(EventType.USER_CREATED, EventType.USER_CREATED)
        moment = now()
        for _ in range(2 * MAX_FAILURES):
            await EventService.pump([consumer], now=moment)
            moment += timedelta(minutes=10)

        page = (await client.get("/api/v1/events/dead-letters?limit=1", headers=admin)).json()
        (newest,) = page["items"]
        assert (newest["event_id"], newest["event_type"], newest["error"]) == (
            str(second.id),
            "user.created",
            "RuntimeError: poison",
        )
        assert "x@y.z" not in str(page)
        rest = await client.get(f"/api/v1/events/dead-letters?consumer=test&cursor={page['next_cursor']}", headers=admin)
        assert rest.status_code == 400  # the cursor of another list
        rest = await client.get(f"/api/v1/events/dead-letters?cursor={page['next_cursor']}", headers=admin)
        assert [letter["event_id"] for letter in rest.json()["items"]] == [str(first.id)]

        path = f"/api/v1/events/dead-letters/{newest['id']}/replay"
        assert (await client.post(path, headers=admin)).json()["replay_at"] is not None
        assert await DeadLetterService.replay_requested([consumer]) == 0
        assert [row["replay_at"] for row in await DeadLetter.find_rows({})] == [None, None]

        is_mended = True
        everything = await client.post("/api/v1/events/consumers/test/replay", headers=admin)
        assert (everything.status_code, everything.json()) == (202, {"replayed_count": 2})
        assert await DeadLetterService.replay_requested([consumer]) == 2
        assert handled == [first.id, second.id]
        assert await DeadLetter.find_rows({}) == []
        assert (await client.post(path, headers=admin)).json()["code"] == "dead_letter_not_found"

    async def test_nothing_is_asked_of_a_consumer_nobody_knows(
        self, client: httpx2.AsyncClient, admin: Headers, database: Database
    ) -> None:
        await Checkpoint(consumer="sequencer").store()
        for name in ("nobody", "sequencer"):
            answer = await client.post(f"/api/v1/events/consumers/{name}/replay", headers=admin)
            assert (answer.status_code, answer.json()["code"]) == (404, "consumer_not_found")
