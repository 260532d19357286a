import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scripts.processes import Outside, environment


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    """Puts what is outside of a program in the place of what is outside of the tests; signals are theirs again afterwards."""
    handler = signal.getsignal(signal.SIGTERM)

    def given(folder: Path, **over: str) -> None:
        found = environment(folder, **over)
        for name in os.environ.keys() - found.keys():
            monkeypatch.delenv(name)
        for name, value in found.items():
            monkeypatch.setenv(name, value)

    yield given
    signal.signal(signal.SIGTERM, handler)
