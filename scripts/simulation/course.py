"""How far a world has come, and what it took."""

import contextlib
import os
import platform
import resource
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from models.database import LANE

_TOLD = 10  # times, where there is no terminal
_LOOKED_AT = 120.0  # seconds from which a bar tells how fast it is: nights are quicker than days


@contextlib.contextmanager
def telling(console: Console, days: int) -> Iterator[Callable[[float], None]]:
    """Says how many of the days are over and about how long the rest will take: by a bar, or by lines where nobody watches."""
    if not console.is_terminal:
        yield _Lines(console, days)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, speed_estimate_period=_LOOKED_AT) as bar:
        task = bar.add_task("Days", total=days)

        def show(played: float) -> None:
            bar.update(task, completed=played, description="Days" if played < days else "Counting")

        yield show


class _Lines:
    def __init__(self, console: Console, days: int) -> None:
        self._console = console
        self._days = days
        self._told = 0
        self._watch = Stopwatch()

    def __call__(self, played: float) -> None:
        if played * _TOLD < (self._told + 1) * self._days:
            return
        self._told = int(played * _TOLD / self._days)
        seconds = self._watch.seconds
        left = seconds * (self._days - played) / played
        self._console.print(
            f"{played:.1f} of {self._days} days in {_clock(seconds)}, about {_clock(left)} to go", highlight=False, soft_wrap=True
        )


class Stopwatch:
    """The time since it was made, and the processor time of this process and of those that it started and that ended since."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._own, self._others = time.process_time(), _others()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    @property
    def elapsed(self) -> str:
        return _clock(self.seconds)

    def told(self) -> str:
        own, others = time.process_time() - self._own, _others() - self._others
        return (
            f"Played in {self.elapsed}: {own:.0f} s of processor time here, {others:.0f} s in the database. "
            f"{os.cpu_count()} processors, Python {platform.python_version()}, lane {LANE}."
        )


def _others() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _clock(seconds: float) -> str:
    """As `0:02:05`."""
    return str(timedelta(seconds=round(seconds)))
