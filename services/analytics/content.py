"""How the publication is read: views, likes and comments over time, by post and by author.

Views are kept per post and UTC day (`post_views`), so a day of the report has the views of the UTC day of its date, whatever the
zone; likes and comments have their own moments and are right in every zone. Likes taken back and comments withdrawn do not count.
"""

from datetime import UTC, datetime, time
from typing import Any

from models.analytics.content import AuthorFigures, ContentFigures, ContentPoint, ContentReport, PostFigures
from models.blog.comments import CommentStatus
from models.blog.posts import Post, PostViews
from models.social import LikeKind
from models.users import User
from services.analytics.buckets import stretch_number
from services.analytics.figures import window_of
from services.analytics.periods import Granularity, Period
from services.analytics.scopes import ReportScope
from services.errors import RuleViolatedError, UnprocessableError
from services.heavy import heavy_work
from services.users.permissions import Permission, Viewer

Row = dict[str, Any]

MAX_ROWS = 100
_METRICS = ("views", "likes", "comments")


class NoHoursError(UnprocessableError):
    """Views are counted by days: they cannot be told by the hour."""

    code = "no_hours"

    def __init__(self) -> None:
        super().__init__("This report is told by days, weeks or months, not by hours.")


class InvalidRowsError(RuleViolatedError):
    """A list of no rows or of too many."""

    code = "invalid_report_rows"

    def __init__(self) -> None:
        super().__init__(f"Reports rank 1 to {MAX_ROWS} rows.")


class ContentReportService:
    @staticmethod
    async def get_content(scope: ReportScope, *, viewer: Viewer, limit: int = 10) -> ContentReport:
        """What readers did in the period: over time, and the `limit` posts and authors most was done with. Five commands at most.

        All zero, and no posts, when nothing was done. Raises PermissionDeniedError, NoHoursError, InvalidRowsError and
        OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        if scope.granularity is Granularity.HOUR:
            raise NoHoursError
        if not 1 <= limit <= MAX_ROWS:
            raise InvalidRowsError
        buckets = scope.period.buckets(scope.granularity)
        starts = [bucket.start for bucket in buckets]
        async with heavy_work():
            rows = await PostViews.aggregate_rows(series_pipeline(scope.period, starts))
            posts = await PostViews.aggregate_rows(posts_pipeline(scope.period, limit))
            authors = await PostViews.aggregate_rows(authors_pipeline(scope.period, limit))
        found = {int(row["_id"]): row for row in rows}
        points = [
            ContentPoint(starts_at=bucket.start, ends_at=bucket.end, label=bucket.label, **_figures(found.get(at, {})))
            for at, bucket in enumerate(buckets)
        ]
        return ContentReport(
            window=window_of(scope.period),
            granularity=scope.granularity,
            figures=ContentFigures(
                **{name: sum(getattr(point, name) for point in points) for name in ContentFigures.model_fields}
            ),
            points=points,
            posts=await _name_posts(posts),
            authors=await _name_authors(authors),
        )


def series_pipeline(period: Period, starts: list[datetime]) -> list[Row]:
    """Rows `{"_id": 0, "views": 12, "likes": 3, "comments": 1}`, one per number of `starts` with anything in it."""
    days = [_midnight(start, period) for start in starts]
    return [
        *_acts(period, {"views": stretch_number("$day", days), "others": stretch_number("$created_at", starts)}),
        {"$group": {"_id": "$at", **_SUMS}},
    ]


def posts_pipeline(period: Period, limit: int) -> list[Row]:
    """Rows `{"_id": <post>, "views": 12, "likes": 3, "comments": 1}`, the most viewed first."""
    return [*_by_post(period), _RANKING, {"$limit": limit}]


def authors_pipeline(period: Period, limit: int) -> list[Row]:
    """Rows `{"_id": <author>, "posts": 2, "views": 12, "likes": 3, "comments": 1}`, the most viewed first."""
    return [
        *_by_post(period),
        {"$lookup": {"from": "posts", "localField": "_id", "foreignField": "_id", "as": "post"}},
        {"$unwind": "$post"},
        {"$group": {"_id": "$post.author_id", "posts": {"$sum": 1}, **_SUMS}},
        _RANKING,
        {"$limit": limit},
    ]


_SUMS: Row = {name: {"$sum": f"${name}"} for name in _METRICS}
_RANKING: Row = {"$sort": {"views": -1, "likes": -1, "comments": -1, "_id": 1}}


def _by_post(period: Period) -> list[Row]:
    return [
        *_acts(period, {"views": "$post_id", "likes": "$subject_id", "comments": "$post_id"}),
        {"$group": {"_id": "$at", **_SUMS}},
    ]


def _acts(period: Period, at: Row) -> list[Row]:
    """One row per day of views, like and comment of the period, with its counts and, as `at`, what it is to be counted by.

    Starts in `post_views`.
    """
    starts_at, ends_at = period.bounds
    first, beyond = (datetime.combine(day, time(), UTC) for day in (period.start, period.end))
    within = {"created_at": {"$gte": starts_at, "$lt": ends_at}}
    likes = [
        {"$match": {"kind": LikeKind.POST, **within}},
        {"$project": {"_id": 0, "at": at.get("likes", at.get("others")), **_counts(likes=1)}},
    ]
    comments = [
        {"$match": within},
        {"$match": {"status": CommentStatus.APPROVED}},
        {"$project": {"_id": 0, "at": at.get("comments", at.get("others")), **_counts(comments=1)}},
    ]
    return [
        {"$match": {"day": {"$gte": first, "$lt": beyond}}},
        {"$project": {"_id": 0, "at": at["views"], **_counts(), "views": "$views_count"}},
        {"$unionWith": {"coll": "likes", "pipeline": likes}},
        {"$unionWith": {"coll": "comments", "pipeline": comments}},
    ]


def _counts(**counted: int) -> Row:
    return {name: {"$literal": counted.get(name, 0)} for name in _METRICS}


def _midnight(start: datetime, period: Period) -> datetime:
    """The beginning of the UTC day of the same date."""
    return datetime.combine(start.astimezone(period.zone).date(), time(), UTC)


def _figures(row: Row) -> dict[str, int]:
    return {f"{name}_count": int(row.get(name, 0)) for name in _METRICS}


async def _name_posts(rows: list[Row]) -> list[PostFigures]:
    ids = [row["_id"] for row in rows]
    posts = {post["_id"]: post for post in await Post.find_rows({"_id": {"$in": ids}}, {"title": 1, "slug": 1})} if ids else {}
    return [
        PostFigures(
            rank=rank,
            post_id=row["_id"],
            title=posts.get(row["_id"], {}).get("title"),
            slug=posts.get(row["_id"], {}).get("slug"),
            **_figures(row),
        )
        for rank, row in enumerate(rows, start=1)
    ]


async def _name_authors(rows: list[Row]) -> list[AuthorFigures]:
    ids = [row["_id"] for row in rows]
    fields = {"username": 1, "first_name": 1, "last_name": 1}
    people = {user["_id"]: user for user in await User.find_rows({"_id": {"$in": ids}}, fields)} if ids else {}
    authors = []
    for rank, row in enumerate(rows, start=1):
        person = people.get(row["_id"])
        authors.append(
            AuthorFigures(
                rank=rank,
                author_id=row["_id"],
                username=None if person is None else person["username"],
                full_name=None if person is None else f"{person['first_name']} {person['last_name']}".strip(),
                posts_count=int(row["posts"]),
                **_figures(row),
            )
        )
    return authors
