"""What reports of visits tell."""

from pydantic import Field

from models.analytics.events import SearchedTerm
from models.analytics.reports import Frozen, ReportWindow
from models.base import UtcDatetime


class TrafficFigures(Frozen):
    """What was looked at within a time. All zero when nobody came."""

    page_views_count: int = Field(description="As clients tell them", examples=[5120])
    product_views_count: int = Field(description="Each visitor once per half hour", examples=[1830])
    post_views_count: int = Field(description="Each visitor once per half hour", examples=[940])
    searches_count: int = Field(description="Of products and posts; further pages of one are no search", examples=[210])
    cart_adds_count: int = Field(examples=[160])
    checkouts_count: int = Field(description="Orders asked for, also those whose payment was declined", examples=[44])
    visitors_count: int = Field(description="Each counted once a day of UTC", examples=[1210])


class TrafficPoint(TrafficFigures):
    """What was looked at in one hour, day, week or month. The visitors of a day of UTC stand at its noon."""

    starts_at: UtcDatetime
    ends_at: UtcDatetime = Field(description="Not included")
    label: str = Field(description="For an axis, in the report's time zone", examples=["2026-11-01"])


class TrafficReport(Frozen):
    """What was looked at in a period, in all and over time, and in the one before if that was asked for."""

    window: ReportWindow
    granularity: str = Field(examples=["day"])
    figures: TrafficFigures
    points: list[TrafficPoint] = Field(description="One per bucket, also where nobody came")
    previous_window: ReportWindow | None = Field(description="Null unless a comparison was asked for; so is the next")
    previous: TrafficFigures | None


class VisitSource(Frozen):
    """Where visitors came from."""

    source: str = Field(
        description="`utm_source`, else the host of the site before; `campaign:...` for a campaign", examples=["letter"]
    )
    visits_count: int = Field(description="Visitors who came from there, each counted once a day of UTC", examples=[310])


class VisitSourceReport(Frozen):
    """Where visitors came from, most visits first; the same number goes by name. Who came directly is in no row."""

    window: ReportWindow
    rows: list[VisitSource]


class SearchReport(Frozen):
    """What visitors searched for, most visitors first; the same number goes by term. Terms of fewer than three are left out."""

    window: ReportWindow
    rows: list[SearchedTerm]
