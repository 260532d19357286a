"""The worker from outside: its jobs, and runs on request."""

from typing import Annotated

from fastapi import Path

from api.dependencies import Allowed
from api.routing import make_router, refuses
from models.jobs import JobRead
from services.jobs import JobNotFoundError, JobRunningError, JobService
from services.users.permissions import Permission, Viewer

router = make_router("/jobs", "System: jobs and events")

SystemKeeper = Annotated[Viewer, Allowed(Permission.MANAGE_SYSTEM)]
JobName = Annotated[str, Path(max_length=100, description="The job's name", examples=["publish_due_posts"])]


@router.get("")
async def list_jobs(viewer: SystemKeeper) -> list[JobRead]:
    """Every job that a worker has known, by name: who runs it, what came of the last run, when it runs next."""
    return await JobService.list_jobs(viewer=viewer)


@router.post("/{name}/run", status_code=202, responses=refuses(JobNotFoundError, JobRunningError))
async def request_job_run(name: JobName, viewer: SystemKeeper) -> JobRead:
    """Have a job run now, whichever process is the worker; `last_finished_at` moves when it has."""
    return await JobService.request_run(name, viewer=viewer)
