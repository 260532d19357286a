"""`make stress-checkout`: kill the shop while two hundred people buy, again and again, and account for every answer it gave.

Database, application and worker are processes of their own; each round kills one, two or all of them with SIGKILL and starts them
again. Every checkout that was in doubt is repeated under its key until it is answered. Then no acknowledged order may be missing,
no key have a second one, nobody have been charged twice by the gateway's own books, `make reconcile` find nothing, and each step
of an order have one event, in its order (RELIABILITY R10 to R12, R16).
"""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from itertools import combinations, cycle
from pathlib import Path
from typing import Annotated

import httpx2
import typer
from rich.console import Console

from scripts.database.connection import connected
from scripts.load.account import Round, account
from scripts.load.house import DATABASE, PARTS, SECRET, House
from scripts.load.shoppers import Shopper, Stock, Tally, open_shop
from services.settings import Settings

QUIET_SECONDS = 90.0

# All together, each alone, two at a time.
_VICTIMS = [parts for count in (3, 1, 2) for parts in combinations(PARTS, count)]

console = Console()


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 20,
    shoppers: Annotated[int, typer.Option(min=2, help="How many buy at once")] = 200,
    load_seconds: Annotated[float, typer.Option(help="How long they buy before each kill")] = 2.0,
    answered: Annotated[float, typer.Option(help="Seconds in which Agora must be healthy, and whoever is in doubt answered")] = 5,
) -> None:
    """Exits 0 when every answer was kept and everything adds up. The last lines name each goal with its figure."""
    folder = Path(tempfile.mkdtemp(prefix="agora-checkout-"))
    house = House(folder)
    house.open()
    try:
        failures = asyncio.run(run(house, rounds, shoppers, load_seconds, answered))
    finally:
        house.close()
    for failure in failures:
        console.print(f"[red]{failure}", soft_wrap=True)
    if failures:
        console.print(f"What the programs said is in {folder}.", soft_wrap=True)
    else:
        shutil.rmtree(folder)
    raise SystemExit(1 if failures else 0)


async def run(house: House, rounds: int, shoppers: int, load_seconds: float, answered: float) -> list[str]:
    settings = Settings(_env_file=None, secret_key=SECRET, mongodb_uri=house.database.uri, database=DATABASE, embedded=True)
    async with connected(settings):
        stock = await open_shop(settings, shoppers)
        for part in ("app", "worker"):
            house.start(part)
        house.await_healthy()
        tally, crashes = Tally(), list[Round]()
        tally.note_recovery()
        async with buying(house, stock, tally):
            await asyncio.sleep(load_seconds)
        usual = max(tally.undisturbed, default=0.0)
        console.print(f"nobody killed: {len(tally.orders):,} orders; the slowest checkout took {usual:.1f} s", style="dim")
        for number, parts in zip(range(rounds), cycle(_VICTIMS), strict=False):
            crashes.append(await crash(house, stock, tally, parts, load_seconds))
            console.print(f"round {number + 1}: {crashes[-1]}; {len(tally.orders):,} orders", style="dim")
        return await account(house, tally, crashes, console=console, quiet_seconds=QUIET_SECONDS, answered=answered, usual=usual)


@contextlib.asynccontextmanager
async def buying(house: House, stock: Stock, tally: Tally) -> AsyncIterator[None]:
    """Everybody buys, again and again; afterwards they end what they began."""
    over = asyncio.Event()
    limits = httpx2.Limits(max_connections=2 * len(stock.tokens), max_keepalive_connections=2 * len(stock.tokens))
    client = httpx2.AsyncClient(base_url=f"{house.url}/api/v1", timeout=30, limits=limits, trust_env=False)
    async with client:
        lanes = [Shopper(client, stock, number, tally) for number in range(len(stock.tokens))]
        busy = [asyncio.create_task(shopper.buy_until(over)) for shopper in lanes]
        yield
        over.set()
        await asyncio.gather(*busy)


async def crash(house: House, stock: Stock, tally: Tally, parts: tuple[str, ...], load_seconds: float) -> Round:
    """One round: kill in the midst of it, start again, and answer everybody."""
    known = len(tally.in_doubt)
    async with buying(house, stock, tally):
        await asyncio.sleep(load_seconds)
        tally.note_kill()
        began = time.monotonic()
        for part in parts:
            house.kill(part)
        tally.note_death()
        for part in parts:
            house.start(part)
        await back(house, tally)
        healed = tally.note_recovery() - began
    return Round(parts, healed, tally.in_doubt[known:])


async def back(house: House, tally: Tally) -> None:
    """Until somebody is answered, or `/readyz` says so: among two hundred others it may wait long for a connection."""
    signs = {asyncio.create_task(asyncio.to_thread(house.await_healthy)), asyncio.create_task(tally.alive.wait())}
    await asyncio.wait(signs, return_when=asyncio.FIRST_COMPLETED)
    for sign in signs:
        sign.cancel()
    await asyncio.gather(*signs, return_exceptions=True)


if __name__ == "__main__":
    typer.run(main)
