"""`make bench-analytics`: what each report costs over 2,000 orders and over ORDERS, as ratios of one run; and 32 readers at once.

Two Agoras, each with a database of its own, are asked for the same periods by turns. Cost is the CPU time of application and
database together for a request that no cache answers; wall time stands beside it, for a machine with nothing else to do. Only the
ratios travel. Beside the main reports stands what a raw pipeline over the orders costs.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import typer
from rich.console import Console
from rich.table import Table

from api.app import create_app
from api.web.dashboard.views import VIEWS
from models.base import now
from models.ecommerce.orders import Order
from models.users import Role, User
from scripts.bench import Program, open_session, started
from scripts.benchmark.history import add_reviews, add_visits_and_carts, grow_to
from scripts.benchmark.load import Line, get
from scripts.database.connection import Launch, connected, embedded_settings
from scripts.database.embedded import EmbeddedServer
from scripts.rollups import make_anew
from scripts.seed import seed
from services.indexes import IndexService
from services.settings import Settings

console = Console(width=None if sys.stdout.isatty() else 130)

DAYS = 90
GOAL = 1.5
READERS = 32
READER_SECONDS = 1.0  # the goal of their 95th percentile
DATABASE_MIB = 600

# Values for the parameters in paths; a report with another one is named as not measured.
_PLACES = {"report": "products", "segment": "champions", "format": "csv"}

ELSEWHERE = "Europe/Berlin"  # a zone whose midnights cut the days of UTC

Row = dict[str, Any]


@dataclass
class Shop:
    """One Agora over so many orders."""

    orders: int
    settings: Settings
    server: EmbeddedServer
    token: str = ""
    program: Program | None = None

    @property
    def port(self) -> int:
        assert self.program is not None
        return self.program.port

    def cpu_seconds(self) -> float:
        """Of application and database."""
        assert self.program is not None
        assert self.server.process is not None
        return _cpu_seconds(self.program.process.pid) + _cpu_seconds(self.server.process.pid)

    def database_mib(self) -> float:
        assert self.server.process is not None
        pages = int(Path(f"/proc/{self.server.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _cpu_seconds(pid: int) -> float:
    """To the nanosecond, of all its threads that live: `stat` counts hundredths of a second."""
    spent = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it ended meanwhile
            spent += int((thread / "schedstat").read_text().split()[0])
    return spent / 1e9


@dataclass
class Cost:
    """Of one request on the average of a turn: that of the cheapest, for what else the machine does only ever adds to it."""

    cpu_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)

    @property
    def cpu(self) -> float:
        return min(self.cpu_ms)

    @property
    def wall(self) -> float:
        return min(self.wall_ms)


# What is asked for


@dataclass(frozen=True)
class Endpoint:
    name: str
    query: Callable[[int], str]  # the n-th path with its query


def endpoints(settings: Settings) -> tuple[list[Endpoint], list[str]]:
    """Every GET under /analytics and every part of the dashboard, what has days also in another zone; and the names of those that
    nobody knows how to ask.
    """
    document = create_app(settings).openapi()
    found, unknown = [], []
    for path, operations in sorted(document["paths"].items()):
        if not path.startswith("/api/v1/analytics/") or "get" not in operations:
            continue
        parameters = operations["get"].get("parameters", [])
        places = {one["name"] for one in parameters if one["in"] == "path"}
        if not places <= _PLACES.keys():
            unknown.append(path)
            continue
        names = {one["name"] for one in parameters if one["in"] == "query"}
        name, filled = path.removeprefix("/api/v1/analytics/"), path.format(**_PLACES)
        found.append(Endpoint(name, _api_query(filled, names)))
        if "timezone" in names:
            found.append(Endpoint(f"{name}, {ELSEWHERE}", _api_query(filled, names, timezone=ELSEWHERE)))
    for view in VIEWS:
        found.append(Endpoint(view.part_path, _page_query(view.part_path)))
        found.append(Endpoint(f"{view.part_path}, {ELSEWHERE}", _page_query(view.part_path, zone=ELSEWHERE)))
    return found, unknown


def _api_query(path: str, names: set[str], **fixed: str) -> Callable[[int], str]:
    def query(number: int) -> str:
        start, end = _days(number)
        values = {"start": start, "end": end, "compare": "previous", **fixed}
        return f"{path}?{urlencode({name: value for name, value in values.items() if name in names})}"

    return query


def _page_query(path: str, *, zone: str = "UTC") -> Callable[[int], str]:
    def query(number: int) -> str:
        start, end = _days(number)
        last = (datetime.fromisoformat(end) - timedelta(days=1)).date().isoformat()
        return f"{path}?{urlencode({'range': 'custom', 'from': start, 'to': last, 'zone': zone, 'compare': 'previous'})}"

    return query


def _days(number: int) -> tuple[str, str]:
    """Ninety days that end a few days ago: other ones each time, so that no answer is kept of them."""
    end = now().date() + timedelta(days=1 - number % 60)
    return (end - timedelta(days=DAYS)).isoformat(), end.isoformat()


# Raw pipelines, for comparison


def _raw_sales(start: datetime, end: datetime, currency: str) -> list[Row]:
    sums = {name: {"$sum": f"$totals.{name}.amount"} for name in ("subtotal", "discount", "tax", "shipping", "total")}
    return [*_sold(start, end, currency), {"$group": {"_id": None, "orders": {"$sum": 1}, **sums}}]


def _raw_revenue(start: datetime, end: datetime, currency: str) -> list[Row]:
    day = {"$dateToString": {"format": "%Y-%m-%d", "date": "$paid_at"}}
    return [*_sold(start, end, currency), {"$group": {"_id": day, "total": {"$sum": "$totals.total.amount"}}}]


def _raw_products(start: datetime, end: datetime, currency: str) -> list[Row]:
    return [
        *_sold(start, end, currency),
        {"$unwind": "$lines"},
        {"$group": {"_id": "$lines.product_id", "total": {"$sum": "$lines.total.amount"}}},
        {"$sort": {"total": -1, "_id": 1}},
        {"$limit": 10},
    ]


def _sold(start: datetime, end: datetime, currency: str) -> list[Row]:
    return [{"$match": {"paid_at": {"$gte": start, "$lt": end}}}, {"$match": {"currency": currency}}]


RAW = {"sales": _raw_sales, "revenue": _raw_revenue, "products": _raw_products}


async def raw_costs(shop: Shop, rounds: int) -> dict[str, Cost]:
    """Of database and driver, by the report that says the same."""
    assert shop.server.process is not None
    costs = {name: Cost() for name in RAW}
    async with connected(shop.settings):
        for number in range(rounds):
            start, end = (datetime.fromisoformat(f"{day}T00:00:00+00:00") for day in _days(number))
            for name, pipeline in RAW.items():
                cpu, wall = _cpu_seconds(shop.server.process.pid) + time.process_time(), time.perf_counter()
                await Order.aggregate_rows(pipeline(start, end, shop.settings.currency))
                costs[name].wall_ms.append((time.perf_counter() - wall) * 1000)
                costs[name].cpu_ms.append((_cpu_seconds(shop.server.process.pid) + time.process_time() - cpu) * 1000)
    return costs


# Measuring


async def measure(endpoint: Endpoint, shops: Sequence[Shop], *, rounds: int, requests: int) -> list[Cost]:
    """What a request costs in each of the shops, which are asked by turns."""
    lines, costs = [Line(shop.port) for shop in shops], [Cost() for _ in shops]
    for turn in range(-1, rounds):  # the first turn warms up
        for shop, line, cost in zip(shops, lines, costs, strict=True):
            cpu, wall = shop.cpu_seconds(), time.perf_counter()
            for number in range(requests):
                await _ask(line, shop, endpoint.query((turn + 1) * requests + number))
            if turn >= 0:
                cost.wall_ms.append((time.perf_counter() - wall) * 1000 / requests)
                cost.cpu_ms.append((shop.cpu_seconds() - cpu) * 1000 / requests)
    for line in lines:
        await line.close()
    return costs


async def _ask(line: Line, shop: Shop, path: str) -> None:
    answer = await line.ask(_request(shop, path))
    if answer.status != 200:
        raise SystemExit(f"{path} answered {answer.status}: {answer.body[:300]!r}")


def _request(shop: Shop, path: str) -> bytes:
    return get(path, f"authorization: Bearer {shop.token}\r\ncookie: agora_session={shop.token}\r\n")


@dataclass
class Reading:
    """What many readers at once were told, how soon, and how large the database became."""

    seconds: list[float] = field(default_factory=list)
    refused: int = 0
    database_mib: float = 0.0

    def percentile(self, share: float) -> float:
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(len(self.seconds) * share))] if self.seconds else 0.0


async def read_at_once(shop: Shop, query: Callable[[int], str], *, rounds: int) -> Reading:
    """Thirty-two readers ask at the same moment, and again when all have their answers."""
    reading = Reading()
    lines = [Line(shop.port) for _ in range(READERS)]

    async def read(number: int) -> None:
        began = time.perf_counter()
        answer = await lines[number % READERS].ask(_request(shop, query(number)))
        reading.seconds.append(time.perf_counter() - began)
        reading.refused += answer.status != 200

    async with _watched(shop, reading):
        for turn in range(rounds):
            await asyncio.gather(*(read(turn * READERS + reader) for reader in range(READERS)))
    for line in lines:
        await line.close()
    return reading


@contextlib.asynccontextmanager
async def _watched(shop: Shop, reading: Reading) -> AsyncIterator[None]:
    async def watch() -> None:
        while True:
            reading.database_mib = max(reading.database_mib, shop.database_mib())
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@contextlib.asynccontextmanager
async def _heavy_neighbours(shop: Shop) -> AsyncIterator[None]:
    """Exports of all orders, one after the other by two clients, and a rebuild, for as long as the block runs."""
    end = now().date() + timedelta(days=1)
    path = f"/api/v1/analytics/orders/export?start={end - timedelta(days=365)}&end={end}"

    async def export() -> None:
        line = Line(shop.port)
        while True:
            await line.ask(_request(shop, path))

    tasks = [asyncio.create_task(export()) for _ in range(2)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.rollups"),
        env={**os.environ, **_environment(shop.settings)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await asyncio.sleep(1)
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def _environment(settings: Settings) -> dict[str, str]:
    return {
        "MONGODB_URI": settings.mongodb_uri,
        "AGORA_SECRET_KEY": settings.secret_key.get_secret_value(),
        "AGORA_DATABASE": settings.database,
    }


# The whole


async def fill(shop: Shop) -> None:
    """Sample data, copied until there are so many orders, and the rollups of it."""
    async with connected(shop.settings):
        began = time.perf_counter()
        await IndexService.create_missing()
        await seed(scale=1, settings=shop.settings, progress=False)
        shop.orders = await grow_to(shop.orders)
        await add_visits_and_carts(shop.orders, shop.settings)
        await add_reviews()
        console.print(f"{shop.orders:,} orders stored in {time.perf_counter() - began:.0f} s")
        assert shop.server.process is not None
        cpu = _cpu_seconds(shop.server.process.pid) + time.process_time()
        await make_anew(console, pause=timedelta(0))
        console.print(f"  that took {_cpu_seconds(shop.server.process.pid) + time.process_time() - cpu:.0f} s of CPU")
        row = await User.find_row({"role": Role.ADMIN.value, "is_active": True})
        assert row is not None
        shop.token = await open_session(User.from_row(row), shop.settings)


def compare(
    shops: Sequence[Shop], asked: Sequence[Endpoint], raw: Sequence[dict[str, Cost]], *, rounds: int, requests: int
) -> None:
    """Print what each endpoint costs, the ratio of the larger shop to the smaller, and that of raw pipelines."""
    small, large = (f"{shop.orders:,}" for shop in shops)
    table = Table(
        "report, 90 days compared", f"CPU ms, {small}", f"CPU ms, {large}", "ratio", "of wall time", "raw ratio", "raw CPU ms"
    )
    over = []
    for endpoint in asked:
        few, many = asyncio.run(measure(endpoint, shops, rounds=rounds, requests=requests))
        ratio = many.cpu / few.cpu
        if ratio > GOAL:
            over.append(endpoint.name)
        pipeline = [costs.get(endpoint.name) for costs in raw]
        told = ["", ""]
        if pipeline[0] is not None and pipeline[1] is not None:
            told = [f"{pipeline[1].cpu / pipeline[0].cpu:.1f}", f"{pipeline[1].cpu:,.0f}"]
        table.add_row(endpoint.name, f"{few.cpu:.1f}", f"{many.cpu:.1f}", f"{ratio:.2f}", f"{many.wall / few.wall:.2f}", *told)
    console.print(table)
    console.print(f"beyond {GOAL}: {', '.join(over) or 'none'}")


def crowd(shop: Shop, *, rounds: int) -> None:
    """Print how 32 readers of the overview fare: with one period, each with another, and those beside heavy work."""
    page = _page_query(VIEWS[0].part_path)
    table = Table(f"{READERS} readers at once, {shop.orders:,} orders", "answers", "refused", "p50 ms", "p95 ms", "database MiB")

    async def beside_heavy_work() -> Reading:
        async with _heavy_neighbours(shop):
            return await read_at_once(shop, page, rounds=rounds)

    readings = {
        "all the same 90 days": read_at_once(shop, lambda number: page(number // READERS), rounds=rounds),
        "each other 90 days": read_at_once(shop, page, rounds=rounds),
        "each others, beside two exports and a rebuild": beside_heavy_work(),
    }
    for name, running in readings.items():
        reading = asyncio.run(running)
        figures = (f"{reading.percentile(share) * 1000:,.0f}" for share in (0.5, 0.95))
        table.add_row(name, str(len(reading.seconds)), str(reading.refused), *figures, f"{reading.database_mib:,.0f}")
    console.print(table)
    console.print(f"goals: none refused, p95 below {READER_SECONDS * 1000:,.0f} ms, database below {DATABASE_MIB} MiB")


@contextlib.contextmanager
def _running(orders: int) -> Iterator[Shop]:
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder))
        server.start()
        try:
            shop = Shop(orders, embedded_settings(Launch(data=Path(folder)), server.uri), server)
            asyncio.run(fill(shop))
            with started("api.main:app", shop.settings, "/livez", factory=True) as program:
                shop.program = program
                yield shop
        finally:
            server.stop()


def main(orders: int = 50_000, rounds: int = 5, requests: int = 6, only: str = "") -> None:
    """Print ratios; nothing here fails for being slow."""
    began = time.perf_counter()
    with _running(0) as small, _running(orders) as large:
        asked, unknown = endpoints(large.settings)
        shops = (small, large)
        raw = [asyncio.run(raw_costs(shop, rounds)) for shop in shops]
        compare(shops, [one for one in asked if only in one.name], raw, rounds=rounds, requests=requests)
        if unknown:
            console.print(f"not measured: {', '.join(unknown)}")
        crowd(large, rounds=rounds)
    console.print(f"in {(time.perf_counter() - began) / 60:.1f} minutes")


if __name__ == "__main__":
    typer.run(main)
