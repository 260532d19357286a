"""Counts the commands that reach the database: query budgets are asserted with it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

# What a driver says to the server on its own account.
_CONNECTION = {"hello", "ismaster", "ping", "endSessions", "buildInfo", "saslStart", "saslContinue"}


@dataclass(frozen=True)
class Read:
    """What a find or an aggregation asks of its collection first: the filter and the order its index has to serve."""

    collection: str
    filter: dict[str, Any]
    sort: list[tuple[str, int]]


@dataclass
class Commands:
    """What was sent within one `counting` block, as `name collection`."""

    sent: list[str] = field(default_factory=list)
    reads: list["Read"] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sent)


class CommandLog(CommandListener):
    """Listens to one client; `with log.counting() as commands:` collects what is sent inside the block."""

    def __init__(self) -> None:
        self._open: list[Commands] = []

    @contextlib.contextmanager
    def counting(self) -> Iterator[Commands]:
        commands = Commands()
        self._open.append(commands)
        try:
            yield commands
        finally:
            self._open.remove(commands)

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name not in _CONNECTION:
            for commands in self._open:
                commands.sent.append(f"{event.command_name} {event.command.get(event.command_name)}")
                if event.command_name in ("find", "aggregate"):
                    commands.reads.append(_read(event.command, event.command_name))

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


def _read(command: Any, name: str) -> Read:
    if name == "find":
        return Read(command["find"], dict(command.get("filter", {})), list(command.get("sort", {}).items()))
    found: dict[str, Any] = {}
    for stage in command["pipeline"]:
        if "$match" in stage:  # the server joins adjacent ones
            found |= {field: value for field, value in stage["$match"].items() if not field.startswith("$")}
        elif "$sort" in stage:
            return Read(command["aggregate"], found, list(stage["$sort"].items()))
        else:
            break
    return Read(command["aggregate"], found, [])
