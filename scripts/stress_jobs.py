"""`make stress-jobs`: kill workers while they send 1,000 webhooks, and account for every one of them (RELIABILITY R13, R15).

Two real workers on a throw-away database send to a real receiver. Time and again one is killed with SIGKILL, the other takes
over, and the killed one comes back; at the end both are asked to end by SIGTERM while they send. Then every message must have
arrived, none may have been under way twice at once, only what was under way at a kill may have come a second time (under the
same id, by which a receiver knows it), and nothing may be left pending, or owned. A message that fails for good is given up.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from beanie import PydanticObjectId
from rich.console import Console

from models.base import now
from models.database import Session, run_transaction
from models.events import EventType
from models.webhooks import DeliveryState, WebhookDelivery, WebhookEndpoint, WebhookTopic
from scripts.database.connection import connected
from scripts.database.embedded import EmbeddedServer
from scripts.load.verdicts import Verdict, none_of, tell, within
from services.events import EventService
from services.indexes import IndexService
from services.settings import Settings
from services.webhooks.deliveries import KEPT_FOR, MAX_ATTEMPTS, message_id
from services.webhooks.pump import DELIVERY_LEASE, WIDTH

TIMEOUT_SECONDS = 1.0
LEASE_SECONDS = 2 * TIMEOUT_SECONDS + 1
# A killed worker's job is free after its lease, its messages after theirs; the rest is for starting and sending.
RECOVERED_SECONDS = DELIVERY_LEASE.total_seconds() + LEASE_SECONDS + 11
ENDED_SECONDS = 10.0
_SECRET = "a-secret-for-this-stress-run-only-0123456789"

console = Console()


@dataclass
class Receiver:
    """An HTTP server that takes everything, but nothing at `/poison`."""

    arrived: Counter[str] = field(default_factory=Counter)
    under_way: Counter[str] = field(default_factory=Counter)
    twice_at_once: list[str] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            await reader.readexactly(int(headers["content-length"]))
            name = headers["webhook-id"]
            self.under_way[name] += 1
            if self.under_way[name] > 1:
                self.twice_at_once.append(name)
            await asyncio.sleep(0.02)
            self.under_way[name] -= 1
            is_taken = "/poison" not in head[0]
            if is_taken:
                self.arrived[name] += 1
            answer = b"204 Taken" if is_taken else b"500 No"
            writer.write(b"HTTP/1.1 " + answer + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()


class Workers:
    """Two real worker processes."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._output = folder / "workers.out"
        self._environment = {
            **os.environ,
            "MONGODB_URI": settings.mongodb_uri,
            "AGORA_DATABASE": settings.database,
            "AGORA_SECRET_KEY": _SECRET,
            "AGORA_DATA": str(folder),
            "AGORA_WEBHOOK_NETWORKS": '["127.0.0.0/8"]',
            "AGORA_WEBHOOK_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
            "LOG_LEVEL": "WARNING",
        }
        self._processes: list[subprocess.Popen[bytes]] = [self._start(), self._start()]

    def _start(self) -> subprocess.Popen[bytes]:
        with self._output.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "scripts.worker"], env=self._environment, stdout=output, stderr=subprocess.STDOUT
            )

    def kill(self, number: int) -> None:
        """Kill one and start it anew."""
        self._processes[number].kill()
        self._processes[number].wait()
        self._processes[number] = self._start()

    def end(self) -> list[int]:
        """Ask both to end; their exit codes."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        return [process.wait(ENDED_SECONDS) for process in self._processes]

    def restart(self) -> None:
        self._processes = [self._start()]

    def kill_all(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def main(
    events: Annotated[int, typer.Option(min=20, help="Webhooks to send")] = 1000,
    kills: Annotated[int, typer.Option(min=1, help="Workers to kill meanwhile")] = 10,
    terminate: Annotated[bool, typer.Option(help="End the workers by SIGTERM, too")] = True,
) -> None:
    """Exits 0 when every message arrived, none was sent by two at once, and nothing is stuck."""
    with tempfile.TemporaryDirectory(prefix="agora-jobs-") as name:
        server = EmbeddedServer(Path(name))
        server.start()
        try:
            failures = asyncio.run(run(Path(name), server.uri, events, kills, terminate))
        finally:
            server.stop()
    for failure in failures:
        console.print(f"[red]{failure}")
    raise SystemExit(1 if failures else 0)


async def run(folder: Path, uri: str, events: int, kills: int, terminate: bool) -> list[str]:
    settings = Settings(_env_file=None, secret_key=_SECRET, mongodb_uri=uri, database="stress")
    receiver = Receiver()
    listening = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = listening.sockets[0].getsockname()[1]
    async with connected(settings):
        await IndexService.create_missing()
        poison = await _prepare(receiver.port)
        workers = await asyncio.to_thread(Workers, folder, settings)
        try:
            failures, recorded = await _kill_and_send(workers, receiver, events, kills)
            if terminate:
                failures += await _end_and_send(workers, receiver, recorded)
            await _settled()  # who was sent the last messages may not have noted it yet
        finally:
            await asyncio.to_thread(workers.kill_all)
        failures += await _account(receiver, recorded, poison, kills)
    listening.close()
    return failures


async def _prepare(port: int) -> PydanticObjectId:
    """The endpoints, and a message that is about to fail for the last time; returns its id."""
    await WebhookEndpoint(url=f"http://127.0.0.1:{port}/hook", topics=[WebhookTopic.STOCK_LOW]).store()
    bad = await WebhookEndpoint(url=f"http://127.0.0.1:{port}/poison", topics=[WebhookTopic.ORDER_PLACED]).store()
    message = WebhookDelivery(
        endpoint_id=bad.id,
        event_id=PydanticObjectId(),
        event_type="order.placed",
        body="{}",
        due_at=now(),
        attempts_count=MAX_ATTEMPTS - 1,
        expires_at=now() + KEPT_FOR,
    )
    return (await message.store()).id


async def _kill_and_send(workers: Workers, receiver: Receiver, events: int, kills: int) -> tuple[list[str], set[str]]:
    """Record the events bit by bit and kill a worker in the midst of each; failures, and the ids of the messages."""
    failures: list[str] = []
    recorded: set[str] = set()
    waited: list[float] = []
    for number in range(kills):
        recorded |= await _record(events // kills + (number < events % kills))
        wanted = len(receiver.arrived) + 5
        await _until(partial(_has_arrived, receiver, wanted), RECOVERED_SECONDS)
        # By turns: whoever took over is the next to die.
        await asyncio.to_thread(workers.kill, number % 2)
        began = time.monotonic()
        if not await _until(partial(_has_arrived, receiver, len(recorded)), RECOVERED_SECONDS):
            failures.append(f"After kill {number + 1} {len(recorded) - len(receiver.arrived)} messages are stuck.")
        waited.append(time.monotonic() - began)
    console.print(f"{len(recorded)} messages, {kills} workers killed; all sent {max(waited):.1f} s after a kill at the latest.")
    failures += tell([within("R13", "a worker killed: its messages sent by another", waited, RECOVERED_SECONDS)], console=console)
    return failures, recorded


async def _end_and_send(workers: Workers, receiver: Receiver, recorded: set[str]) -> list[str]:
    """End both workers by SIGTERM while they send: nothing may be lost by that, and nothing sent twice."""
    failures = []
    more = await _record(40)
    recorded |= more
    await _until(lambda: any(name in receiver.arrived for name in more), RECOVERED_SECONDS)
    began = time.monotonic()
    codes = await asyncio.to_thread(workers.end)
    seconds = time.monotonic() - began
    console.print(f"SIGTERM: {sum(name in receiver.arrived for name in more)} of 40 sent, {seconds:.1f} s to end.")
    ended = Verdict(
        "R15", f"workers ended with {codes} {seconds:.1f} s after SIGTERM (goal {ENDED_SECONDS:g} s)", codes == [0, 0]
    )
    failures += tell([ended], console=console)
    await asyncio.to_thread(workers.restart)
    if not await _until(lambda: more <= receiver.arrived.keys(), RECOVERED_SECONDS):
        failures.append("Messages were lost by SIGTERM.")
    doubled = [name for name in more if receiver.arrived[name] > 1]
    return failures + ([f"SIGTERM doubled {len(doubled)} messages."] if doubled else [])


async def _settled() -> None:
    """Wait until no message is to be sent any more, for as long as a recovery may take."""
    deadline = time.monotonic() + RECOVERED_SECONDS
    while True:
        if time.monotonic() > deadline or not await WebhookDelivery.count_rows({"state": DeliveryState.PENDING}):
            return
        await asyncio.sleep(0.1)


async def _account(receiver: Receiver, recorded: set[str], poison: PydanticObjectId, kills: int) -> list[str]:
    failures = []
    rows = await WebhookDelivery.find_rows({}, {"event_id": 1, "state": 1, "owner": 1, "attempts_count": 1})
    delivered = {message_id(row["event_id"]) for row in rows if row["state"] == DeliveryState.DELIVERED}
    if delivered != recorded or len(rows) != len(recorded) + 1:
        failures.append(f"{len(recorded - delivered)} messages are not delivered, {len(rows) - 1} exist.")
    if receiver.arrived.keys() - recorded:
        failures.append(f"{len(receiver.arrived.keys() - recorded)} messages arrived that nobody recorded.")
    doubled = sum(count - 1 for count in receiver.arrived.values())
    console.print(f"{doubled} came a second time under their id; {kills} kills of at most {WIDTH} under way.")
    if doubled > kills * WIDTH:
        failures.append("More came twice than can have been under way at the kills.")
    (bad,) = [row for row in rows if row["_id"] == poison]
    is_given_up = (bad["state"], bad["attempts_count"]) == (DeliveryState.FAILED, MAX_ATTEMPTS)
    verdicts = [
        none_of("R13", "messages are lost", len(recorded - set(receiver.arrived)), len(recorded)),
        none_of("R13", "messages are stuck or owned", sum(bool(row["owner"]) for row in rows), len(rows)),
        none_of("R13", "messages were sent by two workers at once", len(receiver.twice_at_once), len(recorded)),
        Verdict("R13", f"what always fails is given up after {MAX_ATTEMPTS} tries", is_given_up),
    ]
    return failures + tell(verdicts, console=console)


def _has_arrived(receiver: Receiver, count: int) -> bool:
    return len(receiver.arrived) >= count


async def _record(count: int) -> set[str]:
    """Record so many events; the ids under which they will arrive."""
    names: set[str] = set()

    async def work(session: Session) -> None:
        names.clear()
        for _ in range(count):
            event = await EventService.record(session, EventType.STOCK_LOW, f"product:{PydanticObjectId()}", payload={"sku": "X"})
            names.add(message_id(event.id))

    await run_transaction(work)
    return names


async def _until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        await asyncio.sleep(0.02)
    return bool(condition())


if __name__ == "__main__":
    typer.run(main)
