"""An order against its reservation and the stock ledger: its pieces left once, and came back as often as it says."""

from collections import Counter
from collections.abc import Iterator

from beanie import PydanticObjectId

from models.ecommerce.orders import OrderStatus
from models.ecommerce.returns import Disposition, ReturnStatus
from models.inventory.stock import MovementKind, ReservationStatus
from services.drift import Drift
from services.ecommerce.checks.books import OrderBooks

Pieces = Counter[PydanticObjectId]

_ARRIVED = (ReturnStatus.RECEIVED, ReturnStatus.REFUNDED)


def reservation(books: OrderBooks) -> Iterator[Drift]:
    """Held while the order waits for its payment, committed once it is paid, nothing afterwards."""
    order, wanted = books.order, books.pieces_by_variant()
    kept = books.reservations[0] if books.reservations else None
    status = kept["status"] if kept else None
    is_waiting = order["status"] == OrderStatus.PENDING and order["expires_at"] is not None
    if not wanted:
        if status == ReservationStatus.HELD:
            yield from books.drift("reservation", status, "none")
        return
    if order["is_stock_taken"]:
        yield from books.drift("reservation", status, ReservationStatus.COMMITTED.value)
    elif is_waiting:
        yield from books.drift("reservation", status, ReservationStatus.HELD.value)
    elif status == ReservationStatus.HELD or (status == ReservationStatus.COMMITTED and order["status"] == OrderStatus.PENDING):
        yield from books.drift("reservation", status, ReservationStatus.RELEASED.value)
    if kept is not None:
        held: Pieces = Counter()
        for line in kept["lines"]:
            held[line["variant_id"]] += line["quantity"]
        yield from _compared(books, "pieces reserved", held, wanted)


def ledger(books: OrderBooks) -> Iterator[Drift]:
    """What the ledger moved for the order, against what the order and its returns say."""
    order, wanted = books.order, books.pieces_by_variant()
    is_committed = any(row["status"] == ReservationStatus.COMMITTED for row in books.reservations)
    sold, undone, returned = (_moved(books, kind) for kind in (MovementKind.SALE, MovementKind.CANCELLATION, MovementKind.RETURN))
    yield from _compared(books, "pieces sold", Counter({id: -count for id, count in sold.items()}), _if(is_committed, wanted))
    unsent: Pieces = Counter()
    for line in order["lines"]:
        if line["tracks_inventory"]:
            unsent[line["variant_id"]] += line["quantity"] - line["fulfilled_quantity"]
    is_undone = is_committed and order["status"] in (OrderStatus.CANCELLED, OrderStatus.REFUNDED)
    yield from _compared(books, "pieces put back on cancellation", undone, _if(is_undone, unsent))
    yield from _compared(books, "pieces put back on return", returned, _restocked(books))


def lines(books: OrderBooks) -> Iterator[Drift]:
    """The counts on each line against parcels and returns."""
    sent: Pieces = Counter()
    for parcel in books.order["fulfilments"]:
        for part in parcel["lines"]:
            sent[part["line_id"]] += part["quantity"]
    back: Pieces = Counter()
    spoken_of: Pieces = Counter()
    for request in books.returns:
        for line in request["lines"]:
            if request["status"] in _ARRIVED:
                back[line["line_id"]] += line["received_quantity"]
                spoken_of[line["line_id"]] += line["received_quantity"]
            elif request["status"] in (ReturnStatus.REQUESTED, ReturnStatus.APPROVED):
                spoken_of[line["line_id"]] += line["quantity"]
    for at, line in enumerate(books.order["lines"]):
        for name, counted in (("fulfilled", sent), ("returned", back), ("returning", spoken_of)):
            field = f"{name}_quantity"
            yield from books.drift(f"lines.{at}.{field}", line[field], counted[line["id"]], is_derived=True)


def _if(condition: bool, pieces: Pieces) -> Pieces:
    return pieces if condition else Counter()


def _moved(books: OrderBooks, kind: MovementKind) -> Pieces:
    pieces: Pieces = Counter()
    for row in books.movements:
        if row["kind"] == kind:
            pieces[row["variant_id"]] += row["quantity"]
    return pieces


def _restocked(books: OrderBooks) -> Pieces:
    """What returns put back on the shelf."""
    counted = {line["id"] for line in books.order["lines"] if line["tracks_inventory"]}
    pieces: Pieces = Counter()
    for request in books.returns:
        if request["status"] in _ARRIVED:
            for line in request["lines"]:
                if line["disposition"] == Disposition.RESTOCK and line["line_id"] in counted:
                    pieces[line["variant_id"]] += line["received_quantity"]
    return pieces


def _compared(books: OrderBooks, what: str, stored: Pieces, counted: Pieces) -> Iterator[Drift]:
    skus = {line["variant_id"]: line["sku"] for line in books.order["lines"]}
    for variant_id in sorted(stored.keys() | counted.keys()):
        yield from books.drift(f"{what}: {skus.get(variant_id, variant_id)}", stored[variant_id], counted[variant_id])
