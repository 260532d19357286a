"""How the publication is read, by hand and against plain Python over views, likes and comments."""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from beanie import PydanticObjectId

from models.blog.comments import CommentStatus
from models.blog.posts import PostStatus, PostViews
from models.database import Database
from models.social import Like, LikeKind
from models.users import Role
from services.analytics.periods import Granularity, Period
from services.analytics.reports.content import ContentReportService, InvalidRowsError, NoHoursError
from services.analytics.scopes import ReportScope
from services.errors import PermissionDeniedError
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.blog import make_post
from tests.factories.comments import make_comment
from tests.factories.users import create_user

MANAGER = Viewer(PydanticObjectId(), "manager", Role.MANAGER)
BERLIN = ZoneInfo("Europe/Berlin")


def scope(start: date, end: date, zone: str = "UTC", **over: Any) -> ReportScope:
    return ReportScope(**{"period": Period(start, end, ZoneInfo(zone)), "currency": "USD", **over})


NOVEMBER = scope(date(2026, 11, 1), date(2026, 12, 1))


async def viewed(post_id: PydanticObjectId, day: date, count: int) -> None:
    await PostViews(post_id=post_id, day=datetime(day.year, day.month, day.day, tzinfo=UTC), views_count=count).store()


async def liked(subject_id: PydanticObjectId, at: datetime, kind: LikeKind = LikeKind.POST) -> None:
    await Like(kind=kind, subject_id=subject_id, user_id=PydanticObjectId(), created_at=at).store()


async def commented(post_id: PydanticObjectId, at: datetime, status: CommentStatus = CommentStatus.APPROVED) -> None:
    await make_comment(post_id=post_id, created_at=at, status=status).store()


class TestGetContent:
    async def test_nothing_is_zeros_in_every_bucket(self, database: Database, commands: CommandLog) -> None:
        wanted = scope(date(2026, 11, 1), date(2026, 11, 4))
        with commands.counting() as sent:
            report = await ContentReportService.get_content(wanted, viewer=MANAGER)

        assert set(report.figures.model_dump().values()) == {0}
        assert [(point.label, point.views_count, point.likes_count, point.comments_count) for point in report.points] == [
            ("2026-11-01", 0, 0, 0),
            ("2026-11-02", 0, 0, 0),
            ("2026-11-03", 0, 0, 0),
        ]
        assert (report.posts, report.authors) == ([], [])
        assert len(sent) == 6

    async def test_figures_by_hand(self, database: Database, commands: CommandLog) -> None:
        jane = await create_user(username="jane", role=Role.AUTHOR)
        first = await make_post(author_id=jane.id, title="First", slug="first", status=PostStatus.PUBLISHED).store()
        second = await make_post(author_id=jane.id, title="Second", slug="second", status=PostStatus.ARCHIVED).store()
        orphan = await make_post(title="Third", slug="third").store()
        gone = PydanticObjectId()
        noon = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
        for post_id, views in ((first.id, 5), (second.id, 7), (orphan.id, 6), (gone, 40)):
            await viewed(post_id, date(2026, 11, 1), views)
            await viewed(post_id, date(2026, 10, 31), 1000)
            await viewed(post_id, date(2026, 12, 1), 1000)
        await viewed(first.id, date(2026, 11, 30), 2)  # level with the second, which has no likes
        await liked(first.id, noon)
        await liked(first.id, noon - timedelta(days=1))
        await liked(first.id, noon, LikeKind.COMMENT)
        await commented(second.id, noon + timedelta(days=1))
        await commented(second.id, noon, CommentStatus.PENDING)
        await commented(second.id, noon - timedelta(days=1))

        with commands.counting() as sent:
            report = await ContentReportService.get_content(NOVEMBER, viewer=MANAGER)

        assert report.figures.model_dump() == {"views_count": 60, "likes_count": 1, "comments_count": 1}
        assert len(report.points) == 30
        assert [
            (point.label, point.views_count, point.likes_count, point.comments_count)
            for point in report.points
            if point.views_count or point.comments_count
        ] == [("2026-11-01", 58, 1, 0), ("2026-11-02", 0, 0, 1), ("2026-11-30", 2, 0, 0)]
        assert [(one.rank, one.title, one.views_count, one.likes_count, one.comments_count) for one in report.posts] == [
            (1, None, 40, 0, 0),
            (2, "First", 7, 1, 0),
            (3, "Second", 7, 0, 1),
            (4, "Third", 6, 0, 0),
        ]
        assert [(one.username, one.posts_count, one.views_count, one.likes_count) for one in report.authors] == [
            ("jane", 2, 14, 1),
            (None, 1, 6, 0),
        ]
        assert len(sent) == 9

    async def test_blg_s15_nothing_leaks_the_key_of_a_group(self, database: Database) -> None:
        report = await ContentReportService.get_content(NOVEMBER, viewer=MANAGER)

        assert "_id" not in report.model_dump_json().replace("post_id", "").replace("author_id", "")

    async def test_views_of_a_day_are_those_of_the_utc_day_of_its_date(self, database: Database) -> None:
        """Whatever the zone; likes go by their own moments."""
        post_id = PydanticObjectId()
        await viewed(post_id, date(2026, 10, 25), 3)
        await liked(post_id, datetime(2026, 10, 24, 22, 0, tzinfo=UTC))
        await liked(post_id, datetime(2026, 10, 25, 23, 0, tzinfo=UTC))

        wanted = scope(date(2026, 10, 25), date(2026, 10, 27), BERLIN.key)
        report = await ContentReportService.get_content(wanted, viewer=MANAGER)

        assert [(point.label, point.views_count, point.likes_count) for point in report.points] == [
            ("2026-10-25", 3, 1),
            ("2026-10-26", 0, 1),
        ]

    @pytest.mark.parametrize("granularity", [Granularity.DAY, Granularity.WEEK, Granularity.MONTH])
    async def test_random_readers_equal_plain_python(self, database: Database, granularity: Granularity) -> None:
        dice = random.Random(granularity.value)
        posts = [await make_post(author_id=PydanticObjectId(f"{'a' * 23}{number % 3}")).store() for number in range(7)]
        acts: list[tuple[str, PydanticObjectId, date, int]] = []
        for number in range(90):
            post = dice.choice(posts)
            at = datetime(2026, 10, 1, tzinfo=UTC) + timedelta(minutes=15 * dice.randrange(96 * 60))
            local = at.astimezone(BERLIN).date()
            if number % 3 == 0:
                await liked(post.id, at)
                acts.append(("likes", post.id, local, 1))
            elif number % 3 == 1:
                status = dice.choice([CommentStatus.APPROVED, CommentStatus.SPAM])
                await commented(post.id, at, status)
                acts.append(("comments", post.id, local, int(status is CommentStatus.APPROVED)))
        for post in posts:
            for day in dice.sample(range(60), 9):
                views = dice.randrange(1, 9)
                await viewed(post.id, date(2026, 10, 1) + timedelta(days=day), views)
                acts.append(("views", post.id, date(2026, 10, 1) + timedelta(days=day), views))
        start, end = date(2026, 10, 7), date(2026, 11, 17)
        within = [act for act in acts if start <= act[2] < end]

        wanted = scope(start, end, BERLIN.key, granularity=granularity)
        report = await ContentReportService.get_content(wanted, viewer=MANAGER, limit=3)

        def name(day: date) -> str:
            if granularity is Granularity.DAY:
                return day.isoformat()
            return f"{day:%G-W%V}" if granularity is Granularity.WEEK else f"{day:%Y-%m}"

        for metric in ("views", "likes", "comments"):
            counted: Counter[str] = Counter()
            for kind, _, at_day, count in within:
                counted[name(at_day)] += count * (kind == metric)
            assert {point.label: getattr(point, f"{metric}_count") for point in report.points} == {
                point.label: counted[point.label] for point in report.points
            }
            assert getattr(report.figures, f"{metric}_count") == sum(counted.values())

        def ranked(home: dict[PydanticObjectId, PydanticObjectId]) -> list[tuple[PydanticObjectId, int, int, int]]:
            sums: dict[PydanticObjectId, Counter[str]] = {}
            for kind, post_id, _, count in within:
                sums.setdefault(home[post_id], Counter())[kind] += count
            rows = [(key, one["views"], one["likes"], one["comments"]) for key, one in sums.items()]
            return sorted(rows, key=lambda row: (-row[1], -row[2], -row[3], row[0]))[:3]

        assert [(one.post_id, one.views_count, one.likes_count, one.comments_count) for one in report.posts] == ranked(
            {post.id: post.id for post in posts}
        )
        assert [(one.author_id, one.views_count, one.likes_count, one.comments_count) for one in report.authors] == ranked(
            {post.id: post.author_id for post in posts}
        )

    async def test_where_nobody_is_ranked_three_commands_tell_the_rest(self, database: Database, commands: CommandLog) -> None:
        with commands.counting() as sent:
            report = await ContentReportService.get_content(NOVEMBER, viewer=MANAGER, limit=0)

        assert (report.posts, report.authors, len(report.points), len(sent)) == ([], [], 30, 3)

    async def test_hours_and_odd_lists_are_refused(self, database: Database) -> None:
        hours = scope(date(2026, 11, 1), date(2026, 11, 2), granularity=Granularity.HOUR)
        with pytest.raises(NoHoursError):
            await ContentReportService.get_content(hours, viewer=MANAGER)
        for limit in (-1, 101):
            with pytest.raises(InvalidRowsError):
                await ContentReportService.get_content(NOVEMBER, viewer=MANAGER, limit=limit)

    async def test_readers_are_refused(self, database: Database) -> None:
        with pytest.raises(PermissionDeniedError):
            await ContentReportService.get_content(NOVEMBER, viewer=Viewer(PydanticObjectId(), "editor", Role.EDITOR))
