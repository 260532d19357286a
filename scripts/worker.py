"""`make worker`: the background jobs and event consumers alone, beside any number of API processes and other workers."""

import asyncio
import signal
import sys
from typing import Annotated

import structlog
import typer

from scripts.database.connection import Reached, connected, explained, reach_database, run_connected
from services.indexes import IndexService
from services.jobs import JobService
from services.logs import configure_logs
from services.settings import Settings
from services.worker import WorkerService, make_consumers, make_jobs

log = structlog.get_logger(__name__)


SILENT_SECONDS = 60.0  # a pump renews its lease every second and a half


def main(check: Annotated[bool, typer.Option("--check", help="Only tell whether some worker is at work")] = False) -> None:
    """Work until SIGINT or SIGTERM; exits 0 then. With --check, exits 0 if a worker reported lately and 1 if none did."""
    if check:
        run_connected(report_age)
    with explained(), reach_database() as reached:
        configure_logs(reached.settings.log_level, style="console" if sys.stderr.isatty() else "json")
        asyncio.run(run(reached))


async def report_age(_: Settings) -> int:
    age = await JobService.seconds_since_report()
    print("No worker has ever reported." if age is None else f"A worker reported {age:.1f} s ago.")
    return 0 if age is not None and age < SILENT_SECONDS else 1


async def run(reached: Reached) -> None:
    settings = reached.settings
    async with connected(settings) as database:
        if settings.embedded:
            # A worker that was killed left its transactions behind, whose locks would stand for a minute. Those of others that
            # are under way begin again.
            await database.release_orphans()
        await IndexService.create_missing()
        jobs, consumers = make_jobs(settings), make_consumers(settings)
        tasks = [asyncio.create_task(WorkerService.run(jobs, consumers))]
        if reached.server is not None:
            tasks.append(asyncio.create_task(reached.server.supervise()))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, tasks[0].cancel)
        log.info("worker_started", jobs=[job.name for job in jobs], consumers=[consumer.name for consumer in consumers])
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    typer.run(main)
