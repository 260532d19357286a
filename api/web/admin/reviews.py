"""The moderation queue of what customers say about products."""

from dataclasses import replace

from beanie import PydanticObjectId

from api.web.admin.desk import ADMIN, Desk, Form
from api.web.admin.layout import Action, Html, Page, Row, Table, Text, Value
from api.web.admin.subjects import product_link
from api.web.admin.views import Group, Move, Queue, View
from models.ecommerce.reviews import ReviewRead, ReviewStatus
from services.ecommerce.catalog.names import product_names
from services.ecommerce.reviews import ReviewService
from services.users.permissions import Permission, Viewer
from services.waiting import Waiting

_PATH = f"{ADMIN}/reviews"


async def _queue(desk: Desk) -> Page:
    status = desk.choice("status", ReviewStatus) or ReviewStatus.PENDING
    found = await ReviewService.list_queue(viewer=desk.viewer, cursors=desk.cursors, status=status, cursor=desk.cursor)
    names = await product_names(one.product_id for one in found.items)
    columns = ["Written", "By", "Product", "Stars", "Title", "Review", "Pictures"]
    rows = [_row(one, names, desk.viewer) for one in found.items]
    if not any(one.image_urls for one in found.items):
        columns.pop()
        rows = [replace(row, cells=row.cells[:-1]) for row in rows]
    return Page(
        title="Reviews",
        tabs=desk.tabs("status", ReviewStatus, status, has_all=False),
        tables=[Table("Oldest first", columns, rows, "No review waits here.")],
        paging=desk.further(found.next_cursor, status=status),
    )


def _row(review: ReviewRead, names: dict[PydanticObjectId, str], viewer: Viewer) -> Row:
    name = review.author.full_name if review.author else "somebody who left"
    cells: list[Value] = [
        review.created_at,
        name,
        product_link(review.product_id, names.get(review.product_id, "gone"), viewer),
        review.rating,
        Text(review.title),
        Html(review.content_html),
        Text("\n".join(review.image_urls)) if review.image_urls else None,
    ]
    # What was read is what is judged: an edit meanwhile is refused.
    read, about = {"revision": str(review.revision)}, f"the review by {name}"
    actions = []
    if review.status is not ReviewStatus.APPROVED:
        actions.append(Action(f"{_PATH}/{review.id}/approve", "Approve", hidden=read, about=about))
    if review.status is not ReviewStatus.REJECTED:
        actions.append(Action(f"{_PATH}/{review.id}/reject", "Reject", hidden=read, about=about))
    return Row(cells, actions)


async def _approve(desk: Desk, form: Form) -> None:
    await ReviewService.approve(desk.id(), viewer=desk.viewer, revision=form.number("revision"))


async def _reject(desk: Desk, form: Form) -> None:
    await ReviewService.reject(desk.id(), viewer=desk.viewer, revision=form.number("revision"))


REVIEWS = View(
    "reviews",
    "Reviews",
    "what customers say about products",
    Group.CONTENT,
    Permission.MODERATE_REVIEWS,
    pages={"": _queue},
    moves={
        "/{id}/approve": Move(_approve, _queue, "The review is public now, and its stars count."),
        "/{id}/reject": Move(_reject, _queue, "The review was rejected; its stars do not count."),
    },
    queues=[Queue(Waiting.REVIEWS, "Reviews to moderate")],
)
