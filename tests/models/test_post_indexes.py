"""Every read of posts, their slugs, history and views is served by a declared index, as it is really sent."""

from datetime import UTC, datetime

import pytest

from models.blog.posts import PostStatus
from models.database import Database
from models.users import Role, User
from services.blog.desk import PostDeskService
from services.blog.feed import FeedService
from services.blog.lifecycle import PublishingService
from services.blog.listing import PostFilter, PostSort
from services.blog.popular import PopularityService
from services.blog.posts import PostMoved, PostService
from services.blog.related import RelatedPostService
from services.blog.revisions import RevisionService
from services.blog.search import PostSearchService
from services.blog.syndication import SyndicationService
from services.blog.writing import PostChanges, PostDraft
from services.pagination import CursorCodec, PageRequest
from services.settings import Settings
from services.users.permissions import Viewer
from tests.commands import CommandLog, Read
from tests.factories.blog import create_category, create_post, create_tag
from tests.factories.comments import create_follow
from tests.factories.users import create_user, viewer_of
from tests.shapes import narrowing_index, serving_index

CURSORS = CursorCodec(b"0" * 32)
LATER = datetime(2030, 1, 1, tzinfo=UTC)


class TestPublishedLists:
    @pytest.mark.parametrize("field", [None, "category", "tag", "author"])
    async def test_by_date_are_read_in_the_order_of_an_index(
        self, database: Database, commands: CommandLog, field: str | None
    ) -> None:
        wanted = await _filter(field)
        expected = "status_newest" if field is None else f"{field}_status_newest"
        for sort in (PostSort.NEWEST, PostSort.OLDEST):
            for _ in range(2):  # the second time within the range that was learned
                with commands.counting() as sent:
                    await PostService.list_published(PageRequest(limit=2), wanted=wanted, sort=sort)
                assert [serving_index(read) for read in sent.reads if read.collection == "posts"] == [expected]

    async def test_by_figures_all_of_them_are_read_in_the_order_of_an_index(
        self, database: Database, commands: CommandLog
    ) -> None:
        await _filter(None)
        with commands.counting() as sent:
            for sort in (PostSort.MOST_VIEWED, PostSort.MOST_LIKED):
                await PostService.list_published(PageRequest(limit=2), sort=sort)
        assert [serving_index(read) for read in sent.reads if read.collection == "posts"] == ["status_views", "status_likes"]

    @pytest.mark.parametrize("field", ["category", "tag", "author"])
    async def test_by_figures_those_of_a_filter_are_found_by_it_and_sorted(
        self, database: Database, commands: CommandLog, field: str
    ) -> None:
        """Indexes for these six orders would cost every view and like a write in each."""
        wanted = await _filter(field)
        with commands.counting() as sent:
            for sort in (PostSort.MOST_VIEWED, PostSort.MOST_LIKED):
                await PostService.list_published(PageRequest(limit=2), wanted=wanted, sort=sort)
        reads = [read for read in sent.reads if read.collection == "posts"]
        assert [narrowing_index(read) for read in reads] == [f"{field}_status_newest"] * 2

    async def test_editors_look_through_them_by_status_and_by_slug(self, database: Database, commands: CommandLog) -> None:
        editor = viewer_of(await create_user(role=Role.EDITOR))
        with commands.counting() as sent:
            await PostDeskService.list_posts(viewer=editor, cursors=CURSORS)
            await PostDeskService.list_posts(viewer=editor, cursors=CURSORS, status=PostStatus.DRAFT)
            await PostDeskService.list_posts(viewer=editor, cursors=CURSORS, slug="a-slug")
        assert [serving_index(read) for read in sent.reads] == ["_id_", "status_created", "slug_unique"]

    async def test_filters_are_looked_up_by_their_unique_names(self, database: Database, commands: CommandLog) -> None:
        for field, read_from in (("category", "blog_categories"), ("tag", "tags"), ("author", "users")):
            wanted = await _filter(field)
            with commands.counting() as sent:
                await PostService.list_published(PageRequest(limit=2), wanted=wanted)
            unique = "username_unique" if field == "author" else "slug_unique"
            assert (sent.reads[0].collection, serving_index(sent.reads[0])) == (read_from, unique)


async def _filter(field: str | None) -> PostFilter:
    """Three published posts, and the filter that finds them."""
    author = await create_user(role=Role.AUTHOR)
    category, tag = await create_category(), await create_tag()
    for _ in range(3):
        await create_post(author=author, category=category, tags=[tag], status=PostStatus.PUBLISHED)
    names = {"category": category.slug, "tag": tag.slug, "author": author.username}
    return PostFilter() if field is None else PostFilter(**{field: names[field]})


class TestReads:
    async def test_every_look_up_and_list_is_served(self, database: Database, commands: CommandLog, settings: Settings) -> None:
        author = await create_user(role=Role.AUTHOR)
        viewer, reader = viewer_of(author), viewer_of(await create_user())
        category, tag = await create_category(), await create_tag()
        post, *others = [
            await create_post(title="Serving words", author=author, category=category, tags=[tag], status=PostStatus.PUBLISHED)
            for _ in range(4)
        ]
        await create_post(author=author, status=PostStatus.SCHEDULED)
        await create_follow(await _user(reader), author)
        old_slug = post.slug

        with commands.counting() as sent:
            await PostService.get_post_by_slug(old_slug, viewer=None)
            await PostService.create_post(PostDraft(title="New", content="Text"), viewer=viewer)
            await PostService.update_post(post.id, PostChanges(slug="moved"), viewer=viewer, revision=None)
            assert isinstance(await PostService.get_post_by_slug(old_slug, viewer=None), PostMoved)
            await PostService.get_post_for_edit(post.id, viewer=viewer)
            feed = await FeedService.get_user_feed(reader, cursors=CURSORS, limit=2)
            await PopularityService.get_popular_posts()
            await PostSearchService.search_posts("serving words", page=PageRequest(limit=2))
            await RelatedPostService.list_related_posts(others[0].slug)
            await RevisionService.list_revisions(post.id, PageRequest(limit=2), viewer=viewer)
            await RevisionService.get_revision(post.id, 1, viewer=viewer)
            await SyndicationService.get_rss(settings=settings)
            await SyndicationService.get_sitemap(settings=settings)
            await PublishingService.publish_due(now=LATER)
            await PublishingService.trash(others[1].id, viewer=viewer)
            await PublishingService.purge_due(now=LATER)

        assert {(read.collection, serving_index(read)) for read in sent.reads} == {
            ("posts", "_id_"),
            ("posts", "slug_unique"),
            ("posts", "author_status_newest"),  # the feed
            ("posts", "terms"),
            ("posts", "tag_status_newest"),  # related ones
            ("posts", "status_newest"),  # syndication
            ("posts", "status_scheduled"),
            ("posts", "status_unpublish"),
            ("posts", "status_trashed"),
            ("post_slugs", "slug_unique"),
            ("post_revisions", "post_number_unique"),
            ("post_views", "day"),
            ("follows", "follower_newest"),
            ("comments", "post_parent_status_newest"),  # those of a purged post
            ("users", "_id_"),
        }
        with commands.counting() as sent:
            await FeedService.get_user_feed(reader, cursors=CURSORS, cursor=feed.next_cursor, limit=2)
            await PostService.list_own(PageRequest(limit=2), viewer=viewer)
        assert [narrowing_index(read) for read in sent.reads if read.collection == "posts"] == ["author_status_newest"] * 2

    def test_branches_and_batched_writes_are_served(self) -> None:
        """What the log does not see: the likes of the popular posts, the category's related ones, the views that are flushed."""
        window = {"$gte": LATER, "$lte": LATER}
        assert serving_index(Read("likes", {"kind": "post", "created_at": window}, [])) == "kind_created"
        assert serving_index(Read("posts", {"category_id": 1, "status": "published"}, [])) == "category_status_newest"
        assert serving_index(Read("post_views", {"post_id": 1, "day": LATER}, [])) == "post_day_unique"
        assert serving_index(Read("post_views", {"post_id": 1}, [])) == "post_day_unique"
        assert serving_index(Read("post_slugs", {"post_id": 1}, [])) == "post"


async def _user(viewer: Viewer) -> User:
    row = await User.find_row({"_id": viewer.user_id})
    assert row is not None
    return User.from_row(row)
