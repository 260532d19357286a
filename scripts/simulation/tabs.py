"""What the simulated visitors' browsers tell of a visit, and what the API would have seen of it: both through the real intake."""

from functools import partial
from uuid import UUID

from beanie import PydanticObjectId

from models.analytics.events import ClientKind, Screen, VisitKind
from scripts.simulation.world import Person, World
from services.analytics.visits.intake import MAX_EVENTS, ClientEventDraft, VisitService
from services.analytics.visits.visitors import Visitor
from services.views import ViewCounter, Visit

# Where people come from, and how often; most type the address, or have it.
_ORIGINS = {
    ("", ""): 50,
    ("https://search.example/?q=a+shop", ""): 25,
    ("https://news.example/", ""): 8,
    ("", "?utm_source=newsletter&utm_medium=mail&utm_campaign=weekly"): 10,
    ("https://social.example/feed", "?utm_source=social&utm_campaign=spring"): 7,
}
_SCREENS = {Screen.SMALL: 60, Screen.MEDIUM: 10, Screen.LARGE: 30}


class Tab:
    """One visit's tab. The pages it opened are told in a batch, as browsers do it when one turns away."""

    def __init__(self, world: World, person: Person, key: str) -> None:
        self._world = world
        self._dice = world.dice("tab", key)  # dice of its own: what is told changes nothing that is done
        self._visitor = Visitor(person.network, person.agent)
        self._referrer, self._query = self._dice.choices(list(_ORIGINS), weights=list(_ORIGINS.values()))[0]
        self._screen = self._dice.choices(list(_SCREENS), weights=list(_SCREENS.values()))[0]
        self._waiting: list[ClientEventDraft] = []

    def open(self, path: str, kind: ClientKind = ClientKind.PAGE_VIEW) -> None:
        """Show a page; the first one of a visit says where it came from."""
        draft = ClientEventDraft(
            id=UUID(int=self._dice.getrandbits(128), version=4),
            kind=kind,
            at=self._world.now(),
            path=f"{path}{self._query}",
            referrer=self._referrer,
            screen=self._screen,
        )
        self._referrer = self._query = ""
        self._waiting.append(draft)

    async def tell(self) -> None:
        """Send what waits."""
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_EVENTS], self._waiting[MAX_EVENTS:]
            taken = await VisitService.record_events(
                batch, visitor=self._visitor, salts=self._world.salts, settings=self._world.settings
            )
            self._world.tally["page views told"] += taken.accepted

    def note(self, kind: VisitKind, *, subject: str = "", term: str = "") -> None:
        """What the API sees by itself."""
        self._world.visits.note(kind, self._visitor, subject=subject, term=term, key=f"{self._dice.getrandbits(128):x}")

    def look(self, counter: ViewCounter, kind: VisitKind) -> Visit:
        """A look at something whose views are counted."""
        return Visit(counter, self._visitor.address, self._visitor.user_agent, partial(self._note_view, kind))

    def _note_view(self, kind: VisitKind, subject_id: PydanticObjectId) -> None:
        self.note(kind, subject=f"{kind.removesuffix('_view')}:{subject_id}")
