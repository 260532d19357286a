"""The scripts that measure run, compare and judge; their figures are for people, and no test looks at them."""

from pathlib import Path

from tests.scripts.processes import run_program, run_script

# A process of its own, because it turns on the logs of the whole process.
BENCH = """
from scripts import bench, bench_middleware
from tests.smallshop import tiny_samples
bench.CHECKOUTS = 2_000
bench_middleware.REQUESTS = 200
with tiny_samples():
    bench.main(rounds=1, seconds=0.05, scale=1)
"""

# That it heals within 5 seconds is measured by `make stress-crash`, where nothing else runs beside it.
CRASH = """
import sys
from scripts import stress_crash
stress_crash.AGORA = (sys.executable, "-m", "tests.scripts.small_serve")
stress_crash.HEALTHY_SECONDS = 60.0
stress_crash.main(rounds=2, load_seconds=0.5)
"""


def test_bench_compares_every_kind_of_work(tmp_path: Path) -> None:
    ended = run_program(tmp_path, "-c", BENCH, COLUMNS="200")

    assert ended.returncode == 0, ended.stderr
    publication = ("post by slug", "unchanged since", "page of 20 posts", "comment created")
    searches = ("product search, never repeated", "product search, repeated", "product search with facets")
    shop = (*searches, "product page", "checkout of two lines")
    for work in (*publication, *shop, "a route that does nothing"):
        assert work in ended.stdout


def test_login_times_are_compared_for_every_request_that_could_tell(tmp_path: Path) -> None:
    ended = run_script(tmp_path, "timing_login", "--tries", "2", COLUMNS="200")

    assert ended.returncode in (0, 1), ended.stderr  # two tries are no measurement
    for request in ("login", "forgot", "register"):
        assert request in ended.stdout


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
