"""From which locations pieces come: pure arithmetic over levels that were read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from beanie import PydanticObjectId

from models.inventory.stock import StockLevel


@dataclass(frozen=True, slots=True)
class Wanted:
    """Pieces of one variant that somebody wants."""

    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    sku: str
    quantity: int
    allow_backorder: bool = False

    def __post_init__(self) -> None:
        if self.quantity <= 0:
            raise ValueError("a quantity is at least 1")


@dataclass(frozen=True, slots=True)
class Shortage:
    """A line that cannot be served."""

    sku: str
    variant_id: PydanticObjectId
    wanted: int
    available: int


def together(wanted: Iterable[Wanted]) -> list[Wanted]:
    """One line per variant, in the order of their ids: two lines of one variant want their sum."""
    lines: dict[PydanticObjectId, Wanted] = {}
    for line in wanted:
        known = lines.get(line.variant_id)
        lines[line.variant_id] = line if known is None else replace(known, quantity=known.quantity + line.quantity)
    return [lines[variant_id] for variant_id in sorted(lines)]


def allocate(levels: Sequence[StockLevel], wanted: Wanted) -> list[tuple[StockLevel, int]] | Shortage:
    """How many pieces to take from which level; `levels` stand in the order in which their locations serve.

    The first location that has everything; else what each one has in turn. What nobody has is taken from the first one when
    the line allows a backorder.
    """
    whole = next((level for level in levels if level.available >= wanted.quantity), None)
    if whole is not None:
        return [(whole, wanted.quantity)]
    missing = wanted.quantity
    parts: list[tuple[StockLevel, int]] = []
    for level in levels:
        part = min(missing, max(0, level.available))
        if part:
            parts.append((level, part))
            missing -= part
    if not missing:
        return parts
    if not wanted.allow_backorder or not levels:
        return Shortage(wanted.sku, wanted.variant_id, wanted.quantity, wanted.quantity - missing)
    if parts and parts[0][0] is levels[0]:
        return [(levels[0], parts[0][1] + missing), *parts[1:]]
    return [(levels[0], missing), *parts]
