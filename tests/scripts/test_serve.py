"""`make run` as real processes: start, neighbours, outages, ends."""

import contextlib
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pymongo
import pytest
from pymongo.errors import PyMongoError

from scripts import USUAL_THRESHOLD, serve
from scripts.database.embedded import EmbeddedServer, running_server
from scripts.ports import free_port
from tests.races import patiently, rounds
from tests.scripts.processes import ROOT, Agora, Outside, environment, is_alive, run_program, run_script, wait_until

PROFILES = "/api/v1/profiles"  # an unknown one is looked up in the database every time


@pytest.fixture(scope="module")
def agora(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agora]:
    """One Agora that the tests of this module share; each leaves it ready."""
    with Agora(tmp_path_factory.mktemp("agora") / "data").ready() as running:
        yield running


class TestStart:
    def test_says_where_everything_is(self, agora: Agora) -> None:
        said = agora.output.read_text()
        for path, status in {"/docs": 200, "/dashboard": 303, "/readyz": 200}.items():
            assert f"http://127.0.0.1:{agora.port}{path}" in said
            assert agora.status(path) == status

    def test_keeps_a_secret_that_only_its_owner_reads(self, agora: Agora) -> None:
        secret = agora.folder / "secret"
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert len(secret.read_text()) == 64

    def test_garbage_is_not_looked_for_while_programs_are_imported(self, tmp_path: Path) -> None:
        """A quarter of the start went into it; whoever only imports a part of it keeps what Python does."""
        told = "import gc, scripts; print(gc.get_threshold(), scripts.USUAL_THRESHOLD)"
        usual = run_program(tmp_path, "-c", told).stdout
        started = run_program(tmp_path, "-c", f"import sys; sys.argv[0] = '-m'; {told}").stdout
        assert usual.strip() == f"{USUAL_THRESHOLD} {USUAL_THRESHOLD}"
        assert started.strip() == f"(50000, 20, 100) {USUAL_THRESHOLD}"

    def test_worker_inside_reports(self, agora: Agora) -> None:
        assert wait_until(lambda: agora.client.get("/readyz").json()["worker"], patiently(5))

    def test_taken_port_is_one_sentence_and_nothing_is_started(
        self, agora: Agora, tmp_path: Path, outside: Outside, capsys: pytest.CaptureFixture[str]
    ) -> None:
        outside(tmp_path / "other")
        with pytest.raises(SystemExit) as ended:
            serve.main(port=agora.port)
        said = capsys.readouterr()
        assert ended.value.code == 1
        assert said.out == ""
        assert said.err == (
            f"Agora cannot listen on 127.0.0.1:{agora.port} (address already in use): "
            f"choose another port with PORT={agora.port + 1}.\n"
        )
        assert not (tmp_path / "other").exists()

    def test_second_agora_on_the_same_data_is_one_sentence(self, agora: Agora) -> None:
        ended = run_script(agora.folder, "serve", "--port", str(free_port()))
        assert ended.returncode == 1
        assert ended.stderr == (
            f"Another Agora (process {agora.process.pid}) is using the data in {agora.folder}: "
            "stop it, or choose another folder with DATA=.\n"
        )
        assert agora.status("/readyz") == 200

    def test_two_agoras_run_side_by_side(self, agora: Agora, tmp_path: Path) -> None:
        with Agora(tmp_path / "other").ready() as other:
            assert agora.status("/readyz") == 200
            assert other.state["port"] != agora.state["port"]
            assert other.stop(signal.SIGINT) == 0
        assert agora.status("/readyz") == 200

    def test_production_without_a_database_is_refused_before_anything_is_started(
        self, tmp_path: Path, outside: Outside, capsys: pytest.CaptureFixture[str]
    ) -> None:
        outside(
            tmp_path / "data",
            AGORA_ENVIRONMENT="production",
            AGORA_SECRET_KEY="k" * 40,
            AGORA_SMTP_HOST="mail.example.com",
        )
        with pytest.raises(SystemExit) as ended:
            serve.main(port=free_port())
        said = capsys.readouterr().err
        assert ended.value.code == 1
        assert "production needs MONGODB_URI" in said
        assert len(said.splitlines()) == 1
        assert not (tmp_path / "data").exists()

    def test_parallel_first_starts_create_each_index_once(self, tmp_path: Path) -> None:
        """R15: several processes on an empty store; ten of them in a thorough run."""
        count = rounds(3, 10)
        server = EmbeddedServer(tmp_path)
        server.start()
        command = [sys.executable, "-m", "scripts.indexes", "--create"]
        environ = environment(tmp_path, MONGODB_URI=server.uri, AGORA_SECRET_KEY="k" * 40)
        processes = [
            subprocess.Popen(command, env=environ, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(count)
        ]
        try:
            said = [process.communicate(timeout=patiently(12))[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
            server.stop()
        assert [process.returncode for process in processes] == [0] * count, said
        assert set(said) == {"Every declared index exists as declared.\n"}


class TestAllowFiles:
    @pytest.mark.parametrize(
        ("given", "most", "asked"),
        [(1024, 4096, (2200, 4096)), (1024, 1500, (1500, 1500)), (1024, -1, (2200, -1)), (4096, 4096, None), (-1, -1, None)],
    )
    def test_more_is_asked_for_where_there_is_more(
        self, given: int, most: int, asked: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limits: list[tuple[int, int]] = []
        monkeypatch.setattr(resource, "getrlimit", lambda kind: (given, most))
        monkeypatch.setattr(resource, "setrlimit", lambda kind, limit: limits.append(limit))

        serve.allow_files(2200)

        assert limits == ([] if asked is None else [asked])


class TestBeside:
    """Other scripts on the data of a running Agora use its server."""

    @pytest.mark.parametrize("script", ["indexes", "reconcile"])
    def test_script_reaches_the_running_server(self, agora: Agora, script: str) -> None:
        ended = run_script(agora.folder, script)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert ended.stderr == ""

    def test_worker_runs_beside_it_and_ends_on_sigterm(self, agora: Agora) -> None:
        with subprocess.Popen(
            [sys.executable, "-m", "scripts.worker"], env=environment(agora.folder), cwd=ROOT, stderr=subprocess.PIPE, text=True
        ) as worker:
            try:
                assert worker.stderr is not None
                assert "worker_started" in worker.stderr.readline()
                worker.terminate()
                assert worker.wait(patiently(3)) == 0
            finally:
                worker.kill()
        assert agora.status("/readyz") == 200


def kill_if_alive(pid: int) -> None:
    """A process that ends meanwhile is as good as killed."""
    if not is_alive(pid):
        time.sleep(0.02)
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class TestDatabaseDies:
    def test_answers_503_with_retry_after_and_heals_within_5_s(self, agora: Agora) -> None:
        """R12: the database is killed again and again; the application stays up and comes back by itself."""
        answers: list[httpx2.Response] = []
        over = threading.Event()

        def ask(method: str, path: str) -> None:
            with httpx2.Client(base_url=f"http://127.0.0.1:{agora.port}", timeout=patiently(3)) as client:
                while not over.is_set():
                    body = {"login": "nobody", "password": "correct horse"} if method == "POST" else None
                    answers.append(client.request(method, path, json=body))

        with ThreadPoolExecutor() as pool:
            asked = [("GET", "/readyz"), ("GET", f"{PROFILES}/nobody"), ("POST", "/api/v1/auth/login")]
            asking = [pool.submit(ask, *request) for request in asked]
            try:
                outage_ends = time.monotonic() + 3
                while time.monotonic() < outage_ends:
                    kill_if_alive(agora.state["server"])
                begun = time.monotonic()
                healed = wait_until(lambda: agora.status("/readyz") == 200, patiently(6))
                elapsed = time.monotonic() - begun
            finally:
                over.set()
            for future in asking:
                future.result()

        assert healed
        assert elapsed < patiently(5)
        assert {answer.status_code for answer in answers} <= {200, 401, 404, 422, 429, 503}
        refused = [answer for answer in answers if answer.status_code == 503]
        assert refused
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
        assert agora.process.poll() is None
        assert agora.status(f"{PROFILES}/nobody") == 404


class TestEnd:
    def test_r15_sigterm_answers_50_requests_in_flight_and_exits_0(self, agora: Agora) -> None:
        """They wait for a database that is stopped when the signal arrives. Runs last: it ends the shared Agora."""
        database, open_files = agora.state["server"], Path(f"/proc/{agora.process.pid}/fd")
        client = httpx2.Client(
            base_url=f"http://127.0.0.1:{agora.port}",
            timeout=patiently(3),
            limits=httpx2.Limits(max_connections=50),
            verify=False,
        )
        before = len(list(open_files.iterdir()))

        def ask(number: int) -> int:
            return client.get(f"{PROFILES}/nobody{number}").status_code

        os.kill(database, signal.SIGSTOP)
        with client, ThreadPoolExecutor(50) as pool:
            try:
                asking = [pool.submit(ask, number) for number in range(50)]
                assert wait_until(lambda: len(list(open_files.iterdir())) >= before + 50, patiently(3))
                time.sleep(0.3)  # what it accepted, it has read by now
                begun = time.monotonic()
                agora.process.terminate()
                time.sleep(0.3)
                assert not any(future.done() for future in asking)
            finally:
                os.kill(database, signal.SIGCONT)
            statuses = [future.result() for future in asking]
        assert agora.process.wait(patiently(3)) == 0
        assert time.monotonic() - begun < patiently(10)
        assert statuses == [404] * 50
        assert not is_alive(database)
        assert running_server(agora.folder) is None


class TestKill:
    def test_r10_kill_of_everything_loses_nothing_acknowledged_and_leaves_no_process(self, tmp_path: Path) -> None:
        """Writers are at work when Agora is killed -9; its database goes with it, and the next start is quick."""
        agora = Agora(tmp_path / "data").ready()
        database = agora.state["server"]
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(agora.database_uri, serverSelectionTimeoutMS=500)
        acknowledged: list[int] = []

        def write(writer: int) -> None:
            try:
                for number in range(writer, 1_000_000, 4):
                    client.agora.written.insert_one({"_id": number})
                    acknowledged.append(number)
            except PyMongoError:
                return

        with ThreadPoolExecutor(4) as pool:
            writing = [pool.submit(write, writer) for writer in range(4)]
            try:
                assert wait_until(lambda: len(acknowledged) > 500, patiently(10))
            finally:
                agora.kill()  # which ends the writers
            for future in writing:
                future.result()
        client.close()
        assert wait_until(lambda: not is_alive(database), patiently(2))

        begun = time.monotonic()
        with Agora(tmp_path / "data").ready() as again:
            assert time.monotonic() - begun < patiently(5)
            with pymongo.MongoClient[dict[str, Any]](again.database_uri) as after:
                stored = {row["_id"] for row in after.agora.written.find({}, {"_id": 1})}
            assert again.stop() == 0
        assert set(acknowledged) <= stored
