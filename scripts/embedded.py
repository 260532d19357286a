"""The embedded database server's life: found, started, awaited, restarted when it dies, and never left behind."""

import contextlib
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

# Without the first a kill loses acknowledged writes, without the second a restart takes eleven seconds.
FLAGS = ("--sync-on-commit", "--log-file-max", "64MB", "--cache-size", "256M")


class EmbeddedServer:
    """One server process on a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?retryWrites=false"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        binary = Path(sys.executable).parent / "secantusd-rs"
        log = self.folder / "server.log"
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [binary, *FLAGS, "--port", str(self.port), "--storage-path", self.folder / "data"],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = re.search(rb"listening on 127\.0\.0\.1:(\d+)", log.read_bytes())
            if found:
                self.port = int(found.group(1))
                return
            time.sleep(0.02)
        raise RuntimeError("the embedded server did not start")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
            self.process.kill()
            self.process.wait()
