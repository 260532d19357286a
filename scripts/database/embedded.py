"""The embedded database server's life: found, started, awaited, restarted when it dies, and never left behind."""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import structlog

from scripts.bound import bound

log = structlog.get_logger(__name__)

SYNC = "--sync-on-commit"  # without it a kill loses acknowledged writes
# Without the second a restart takes eleven seconds.
FLAGS = (SYNC, "--log-file-max", "64MB", "--cache-size", "256M")
PYTHON_FLAGS = (SYNC, "--cache-size", "256M")  # the Python server has no log files of that kind

MEMORY_BYTES = 2_560 * 1024 * 1024
LOG_BYTES = 5_000_000  # a longer server.log is put aside at the next start
READY_SECONDS = 60.0
STOP_SECONDS = 2.0  # a blocked operation would hold SIGTERM up for 20; what was acknowledged is on disk anyway
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0  # however often it died, it is back, with its start of half a second, within five
STEADY_SECONDS = 30.0  # a server that lived this long is restarted without further back-off


class LaunchError(Exception):
    """Agora cannot start; the message is one sentence for the person who started it."""


class EmbeddedServerError(LaunchError):
    """The embedded server cannot serve."""


class DataFolderBusyError(EmbeddedServerError):
    """Another Agora holds this data folder."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        who = f" (process {pid})" if pid else ""
        super().__init__(f"Another Agora{who} is using the data in {folder}: stop it, or choose another folder with DATA=.")


class EmbeddedServer:
    """One server process on a data folder of its own, which it keeps locked between `start` and `stop`.

    Call `start` and `supervise` on a thread that lives as long as the server should (the main thread): Linux ends the server
    together with the thread that started it.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        """Without `durable` a crash loses acknowledged writes: for data nobody will miss, such as that of tests."""
        self.folder = folder.resolve()
        self.durable = durable
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.notice = ""  # a sentence worth showing: a slower server took the place of the usual one
        self._lock: IO[str] | None = None
        self._started_at = 0.0

    @property
    def uri(self) -> str:
        # Its retry memory does not survive a restart, and a write costs a third without it.
        return f"mongodb://127.0.0.1:{self.port}/?retryWrites=false"

    @property
    def log_file(self) -> Path:
        return self.folder / "server.log"

    def start(self) -> None:
        """Lock the folder, end an orphan of an earlier Agora, start the server and wait until it listens.

        Raises DataFolderBusyError when another Agora is at work there, EmbeddedServerError when no server can be started.
        """
        command = self._command()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _take_lock(self.folder)
        try:
            _end_orphan(self.folder)
            if self.log_file.exists() and self.log_file.stat().st_size > LOG_BYTES:
                self.log_file.replace(self.log_file.with_suffix(".log.1"))
            try:
                self._spawn_and_wait(command)
            except EmbeddedServerError:
                if not self._put_unfinished_store_aside():
                    raise
                self._spawn_and_wait(command)
            self._finished_mark.touch()
        except BaseException:
            self.stop()
            raise

    async def supervise(self) -> None:
        """Start the server again, on the same port, whenever it dies; ends only when cancelled."""
        pause = FIRST_PAUSE
        while True:
            code = await self._exit_code()
            lived = time.monotonic() - self._started_at
            pause = FIRST_PAUSE if lived > STEADY_SECONDS else min(LONGEST_PAUSE, pause * 2)
            log.error("database_died", exit_code=code, lived_seconds=round(lived), again_in_seconds=pause)
            await asyncio.sleep(pause)
            try:
                await self._start_again()
                log.warning("database_restarted", port=self.port)
            except EmbeddedServerError as error:
                log.error("database_did_not_start", reason=str(error))

    async def _exit_code(self) -> int:
        assert self.process is not None
        while True:
            code = self.process.poll()
            if code is not None:
                return code
            await asyncio.sleep(0.1)

    async def _start_again(self) -> None:
        begin = self._spawn(self._command())
        deadline = time.monotonic() + READY_SECONDS
        while True:
            if self._is_ready(begin, deadline):
                return
            await asyncio.sleep(0.02)

    def stop(self) -> None:
        """End the server and release the folder; harmless when it does not run."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
            self.process.kill()
            self.process.wait()
            self.process = None
            _state_file(self.folder).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def _finished_mark(self) -> Path:
        return self.folder / "created"

    def _spawn_and_wait(self, command: list[str]) -> None:
        begin = self._spawn(command)
        deadline = time.monotonic() + READY_SECONDS
        while not self._is_ready(begin, deadline):
            time.sleep(0.02)

    def _put_unfinished_store_aside(self) -> bool:
        """True when the store was being created by a start that was killed; it never served, and the server cannot open it."""
        data = self.folder / "data"
        if self._finished_mark.exists() or not data.is_dir():
            return False
        data.replace(self.folder / f"data.unfinished-{time.time_ns()}")
        return True

    def _command(self) -> list[str]:
        scripts = Path(sysconfig.get_path("scripts"))
        for name, flags in (("secantusd-rs", FLAGS), ("secantusd-py", PYTHON_FLAGS)):
            program = scripts / name
            if os.access(program, os.X_OK):
                if name != "secantusd-rs":
                    self.notice = f"{name} serves the data, because secantusd-rs is not installed: expect it to be slower."
                wanted = [flag for flag in flags if self.durable or flag != SYNC]
                return [str(program), *wanted, "--storage-path", str(self.folder / "data")]
        raise EmbeddedServerError(
            "There is no embedded database server for this platform: set MONGODB_URI to a MongoDB replica set, "
            "or run `docker compose up`."
        )

    def _spawn(self, command: list[str]) -> int:
        """Start the process; returns where its lines begin in the log."""
        with self.log_file.open("ab") as output:
            begin = output.tell()
            self.process = subprocess.Popen(
                [*bound(MEMORY_BYTES), *command, "--port", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                # Ctrl-C in the terminal is for Agora alone, which stops its server last.
                start_new_session=True,
            )
        self._started_at = time.monotonic()
        _write_state(self.folder, self.process.pid, self.port)
        return begin

    def _is_ready(self, begin: int, deadline: float) -> bool:
        assert self.process is not None
        with self.log_file.open("rb") as lines:
            lines.seek(begin)
            said = lines.read(65_536)
        found = re.search(rb"listening on 127\.0\.0\.1:(\d+)", said)
        if found:
            self.port = int(found.group(1))
            _write_state(self.folder, self.process.pid, self.port)
            return True
        if self.process.poll() is not None:
            last = said.decode(errors="replace").strip().rpartition("\n")[2]
            raise EmbeddedServerError(f"The embedded database server ended at once: {last or 'see ' + str(self.log_file)}")
        if time.monotonic() > deadline:
            self.process.kill()
            raise EmbeddedServerError(f"The embedded database server did not get ready; see {self.log_file}.")
        return False


def running_server(folder: Path) -> str | None:
    """The URI of the server that a running Agora keeps on this folder; None when none does."""
    state = _read_state(folder)
    if not state.get("port"):
        return None
    try:
        with _lock_file(folder).open("r") as probe:
            fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return f"mongodb://127.0.0.1:{state['port']}/?retryWrites=false"
    except FileNotFoundError:
        return None
    return None


def server_pid(folder: Path) -> int | None:
    """The process id of the server that was last started on this folder."""
    return _read_state(folder).get("server")


def _lock_file(folder: Path) -> Path:
    return folder / "lock"


def _state_file(folder: Path) -> Path:
    return folder / "server.json"


def _take_lock(folder: Path) -> IO[str]:
    handle = _lock_file(folder).open("a")
    for attempt in range(10):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # `running_server` of another process holds it for an instant
            if attempt < 9:
                time.sleep(0.05)
        else:
            return handle
    handle.close()
    raise DataFolderBusyError(folder, _read_state(folder).get("agora"))


def _read_state(folder: Path) -> dict[str, int]:
    try:
        state: dict[str, int] = json.loads(_state_file(folder).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return state


def _write_state(folder: Path, pid: int, port: int) -> None:
    """Who runs here, for other scripts and for the next start. Replaced whole, so that nobody reads half of it."""
    draft = _state_file(folder).with_suffix(".new")
    draft.write_text(json.dumps({"agora": os.getpid(), "server": pid, "port": port}))
    draft.replace(_state_file(folder))


def _end_orphan(folder: Path) -> None:
    """End the server of an Agora that was killed: at once on platforms that let it live on, and wait until it is gone."""
    pid = _read_state(folder).get("server")
    if pid is None:
        return
    for _ in _until(10.0):
        if str(folder / "data") not in _command_line(pid):
            break
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    _state_file(folder).unlink(missing_ok=True)


def _until(seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.02)


def _command_line(pid: int) -> str:
    """What the process was started with; empty when there is no such process (or it has ended and is not collected yet)."""
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    return subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
