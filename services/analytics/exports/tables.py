"""Reports as tables: the rows of the JSON, with the currency of money and the unit of rates in the head."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import get_args
from zoneinfo import ZoneInfo

from beanie import PydanticObjectId
from pydantic import BaseModel

from models.money import Money, decimal_text

Cell = str | int | Decimal | datetime | None
"""Text, whole numbers, exact ones (money, percentages), and aware times. Nothing that a reader could take for a formula."""

PERCENT = Decimal(100)  # basis points of one per cent
_HUNDREDTHS = {"average_orders", "turnover"}  # told as whole hundredths: 121 orders per customer are 1.21


@dataclass(frozen=True, slots=True)
class Table:
    """What a file is made of: a head, and rows of as many cells that are read while they are written.

    Whoever writes it does so behind the gate of heavy work: `batches` must not ask for a place there itself.
    """

    head: Sequence[str]
    batches: AsyncIterator[Sequence[Sequence[Cell]]]


def table_of(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
    """A table that is in memory already."""

    async def one() -> AsyncIterator[Sequence[Sequence[Cell]]]:
        yield rows

    return Table(head, one())


def head_of(model: type[BaseModel], *, currency: str, names: Sequence[str] | None = None) -> list[str]:
    """The field names of a row, `gross (USD)` for money and `step_rate (%)` for what is told in basis points."""
    return [_title(name, model, currency) for name in names or model.model_fields]


def cells_of(row: BaseModel, *, zone: ZoneInfo, names: Sequence[str] | None = None) -> list[Cell]:
    """The values of a row's fields, of these names or all in their order; times in the zone."""
    return [_cell(name, getattr(row, name), zone) for name in names or type(row).model_fields]


def rows_table(
    model: type[BaseModel], rows: Sequence[BaseModel], *, currency: str, zone: ZoneInfo, names: Sequence[str] | None = None
) -> Table:
    """A table of these rows, all of one model; of its fields of these names, or all, which are plain."""
    return table_of(head_of(model, currency=currency, names=names), [cells_of(row, zone=zone, names=names) for row in rows])


def decimal_of(amount: int, currency: str) -> Decimal:
    """Minor units as an exact number: 1990 USD are 19.90."""
    return Decimal(decimal_text(amount, currency))


def percent_of(basis_points: int | None) -> Decimal | None:
    return None if basis_points is None else basis_points / PERCENT


def _title(name: str, model: type[BaseModel], currency: str) -> str:
    annotation = model.model_fields[name].annotation
    if annotation is Money or Money in get_args(annotation):
        return f"{name} ({currency})"
    return f"{name} (%)" if _is_rate(name) else name


def _is_rate(name: str) -> bool:
    return name == "share" or name.endswith(("_rate", "_share"))


def _cell(name: str, value: object, zone: ZoneInfo) -> Cell:
    if isinstance(value, Money):
        return decimal_of(value.amount, value.currency)
    if isinstance(value, datetime):
        return value.astimezone(zone)
    if isinstance(value, int):
        return value / PERCENT if _is_rate(name) or name in _HUNDREDTHS else value
    if value is None or isinstance(value, Decimal):
        return value
    assert isinstance(value, str | PydanticObjectId), f"{name} cannot stand in a cell"
    return str(value)
