"""The simulated staff: twice a day they decide what waits for a person, pack what is to go, and answer who sends things back."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from random import Random
from typing import TypeVar

from beanie import PydanticObjectId

from models.blog.comments import ModerationAction
from models.ecommerce.orders import OrderStatus, OrderSummary
from models.ecommerce.returns import Disposition, ReturnStatus, StaffReturn
from scripts.samples import goods, texts
from scripts.simulation.visitors import after_delivery
from scripts.simulation.world import Journey, Once, World
from services.blog.moderation import ModerationService
from services.ecommerce.orders.fulfilment import FulfilmentDraft, FulfilmentPart, FulfilmentService
from services.ecommerce.orders.reading import OrderService
from services.ecommerce.returns.desk import ReturnDeskService
from services.ecommerce.returns.pieces import ReceivedPart
from services.ecommerce.returns.refunds import ReturnRefundService
from services.ecommerce.reviews import ReviewService
from services.errors import AppError
from services.pagination import CursorPage, PageRequest
from services.payments.reviews import FraudReviewService

T = TypeVar("T")

_SHIFTS = (timedelta(hours=8), timedelta(hours=14))
_PAGE = 100


async def shifts(world: World) -> Journey:
    """At eight and at two."""
    yield _SHIFTS[0]
    while True:
        for rest in (_SHIFTS[1] - _SHIFTS[0], timedelta(days=1) + _SHIFTS[0] - _SHIFTS[1]):
            await _decide_payments(world)
            await _moderate_comments(world)
            await _moderate_reviews(world)
            await _answer_returns(world)
            await _pack(world)
            yield rest


async def _waiting(page: Callable[[], Awaitable[CursorPage[T]]]) -> AsyncIterator[T]:
    """Everything in a queue that what is done with it takes out of it: the first page, until there is no further one."""
    while True:
        found = await page()
        for item in found.items:
            yield item
        if found.next_cursor is None:
            return


async def _decide_payments(world: World) -> None:
    manager = world.staff["manager"]
    queue = partial(FraudReviewService.list_reviews, viewer=manager, cursors=world.cursors, limit=_PAGE)
    async for review in _waiting(queue):
        if world.dice("fraud", review.id).random() < 0.75:
            await FraudReviewService.approve_review(
                review.id,
                viewer=manager,
                note="a customer we know",
                gateways=world.gateways,
                listener=world.listener,
                settings=world.settings,
            )
            world.tally["payments approved by staff"] += 1
        else:
            await FraudReviewService.reject_review(
                review.id, viewer=manager, note="nobody answers the telephone", listener=world.listener
            )
            world.tally["payments refused by staff"] += 1


async def _moderate_comments(world: World) -> None:
    editor = world.staff["editor"]
    async for comment in _waiting(partial(ModerationService.list_queue, viewer=editor, cursors=world.cursors, limit=_PAGE)):
        is_fine = world.dice("comment", comment.id).random() < 0.93
        action = ModerationAction.APPROVE if is_fine else ModerationAction.REJECT
        if comment.content == texts.SPAM:
            action = ModerationAction.SPAM
        await ModerationService.moderate(comment.id, action, viewer=editor)


async def _moderate_reviews(world: World) -> None:
    editor = world.staff["editor"]
    async for review in _waiting(partial(ReviewService.list_queue, viewer=editor, cursors=world.cursors, limit=_PAGE)):
        decide = ReviewService.approve if world.dice("review", review.id).random() < 0.9 else ReviewService.reject
        await decide(review.id, viewer=editor)


async def _answer_returns(world: World) -> None:
    manager = world.staff["manager"]
    asked = partial(ReturnDeskService.list_queue, status=ReturnStatus.REQUESTED)
    async for request in _waiting(partial(asked, viewer=manager, cursors=world.cursors, limit=_PAGE)):
        dice = world.dice("return", request.number)
        if dice.random() < 0.9:
            await ReturnDeskService.approve(request.id, viewer=manager)
            world.begin(_comes_back(world, request, dice), after=timedelta(days=dice.uniform(2, 6)))
        else:
            await ReturnDeskService.reject(request.id, viewer=manager, staff_notes="too worn")


async def _comes_back(world: World, request: StaffReturn, dice: Random) -> Journey:
    """The parcel is opened, and what is in it paid back some hours later."""
    manager = world.staff["manager"]
    parts = [
        ReceivedPart(
            line_id=line.line_id,
            quantity=line.quantity,
            disposition=Disposition.RESTOCK if dice.random() < 0.7 else Disposition.WRITE_OFF,
        )
        for line in request.lines
    ]
    await ReturnDeskService.receive(request.id, parts, viewer=manager)
    yield timedelta(hours=dice.uniform(1, 20))
    try:
        await ReturnRefundService.refund(
            request.id, viewer=manager, gateways=world.gateways, listener=world.listener, settings=world.settings
        )
    except AppError as error:  # an invoice that was not paid yet, say
        world.tally[f"refunds refused: {error.code}"] += 1


async def _pack(world: World) -> None:
    """Everything that is to go, oldest first; now and then a part of it only with the next shift."""
    manager = world.staff["manager"]
    waiting: list[OrderSummary] = []
    page = 1
    while True:
        found = await OrderService.list_orders(PageRequest(page, 100), viewer=manager, status=OrderStatus.PROCESSING)
        waiting += found.items
        if page >= found.total_pages:
            break
        page += 1
    for summary in reversed(waiting):
        await _send(world, summary.id)


async def _send(world: World, order_id: PydanticObjectId) -> None:
    manager = world.staff["manager"]
    order = await OrderService.get_staff_order(order_id, viewer=manager)
    dice = world.dice("parcel", f"{order.number}:{len(order.fulfilments)}")
    left = [line for line in order.lines if line.fulfilled_quantity < line.quantity]
    parts: Sequence[FulfilmentPart] = []
    if len(left) > 1 and dice.random() < 0.3:
        parts = [FulfilmentPart(line_id=left[0].id, quantity=left[0].quantity - left[0].fulfilled_quantity)]
    draft = FulfilmentDraft(
        lines=parts, carrier=dice.choice(goods.CARRIERS), tracking_number=f"TRK{dice.randrange(10**9, 10**10)}"
    )
    try:
        sent = await FulfilmentService.create_fulfilment(order_id, draft, viewer=manager)
    except AppError as error:
        world.tally[f"parcels refused: {error.code}"] += 1
        return
    world.tally["parcels sent"] += 1
    parcel = sent.fulfilments[-1]
    world.begin(Once(partial(_arrives, world, order_id, parcel.id)), after=timedelta(days=dice.uniform(1, 4)))


async def _arrives(world: World, order_id: PydanticObjectId, parcel_id: PydanticObjectId) -> None:
    order = await FulfilmentService.deliver_fulfilment(order_id, parcel_id, viewer=world.staff["manager"])
    if order.status is OrderStatus.DELIVERED and order.id in world.buyers:
        world.begin(after_delivery(world, order))
