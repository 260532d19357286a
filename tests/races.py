"""How far the tests of chance go: a little in every run, and as far as the environment says. It is read here and nowhere else.

`AGORA_RACE_SEEDS=50` runs every race with so many seeds, `HYPOTHESIS_PROFILE=thorough` draws as many random lives as the goals of
RELIABILITY name. `make stress-races` sets both.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, settings

from models.database import Session, run_transaction

_SHARING = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
_PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")


def patiently(goal: float) -> float:
    """A goal in seconds holds on a machine of its own (`AGORA_PATIENCE=1`); one that others use as well is given more."""
    return goal * float(os.environ.get("AGORA_PATIENCE", 10))


def seeds(few: int = 3) -> range:
    """The seeds of a race: `few` of them where the suite is run as a whole."""
    return range(int(os.environ.get("AGORA_RACE_SEEDS", few)))


def rounds(few: int, thorough: int) -> int:
    """How many examples, steps or repetitions: `few` where the suite is run as a whole."""
    return thorough if _PROFILE == "thorough" else few


async def from_another_process(work: Callable[[Session], Awaitable[Any]], *, hot: Sequence[object]) -> Any:
    """In the place of `run_transaction`: nobody queues up within this process, the database alone keeps transactions apart."""
    return await run_transaction(work)


def register_profiles() -> None:
    """Hypothesis without deadlines, which measure the machine, and with fixtures that all examples of a test share.

    The usual run draws the same examples each time, and fails only for what was changed; the thorough one finds new ones.
    """
    shared = settings(deadline=None, print_blob=True, suppress_health_check=_SHARING)
    settings.register_profile("default", shared, derandomize=True)
    settings.register_profile("thorough", shared, max_examples=1000)
    settings.load_profile(_PROFILE)
