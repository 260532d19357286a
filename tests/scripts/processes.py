"""Real Agora processes for the tests of the launcher."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from scripts.ports import free_port
from tests.races import patiently

ROOT = Path(__file__).parents[2]
PROGRAM_SECONDS = 270

Outside = Callable[..., None]
"""`outside(folder, NAME="value")`: what a program would find, were it a process of its own."""


def environment(folder: Path, **over: str) -> dict[str, str]:
    """What a script runs with: its own data folder, and nothing of Agora's from the outside.

    The same programs start again and again, so what Python compiled is kept, whatever the outside says.
    """
    outside = {key: value for key, value in os.environ.items() if not key.startswith(("AGORA_", "MONGODB_", "DATABASE_"))}
    return {**outside, "AGORA_DATA": str(folder), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "", **over}


def run_program(folder: Path, *arguments: str, **over: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, until it ends; one that hangs is killed with all it started, before the run of tests is."""
    command = [sys.executable, *arguments]
    with subprocess.Popen(
        command,
        env=environment(folder, **over),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        try:
            said = program.communicate(timeout=PROGRAM_SECONDS)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, program.returncode, *said)


def run_script(folder: Path, name: str, *arguments: str, **over: str) -> subprocess.CompletedProcess[str]:
    return run_program(folder, "-m", f"scripts.{name}", *arguments, **over)


def wait_until(condition: Callable[[], Any], seconds: float) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):  # gone, or gone between the opening and the reading
        return False


class Agora:
    """One `make run` on a folder, without sample data."""

    def __init__(self, folder: Path, *, port: int | None = None, **over: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or free_port()
        self.output = folder / f"agora-{time.monotonic_ns()}.out"
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=patiently(6))
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scripts.serve", "--port", str(self.port), "--no-seed"],
                env=environment(folder, **over),
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> "Agora":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def ready(self) -> "Agora":
        """Wait until it answers; if it does not, it is killed."""

        def answers() -> bool:
            assert self.process.poll() is None, self.output.read_text()
            return self.status("/readyz") == 200

        try:
            assert wait_until(answers, patiently(12)), self.output.read_text()
        except BaseException:
            self.kill()
            raise
        return self

    def status(self, path: str) -> int | None:
        """The status of one request; None when nothing listens."""
        try:
            return self.client.get(path).status_code
        except httpx2.TransportError:
            return None

    @property
    def state(self) -> dict[str, int]:
        state: dict[str, int] = json.loads((self.folder / "server.json").read_text())
        return state

    @property
    def database_uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.state['port']}/?retryWrites=false"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.client.close()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(patiently(6))
        finally:
            self.kill()
