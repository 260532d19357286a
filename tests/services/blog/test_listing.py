import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from models.blog.posts import Post, PostStatus
from models.users import Role
from services.blog.lifecycle import PublishingService
from services.blog.listing import PostFilter, PostSort
from services.blog.posts import PostService
from services.pagination import InvalidPageError, PageRequest
from tests.commands import CommandLog
from tests.factories.blog import create_category, create_post, create_tag
from tests.factories.users import create_user, viewer_of

pytestmark = pytest.mark.usefixtures("database")

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
async def posts() -> AsyncIterator[list[Post]]:
    """Seven published posts, oldest first, and one of every other status."""
    owner = await create_user(role=Role.AUTHOR)
    yield [await create_post(author=owner, status=PostStatus.PUBLISHED, views_count=n % 3, likes_count=n % 2) for n in range(7)]
    for status in PostStatus:
        if status is not PostStatus.PUBLISHED:
            await create_post(author=owner, status=status)


class TestListPublished:
    async def test_blg_s6_only_published_ones_newest_first_in_pages(self, posts: list[Post]) -> None:
        first = await PostService.list_published(PageRequest(page=1, limit=3))
        last = await PostService.list_published(PageRequest(page=3, limit=3))
        beyond = await PostService.list_published(PageRequest(page=4, limit=3))
        assert [post.id for post in first.items] == [post.id for post in reversed(posts[4:])]
        assert [post.id for post in last.items] == [posts[0].id]
        assert (beyond.items, beyond.total_count, beyond.total_pages, beyond.page, beyond.limit) == ([], 7, 3, 4, 3)

    async def test_same_moment_is_ordered_by_id(self) -> None:
        made = [await create_post(status=PostStatus.PUBLISHED, published_at=NOON) for _ in range(5)]
        pages = [await PostService.list_published(PageRequest(page=n, limit=2)) for n in (1, 2, 3)]
        assert [post.id for page in pages for post in page.items] == [post.id for post in reversed(made)]

    async def test_nothing_published_is_an_empty_page(self) -> None:
        await create_post()
        page = await PostService.list_published(PageRequest())
        assert (page.items, page.total_count, page.total_pages) == ([], 0, 0)

    @pytest.mark.parametrize(
        ("sort", "order"),
        [
            (PostSort.NEWEST, [6, 5, 4, 3, 2, 1, 0]),
            (PostSort.OLDEST, [0, 1, 2, 3, 4, 5, 6]),
            (PostSort.MOST_VIEWED, [5, 2, 4, 1, 6, 3, 0]),
            (PostSort.MOST_LIKED, [5, 3, 1, 6, 4, 2, 0]),
        ],
    )
    async def test_each_order_is_the_same_cold_and_warm(self, posts: list[Post], sort: PostSort, order: list[int]) -> None:
        for _ in range(2):
            pages = [await PostService.list_published(PageRequest(page=n, limit=3), sort=sort) for n in (1, 2, 3)]
            assert [post.id for page in pages for post in page.items] == [posts[n].id for n in order]

    async def test_filters_narrow_together(self) -> None:
        jane = await create_user(role=Role.AUTHOR, username="jane")
        design, tag = await create_category(slug="design"), await create_tag(slug="go")
        both = await create_post(author=jane, category=design, tags=[tag], status=PostStatus.PUBLISHED)
        tagged = await create_post(tags=[tag], status=PostStatus.PUBLISHED)
        await create_post(author=jane, category=design)
        await create_post(status=PostStatus.PUBLISHED)
        for wanted, found in (
            (PostFilter(author="jane"), [both]),
            (PostFilter(category="design"), [both]),
            (PostFilter(tag="go"), [tagged, both]),
            (PostFilter(category="design", tag="go", author="jane"), [both]),
        ):
            page = await PostService.list_published(PageRequest(), wanted=wanted)
            assert ([post.id for post in page.items], page.total_count) == ([post.id for post in found], len(found))

    @pytest.mark.parametrize("wanted", [PostFilter(category="x"), PostFilter(tag="x"), PostFilter(author="x")])
    async def test_what_is_unknown_has_no_posts(self, posts: list[Post], wanted: PostFilter) -> None:
        assert (await PostService.list_published(PageRequest(), wanted=wanted)).total_count == 0

    async def test_closed_category_and_deactivated_author_have_no_list(self) -> None:
        gone = await create_user(username="gone", is_active=False)
        closed = await create_category(slug="closed", is_active=False)
        await create_post(author=gone, category=closed, status=PostStatus.PUBLISHED)
        for wanted in (PostFilter(author="gone"), PostFilter(category="closed")):
            assert (await PostService.list_published(PageRequest(), wanted=wanted)).items == []

    async def test_x_16_operators_and_patterns_in_filters_are_plain_text(self, posts: list[Post]) -> None:
        for text in (".*", "$ne", '{"$ne": null}', "^", "\\"):
            assert (await PostService.list_published(PageRequest(), wanted=PostFilter(tag=text))).total_count == 0

    def test_x_22_page_size_is_limited_for_every_caller(self) -> None:
        for page, limit in ((0, 20), (1, 0), (1, 101)):
            with pytest.raises(InvalidPageError):
                PageRequest(page=page, limit=limit)


class TestCost:
    async def test_three_commands_cold_one_warm(self, posts: list[Post], commands: CommandLog) -> None:
        with commands.counting() as cold:
            await PostService.list_published(PageRequest(limit=5))
        with commands.counting() as warm:
            await PostService.list_published(PageRequest(limit=5))
        assert len(cold) <= 3
        assert warm.sent == ["find posts"]

    async def test_filtered_list_costs_one_command_more_per_filter_when_cold(self, commands: CommandLog) -> None:
        jane = await create_user(role=Role.AUTHOR, username="jane")
        await create_post(author=jane, status=PostStatus.PUBLISHED)
        wanted = PostFilter(author="jane")
        with commands.counting() as cold:
            await PostService.list_published(PageRequest(limit=1), wanted=wanted)
        with commands.counting() as warm:
            await PostService.list_published(PageRequest(limit=1), wanted=wanted)
        assert (len(cold), len(warm)) == (4, 1)

    async def test_total_is_counted_once_for_many_who_ask_at_once(self, posts: list[Post], commands: CommandLog) -> None:
        with commands.counting() as sent:
            await asyncio.gather(*(PostService.list_published(PageRequest()) for _ in range(20)))
        assert sent.sent.count("count posts") == 1

    async def test_total_follows_a_publication_here_at_once(self, posts: list[Post]) -> None:
        editor = viewer_of(await create_user(role=Role.EDITOR))
        assert (await PostService.list_published(PageRequest())).total_count == 7
        await PublishingService.archive(posts[0].id, viewer=editor)
        assert (await PostService.list_published(PageRequest())).total_count == 6


class TestLearnedRange:
    """The range that a page was found in last time makes the next find cheap, and may never make it wrong."""

    async def test_new_posts_push_in_above(self, posts: list[Post]) -> None:
        await PostService.list_published(PageRequest(limit=3))
        new = await create_post(status=PostStatus.PUBLISHED)
        page = await PostService.list_published(PageRequest(limit=3))
        assert [post.id for post in page.items] == [new.id, posts[6].id, posts[5].id]

    async def test_removed_post_lets_the_next_one_in(self, posts: list[Post], commands: CommandLog) -> None:
        await PostService.list_published(PageRequest(limit=3))
        editor = viewer_of(await create_user(role=Role.EDITOR))
        await PublishingService.trash(posts[5].id, viewer=editor)
        with commands.counting() as sent:
            page = await PostService.list_published(PageRequest(limit=3))
        assert [post.id for post in page.items] == [posts[6].id, posts[4].id, posts[3].id]
        assert sent.sent.count("find posts") == 2
        with commands.counting() as sent:
            await PostService.list_published(PageRequest(limit=3))
        assert sent.sent.count("find posts") == 1

    async def test_post_of_an_older_date_is_found_where_it_belongs(self, posts: list[Post]) -> None:
        await PostService.list_published(PageRequest(limit=3))
        assert posts[4].published_at is not None
        between = await create_post(status=PostStatus.PUBLISHED, published_at=posts[4].published_at + timedelta(seconds=1))
        page = await PostService.list_published(PageRequest(limit=3))
        assert [post.id for post in page.items] == [posts[6].id, posts[5].id, between.id]

    async def test_any_history_gives_what_a_plain_sort_gives(self) -> None:
        chance = random.Random(7)
        owner = await create_user(role=Role.AUTHOR)
        for _ in range(60):
            if chance.random() < 0.6:
                moment = NOON + timedelta(minutes=chance.randrange(30))
                await create_post(
                    author=owner,
                    status=PostStatus.PUBLISHED,
                    published_at=moment,
                    views_count=chance.randrange(4),
                    likes_count=chance.randrange(4),
                )
            else:
                rows = await Post.find_rows({}, {"_id": 1})
                if rows:
                    one = chance.choice(rows)
                    change = chance.choice([{"$set": {"status": "archived"}}, {"$inc": {"views_count": 2, "likes_count": -1}}])
                    await Post.collection().update_one(one, change)
            sort = chance.choice(list(PostSort))
            request = PageRequest(page=chance.randrange(1, 4), limit=chance.randrange(1, 5))
            page = await PostService.list_published(request, sort=sort)
            rows = await Post.find_rows({"status": "published"})
            field = {"most_viewed": "views_count", "most_liked": "likes_count"}.get(sort.value, "published_at")
            rows.sort(key=lambda row, field=field: (row[field], row["_id"]), reverse=sort is not PostSort.OLDEST)  # type: ignore[misc]
            assert [post.id for post in page.items] == [row["_id"] for row in rows[request.skip : request.skip + request.limit]]
