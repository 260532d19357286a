"""After the kills: what shoppers were told against what is stored, against the gateway's own books, and against the outbox."""

import asyncio
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
from rich.console import Console
from rich.table import Table

from models.ecommerce.orders import Order, OrderStatusHistory
from models.events import Event, EventType
from models.payments import Payment, PaymentState, Refund, RefundState
from scripts.load.house import House
from scripts.load.shoppers import Tally
from scripts.load.verdicts import Verdict, none_of, tell, within

_NO_STEP = {EventType.ORDER_UPDATED, EventType.ORDER_FULFILLED}


@dataclass(frozen=True, slots=True)
class Round:
    """What was killed, how many seconds later Agora was healthy, and how long who was in doubt waited from then on."""

    killed: tuple[str, ...]
    healed: float
    in_doubt: Sequence[float]

    def __str__(self) -> str:
        slowest = f"; {len(self.in_doubt)} in doubt, the last answered after {max(self.in_doubt):.1f} s" if self.in_doubt else ""
        return f"killed {', '.join(self.killed)}; healthy after {self.healed:.1f} s{slowest}"


async def account(
    house: House,
    tally: Tally,
    rounds: Sequence[Round],
    *,
    console: Console,
    quiet_seconds: float,
    answered: float,
    usual: float,
) -> list[str]:
    """Print the figures and return what is wrong.

    Agora must be healthy within `answered` seconds, and who is in doubt be answered so soon after that, on top of the `usual`
    seconds that the slowest checkout takes with as many shoppers when nobody is killed.
    """
    began = time.monotonic()
    open_work = await still_open(quiet_seconds)
    settled = time.monotonic() - began
    orders = {str(row["_id"]): row for row in await Order.find_rows({}, {"status": 1, "payment_status": 1})}
    acknowledged = set(tally.orders.values())
    twice, uneven = _against_the_gateway(await _books(house), await Payment.find_rows({}))
    figures: dict[str, float] = {
        "acknowledged orders that are lost": len(acknowledged - orders.keys()),
        "keys with a second order": len(tally.twice) + len(tally.orders.keys() & tally.declined),
        "orders nobody asked for": len(orders) - len(acknowledged) - len(tally.declined),
        "cancelled by their customers, and not cancelled": sum(orders[id]["status"] != "cancelled" for id in tally.cancelled),
        "charged twice by the gateway": twice,
        "payments on which the gateway's books differ": uneven,
        "orders whose steps and events differ": await _against_the_outbox(),
        "answered 500": tally.statuses[500],
        "answers nobody should get": len(tally.wrong),
        "left unsettled": sum(open_work.values()),
    }
    reconciled = await asyncio.to_thread(_reconcile, house, "reconcile")
    compared = await asyncio.to_thread(_reconcile, house, "reconcile_payments")
    told = {
        "kills": str(len(rounds)),
        "checkouts answered": f"{len(tally.orders) + len(tally.declined) + sum(tally.refused.values()):,}",
        "orders acknowledged / declined / refused": f"{len(tally.orders):,} / {len(tally.declined):,} / {dict(tally.refused)}",
        "cancelled / partly refunded": f"{len(tally.cancelled):,} / {tally.refunds:,}",
        **{name: f"{count:,}" for name, count in figures.items()},
        "settled after, s": f"{settled:.1f}",
        "reconcile": reconciled.stdout.strip().rpartition("\n")[2],
        "gateway's report": compared.stdout.strip().rpartition("\n")[2],
        "answers": ", ".join(f"{status}: {count:,}" for status, count in sorted(tally.statuses.items())),
    }
    table = Table("", "", title="Checkouts under kills", show_header=False)
    for name, text in told.items():
        table.add_row(name, text)
    console.print(table)
    wrong = [f"{name}: {count}" for name, count in figures.items() if count]
    wrong += [*tally.wrong[:5], *([f"open: {dict(open_work)}"] if open_work else [])]
    kept = [
        none_of("R10", "acknowledged orders are lost", int(figures["acknowledged orders that are lost"]), len(acknowledged)),
        none_of("R10", "keys have a second order", int(figures["keys with a second order"]), len(tally.orders)),
        Verdict("R10", "reconcile and the gateway's books differ in nothing", not (reconciled.returncode or compared.returncode)),
        *_healed(rounds, answered, usual),
        none_of("R12", "answers are 500", tally.statuses[500], tally.statuses.total()),
        none_of("R16", "orders have other events than steps", int(figures["orders whose steps and events differ"]), len(orders)),
    ]
    return (
        tell(kept, console=console)
        + wrong
        + [ended.stdout + ended.stderr for ended in (reconciled, compared) if ended.returncode]
    )


def _healed(rounds: Sequence[Round], answered: float, usual: float) -> list[Verdict]:
    """How soon all was well, by what was killed."""
    both = [one for one in rounds if {"app", "database"} <= set(one.killed)]
    app = [one for one in rounds if "app" in one.killed and "database" not in one.killed]
    database = [one for one in rounds if "database" in one.killed and "app" not in one.killed]
    return [
        *(
            within(goal, f"{what} killed: healthy", [one.healed for one in some], answered)
            for goal, what, some in (
                ("R10", "database and application", both),
                ("R11", "application", app),
                ("R12", "database", database),
            )
            if some
        ),
        within("R11", "checkouts in doubt answered", [wait for one in rounds for wait in one.in_doubt], answered + usual),
    ]


async def still_open(seconds: float) -> Counter[str]:
    """What is still open when nothing moves any more, or the time is over; nothing, when all is well."""
    deadline = time.monotonic() + seconds
    while True:
        counts = {
            "payments": await Payment.count_rows({"state": {"$in": [PaymentState.CREATED, PaymentState.PROCESSING]}}),
            "refunds": await Refund.count_rows({"state": RefundState.PENDING}),
            "orders that owe": await Order.count_rows({"is_owing": True}),
            "events": await Event.count_rows({"sequence": None}),
        }
        found = Counter({name: count for name, count in counts.items() if count})
        if not found or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.5)


async def _books(house: House) -> dict[str, Any]:
    async with httpx2.AsyncClient(timeout=30, trust_env=False) as client:
        shown: dict[str, Any] = (await client.get(house.sandbox.url)).raise_for_status().json()
    return shown


def _against_the_gateway(books: dict[str, Any], payments: list[dict[str, Any]]) -> tuple[int, int]:
    """How many orders the gateway charged more than once, and on how many payments its books are not ours."""
    charged = Counter(row["description"] for row in books["payments"] if row["captured"])
    ours = {row["key"]: (row["captured"], row["refunded"]) for row in payments if row["gateway"] == "sandbox" and row["captured"]}
    theirs = {row["key"]: (row["captured"], row["refunded"]) for row in books["payments"] if row["captured"]}
    uneven = sum(ours.get(key) != theirs.get(key) for key in ours.keys() | theirs.keys())
    return sum(count > 1 for count in charged.values()), uneven


async def _against_the_outbox() -> int:
    """How many orders have not exactly one event for each of their steps, numbered in the order of the steps."""
    steps: defaultdict[str, dict[str | None, str]] = defaultdict(dict)
    taken: Counter[str] = Counter()
    for row in await OrderStatusHistory.find_rows({}, {"order_id": 1, "old_status": 1, "new_status": 1}):
        steps[f"order:{row['order_id']}"][row["old_status"]] = row["new_status"]
        taken[f"order:{row['order_id']}"] += 1
    told: defaultdict[str, list[str]] = defaultdict(list)
    fields = {"subject": 1, "type": 1, "payload.status": 1, "sequence": 1}
    events = await Event.find_rows({"sequence": {"$gt": 0}}, fields, sort=[("sequence", 1)])
    for event in events:
        status = event.get("payload", {}).get("status")
        is_step = event["subject"].startswith("order:") and event["type"] not in _NO_STEP
        # Money that goes back without a step is told as well.
        if is_step and (event["type"] != EventType.ORDER_REFUNDED or status == "refunded"):
            told[event["subject"]].append(status)
    sequences = [event["sequence"] for event in events]
    gaps = int(sequences != list(range(1, len(sequences) + 1)))
    return gaps + sum(
        told[subject] != _path(steps[subject]) or taken[subject] != len(steps[subject]) for subject in steps.keys() | told.keys()
    )


def _path(steps: dict[str | None, str]) -> list[str]:
    path: list[str] = []
    at: str | None = None
    while at in steps and len(path) <= len(steps):
        at = steps[at]
        path.append(at)
    return path


def _reconcile(house: House, script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"scripts.{script}"]
    environment = {**house.environment, "COLUMNS": "200"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
