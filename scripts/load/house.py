"""A throw-away Agora in separate processes, each of which can be killed by itself: database, application and worker.

The sandbox gateway runs beside them and is never killed: its books are what the shop's are held against.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2

from scripts.database.embedded import EmbeddedServer
from scripts.ports import free_port
from scripts.sandbox.process import SandboxProcess

SECRET = "a-secret-for-stress-only-0123456789abcdef"
DATABASE = "stress"
START_SECONDS = 60.0

PARTS = ("database", "app", "worker")


class House:
    """Start it and stop it on the main thread: Linux ends database and sandbox together with the thread that started them."""

    def __init__(self, folder: Path, *, program: str = "scripts.serve", **over: str) -> None:
        """`program` is the application, `over` what the processes find in their environment besides."""
        self.folder = folder
        self.program = program
        self._over = over
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = EmbeddedServer(folder)
        self.sandbox = SandboxProcess(folder, f"{self.url}/api/v1/payments/webhooks/sandbox")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        # One for all: a client that is made anew reads certificates, which costs those who are starting the processor.
        self._client = httpx2.Client(base_url=self.url, timeout=2, trust_env=False)

    @property
    def environment(self) -> dict[str, str]:
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("AGORA_", "MONGODB_", "DATABASE_"))}
        return {
            **outside,
            "PYTHONDONTWRITEBYTECODE": "",  # the same programs start again and again
            "MONGODB_URI": self.database.uri,
            "AGORA_EMBEDDED": "true",
            "AGORA_DATABASE": DATABASE,
            "AGORA_DATA": str(self.folder),
            "AGORA_SECRET_KEY": SECRET,
            "AGORA_SANDBOX_GATEWAY_URL": self.sandbox.url,
            "AGORA_SANDBOX_GATEWAY_SECRET": self.sandbox.secret,
            "AGORA_GATEWAY_TIMEOUT_SECONDS": "2",
            "AGORA_TRUSTED_PROXIES": '["127.0.0.1/32"]',  # so that shoppers can come from addresses of their own
            "AGORA_ANONYMOUS_REQUESTS": "1000000",
            "AGORA_USER_REQUESTS": "1000000",
            "AGORA_COUPON_ATTEMPTS": "1000000",
            "LOG_LEVEL": "ERROR",
            **self._over,
        }

    def open(self) -> None:
        """The database and the sandbox; the rest when there is something to sell."""
        self.database.start()
        self.sandbox.start()

    def start(self, part: str) -> None:
        if part == "database":
            self.database.stop()  # what the kill left of it; the port is kept
            self.database.start()
            return
        arguments = [self.program, "--port", str(self.port), "--no-seed"] if part == "app" else ["scripts.worker"]
        with (self.folder / f"{part}.out").open("ab") as output:
            self.processes[part] = subprocess.Popen(
                [sys.executable, "-m", *arguments], env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )

    def kill(self, part: str) -> None:
        process = self.database.process if part == "database" else self.processes[part]
        assert process is not None
        process.send_signal(signal.SIGKILL)
        process.wait()

    def await_healthy(self) -> None:
        """Raises SystemExit when it does not come back."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.is_healthy():
                return
            time.sleep(0.05)
        raise SystemExit(f"Agora did not come back; see {self.folder / 'app.out'}.")

    def is_healthy(self) -> bool:
        try:
            return self._client.get("/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    @property
    def pids(self) -> dict[str, int]:
        """Of everything that runs, by what it is."""
        beside = {"database": self.database.process, "gateway": self.sandbox.process}
        return {name: process.pid for name, process in [*self.processes.items(), *beside.items()] if process is not None}

    def end(self, part: str) -> int:
        """Ask application or worker to end; its exit code."""
        process = self.processes.pop(part)
        process.terminate()
        return process.wait(START_SECONDS)

    def close(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._client.close()
        self.sandbox.stop()
        self.database.stop()
