"""`make stress`: the people of the simulated world, as many at once as asked for, over HTTP on a real Agora of their own.

PROFILE=steps raises their number step by step, up to a thousand; each rests between two requests. PROFILE=mixed sends so many
requests a second for ten minutes (RELIABILITY R17). Database, sandbox gateway, application and worker are processes of their own
on a throw-away folder, with the limits they are shipped with. Afterwards everything stored is recounted, and a report written:
one page with charts that needs nothing else, and its text beside it.
"""

import asyncio
import contextlib
import platform
import tempfile
from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import structlog
import typer
import uvloop
from rich.console import Console

from models.database import LANE
from scripts.database.connection import connected
from scripts.load.account import still_open
from scripts.load.goals import judged
from scripts.load.house import DATABASE, SECRET, House
from scripts.load.meter import Meter
from scripts.load.people import Author, Manager, Metronome, Pace, Person, Thinking, Town
from scripts.load.report import Result, Step, as_page, as_text
from scripts.load.town import settle_town, size_of_town
from scripts.load.watch import Watch
from services.events import EventService
from services.mail import MemoryMailer
from services.reconcile import ReconcileService
from services.settings import Settings
from services.worker import make_consumers

QUIET_SECONDS = 120.0
_LIMITS = {
    f"AGORA_{name.upper()}": str(Settings.model_fields[name].default)
    for name in ("anonymous_requests", "user_requests", "coupon_attempts")
}

console = Console()


class Profile(StrEnum):
    STEPS = "steps"
    MIXED = "mixed"


def main(
    profile: Annotated[Profile, typer.Option(help="More people with each step, or so many requests a second")] = Profile.STEPS,
    steps: Annotated[str, typer.Option(help="steps: how many people are there at once")] = "50,100,250,500,1000",
    minutes: Annotated[int, typer.Option(min=3, help="mixed: how many stretches of SECONDS")] = 10,
    seconds: Annotated[float | None, typer.Option(help="How long each lasts; 30 for steps, 60 for mixed")] = None,
    think: Annotated[float, typer.Option(help="Seconds a person rests between two requests, on average")] = 7.0,
    rate: Annotated[float, typer.Option(help="mixed: requests a second")] = 50.0,
    scale: Annotated[int, typer.Option(help="Of the sample data: 1, 10 or 100")] = 1,
    together: Annotated[bool, typer.Option("--together", help="The worker within the application, as make run has it")] = False,
    patience: Annotated[float, typer.Option(help="Times what an answer may take, for a machine that is busy")] = 1.0,
    report: Annotated[Path, typer.Option(help="Where the report goes, without its ending")] = Path("stress"),
) -> None:
    """Exits 0 when every goal is met, and 1 with those that are not."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    crowd = [int(part) for part in steps.split(",")] if profile is Profile.STEPS else [round(rate * think)] * minutes
    pace: Pace = Thinking(think) if profile is Profile.STEPS else Metronome(rate)
    length = seconds or (30.0 if profile is Profile.STEPS else 60.0)
    with tempfile.TemporaryDirectory(prefix="agora-stress-") as folder:
        house = House(
            Path(folder),
            program="scripts.load.serve",
            AGORA_WORKER_IN_PROCESS=str(together).lower(),
            **_LIMITS,
        )
        house.open()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                parts = ("app",) if together else ("app", "worker")
                result = runner.run(run(house, parts, profile, crowd, length, pace=pace, think=think, scale=scale))
        finally:
            house.close()
    verdicts = judged(result, patience=patience)
    text = as_text(result, verdicts)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.with_suffix(".md").write_text(text)
    report.with_suffix(".html").write_text(as_page(result, verdicts))
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print(f"{report.with_suffix('.html')} has the charts.")
    for verdict in verdicts:
        if not verdict.is_met:
            console.print(f"[red]{verdict}", highlight=False, soft_wrap=True)
    raise SystemExit(0 if all(verdict.is_met for verdict in verdicts) else 1)


async def run(
    house: House,
    parts: Sequence[str],
    profile: Profile,
    crowd: Sequence[int],
    seconds: float,
    *,
    pace: Pace,
    think: float,
    scale: int,
) -> Result:
    """Everything but the judgement. The books are looked at when all is settled and the processes have ended."""
    settings = Settings(_env_file=None, secret_key=SECRET, mongodb_uri=house.database.uri, database=DATABASE, embedded=True)
    async with connected(settings):
        town = await settle_town(settings, scale=scale, members=max(crowd))
        size = await size_of_town()
        for part in parts:
            house.start(part)
        await asyncio.to_thread(house.await_healthy)
        meter = Meter()
        watch = Watch(house, meter)
        weighing = asyncio.create_task(watch.keep_weighing())
        made = []
        async with people(house, town, meter, pace) as grow:
            for number, count in enumerate(crowd):
                label = f"{count:,} people" if profile is Profile.STEPS else f"stretch {number + 1}"
                if grow(count):
                    await asyncio.sleep(min(think, seconds / 2))  # who came meanwhile was not measured
                meter.step, before = number, await watch.look()
                await asyncio.sleep(seconds)
                after = await watch.look()
                meter.step = -1
                made.append(Step(label, count, before.at, after.since(before)))
                console.print(f"{label}: {after.since(before).answers / seconds:.0f} requests/s", style="dim")
        weighing.cancel()
        await asyncio.gather(weighing, return_exceptions=True)
        open_work = await still_open(QUIET_SECONDS)
        differences = [f"{count} {what} not settled" for what, count in open_work.items()]
        for part in parts:
            if house.end(part):
                differences.append(f"{part} did not end well")
        differences += await recounted(settings)
        return Result(str(profile), _facts(think, pace, size, parts), made, meter, watch.weights, differences)


@contextlib.asynccontextmanager
async def people(house: House, town: Town, meter: Meter, pace: Pace) -> AsyncIterator["Crowd"]:
    """A crowd that grows when called; at the end all of them leave, each after the answer it waits for."""
    crowd = Crowd(house, town, meter, pace)
    try:
        yield crowd
    finally:
        await crowd.leave()


class Crowd:
    """Of fifty people one writes and one manages; the others visit."""

    def __init__(self, house: House, town: Town, meter: Meter, pace: Pace) -> None:
        self._house = house
        self._town = town
        self._meter = meter
        self._pace = pace
        self._lives: dict[asyncio.Task[None], Person] = {}

    def __call__(self, count: int) -> bool:
        """Have so many there; true when somebody came."""
        newcomers = range(len(self._lives), count)
        for number in newcomers:
            kind = {1: Author, 2: Manager}.get(number % 50, Person)
            person = kind(number, self._town, port=self._house.port, meter=self._meter, pace=self._pace)
            self._lives[asyncio.create_task(person.live())] = person
        return bool(newcomers)

    async def leave(self) -> None:
        for task, person in self._lives.items():
            person.leave(task)
        ended = await asyncio.gather(*self._lives, return_exceptions=True)
        for error in ended:
            if error is not None and not isinstance(error, asyncio.CancelledError):
                raise error


async def recounted(settings: Settings) -> list[str]:
    """What is stored and is not what can be counted, once every event was handed on."""
    consumers = make_consumers(settings, mailer=MemoryMailer())
    while await EventService.pump(consumers):
        pass
    return [f"{row.collection} {row.field}: {row.stored} stored, {row.counted} counted" async for row in ReconcileService.drift()]


def _facts(think: float, pace: Pace, size: str, parts: Sequence[str]) -> list[tuple[str, str]]:
    rest = (
        f"exponentially distributed, {think:g} s on average, as TPC-W has it"
        if isinstance(pace, Thinking)
        else "as long as the rate of all together leaves them"
    )
    worker = "one worker" if "worker" in parts else "the worker within it"
    return [
        ("Data", size),
        ("Machine", f"{_cores()}, {_memory()}, {platform.system()}, Python {platform.python_version()}; shared with the load"),
        ("Lane", LANE),
        ("Processes", f"one application (uvicorn, one process), {worker}, embedded database, sandbox gateway"),
        ("People", f"each with a connection and a network address; between two requests they rest {rest}"),
        ("Limits", "as shipped"),
    ]


def _cores() -> str:
    told = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("model name")]
    return f"{len(models)} cores ({models[0] if models else platform.machine()})"


def _memory() -> str:
    kib = int(Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0])
    return f"{kib / 2**20:.0f} GiB"


if __name__ == "__main__":
    typer.run(main)
