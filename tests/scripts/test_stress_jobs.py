"""RELIABILITY R13 in small: real workers, one of them killed by SIGKILL while it sends. `make stress-jobs` is the whole."""

from pathlib import Path

from tests.scripts.processes import run_script


def test_r13_killed_worker_is_followed_and_every_message_arrives(tmp_path: Path) -> None:
    ended = run_script(tmp_path, "stress_jobs", "--events", "40", "--kills", "1", "--no-terminate", COLUMNS="200")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "40 messages, 1 workers killed" in ended.stdout
