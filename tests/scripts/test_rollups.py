"""`make rollups`: what it prints, and how it exits."""

import io
from datetime import UTC, datetime, timedelta

from rich.console import Console

from models.analytics.rollups import Rollup
from models.database import Database
from scripts.rollups import compare, make_anew
from tests.factories.catalog import create_product
from tests.factories.sales import make_sale, make_sold_line


async def test_makes_them_anew_and_says_what_differs(database: Database) -> None:
    await make_sale([make_sold_line(await create_product())], paid_at=datetime(2026, 11, 1, 12, tzinfo=UTC)).store()
    output = io.StringIO()
    console = Console(file=output, width=200)

    assert await make_anew(console, pause=timedelta(0)) == 0
    assert await compare(console) == 0
    await Rollup.collection().delete_one({"dimension": "total"})
    assert await compare(console) == 1

    told = output.getvalue().splitlines()
    assert told[0].startswith("The rollups are made anew of 1 facts, in ")
    assert told[1:] == [
        "The rollups say what the orders say.",
        "total USD 2026-11-01: nothing, should be gross 1000, orders 1, total 1000, units 1",
        "1 differences: `make rollups` mends them.",
    ]
