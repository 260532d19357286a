"""`make reconcile-payments`: a gateway's own books against ours, for the last days."""

from datetime import timedelta
from functools import partial
from typing import Annotated

import typer

from models.base import now
from scripts.database.connection import run_connected
from services.payments.gateways import make_gateways
from services.payments.reconciliation import ReconciliationService
from services.settings import Settings
from services.users.permissions import SYSTEM


def main(
    gateway: Annotated[str, typer.Option(help="The gateway's name")] = "sandbox",
    days: Annotated[int, typer.Option(min=1, max=31, help="How far back")] = 1,
) -> None:
    """Compare and print every difference; exits 1 when there is one."""
    run_connected(partial(compare, gateway, days))


async def compare(gateway: str, days: int, settings: Settings) -> int:
    until = now()
    async with make_gateways(settings) as gateways:
        report = await ReconciliationService.compare(
            gateway, viewer=SYSTEM, since=until - timedelta(days=days), until=until, gateways=gateways
        )
    for row in report.differences:
        here, there = row.amount_here or "-", row.amount_there or "-"
        states = f"{row.state_here or '-'} here, {row.state_there or '-'} there"
        print(f"{row.kind:14} {row.subject:8} {row.key}  {here} / {there}  ({states})")
    print(f"{report.compared_count} payments and refunds compared, {report.differences_count} differences.")
    return 1 if report.differences_count else 0


if __name__ == "__main__":
    typer.run(main)
