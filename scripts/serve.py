"""`make run`: database, sample data, API and worker in one command, and a clean end to all of them."""

import asyncio
import contextlib
import gc
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Annotated

import typer
import uvicorn
import uvloop
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from api.app import create_app, freeze_startup_objects
from models.idempotency import IdempotentAnswer
from models.users import User
from scripts import USUAL_THRESHOLD
from scripts.database.connection import Reached, connected, explained, reach_database, sandbox_beside
from scripts.database.embedded import LaunchError
from scripts.samples.publication import DEMO_ACCOUNTS
from scripts.seed import accounts_table, ensure_seeded
from services.indexes import IndexService
from services.logs import configure_logs
from services.settings import Environment, Settings
from services.worker import WorkerService, make_consumers, make_jobs

GRACE_SECONDS = 7  # for requests in flight; with the database's two seconds an end takes less than ten
CONNECTIONS = 2000  # a thousand people at once, and some (N-03); beyond, uvicorn answers 503 by itself
OTHER_FILES = 200
FRAME_BYTES = 65_536

console = Console()


def main(
    port: Annotated[int, typer.Option(min=1, max=65_535)] = 8000,
    host: Annotated[str, typer.Option(help="The address to listen on; behind a proxy or in a container 0.0.0.0")] = "127.0.0.1",
    seed: Annotated[bool, typer.Option(help="In development, fill an empty database with the sample data")] = True,
) -> None:
    """Serve Agora until SIGINT or SIGTERM; exits 0 then, and 1 with one sentence when it cannot start."""
    # Until the loop handles them, both signals unwind the stack, so that what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    allow_files(CONNECTIONS + OTHER_FILES)
    with explained(), contextlib.suppress(KeyboardInterrupt), bound_socket(host, port) as listener:
        url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
        with reach_database(alone=True, url=url) as database, sandbox_beside(database, url) as reached:
            configure_logs(reached.settings.log_level, style="console" if sys.stderr.isatty() else "json")
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(run(reached, listener, url, seed=seed))


def allow_files(wanted: int) -> None:
    """So many open files and connections, where the system gives fewer at first (often 1,024) and lets one ask for more."""
    given, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if given != resource.RLIM_INFINITY and given < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


class PortTakenError(LaunchError):
    """Something else listens on the port, or it may not be listened on."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"Agora cannot listen on {host}:{port} ({reason}): choose another port with PORT={port + 1}.")


@contextlib.contextmanager
def bound_socket(host: str, port: int) -> Iterator[socket.socket]:
    """The port, taken before anything else is started. Raises PortTakenError."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise PortTakenError(host, port, (error.strerror or str(error)).lower()) from error
        yield listener


class ApiServer(uvicorn.Server):
    """uvicorn with the worker beside it, and with signals left to `run`."""

    def __init__(self, config: uvicorn.Config, settings: Settings) -> None:
        super().__init__(config)
        self.announce: Callable[[], None] = lambda: None  # called once requests are taken
        self._settings = settings
        self._worker: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # Not before the lifespan has bound the documents, which the worker uses as well.
        await super().startup(sockets)
        freeze_startup_objects()
        gc.set_threshold(*USUAL_THRESHOLD)
        if self._settings.worker_in_process:
            self._worker = asyncio.create_task(WorkerService.run(make_jobs(self._settings), make_consumers(self._settings)))
        self.announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._worker is not None:
            await ended(self._worker)
        await super().shutdown(sockets)


async def run(reached: Reached, listener: socket.socket, url: str, *, seed: bool) -> None:
    """Prepare the database, then serve until a signal; a second one does not wait for requests in flight."""
    api = api_server(reached.settings)
    supervised = [process for process in (reached.server, reached.sandbox) if process is not None]
    supervisors = [asyncio.create_task(process.supervise()) for process in supervised]
    work = asyncio.create_task(_prepare_and_serve(reached, api, listener, url, seed=seed))

    def stop() -> None:
        if api.started:
            api.force_exit = api.should_exit
            api.should_exit = True
        else:
            work.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        await work
    except asyncio.CancelledError:
        return
    finally:
        for supervisor in supervisors:
            await ended(supervisor)


async def _prepare_and_serve(reached: Reached, api: ApiServer, listener: socket.socket, url: str, *, seed: bool) -> None:
    settings = reached.settings
    async with connected(settings) as database:
        if settings.embedded:
            await database.release_orphans()
            # Whoever held a claim on an Idempotency-Key is gone with the server it spoke to: its client need not wait.
            await IdempotentAnswer.collection().delete_many({"status": None})
        await IndexService.create_missing()  # before the sample data; the application reports what differs
        if seed and settings.environment is Environment.DEVELOPMENT:
            await ensure_seeded(settings=settings)
        has_samples = await User.find_row({"username": DEMO_ACCOUNTS[0].username}, {"_id": 1}) is not None
    api.announce = lambda: announce(url, reached, accounts=has_samples and not settings.is_production)
    await api.serve([listener])


def api_server(settings: Settings) -> ApiServer:
    config = uvicorn.Config(
        create_app(settings),
        loop="none",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=FRAME_BYTES,
        access_log=False,
        log_config=None,
        proxy_headers=False,  # `trusted_proxies` decides, in one place
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return ApiServer(config, settings)


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it is over."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def announce(url: str, reached: Reached, *, accounts: bool) -> None:
    """Print where everything is, and who can sign in."""
    places = Table.grid(padding=(0, 2))
    places.add_row("API docs", f"{url}/docs")
    places.add_row("Dashboard", f"{url}/dashboard")
    places.add_row("Health", f"{url}/readyz")
    places.add_row("Database", f"embedded, in {reached.server.folder}" if reached.server else "MONGODB_URI")
    if reached.sandbox is not None:
        places.add_row("Payments", f"sandbox gateway, {reached.sandbox.url} (play money: pay with tok_ok)")
    if accounts:
        console.print(accounts_table())
    console.print(Panel(places, title=f"Agora runs on {url}", subtitle="Ctrl-C stops it", expand=False))
    if reached.server is not None and reached.server.notice:
        console.print(reached.server.notice)


if __name__ == "__main__":
    typer.run(main)
