"""Who hears of what happened: how far each consumer of events has come, and what it gave up on."""

from api.web.admin.desk import ADMIN, Desk, Form
from api.web.admin.layout import Action, Badge, Page, Row, Table, Text, Value
from api.web.admin.subjects import subject_link
from api.web.admin.views import Group, Move, Queue, View
from models.events import ConsumerRead, DeadLetterRead
from services.deadletters import DeadLetterService
from services.users.permissions import Permission
from services.waiting import Waiting

_PATH = f"{ADMIN}/events"


async def _list(desk: Desk) -> Page:
    consumers = await DeadLetterService.list_consumers(viewer=desk.viewer)
    found = await DeadLetterService.list_letters(viewer=desk.viewer, cursors=desk.cursors, cursor=desk.cursor)
    return Page(
        title="Events",
        tables=[
            Table(
                "Given up, newest first",
                ["When", "Consumer", "Event", "About", "Why", "State"],
                [_letter(one) for one in found.items],
                "Nothing was given up.",
            ),
            Table(
                "Consumers, by name",
                ["Consumer", "State", "Behind", "Given up", "Last failure", "Tries again"],
                [_consumer(one) for one in consumers],
                "No worker has run yet.",
            ),
        ],
        paging=desk.further(found.next_cursor),
    )


def _letter(letter: DeadLetterRead) -> Row:
    cells: list[Value] = [
        letter.failed_at,
        letter.consumer,
        letter.event_type,
        subject_link(letter.subject) if letter.subject else None,
        Text(letter.error),
        Badge("given up", "bad") if letter.replay_at is None else Badge("asked for again", "wait"),
    ]
    about = f"for {letter.consumer} the event {letter.sequence}"
    return Row(cells, [Action(f"{_PATH}/{letter.id}/again", "Try again", about=about)])


def _consumer(consumer: ConsumerRead) -> Row:
    cells: list[Value] = [
        consumer.name,
        Badge("fails", "bad")
        if consumer.failures
        else Badge("on its way", "wait")
        if consumer.lag
        else Badge("up to date", "good"),
        consumer.lag,
        consumer.dead_letters_count,
        Text(consumer.last_error) if consumer.last_error else None,
        consumer.retry_at,
    ]
    again = Action(f"{_PATH}/consumers/{consumer.name}/all", "Try all again", about=f"that {consumer.name} gave up on")
    return Row(cells, [again] if consumer.dead_letters_count else [])


async def _again(desk: Desk, form: Form) -> None:
    await DeadLetterService.request_replay(desk.id(), viewer=desk.viewer)


async def _all(desk: Desk, form: Form) -> None:
    await DeadLetterService.request_replay_of_all(desk.request.path_params["name"], viewer=desk.viewer)


EVENTS = View(
    "events",
    "Events",
    "who was told what happened, and who could not be",
    Group.SYSTEM,
    Permission.MANAGE_SYSTEM,
    pages={"": _list},
    moves={
        "/{id}/again": Move(_again, _list, "The worker tries the event again within seconds."),
        "/consumers/{name}/all": Move(_all, _list, "The worker tries all of them again within seconds."),
    },
    queues=[Queue(Waiting.DEAD_LETTERS, "Events given up")],
)
