"""What reports of the publication tell."""

from beanie import PydanticObjectId
from pydantic import Field

from models.analytics.reports import Frozen, ReportWindow
from models.base import UtcDatetime


class ContentFigures(Frozen):
    """What readers did within a time. All zero when they did nothing."""

    views_count: int = Field(description="Visitors of posts, each once per half hour; by UTC days", examples=[1204])
    likes_count: int = Field(description="Likes of posts given within it that still stand", examples=[48])
    comments_count: int = Field(description="Comments written within it that are public now", examples=[17])


class ContentPoint(ContentFigures):
    """One day, week or month. Those at the edges of the period may be parts of one."""

    starts_at: UtcDatetime
    ends_at: UtcDatetime = Field(description="Not included")
    label: str = Field(description="For an axis, in the report's time zone", examples=["2026-11-01"])


class PostFigures(ContentFigures):
    """One post."""

    rank: int = Field(description="From 1", examples=[1])
    post_id: PydanticObjectId
    title: str | None = Field(description="At present; null when the post is gone", examples=["Indexes that serve"])
    slug: str | None = Field(examples=["indexes-that-serve"])


class AuthorFigures(ContentFigures):
    """What readers did with the posts of one author."""

    rank: int = Field(description="From 1", examples=[1])
    author_id: PydanticObjectId
    username: str | None = Field(description="Null when the account is gone", examples=["janedoe"])
    full_name: str | None = Field(examples=["Jane Doe"])
    posts_count: int = Field(description="Posts with which something was done within the time", examples=[9])


class ContentReport(Frozen):
    """What readers did in a period, and with what."""

    window: ReportWindow
    granularity: str = Field(examples=["day"])
    figures: ContentFigures = Field(description="The sums of the points")
    points: list[ContentPoint] = Field(description="One per bucket, also where nothing happened")
    posts: list[PostFigures] = Field(description="The most viewed first; the same views go by likes, comments, id")
    authors: list[AuthorFigures] = Field(description="Ranked alike; posts that are gone are nobody's")
