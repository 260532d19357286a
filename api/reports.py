"""What every report is asked with, and how it is answered: made once for all who ask at the same moment, with an ETag."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from api.conditional import NOT_MODIFIED, digest_of, etag, tagged
from api.dependencies import Allowed, Config
from api.routing import refuses
from models.money import Currency
from services.analytics.periods import Granularity, InvalidPeriodError
from services.analytics.scopes import Comparison, ReportScope, UnknownTimeZoneError
from services.cache import Cache
from services.errors import AppError
from services.heavy import OverloadedError
from services.inputs import Day
from services.users.permissions import Permission, Viewer

Analyst = Annotated[Viewer, Allowed(Permission.VIEW_REPORTS)]
"""Whoever may see reports."""


async def _report_scope(
    settings: Config,
    start: Annotated[
        Day | None, Query(description="First day; thirty days before `end` when left out", examples=["2026-11-01"])
    ] = None,
    end: Annotated[
        Day | None, Query(description="The day after the last; tomorrow when left out", examples=["2026-12-01"])
    ] = None,
    timezone: Annotated[
        str | None, Query(max_length=64, description="IANA name; the house's when left out", examples=["Europe/Berlin"])
    ] = None,
    granularity: Annotated[
        Granularity, Query(description="Of series: hours of up to 14 days, days, weeks from Monday, or months")
    ] = Granularity.DAY,
    compare: Annotated[
        Comparison, Query(description="`previous` adds the period of the same length just before")
    ] = Comparison.NONE,
    currency: Annotated[
        Currency | None, Query(description="Reports are of one currency; the shop's when left out", examples=["USD"])
    ] = None,
) -> ReportScope:
    return ReportScope.of(
        settings=settings,
        start=start,
        end=end,
        timezone=timezone,
        granularity=granularity,
        compare=compare,
        currency=currency,
    )


ReportPeriod = Annotated[ReportScope, Depends(_report_scope)]
"""Range, granularity, zone, comparison and currency of a report. Raises InvalidPeriodError and UnknownTimeZoneError."""

# Enough for everybody at one dashboard to look at the same figures; an order moves them within two seconds.
_answers: Cache[Hashable, tuple[str, bytes]] = Cache("reports", ttl=1.0, size=32)


def reports(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a report."""
    return {**NOT_MODIFIED, **refuses(InvalidPeriodError, UnknownTimeZoneError, OverloadedError, *errors)}


async def answer_report(request: Request, *key: Hashable, make: Callable[[], Awaitable[BaseModel]]) -> Response:
    """The report of this key, made once for all who ask within a second: it shows everybody the same, so the key names no caller.

    The caller's permission was asked for by the route, before anything is looked up here.
    """

    async def load() -> tuple[str, bytes]:
        body = (await make()).model_dump_json().encode()
        return etag(0, digest_of(body)), body

    tag, body = await _answers.get_or_load((request.scope["route"].name, *key), load)
    return tagged(request, body, tag=tag)
