"""The jobs of the worker: how they fare, and running one now."""

from api.web.admin.desk import ADMIN, Desk, Form
from api.web.admin.layout import Action, Badge, Page, Row, Table, Text, Value
from api.web.admin.views import Group, Move, View
from models.jobs import JobRead, JobState
from services.jobs import JobService
from services.users.permissions import Permission

_PATH = f"{ADMIN}/jobs"
_TONES = {JobState.OVERDUE: "bad", JobState.RUNNING: "good", JobState.DUE: "wait"}


async def _list(desk: Desk) -> Page:
    jobs = await JobService.list_jobs(viewer=desk.viewer)
    columns = ["Job", "State", "Runs", "Last run", "What came of it", "Last failure", "Next run"]
    return Page(
        title="Jobs",
        tables=[Table("By name", columns, [_row(one) for one in jobs], "No worker has run yet.")],
    )


def _row(job: JobRead) -> Row:
    cells: list[Value] = [
        job.name,
        Badge(job.state, _TONES.get(job.state, "plain")),
        job.run_count,
        job.last_finished_at,
        Text(job.last_result) if job.last_result else None,
        Text(job.last_error) if job.last_error else None,
        job.next_run_at,
    ]
    return Row(cells, [Action(f"{_PATH}/{job.name}/run", "Run now", about=f"the job {job.name}")])


async def _run(desk: Desk, form: Form) -> None:
    await JobService.request_run(desk.request.path_params["name"], viewer=desk.viewer)


JOBS = View(
    "jobs",
    "Jobs",
    "what the worker does by the clock",
    Group.SYSTEM,
    Permission.MANAGE_SYSTEM,
    pages={"": _list},
    moves={"/{name}/run": Move(_run, _list, "The worker takes the job up within seconds.")},
)
