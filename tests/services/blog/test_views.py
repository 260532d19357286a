import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from beanie import PydanticObjectId

from models.blog.posts import Post, PostStatus, PostViews
from models.database import Database
from services import views as views_module
from services.blog.posts import PostService
from services.blog.views import post_views
from services.views import ViewCounter, Visit, is_bot
from tests.factories.blog import create_post
from tests.races import patiently

SECRET = b"x" * 32
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)


class TestIsBot:
    @pytest.mark.parametrize(
        "agent",
        [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 (compatible; bingbot/2.0)",
            "facebookexternalhit/1.1",
            "Slackbot-LinkExpanding 1.0",
            "curl/8.5.0",
            "python-requests/2.32",
            "Feedly/1.0",
            "",
            "  ",
        ],
    )
    def test_programs_are(self, agent: str) -> None:
        assert is_bot(agent)

    @pytest.mark.parametrize("agent", [BROWSER, "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0) Safari/604.1", "Cubot Phone Browser"])
    def test_people_are_not(self, agent: str) -> None:
        assert not is_bot(agent)


class TestCount:
    def test_blg_s7_same_visitor_counts_once_within_half_an_hour(self) -> None:
        """BLG-S7: the source counted every refresh."""
        counter, post_id = post_views(SECRET), PydanticObjectId()
        counted = [
            counter.count(post_id, address="203.0.113.7", user_agent=BROWSER, now=NOON + timedelta(minutes=minute))
            for minute in (0, 1, 29, 30, 31, 61)
        ]
        assert counted == [True, False, False, True, False, True]
        assert counter.pending == 3

    def test_blg_s7_bots_do_not_count(self) -> None:
        counter = post_views(SECRET)
        assert not counter.count(PydanticObjectId(), address="203.0.113.7", user_agent="Googlebot/2.1")
        assert counter.pending == 0

    def test_other_post_address_or_browser_counts(self) -> None:
        counter, post_id = post_views(SECRET), PydanticObjectId()
        assert counter.count(post_id, address="203.0.113.7", user_agent=BROWSER)
        assert counter.count(PydanticObjectId(), address="203.0.113.7", user_agent=BROWSER)
        assert counter.count(post_id, address="203.0.113.8", user_agent=BROWSER)
        assert counter.count(post_id, address="203.0.113.7", user_agent=BROWSER + " Edg/140")

    def test_memory_is_bounded(self) -> None:
        counter, post_id = post_views(SECRET, max_visitors=10), PydanticObjectId()
        for n in range(50):
            counter.count(post_id, address=f"visitor {n}", user_agent=BROWSER)
        assert len(counter._seen) == 10
        assert not counter.count(post_id, address="visitor 49", user_agent=BROWSER)
        assert counter.count(post_id, address="visitor 0", user_agent=BROWSER)

    def test_nothing_that_is_kept_names_a_visitor(self) -> None:
        counter = post_views(SECRET)
        counter.count(PydanticObjectId(), address="203.0.113.7", user_agent=BROWSER)
        assert all(isinstance(key, bytes) and len(key) == 16 for key in counter._seen)


@pytest.mark.usefixtures("database")
class TestFlush:
    async def test_blg_s7_sixty_visitors_count_sixty_and_one_counts_once(self) -> None:
        """Also when the flushes overlap with them and with each other."""
        for _ in range(5):
            counter = post_views(SECRET)
            crowded, quiet = await create_post(status=PostStatus.PUBLISHED), await create_post(status=PostStatus.PUBLISHED)

            async def visit(n: int, counter: ViewCounter = counter, crowded: Post = crowded, quiet: Post = quiet) -> None:
                await PostService.get_post_by_slug(crowded.slug, viewer=None, visit=Visit(counter, f"visitor {n}", BROWSER))
                await PostService.get_post_by_slug(quiet.slug, viewer=None, visit=Visit(counter, "same", BROWSER))
                if n % 10 == 0:
                    await counter.flush()

            await asyncio.gather(*(visit(n) for n in range(60)))
            await counter.flush()
            assert counter.pending == 0
            assert (await _views(crowded.id), await _views(quiet.id)) == ((60, [60]), (1, [1]))

    async def test_several_processes_add_up(self) -> None:
        post = await create_post(status=PostStatus.PUBLISHED)
        counters = [post_views(SECRET) for _ in range(10)]
        for number, counter in enumerate(counters):
            for n in range(5):
                counter.count(post.id, address=f"{number} {n}", user_agent=BROWSER, now=NOON)
        for _ in range(3):  # one that loses a race keeps its views for its next round
            await asyncio.gather(*(counter.flush() for counter in counters), return_exceptions=True)
        assert await _views(post.id) == (50, [50])

    async def test_days_are_kept_apart(self) -> None:
        post = await create_post(status=PostStatus.PUBLISHED)
        counter = post_views(SECRET)
        counter.count(post.id, address="a", user_agent=BROWSER, now=MIDNIGHT - timedelta(milliseconds=1))
        counter.count(post.id, address="a", user_agent=BROWSER, now=MIDNIGHT)
        counter.count(post.id, address="b", user_agent=BROWSER, now=NOON)
        assert await counter.flush() == 3
        rows = await PostViews.find_rows({"post_id": post.id}, sort=[("day", 1)])
        assert [(row["day"], row["views_count"]) for row in rows] == [(MIDNIGHT - timedelta(days=1), 1), (MIDNIGHT, 2)]
        PostViews.from_row(rows[0])

    async def test_more_posts_than_a_batch_are_all_written(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(views_module, "MAX_BATCH", 2)
        posts = [await create_post(status=PostStatus.PUBLISHED) for _ in range(5)]
        counter = post_views(SECRET)
        for post in posts:
            counter.count(post.id, address="a", user_agent=BROWSER)
        assert await counter.flush() == 5
        assert [await _views(post.id) for post in posts] == [(1, [1])] * 5

    async def test_nothing_to_write_writes_nothing(self) -> None:
        assert await post_views(SECRET).flush() == 0

    async def test_failed_flush_keeps_what_it_could_not_write(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(views_module, "MAX_BATCH", 1)
        posts = [await create_post(status=PostStatus.PUBLISHED) for _ in range(3)]
        counter = post_views(SECRET)
        for post in posts:
            counter.count(post.id, address="a", user_agent=BROWSER)
        write, calls = views_module._write, []

        async def failing(counted: views_module.Counted, views: dict[views_module.Row, int]) -> None:
            calls.append(views)
            if len(calls) == 2:
                raise ConnectionError("away")
            await write(counted, views)

        monkeypatch.setattr(views_module, "_write", failing)
        with pytest.raises(ConnectionError):
            await counter.flush()
        assert counter.pending == 2
        assert await counter.flush() == 2
        assert [await _views(post.id) for post in posts] == [(1, [1])] * 3


class TestRunning:
    async def test_flushes_by_itself_and_once_more_at_the_end(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        post = await create_post(status=PostStatus.PUBLISHED)
        counter = post_views(SECRET)
        write, written = views_module._write, asyncio.Event()

        async def noted(counted: views_module.Counted, views: dict[views_module.Row, int]) -> None:
            await write(counted, views)
            written.set()

        monkeypatch.setattr(views_module, "_write", noted)
        async with counter.running(0.01):
            counter.count(post.id, address="a", user_agent=BROWSER)
            await asyncio.wait_for(written.wait(), patiently(5))
            assert await _views(post.id) == (1, [1])
            counter.count(post.id, address="b", user_agent=BROWSER)
        assert await _views(post.id) == (2, [2])

    async def test_outage_is_survived(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        post = await create_post(status=PostStatus.PUBLISHED)
        counter = post_views(SECRET)
        write, written = views_module._write, asyncio.Event()
        failures: list[object] = []

        async def failing(counted: views_module.Counted, views: dict[views_module.Row, int]) -> None:
            if len(failures) < 3:
                failures.append(views)
                raise ConnectionError("away")
            await write(counted, views)
            written.set()

        monkeypatch.setattr(views_module, "_write", failing)
        async with counter.running(0.01):
            counter.count(post.id, address="a", user_agent=BROWSER)
            await asyncio.wait_for(written.wait(), patiently(5))
        assert await _views(post.id) == (1, [1])


async def _views(post_id: PydanticObjectId) -> tuple[int, list[int]]:
    """The post's sum, and its days."""
    row = await Post.find_row({"_id": post_id}, {"views_count": 1})
    assert row is not None
    days = await PostViews.find_rows({"post_id": post_id}, sort=[("day", 1)])
    return row["views_count"], [day["views_count"] for day in days]
