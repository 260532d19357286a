"""`make stress-crash`: kill a throw-away Agora under write load, again and again, and account for every answer it gave.

Rounds alternate between killing everything (the application, and with it the embedded database) and killing the database alone.
Writers post comments over HTTP, each under an Idempotency-Key that is repeated until it is answered 201. Then every acknowledged
comment must exist once, with one event, every counter must equal its recount, and no answer may have been a 500.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pymongo
import typer
from rich.console import Console
from rich.table import Table

from scripts.database.embedded import running_server, server_pid
from scripts.load.verdicts import none_of, tell, within
from scripts.ports import free_port
from scripts.samples.publication import DEMO_ACCOUNTS

HEALTHY_SECONDS = 5.0
START_SECONDS = 60.0
WRITERS = 8
AGORA = (sys.executable, "-m", "scripts.serve")

console = Console()


@dataclass
class Tally:
    """What the writers were told, over all rounds."""

    acknowledged: dict[str, str] = field(default_factory=dict)  # key -> id of its comment
    statuses: Counter[int] = field(default_factory=Counter)
    twice: list[str] = field(default_factory=list)  # keys whose repetition named another comment
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, key: str, response: httpx2.Response) -> None:
        with self.lock:
            self.statuses[response.status_code] += 1
            if response.status_code == 201:
                found = response.json()["id"]
                if self.acknowledged.setdefault(key, found) != found:
                    self.twice.append(key)


class Victim:
    """An Agora on its own folder and port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        generous = dict.fromkeys(("AGORA_USER_REQUESTS", "AGORA_ANONYMOUS_REQUESTS"), "1000000")
        kept = {"PYTHONDONTWRITEBYTECODE": ""}  # the same program starts again and again
        self.environment = {**os.environ, **generous, **kept, "AGORA_DATA": str(folder), "LOG_LEVEL": "ERROR"}
        self.environment.pop("MONGODB_URI", None)
        self.process: subprocess.Popen[bytes] | None = None
        self.client = httpx2.Client(base_url=self.url, timeout=2, trust_env=False)

    def start(self) -> None:
        with (self.folder / "agora.out").open("ab") as output:
            self.process = subprocess.Popen(
                [*AGORA, "--port", str(self.port)],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def seconds_until_healthy(self) -> float:
        began = time.monotonic()
        while time.monotonic() - began < START_SECONDS:
            try:
                if self.client.get("/readyz").status_code == 200:
                    return time.monotonic() - began
            except httpx2.TransportError:
                pass
            time.sleep(0.05)
        raise SystemExit(f"Agora did not come back; see {self.folder / 'agora.out'}.")

    def kill_everything(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.start()

    def kill_database(self) -> None:
        pid = server_pid(self.folder)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(20)


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 20,
    load_seconds: Annotated[float, typer.Option(help="How long the writers work before each kill")] = 1.0,
) -> None:
    """Exits 0 when nothing acknowledged was lost, doubled or miscounted, and Agora was healthy again within 5 s each time."""
    with tempfile.TemporaryDirectory(prefix="agora-crash-") as name:
        victim = Victim(Path(name))
        victim.start()
        try:
            victim.seconds_until_healthy()
            tally, healed = Tally(), []
            token, posts = sign_in(victim.url)
            for number in range(rounds):
                healed.append(crash(victim, tally, token, posts, everything=number % 2 == 0, seconds=load_seconds))
            failures = account(victim, tally, healed)
        finally:
            victim.stop()
    for failure in failures:
        console.print(f"[red]{failure}")
    raise SystemExit(1 if failures else 0)


def sign_in(url: str) -> tuple[str, list[str]]:
    """An editor's token and the ids of twenty posts."""
    editor = next(account for account in DEMO_ACCOUNTS if account.role == "editor")
    with httpx2.Client(base_url=f"{url}/api/v1", timeout=15) as client:
        login = client.post("/auth/login", json={"login": editor.username, "password": editor.password}).raise_for_status()
        posts = client.get("/blog/posts", params={"limit": 20}).raise_for_status()
    return login.json()["token"], [post["id"] for post in posts.json()["items"]]


def crash(victim: Victim, tally: Tally, token: str, posts: list[str], *, everything: bool, seconds: float) -> float:
    """One round; the seconds from the kill until Agora was healthy and every request in doubt was answered."""
    over = threading.Event()
    with ThreadPoolExecutor(WRITERS) as pool:
        writing = [pool.submit(write, victim.url, tally, token, posts[n::WRITERS], over) for n in range(WRITERS)]
        time.sleep(seconds)
        began = time.monotonic()
        if everything:
            victim.kill_everything()
        else:
            victim.kill_database()
        victim.seconds_until_healthy()
        over.set()  # each writer still repeats the request it is at until it is answered
        for future in writing:
            future.result()
    return time.monotonic() - began


def write(url: str, tally: Tally, token: str, posts: list[str], over: threading.Event) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    with httpx2.Client(base_url=f"{url}/api/v1", headers=headers, timeout=15) as client:
        while not over.is_set():
            for post in posts:
                key = f"crash-{uuid.uuid4().hex}"
                body = {"content": key}
                while key not in tally.acknowledged:
                    try:
                        path = f"/blog/posts/{post}/comments"
                        tally.note(key, client.post(path, json=body, headers={"Idempotency-Key": key}))
                    except httpx2.TransportError:
                        pass
                    if key not in tally.acknowledged:
                        time.sleep(0.05)


def account(victim: Victim, tally: Tally, healed: list[float]) -> list[str]:
    """Compare what was told with what is there; prints the figures, returns what is wrong."""
    uri = running_server(victim.folder)
    with pymongo.MongoClient[dict[str, Any]](uri) as client:
        rows = list(client.agora.comments.find({}, {"content": 1}))
        events = Counter(
            event["subject"].removeprefix("comment:")
            for event in client.agora.events.find({"type": "comment.created"}, {"subject": 1})
        )
    stored = Counter(row["content"] for row in rows if row["content"].startswith("crash-"))
    ids = {row["content"]: str(row["_id"]) for row in rows}
    reconciled = subprocess.run(
        [sys.executable, "-m", "scripts.reconcile"], env=victim.environment, capture_output=True, text=True, check=False
    )
    figures = {
        "kills": len(healed),
        "comments acknowledged": len(tally.acknowledged),
        "lost": sum(ids.get(key) != id for key, id in tally.acknowledged.items()),
        "stored twice": sum(count > 1 for count in stored.values()) + len(tally.twice),
        "stored, never acknowledged": len(stored.keys() - tally.acknowledged.keys()),
        "without exactly one event": sum(events[id] != 1 for id in tally.acknowledged.values()),
        "answered 500": sum(count for status, count in tally.statuses.items() if status == 500),
        "slowest recovery, s": round(max(healed), 2),
    }
    show(figures, tally.statuses)
    total = len(tally.acknowledged)
    verdicts = [none_of("R10", f"comments: {name}", int(figures[name]), total) for name in list(figures)[2:6]]
    verdicts.append(none_of("R12", "answers are 500", int(figures["answered 500"]), tally.statuses.total()))
    verdicts += [
        within(goal, f"{what} killed: healthy and everybody answered", times, HEALTHY_SECONDS)
        for goal, what, times in (("R10", "everything", healed[::2]), ("R12", "the database", healed[1::2]))
        if times
    ]
    wrong = tell(verdicts, console=console)
    if reconciled.returncode:
        wrong.append(reconciled.stdout + reconciled.stderr)
    return wrong


def show(figures: Mapping[str, float], statuses: Counter[int]) -> None:
    table = Table("", "", title="Crash test", show_header=False)
    for name, value in figures.items():
        table.add_row(name, f"{value:,}")
    table.add_row("answers", ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items())))
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
