"""The sandbox gateway beside a development Agora: started with it, restarted when it dies, ended with it."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import structlog

from scripts.bound import bound
from scripts.sandbox.gateway import SECRET_VARIABLE

log = structlog.get_logger(__name__)

MEMORY_BYTES = 1024 * 1024 * 1024
STOP_SECONDS = 2.0
PAUSE = 1.0  # before it is started again


class SandboxProcess:
    """One sandbox on a data folder, which keeps its books, its port and the secret it shares with Agora.

    Agora listens for it and hands the open port down, so that nobody waits for the sandbox to get ready, and callers of one that
    has just died are answered by the next. Call `start` on a thread that lives as long as the sandbox should: Linux ends it
    together with the thread that started it.
    """

    def __init__(self, folder: Path, webhook_url: str) -> None:
        self.folder = folder.resolve()
        self.webhook_url = webhook_url
        self.secret = kept_secret(self.folder)
        self.process: subprocess.Popen[bytes] | None = None
        self._listener = _listening(_kept_port(self.folder))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def start(self) -> None:
        """Start it; requests are taken from now on and answered when it is ready."""
        _state_file(self.folder).write_text(json.dumps({"port": self._listener.getsockname()[1]}))
        self._spawn()

    async def supervise(self) -> None:
        """Start it again whenever it dies; ends only when cancelled."""
        while True:
            if self.process is not None and self.process.poll() is not None:
                log.warning("sandbox_gateway_died", exit_code=self.process.returncode)
                await asyncio.sleep(PAUSE)
                self._spawn()
            await asyncio.sleep(0.5)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
            self.process.kill()
            self.process.wait()
            self.process = None
        self._listener.close()

    def _spawn(self) -> None:
        listener = str(self._listener.fileno())
        books = str(self.folder / "sandbox.jsonl")
        program = [sys.executable, "-m", "scripts.sandbox.gateway", "--listener", listener, "--books", books]
        with (self.folder / "sandbox.log").open("wb") as output:
            self.process = subprocess.Popen(
                [*bound(MEMORY_BYTES), *program, "--webhook-url", self.webhook_url],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=Path(__file__).parents[2],
                env={**os.environ, SECRET_VARIABLE: self.secret},
                pass_fds=[self._listener.fileno()],
                start_new_session=True,
            )


def _listening(port: int) -> socket.socket:
    """A port of loopback that is listened on: this one if it is free, or any."""
    try:
        return socket.create_server(("127.0.0.1", port), backlog=128)
    except OSError:
        return socket.create_server(("127.0.0.1", 0), backlog=128)


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
