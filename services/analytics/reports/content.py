"""How the publication is read: views, likes and comments over time, by post and by author.

Views are kept per post and UTC day (`post_views`), so a day of the report has the views of the UTC day of its date, whatever the
zone; likes and comments have their own moments and are right in every zone. Likes taken back and comments withdrawn do not count.
"""

from datetime import UTC, datetime, time
from typing import Any

from beanie import PydanticObjectId

from models.analytics.content import AuthorFigures, ContentFigures, ContentPoint, ContentReport, PostFigures
from models.base import AgoraDocument
from models.blog.comments import Comment, CommentStatus
from models.blog.posts import Post, PostViews
from models.social import Like, LikeKind
from models.users import User
from services.analytics.periods import Granularity, Period
from services.analytics.reports.buckets import stretch_number
from services.analytics.reports.figures import window_of
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
    """A list of fewer rows than none, or of too many."""

    code = "invalid_report_rows"

    def __init__(self) -> None:
        super().__init__(f"Reports rank {MAX_ROWS} rows at most.")


class ContentReportService:
    @staticmethod
    async def get_content(scope: ReportScope, *, viewer: Viewer, limit: int = 10) -> ContentReport:
        """What readers did in the period: over time, and the `limit` posts and authors most was done with. Nine commands at most,
        three where nobody is to be ranked.

        All zero, and no posts, when nothing was done. Raises PermissionDeniedError, NoHoursError, InvalidRowsError and
        OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        if scope.granularity is Granularity.HOUR:
            raise NoHoursError
        if not 0 <= limit <= MAX_ROWS:
            raise InvalidRowsError
        buckets = scope.period.buckets(scope.granularity)
        starts = [bucket.start for bucket in buckets]
        async with heavy_work():
            series = await _read(scope.period, views=_days_of(starts, scope.period), others=stretch_number("$created_at", starts))
            posts = await _read(scope.period) if limit else {}
            authors = await _by_author(posts)
        points = [
            ContentPoint(starts_at=bucket.start, ends_at=bucket.end, label=bucket.label, **_figures(series.get(at, {})))
            for at, bucket in enumerate(buckets)
        ]
        return ContentReport(
            window=window_of(scope.period),
            granularity=scope.granularity,
            figures=ContentFigures(
                **{name: sum(getattr(point, name) for point in points) for name in ContentFigures.model_fields}
            ),
            points=points,
            posts=await _name_posts(_ranked(posts, limit)),
            authors=await _name_authors(_ranked(authors, limit)),
        )


async def _read(period: Period, *, views: Any = "$post_id", others: Any = None) -> dict[Any, Row]:
    """What was done, `{"views": 12, "likes": 3, "comments": 1}`, by what these expressions say; by post when they say nothing.

    Three commands. Not one that unites them: the embedded server walks whole collections for what is united by a pipeline.
    """
    starts_at, ends_at = period.bounds
    first, beyond = (datetime.combine(day, time(), UTC) for day in (period.start, period.end))
    within = {"created_at": {"$gte": starts_at, "$lt": ends_at}}
    sources: list[tuple[str, type[AgoraDocument], list[Row]]] = [
        ("views", PostViews, counted_pipeline({"day": {"$gte": first, "$lt": beyond}}, views, {"$sum": "$views_count"})),
        ("likes", Like, counted_pipeline({"kind": LikeKind.POST, **within}, others or "$subject_id", {"$sum": 1})),
        (
            "comments",
            Comment,
            counted_pipeline(
                within, others or "$post_id", {"$sum": {"$cond": [{"$eq": ["$status", CommentStatus.APPROVED]}, 1, 0]}}
            ),
        ),
    ]
    found: dict[Any, Row] = {}
    for metric, document, pipeline in sources:
        for row in await document.aggregate_rows(pipeline):
            if row["count"]:
                found.setdefault(row["_id"], {"_id": row["_id"], **dict.fromkeys(_METRICS, 0)})[metric] = int(row["count"])
    return found


def counted_pipeline(query: Row, key: Any, count: Row) -> list[Row]:
    """Rows `{"_id": <key>, "count": 12}`. No stage between the match and the group: the embedded server unpacks rows for it."""
    return [{"$match": query}, {"$group": {"_id": key, "count": count}}]


async def _by_author(posts: dict[PydanticObjectId, Row]) -> dict[Any, Row]:
    """The same by author, with the number of posts; those of posts that are gone are nobody's. One command if there are any."""
    query = {"_id": {"$in": list(posts)}}
    authors: dict[Any, Row] = {}
    for post in await Post.find_rows(query, {"author_id": 1}) if posts else []:
        sums = authors.setdefault(post["author_id"], {"_id": post["author_id"], "posts": 0, **dict.fromkeys(_METRICS, 0)})
        sums["posts"] += 1
        for metric in _METRICS:
            sums[metric] += posts[post["_id"]][metric]
    return authors


def _ranked(rows: dict[Any, Row], limit: int) -> list[Row]:
    """Those with the most views, then likes, then comments; level ones by their ids."""
    return sorted(rows.values(), key=lambda row: (*(-row[metric] for metric in _METRICS), row["_id"]))[:limit]


def _days_of(starts: list[datetime], period: Period) -> Any:
    return stretch_number("$day", [_midnight(start, period) for start in starts])


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
