"""Counts the commands that reach the database: query budgets are asserted with it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

# What a driver says to the server on its own account.
_CONNECTION = {"hello", "ismaster", "ping", "endSessions", "buildInfo", "saslStart", "saslContinue"}


@dataclass
class Commands:
    """What was sent within one `counting` block, as `name collection`."""

    sent: list[str] = field(default_factory=list)

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

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...
