"""The scripts that measure run, compare and judge; their figures are for people, and no test looks at them."""

from pathlib import Path

import pytest
from rich.console import Console

from scripts import bench, timing_login
from scripts.benchmark import middleware as bench_middleware
from tests.scripts.processes import Outside, run_program, run_script
from tests.smallshop import tiny_samples

# That it heals within 5 seconds is measured by `make stress-crash`, where nothing else runs beside it.
CRASH = """
import sys
from scripts import stress_crash
stress_crash.AGORA = (sys.executable, "-m", "tests.scripts.small_serve")
stress_crash.HEALTHY_SECONDS = 60.0
stress_crash.main(rounds=2, load_seconds=0.5)
"""


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs, which these programs set up for a whole process, stay as they are."""
    for program in (bench_middleware, timing_login):
        monkeypatch.setattr(program, "configure_logs", lambda level, style: None)


@pytest.mark.usefixtures("quiet")
def test_bench_compares_every_kind_of_work(
    tmp_path: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outside(tmp_path)
    monkeypatch.setattr(bench, "console", Console(width=200))
    monkeypatch.setattr(bench, "CHECKOUTS", 2_000)
    monkeypatch.setattr(bench_middleware, "REQUESTS", 200)

    with tiny_samples():
        bench.main(rounds=1, seconds=0.05, scale=1)

    told = capsys.readouterr().out
    publication = ("post by slug", "unchanged since", "page of 20 posts", "comment created")
    searches = ("product search, never repeated", "product search, repeated", "product search with facets")
    shop = (*searches, "product page", "checkout of two lines")
    for work in (*publication, *shop, "a route that does nothing"):
        assert work in told


@pytest.mark.usefixtures("quiet")
def test_login_times_are_compared_for_every_request_that_could_tell(
    tmp_path: Path, outside: Outside, capsys: pytest.CaptureFixture[str]
) -> None:
    outside(tmp_path)

    with pytest.raises(SystemExit) as ended:
        timing_login.main(tries=1)

    assert ended.value.code in (0, 1)  # one try is no measurement
    told = capsys.readouterr().out
    for request in ("login", "forgot", "register"):
        assert request in told


def test_r10_one_kill_of_everything_and_one_of_the_database_lose_nothing(tmp_path: Path) -> None:
    ended = run_program(tmp_path, "-c", CRASH, COLUMNS="200")

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_r10_r11_r12_r16_checkouts_survive_kills_of_database_application_and_worker(tmp_path: Path) -> None:
    """In small: `make stress-checkout` is the whole, and holds the recovery to five seconds."""
    limits = ("--rounds", "2", "--shoppers", "8", "--load-seconds", "0.5", "--answered", "60")
    ended = run_script(tmp_path, "stress_checkout", *limits, COLUMNS="200")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert {goal for goal in ("R10", "R11", "R12", "R16") if f"{goal} met: " in ended.stdout} == {"R10", "R11", "R12", "R16"}
    assert "MISSED" not in ended.stdout
