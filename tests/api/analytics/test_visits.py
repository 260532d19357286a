"""Figures of visits over HTTP."""

import httpx2

from models.analytics.events import VisitKind
from models.database import Database
from models.users import Role
from services.analytics.visits.traffic import TrafficService
from tests.api.conftest import SignIn
from tests.factories.visits import create_event

TRAFFIC = "/api/v1/analytics/traffic"
RANGE = "start=2026-11-21&end=2026-11-22&timezone=UTC"


class TestTraffic:
    async def test_figures_sources_and_searches(self, client: httpx2.AsyncClient, as_role: SignIn, database: Database) -> None:
        for n in range(3):
            await create_event(VisitKind.SEARCH, f"v{n}", term="linen")
        await create_event(VisitKind.SEARCH, "v1", term="my neighbour")
        await create_event(visitor="v1", source="letter", campaign="spring")
        await TrafficService.roll_up_all()
        headers = await as_role(Role.MANAGER)

        traffic = await client.get(f"{TRAFFIC}?{RANGE}", headers=headers)
        sources = await client.get(f"{TRAFFIC}/sources?{RANGE}", headers=headers)
        searches = await client.get(f"{TRAFFIC}/searches?{RANGE}", headers=headers)

        assert traffic.status_code == 200, traffic.text
        told = traffic.json()["figures"]
        assert (told["searches_count"], told["page_views_count"], told["visitors_count"]) == (4, 1, 3)
        assert sources.json()["rows"] == [
            {"source": "campaign:spring", "visits_count": 1},
            {"source": "letter", "visits_count": 1},
        ]
        assert searches.json()["rows"] == [{"term": "linen", "searches_count": 3, "visitors_count": 3}]
        again = await client.get(f"{TRAFFIC}?{RANGE}", headers={**headers, "If-None-Match": traffic.headers["etag"]})
        assert again.status_code == 304
