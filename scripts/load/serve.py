"""What `make run` starts, with the commands it sends to the database counted on `/metrics`: not every server counts them."""

import typer
from prometheus_client import Counter
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent, register

from scripts.load.meter import COMMANDS
from scripts.serve import main

_commands = Counter(COMMANDS, "Commands sent to the database")


class _Counting(CommandListener):
    def started(self, event: CommandStartedEvent) -> None:
        _commands.inc()

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass


if __name__ == "__main__":
    register(_Counting())
    typer.run(main)
