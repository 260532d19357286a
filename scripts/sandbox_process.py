"""The sandbox gateway beside a development Agora: started with it, restarted when it dies, ended with it."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import structlog

from scripts.embedded import LaunchError
from scripts.sandbox_gateway import SECRET_VARIABLE

log = structlog.get_logger(__name__)

MEMORY_BYTES = 1024 * 1024 * 1024
READY_SECONDS = 20.0
STOP_SECONDS = 2.0
PAUSE = 1.0  # before it is started again


class SandboxStartError(LaunchError):
    """The sandbox gateway cannot be started."""


class SandboxProcess:
    """One sandbox on a data folder, which keeps its books, its port and the secret it shares with Agora.

    Call `start` on a thread that lives as long as the sandbox should: Linux ends it together with the thread that started it.
    """

    def __init__(self, folder: Path, webhook_url: str) -> None:
        self.folder = folder.resolve()
        self.webhook_url = webhook_url
        self.secret = kept_secret(self.folder)
        self.port = _kept_port(self.folder)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it listens: where it did the last time, if that port is still free."""
        try:
            self._spawn()
        except SandboxStartError:
            if self.port == 0:
                raise
            self.port = 0
            self._spawn()
        _state_file(self.folder).write_text(json.dumps({"port": self.port}))

    async def supervise(self) -> None:
        """Start it again, on the same port, whenever it dies; ends only when cancelled."""
        while True:
            if self.process is not None and self.process.poll() is not None:
                log.warning("sandbox_gateway_died", exit_code=self.process.returncode)
                await asyncio.sleep(PAUSE)
                try:
                    self._spawn()
                except SandboxStartError as error:
                    log.warning("sandbox_gateway_stays_away", reason=str(error))
            await asyncio.sleep(0.5)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
            self.process.kill()
            self.process.wait()
            self.process = None

    def _spawn(self) -> None:
        guard = [sys.executable, "-I", "-S", str(Path(__file__).with_name("bound.py")), str(os.getpid()), str(MEMORY_BYTES)]
        books = str(self.folder / "sandbox.jsonl")
        program = [sys.executable, "-m", "scripts.sandbox_gateway", "--port", str(self.port), "--books", books]
        log_file = self.folder / "sandbox.log"
        with log_file.open("wb") as output:
            self.process = subprocess.Popen(
                [*guard, *program, "--webhook-url", self.webhook_url],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=Path(__file__).parent.parent,
                env={**os.environ, SECRET_VARIABLE: self.secret},
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self._is_ready(log_file, deadline):
            time.sleep(0.02)

    def _is_ready(self, log_file: Path, deadline: float) -> bool:
        assert self.process is not None
        said = log_file.read_text(errors="replace")
        first, _, _ = said.partition("\n")
        if first.startswith("listening on ") and "\n" in said:
            self.port = int(first.rpartition(":")[2])
            return True
        if self.process.poll() is not None or time.monotonic() > deadline:
            self.process.kill()
            raise SandboxStartError(f"The sandbox gateway did not start; see {log_file}.")
        return False


@contextlib.contextmanager
def running(sandbox: SandboxProcess) -> Iterator[SandboxProcess]:
    """The sandbox, for as long as the block lasts."""
    sandbox.start()
    try:
        yield sandbox
    finally:
        sandbox.stop()


def kept_secret(folder: Path) -> str:
    """The secret that Agora and its sandbox share, made once and kept beside the data."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "sandbox-secret"
    with contextlib.suppress(FileExistsError), os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as new:
        new.write(f"whsec_{b64encode(secrets.token_bytes(32)).decode()}")
    return file.read_text()


def kept_url(folder: Path) -> str | None:
    """Where the sandbox of this data folder listened last; None when it never did."""
    port = _kept_port(folder)
    return f"http://127.0.0.1:{port}" if port else None


def _kept_port(folder: Path) -> int:
    try:
        return int(json.loads(_state_file(folder).read_text())["port"])
    except (FileNotFoundError, ValueError, KeyError):
        return 0


def _state_file(folder: Path) -> Path:
    return folder / "sandbox.json"
