"""SIM-2, N-01 to N-04 and R17 in small: the real script against a real server, and how it judges. `make stress` is the whole."""

from pathlib import Path
from random import Random

import pytest

from scripts.benchmark.load import Answer
from scripts.load.goals import judged
from scripts.load.meter import Kind, Meter, Outcome, Sample, percentile
from scripts.load.people import Metronome, outcome_of
from scripts.load.report import Result, Step
from scripts.load.watch import Look, Weight
from tests.scripts.processes import run_program

# What it measures is for people; a busy machine may take as long as it likes.
STRESS = """
import sys
import typer
from scripts import stress
from tests.smallshop import tiny_samples
report = ["--together", "--report", sys.argv[1]]
sys.argv[1:] = ["--steps", "3,6", "--seconds", "0.5", "--think", "0.05", "--patience", "1000", *report]
with tiny_samples():
    typer.run(stress.main)
"""


def test_sim_2_n_03_people_are_answered_and_a_report_is_written(tmp_path: Path) -> None:
    ended = run_program(tmp_path, "-c", STRESS, str(tmp_path / "report"), COLUMNS="200")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    text = (tmp_path / "report.md").read_text()
    for goal in ("N-01 met", "N-02 met", "crowd met: 6 people at once", "answers met: 0 of ", "books met: 0 differences"):
        assert goal in text
    page = (tmp_path / "report.html").read_text()
    assert "Plotly.newPlot" in page
    assert "src=" not in page.split("<body>")[1].split("<script>")[0]


def test_percentile_is_a_value_that_was_measured() -> None:
    assert [percentile([1, 2, 3, 4], share) for share in (0.5, 0.95, 0.25)] == [2, 4, 1]
    assert percentile([], 0.95) == 0.0


@pytest.mark.parametrize(
    ("kind", "status", "code", "outcome"),
    [
        (Kind.CHECKOUT, 201, "", Outcome.DONE),
        (Kind.POST, 304, "", Outcome.DONE),
        (Kind.CHECKOUT, 400, "payment_declined", Outcome.BY_RULE),
        (Kind.POST, 400, "payment_declined", Outcome.FAILED),
        (Kind.CODE, 429, "too_many_attempts", Outcome.TURNED_AWAY),
        (Kind.POST, 503, "database_unavailable", Outcome.TURNED_AWAY),
        (Kind.POST, 500, "internal_error", Outcome.FAILED),
    ],
)
def test_what_counts_as_what(kind: Kind, status: int, code: str, outcome: Outcome) -> None:
    assert outcome_of(kind, Answer(status, "", b'{"code": "%s"}' % code.encode()))[0] is outcome


async def test_metronome_keeps_its_rate_whoever_asks() -> None:
    pace = Metronome(1_000_000)
    for _ in range(3):
        await pace.rest(Random(1))


class TestJudged:
    def test_r17_memory_that_grows_after_it_settled_and_any_5xx_are_told(self) -> None:
        result = _mixed(memory=[100, 150, 150, 200], reasons=["503 overloaded"])

        told = {str(verdict) for verdict in judged(result) if not verdict.is_met}

        assert told == {
            "R17 MISSED: 1 of 2 requests got no answer, or one of 5xx",
            "R17 MISSED: application's memory from 150 to 200 MiB after settling, +33.3% (goal under +20%)",
        }

    def test_n_01_kind_that_is_furthest_past_its_limit_is_named(self) -> None:
        result = _mixed(memory=[100] * 4, seconds={Kind.POST: 0.15, Kind.CART: 0.2, Kind.CHECKOUT: 0.19})

        told = [str(verdict) for verdict in judged(result)][:2]

        assert told == [
            "N-01 MISSED: stretch 3: p95 of cart 200 ms (goal 100); in time: 0 of 2 kinds",
            "N-02 met: stretch 3: p95 of checkout 190 ms (goal 200); in time: 1 of 1 kinds",
        ]


def _mixed(*, memory: list[float], reasons: list[str] | None = None, seconds: dict[Kind, float] | None = None) -> Result:
    """Three stretches of ten seconds."""
    meter = Meter()
    for kind, taken in (seconds or {Kind.POST: 0.01}).items():
        meter.samples.append(Sample(2, kind, 25.0, taken, Outcome.DONE))
    for reason in reasons or []:
        meter.note(Kind.POST, 25.0, Outcome.TURNED_AWAY, reason, step=2)
    steps = [Step(f"stretch {n + 1}", 5, 10.0 * n, Look(10.0, {"app": 1.0}, 1, 1, {}, {})) for n in range(3)]
    weights = [Weight(10.0 + 5 * n, {"app": held}, 20) for n, held in enumerate(memory)]
    return Result("mixed", [("Data", "none")], steps, meter, weights or [], [])
