"""Stock levels: what lies where, what moved it, and corrections with a reason."""

from collections.abc import Sequence
from enum import StrEnum

from beanie import PydanticObjectId

from api.schemas.inventory import AdjustmentCreate, LevelUpdate
from api.web.admin.desk import ADMIN, Desk, Form, filled
from api.web.admin.layout import Action, Badge, Field, Link, Page, Row, Table, Text, Value
from api.web.admin.subjects import product_link, subject_link, user_link
from api.web.admin.views import Group, Move, Queue, View
from models.inventory.reports import LevelRead, MovementRead
from models.inventory.stock import MovementKind
from services.ecommerce.catalog.names import VariantName, variant_names
from services.ecommerce.catalog.products import ProductService
from services.ecommerce.stock_items import StockItemService
from services.inventory.history import HistoryService
from services.inventory.levels import LevelService
from services.inventory.locations import LocationService
from services.inventory.stock import StockService
from services.pagination import PageRequest
from services.users.permissions import Permission, Viewer
from services.waiting import Waiting

_PATH = f"{ADMIN}/stock"


class _Supply(StrEnum):
    LOW = "low"
    ENOUGH = "enough"


_COLUMNS = ["Product", "SKU", "Location", "On hand", "Held", "Available", "State", "Low at", "Reorder at", "Changed"]


async def product_levels(product_id: PydanticObjectId, *, viewer: Viewer) -> Table:
    """What lies where of one product, the first 100 places."""
    found = await LevelService.list_levels(viewer=viewer, page=PageRequest(limit=100), product_id=product_id)
    return Table("Stock", _COLUMNS, await _rows(found.items, viewer), "Nothing of it lies anywhere yet.")


async def _list(desk: Desk) -> Page:
    supply, sku = desk.choice("supply", _Supply), desk.asked("search", max_length=64)
    if sku is not None:
        product = await ProductService.find_by_sku(sku, viewer=desk.viewer)
        levels = await product_levels(product.id, viewer=desk.viewer) if product else Table("Stock", (), (), "No such SKU.")
        return _page(desk, supply, sku, levels, [])
    is_low = None if supply is None else supply is _Supply.LOW
    found = await LevelService.list_levels(viewer=desk.viewer, page=desk.page, is_low=is_low)
    levels = Table(_counted(found.total_count), _COLUMNS, await _rows(found.items, desk.viewer), "No such level.")
    return _page(desk, supply, "", levels, desk.numbered(found.page, found.total_pages, supply=supply))


def _page(desk: Desk, supply: _Supply | None, sku: str, levels: Table, paging: list[Link]) -> Page:
    return Page(
        title="Stock",
        tabs=desk.tabs("supply", _Supply, supply),
        path=desk.path,
        search=[Field("search", "SKU: all of its product", "search", sku, max_length=64)],
        tables=[levels],
        paging=paging,
    )


def _counted(count: int) -> str:
    return "1 level" if count == 1 else f"{count:,} levels, oldest first"


async def _location_names(viewer: Viewer) -> dict[str, str]:
    return {str(one.id): one.name for one in await LocationService.list_locations(viewer=viewer)}


async def _rows(levels: Sequence[LevelRead], viewer: Viewer) -> list[Row]:
    places = await _location_names(viewer)
    names = await variant_names(one.product_id for one in levels)
    return [_row(one, names.get(one.variant_id), places) for one in levels]


def _row(level: LevelRead, name: VariantName | None, places: dict[str, str]) -> Row:
    return Row(
        [
            Link(f"{_PATH}/{level.id}", str(name or level.sku)),
            level.sku,
            places.get(str(level.location_id), str(level.location_id)),
            level.on_hand,
            level.reserved,
            level.available,
            _supply(level),
            level.low_stock_threshold,
            level.reorder_point,
            level.updated_at,
        ]
    )


def _supply(level: LevelRead) -> Badge:
    if level.available <= 0:
        return Badge("none left", "bad")
    return Badge("low", "wait") if level.is_low else Badge("enough", "good")


async def _detail(desk: Desk) -> Page:
    level = await LevelService.get_level(desk.id(), viewer=desk.viewer)
    places = await _location_names(desk.viewer)
    name = (await variant_names([level.product_id])).get(level.variant_id)
    moved = await HistoryService.list_movements(
        viewer=desk.viewer,
        cursors=desk.cursors,
        variant_id=level.variant_id,
        location_id=level.location_id,
        cursor=desk.cursor,
    )
    facts: list[tuple[str, Value]] = [
        ("Product", product_link(level.product_id, name.product, desk.viewer) if name else None),
        ("SKU", level.sku),
        ("Location", places.get(str(level.location_id), str(level.location_id))),
        ("On hand", level.on_hand),
        ("Held for orders", level.reserved),
        ("Available", level.available),
        ("State", _supply(level)),
        ("Worth", level.stock_value),
        ("Low at", level.low_stock_threshold),
        ("Reorder at", level.reorder_point),
        ("Reorder pieces", level.reorder_quantity),
    ]
    columns = ["Recorded", "What", "Pieces", "On hand after", "Cause", "Reason", "By"]
    return Page(
        title=str(name or level.sku),
        back=Link(_PATH, "Stock"),
        facts=facts,
        actions=_actions(level),
        tables=[Table("Movements, newest first", columns, [_movement(one) for one in moved.items], "Nothing moved yet.")],
        paging=desk.further(moved.next_cursor),
    )


def _movement(one: MovementRead) -> Row:
    cause = subject_link(one.reference)
    reason = Text(one.reason) if one.reason else None
    return Row([one.created_at, one.kind, one.quantity, one.on_hand_after, cause, reason, user_link(one.actor_id)])


def _actions(level: LevelRead) -> list[Action]:
    here = f"{_PATH}/{level.id}"
    pieces = Field("quantity", "Pieces", "number", hint="Below zero to take away", max_length=9, is_required=True)
    reason = Field("reason", "Reason", is_required=True)
    plan = [
        Field("low_stock_threshold", "Low at", "number", str(level.low_stock_threshold), max_length=9, is_required=True),
        Field("reorder_point", "Reorder at", "number", _text(level.reorder_point), hint="Nothing for never", max_length=9),
        Field("reorder_quantity", "Reorder pieces", "number", _text(level.reorder_quantity), max_length=9),
    ]
    return [
        Action(f"{here}/adjust", "Adjust", [pieces, reason], is_once=True),
        Action(f"{here}/threshold", "Set when to reorder", plan, hidden={"revision": str(level.revision)}),
    ]


def _text(number: int | None) -> str:
    return "" if number is None else str(number)


async def _adjust(desk: Desk, form: Form) -> None:
    level = await LevelService.get_level(desk.id(), viewer=desk.viewer)
    wanted = filled(
        AdjustmentCreate,
        {
            "variant_id": str(level.variant_id),
            "location_id": str(level.location_id),
            "quantity": form.number("quantity"),
            "reason": form.get("reason"),
        },
    )

    async def work() -> None:
        await StockService.correct(
            wanted.to_correction(),
            kind=MovementKind.ADJUSTMENT,
            catalog=StockItemService,
            viewer=desk.viewer,
            currency=desk.settings.currency,
        )

    await desk.once(form, work)


async def _set_threshold(desk: Desk, form: Form) -> None:
    names = ("low_stock_threshold", "reorder_point", "reorder_quantity")
    changes = filled(LevelUpdate, {name: form.number(name) for name in names if name in form.fields})
    await LevelService.update_level(desk.id(), changes, viewer=desk.viewer, revision=form.number("revision"))


STOCK = View(
    "stock",
    "Stock",
    "what lies where",
    Group.SHOP,
    Permission.MANAGE_INVENTORY,
    pages={"": _list, "/{id}": _detail},
    moves={
        "/{id}/adjust": Move(_adjust, _detail, "The stock was corrected."),
        "/{id}/threshold": Move(_set_threshold, _detail, "It was set."),
    },
    queues=[Queue(Waiting.LOW_STOCK, "Stock running low", f"?supply={_Supply.LOW}")],
)
