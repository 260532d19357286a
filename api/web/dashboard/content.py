"""The page about the publication and its readers: what was read and liked, by whom it was written, and who joined."""

from collections.abc import Callable
from dataclasses import replace

from api.web import formats
from api.web.dashboard.controls import Controls
from api.web.dashboard.figures import Chart, Table, Tile
from api.web.dashboard.overtime import compared_tile, over_time, together_over_time
from api.web.dashboard.stock import before, of_now
from api.web.dashboard.widgets import File, Reports, Widget
from models.analytics.content import ContentFigures
from models.analytics.users import UserFigures
from services.analytics.exports.exports import Ranking
from services.analytics.periods import Granularity
from services.analytics.reports.content import ContentReportService
from services.analytics.reports.users import UserReportService
from services.analytics.reports.visits import VisitReportService
from services.analytics.scopes import ReportScope

TOP = 12
_TOP = Ranking(limit=TOP)


def by_days(scope: ReportScope) -> ReportScope:
    """Views are told by days at the finest."""
    return replace(scope, granularity=Granularity.DAY) if scope.granularity is Granularity.HOUR else scope


def _daily(controls: Controls) -> Controls:
    return replace(controls, scope=by_days(controls.scope))


def _read(key: str, label: str, value: Callable[[ContentFigures], int], *, note: str) -> Widget:
    async def make(reports: Reports) -> Tile:
        scope = by_days(reports.scope)
        now = await reports.read_calmly(ContentReportService.get_content, of_now(scope), limit=TOP)
        earlier = before(scope)
        past = None if earlier is None else await reports.read_calmly(ContentReportService.get_content, earlier, limit=0)
        return compared_tile(key, label, value(now.figures), None if past is None else value(past.figures), note=note)

    return Widget("tile", key, label, make, File("content", by_days))


def _people(key: str, label: str, value: Callable[[UserFigures], int], *, note: str) -> Widget:
    async def make(reports: Reports) -> Tile:
        now = await reports.read_calmly(UserReportService.get_users, of_now(reports.scope))
        earlier = before(reports.scope)
        past = None if earlier is None else await reports.read_calmly(UserReportService.get_users, earlier)
        return compared_tile(key, label, value(now.figures), None if past is None else value(past.figures), note=note)

    return Widget("tile", key, label, make, File("users"))


async def _visitors(reports: Reports) -> Tile:
    report = await reports.read(VisitReportService.get_traffic_report)
    past = None if report.previous is None else report.previous.visitors_count
    return compared_tile("visitors", "Visitors", report.figures.visitors_count, past, note="Each counted once a day")


async def _views(reports: Reports) -> Chart:
    controls = _daily(reports.controls)
    now = await reports.read_calmly(ContentReportService.get_content, of_now(controls.scope), limit=TOP)
    earlier = before(controls.scope)
    past = None if earlier is None else await reports.read_calmly(ContentReportService.get_content, earlier, limit=0)
    points = None if past is None else past.points
    return over_time(now.points, points, controls, key="views", name="Views", value=lambda point: point.views_count)


async def _reactions(reports: Reports) -> Chart:
    controls = _daily(reports.controls)
    report = await reports.read_calmly(ContentReportService.get_content, of_now(controls.scope), limit=TOP)
    return together_over_time(
        report.points,
        controls,
        key="reactions",
        name="Likes and comments",
        values=[("Likes", lambda point: point.likes_count), ("Comments", lambda point: point.comments_count)],
    )


async def _active(reports: Reports) -> Chart:
    report = await reports.read_calmly(UserReportService.get_users, of_now(reports.scope))
    name = "People who signed in"
    return over_time(report.points, None, reports.controls, key="active", name=name, value=lambda point: point.active_count)


async def _signups(reports: Reports) -> Chart:
    report = await reports.read_calmly(UserReportService.get_users, of_now(reports.scope))
    return over_time(
        report.points, None, reports.controls, key="signups", name="Sign-ups", value=lambda point: point.registrations_count
    )


async def _posts(reports: Reports) -> Table:
    report = await reports.read_calmly(ContentReportService.get_content, of_now(by_days(reports.scope)), limit=TOP)
    rows = [
        (
            post.title or "No longer there",
            formats.count(post.views_count),
            formats.count(post.likes_count),
            formats.count(post.comments_count),
        )
        for post in report.posts
    ]
    return Table("posts", "Popular posts", ("Post", "Views", "Likes", "Comments"), rows, "No post was read.")


async def _authors(reports: Reports) -> Table:
    report = await reports.read_calmly(ContentReportService.get_content, of_now(by_days(reports.scope)), limit=TOP)
    rows = [
        (
            author.full_name or author.username or "No longer there",
            formats.count(author.posts_count),
            formats.count(author.views_count),
            formats.count(author.likes_count),
            formats.count(author.comments_count),
        )
        for author in report.authors
    ]
    return Table("authors", "Authors", ("Author", "Posts", "Views", "Likes", "Comments"), rows, "Nobody was read.")


async def _visit_sources(reports: Reports) -> Table:
    report = await reports.read(VisitReportService.list_visit_sources, limit=TOP)
    rows = [(row.source, formats.count(row.visits_count)) for row in report.rows]
    empty = "Nobody was seen to come from elsewhere."
    return Table("visit-sources", "Where visitors came from", ("Source", "Visitors"), rows, empty)


CONTENT = [
    _read("views", "Views of posts", lambda one: one.views_count, note="Each visitor once per half hour"),
    _read("likes", "Likes", lambda one: one.likes_count, note="Given to posts"),
    _read("comments", "Comments", lambda one: one.comments_count, note="That are public"),
    Widget("tile", "visitors", "Visitors", _visitors, File("traffic")),
    _people("active", "People who signed in", lambda one: one.active_count, note="Each counted once"),
    _people("signups", "Sign-ups", lambda one: one.registrations_count, note="Accounts made"),
    Widget("chart", "views", "Views over time", _views, File("content", by_days)),
    Widget("chart", "reactions", "Likes and comments over time", _reactions, File("content", by_days)),
    Widget("chart", "active", "People who signed in over time", _active, File("users")),
    Widget("chart", "signups", "Sign-ups over time", _signups, File("users")),
    Widget("table", "posts", "Popular posts", _posts, File("posts", by_days, _TOP)),
    Widget("table", "authors", "Authors", _authors, File("authors", by_days, _TOP)),
    Widget(
        "table", "visit-sources", "Where visitors came from", _visit_sources, File("visit-sources", ranking=Ranking(limit=TOP))
    ),
]
