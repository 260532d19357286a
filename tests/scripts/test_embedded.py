import asyncio
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest

from scripts.database import embedded
from scripts.database.embedded import DataFolderBusyError, EmbeddedServer, EmbeddedServerError, running_server
from tests.races import patiently
from tests.scripts.processes import ROOT, environment, is_alive, wait_until

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends the child only on Linux")


@pytest.fixture
def started(tmp_path: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path / "agora")
    server.start()
    yield server
    server.stop()


def connect(server: EmbeddedServer) -> "pymongo.MongoClient[dict[str, Any]]":
    return pymongo.MongoClient(server.uri, serverSelectionTimeoutMS=30_000)


def make_broken_store(folder: Path) -> None:
    folder.mkdir()
    for name in ("WiredTiger", "WiredTiger.turtle", "WiredTiger.wt"):
        (folder / name).write_bytes(b"half")


class TestStart:
    def test_serves_on_loopback_with_every_flag_and_a_memory_limit(self, started: EmbeddedServer) -> None:
        assert started.process is not None
        assert started.uri == f"mongodb://127.0.0.1:{started.port}/?retryWrites=false"
        if sys.platform == "linux":
            command = Path(f"/proc/{started.process.pid}/cmdline").read_text().split("\0")
            assert " ".join(embedded.FLAGS) in " ".join(command)
            assert str(started.folder / "data") in command
            limits = Path(f"/proc/{started.process.pid}/limits").read_text()
            assert [line.split()[3] for line in limits.splitlines() if line.startswith("Max data size")] == ["2684354560"]

    def test_data_survives_stop_and_start(self, tmp_path: Path) -> None:
        server = EmbeddedServer(tmp_path)
        for number in range(2):
            server.start()
            with connect(server) as client:
                assert client.agora.things.count_documents({}) == number
                client.agora.things.insert_one({"number": number})
            server.stop()

    def test_second_server_on_the_folder_is_one_clear_sentence(self, started: EmbeddedServer) -> None:
        with pytest.raises(DataFolderBusyError) as refused:
            EmbeddedServer(started.folder).start()
        assert str(refused.value) == (
            f"Another Agora (process {os.getpid()}) is using the data in {started.folder}: "
            "stop it, or choose another folder with DATA=."
        )
        with connect(started) as client:
            client.admin.command("ping")

    def test_orphan_of_a_killed_agora_is_ended_and_its_data_kept(self, tmp_path: Path) -> None:
        """Where the kernel does not end the child, the next start does."""
        program = Path(sysconfig.get_path("scripts")) / "secantusd-rs"
        orphan = subprocess.Popen(
            [program, *embedded.FLAGS, "--port", "0", "--storage-path", tmp_path / "data"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert wait_until(lambda: (tmp_path / "data" / "secantus_oplog.wt").exists(), patiently(10))
        (tmp_path / "server.json").write_text(f'{{"agora": 1, "server": {orphan.pid}, "port": 1}}')

        server = EmbeddedServer(tmp_path)
        server.start()

        assert orphan.wait(patiently(1)) == -signal.SIGKILL
        with connect(server) as client:
            client.admin.command("ping")
        server.stop()

    def test_store_whose_creation_was_killed_is_put_aside(self, tmp_path: Path) -> None:
        make_broken_store(tmp_path / "data")
        server = EmbeddedServer(tmp_path)
        server.start()
        with connect(server) as client:
            client.admin.command("ping")
        server.stop()
        assert len(list(tmp_path.glob("data.unfinished-*/WiredTiger.turtle"))) == 1

    def test_store_that_has_served_is_never_put_aside(self, tmp_path: Path) -> None:
        make_broken_store(tmp_path / "data")
        (tmp_path / "created").touch()
        with pytest.raises(EmbeddedServerError, match="ended at once"):
            EmbeddedServer(tmp_path).start()
        assert (tmp_path / "data" / "WiredTiger.turtle").read_bytes() == b"half"

    def test_recorded_pid_that_now_belongs_to_another_program_is_left_alone(self, tmp_path: Path) -> None:
        stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        (tmp_path / "server.json").write_text(f'{{"agora": 1, "server": {stranger.pid}, "port": 1}}')
        try:
            server = EmbeddedServer(tmp_path)
            server.start()
            server.stop()
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()

    def test_server_that_ends_at_once_says_why(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("a file where the folder should be")
        server = EmbeddedServer(tmp_path)
        with pytest.raises(EmbeddedServerError, match=r"^The embedded database server ended at once: .+"):
            server.start()
        assert running_server(tmp_path) is None

    def test_python_server_takes_its_place_and_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        scripts = tmp_path / "bin"
        scripts.mkdir()
        (scripts / "secantusd-py").symlink_to(Path(sysconfig.get_path("scripts")) / "secantusd-py")
        monkeypatch.setattr(sysconfig, "get_path", lambda name: str(scripts))
        server = EmbeddedServer(tmp_path / "agora")
        server.start()
        with connect(server) as client:
            client.agora.things.insert_one({"number": 1})
        server.stop()
        assert server.notice == "secantusd-py serves the data, because secantusd-rs is not installed: expect it to be slower."

    def test_platform_without_a_server_is_pointed_to_mongodb_uri_and_compose(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
        with pytest.raises(EmbeddedServerError) as refused:
            EmbeddedServer(tmp_path / "agora").start()
        assert "MONGODB_URI" in str(refused.value)
        assert "docker compose" in str(refused.value)
        assert not (tmp_path / "agora").exists()


class TestStop:
    def test_ends_the_process_and_is_harmless_twice(self, started: EmbeddedServer) -> None:
        assert started.process is not None
        pid = started.process.pid
        assert running_server(started.folder) == started.uri
        started.stop()
        started.stop()
        assert not is_alive(pid)
        assert running_server(started.folder) is None

    @linux_only
    def test_server_ends_with_a_killed_parent(self, tmp_path: Path) -> None:
        program = (
            "import sys, time; from pathlib import Path; from scripts.database.embedded import EmbeddedServer\n"
            "server = EmbeddedServer(Path(sys.argv[1])); server.start(); print(server.process.pid, flush=True); time.sleep(60)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], env=environment(tmp_path), cwd=ROOT, stdout=subprocess.PIPE
        ) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            assert is_alive(pid)
            parent.kill()
        assert wait_until(lambda: not is_alive(pid), patiently(3))


class TestSupervise:
    async def test_killed_server_comes_back_on_its_port_with_its_data(self, started: EmbeddedServer) -> None:
        assert started.process is not None
        port, pid = started.port, started.process.pid
        with connect(started) as client:
            client.agora.things.insert_one({"number": 1})
        supervisor = asyncio.create_task(started.supervise())
        os.kill(pid, signal.SIGKILL)
        begun = time.monotonic()
        try:
            while time.monotonic() - begun < patiently(5):
                await asyncio.sleep(0.02)
                if (
                    started.process.pid != pid
                    and f"listening on 127.0.0.1:{port}" in started.log_file.read_text().splitlines()[-1]
                ):
                    break
        finally:
            supervisor.cancel()
            await asyncio.gather(supervisor, return_exceptions=True)
        assert time.monotonic() - begun < patiently(5)
        assert started.port == port
        assert started.process.pid != pid
        with connect(started) as client:
            assert client.agora.things.count_documents({}) == 1

    async def test_r12_however_often_it_dies_it_is_not_awaited_for_long(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With a start of half a second, it is back within the five seconds of the goal."""
        pauses: list[float] = []

        class Dying(EmbeddedServer):
            async def _exit_code(self) -> int:
                self._started_at = time.monotonic() - 1
                return -signal.SIGKILL

            async def _start_again(self) -> None:
                if len(pauses) == 20:
                    raise asyncio.CancelledError

        async def pause(seconds: float) -> None:
            pauses.append(seconds)

        monkeypatch.setattr(asyncio, "sleep", pause)
        with pytest.raises(asyncio.CancelledError):
            await Dying(tmp_path).supervise()

        assert pauses == [0.2, 0.4, 0.8, 1.6, *[2.0] * 16]
