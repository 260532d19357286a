import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from beanie import PydanticObjectId
from pydantic import ValidationError

from models.base import now as present
from models.blog.posts import Post, PostEdit, PostRevision, PostSlug, PostStatus
from models.blog.taxonomy import Category, Tag
from models.events import Event, EventType
from models.users import Role, User
from services.blog.categories import CategoryNotFoundError
from services.blog.lifecycle import PublishingService
from services.blog.pages import PostPage
from services.blog.posts import PostInTrashError, PostMoved, PostService
from services.blog.reading import PostNotFoundError
from services.blog.slugs import SlugTakenError
from services.blog.tags import InvalidTagNameError, TagNotFoundError
from services.blog.writing import PostChanges, PostDraft, ScheduleInPastError, TooManyTagsError, reading_minutes
from services.errors import PermissionDeniedError, PreconditionError
from services.pagination import PageRequest
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.blog import create_category, create_post, create_tag
from tests.factories.users import create_user, viewer_of

pytestmark = pytest.mark.usefixtures("database")

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def draft(**over: Any) -> PostDraft:
    return PostDraft(**{"title": "Indexes that serve", "content": "Text.", **over})


async def author() -> Viewer:
    return viewer_of(await create_user(role=Role.AUTHOR))


class TestReadingMinutes:
    def test_blg_s2_halves_are_rounded_up_and_one_is_the_least(self) -> None:
        """BLG-S2: Python's own round gives 2 for 300 and 500 words alike."""
        counts = (1, 99, 100, 299, 300, 500, 1000)
        assert [reading_minutes("word " * count) for count in counts] == [1, 1, 1, 1, 2, 3, 5]


class TestCreatePost:
    async def test_draft_is_stored_with_slug_revision_html_terms_and_event(self) -> None:
        viewer = await author()
        category = await create_category()
        tag = await create_tag()

        created = await PostService.create_post(
            draft(content="**Hello** words", excerpt="Short.", category_id=category.id, tag_ids=[tag.id]), viewer=viewer
        )

        post = await _post(created.id)
        assert (post.slug, post.status, post.author_id, post.revision) == ("indexes-that-serve", "draft", viewer.user_id, 1)
        assert (post.content, post.content_html) == ("**Hello** words", "<p><strong>Hello</strong> words</p>\n")
        assert (post.category_id, post.tag_ids, post.published_at, post.edited_at) == (category.id, [tag.id], None, None)
        assert {"index", "serv", "short", "hello"} <= {term.term for term in post.terms}
        assert await _slugs(post.id) == ["indexes-that-serve"]
        assert await _revisions(post.id) == [(1, "Indexes that serve", "**Hello** words", viewer.user_id)]
        assert await _events(post.id) == [EventType.POST_CREATED]
        assert await _counters(viewer.user_id, category.id, tag.id) == (0, 0, 0)
        assert isinstance(created, PostEdit)
        assert created.author is not None
        assert created.author.id == viewer.user_id

    async def test_blg_s4_created_as_published_is_dated_and_counted_once(self) -> None:
        """BLG-S4: in the source it had no date and moved no counter."""
        viewer = await author()
        category = await create_category()
        created = await PostService.create_post(
            draft(status="published", category_id=category.id, tag_names=["Go", "go", "GO!"]), viewer=viewer, now=NOON
        )
        post = await _post(created.id)
        assert (post.status, post.published_at, len(post.tag_ids)) == ("published", NOON, 1)
        assert await _counters(viewer.user_id, category.id, post.tag_ids[0]) == (1, 1, 1)
        assert await _events(post.id) == [EventType.POST_CREATED, EventType.POST_PUBLISHED]

    async def test_scheduled_one_waits(self) -> None:
        viewer = await author()
        at = NOON + timedelta(hours=1)
        created = await PostService.create_post(draft(status="scheduled", scheduled_at=at), viewer=viewer, now=NOON)
        post = await _post(created.id)
        assert (post.status, post.scheduled_at, post.published_at) == ("scheduled", at, None)
        assert await _counters(viewer.user_id, None, None) == (0, 0, 0)

    @pytest.mark.parametrize(
        "over",
        [
            {"status": "scheduled"},
            {"status": "scheduled", "scheduled_at": NOON},
            {"unpublish_at": NOON},
            {"status": "scheduled", "scheduled_at": NOON + timedelta(hours=2), "unpublish_at": NOON + timedelta(hours=1)},
        ],
    )
    async def test_time_that_has_passed_is_refused(self, over: dict[str, Any]) -> None:
        viewer = await author()
        with pytest.raises(ScheduleInPastError):
            await PostService.create_post(draft(**over), viewer=viewer, now=NOON)
        assert await Post.count_rows({}) == 0

    @pytest.mark.parametrize("role", [Role.USER, Role.VENDOR])
    async def test_blg_s1_reader_may_not_write(self, role: Role) -> None:
        """BLG-S1, BLG-A2: also not straight to published."""
        viewer = viewer_of(await create_user(role=role))
        with pytest.raises(PermissionDeniedError):
            await PostService.create_post(draft(status="published"), viewer=viewer)
        assert await Post.count_rows({}) == 0

    async def test_blg_s1_inactive_or_missing_author_may_not_write(self) -> None:
        gone = await create_user(role=Role.AUTHOR, is_active=False)
        stranger = Viewer(PydanticObjectId(), "ghost", Role.AUTHOR)
        for viewer in (viewer_of(gone), stranger):
            with pytest.raises(PermissionDeniedError):
                await PostService.create_post(draft(), viewer=viewer)
        assert await Post.count_rows({}) == 0

    async def test_blg_s1_category_must_exist_and_be_active(self) -> None:
        viewer = await author()
        closed = await create_category(is_active=False)
        for category_id in (PydanticObjectId(), closed.id):
            with pytest.raises(CategoryNotFoundError):
                await PostService.create_post(draft(category_id=category_id), viewer=viewer)
        assert await Post.count_rows({}) == 0

    async def test_blg_s1_tag_must_exist_and_repeated_ids_are_one(self) -> None:
        """BLG-S1: in the source a repeated id made the count check fail."""
        viewer = await author()
        tag = await create_tag()
        with pytest.raises(TagNotFoundError):
            await PostService.create_post(draft(tag_ids=[tag.id, PydanticObjectId()]), viewer=viewer)
        created = await PostService.create_post(draft(tag_ids=[tag.id, tag.id], tag_names=[tag.name]), viewer=viewer)
        assert [shown.id for shown in created.tags] == [tag.id]

    async def test_at_most_twenty_tags_by_id_and_name_together(self) -> None:
        viewer = await author()
        ids = [(await create_tag()).id for _ in range(11)]
        with pytest.raises(TooManyTagsError):
            await PostService.create_post(draft(tag_ids=ids, tag_names=[f"T{n}" for n in range(10)]), viewer=viewer)
        assert await Tag.count_rows({}) == 11
        created = await PostService.create_post(draft(tag_ids=ids, tag_names=[f"T{n}" for n in range(9)]), viewer=viewer)
        assert len(created.tags) == 20

    async def test_blg_s17_failed_post_leaves_no_tag_behind(self) -> None:
        """BLG-S17: the source made the tags before it looked at the post."""
        viewer = await author()
        await create_post(slug="taken")
        with pytest.raises(SlugTakenError):
            await PostService.create_post(draft(slug="taken", tag_names=["Rust"], status="published"), viewer=viewer)
        with pytest.raises(InvalidTagNameError):
            await PostService.create_post(draft(tag_names=["Rust", "!!!"]), viewer=viewer)
        assert await Tag.count_rows({}) == 0
        assert await Post.count_rows({}) == 1
        assert await Event.count_rows({}) == 0
        assert await _counters(viewer.user_id, None, None) == (0, 0, 0)

    async def test_blg_s1_fifty_posts_of_one_title_get_fifty_slugs(self) -> None:
        """BLG-S1: in the source the second was a 500."""
        viewer = await author()
        created = await asyncio.gather(*(PostService.create_post(draft(tag_names=["Go"]), viewer=viewer) for _ in range(50)))
        slugs = {post.slug for post in created}
        assert len(slugs) == 50
        assert {"indexes-that-serve", "indexes-that-serve-2", "indexes-that-serve-3"} <= slugs
        assert await Tag.count_rows({}) == 1
        assert await PostSlug.count_rows({}) == 50

    async def test_given_slug_is_won_by_one_of_fifty(self) -> None:
        viewer = await author()
        results = await asyncio.gather(
            *(PostService.create_post(draft(slug="mine-alone"), viewer=viewer) for _ in range(50)), return_exceptions=True
        )
        assert sum(isinstance(result, PostEdit) for result in results) == 1
        assert sum(isinstance(result, SlugTakenError) for result in results) == 49
        assert (await Post.count_rows({}), await PostRevision.count_rows({})) == (1, 1)

    def test_blg_m3_limits_hold_for_every_caller(self) -> None:
        limits: list[dict[str, Any]] = [
            {"title": "   "},
            {"title": "x" * 201},
            {"content": ""},
            {"content": " \n "},
            {"slug": "Not-Lower"},
            {"slug": "a--b"},
            {"excerpt": "x" * 501},
            {"meta_title": "x" * 61},
            {"meta_description": "x" * 161},
            {"status": "archived"},
            {"featured_image": "javascript:alert(1)"},
            {"tag_names": ["x"] * 21},
        ]
        for over in limits:
            with pytest.raises(ValidationError):
                draft(**over)


class TestSlugsOfPurgedPosts:
    async def test_every_slug_a_purged_post_ever_had_is_free_again(self) -> None:
        """The embedded server keeps a unique key taken that an update gave up, so a slug changes by insertion."""
        owner = await create_user(role=Role.AUTHOR)
        viewer = viewer_of(owner)
        first = await PostService.create_post(draft(title="Old", slug="old"), viewer=viewer)
        await PostService.update_post(first.id, PostChanges(slug="new"), viewer=viewer, revision=1)
        await PublishingService.trash(first.id, viewer=viewer)
        assert await PublishingService.purge_due(now=present() + timedelta(days=31)) == 1

        for slug in ("old", "new"):
            again = await PostService.create_post(draft(title="Again", slug=slug), viewer=viewer)
            assert again.slug == slug


class TestGetPostBySlug:
    async def test_published_post_is_read_by_everyone_in_two_commands(self, commands: CommandLog) -> None:
        post = await create_post(category=await create_category(), tags=[await create_tag()], status=PostStatus.PUBLISHED)
        with commands.counting() as cold:
            read = await PostService.get_post_by_slug(post.slug, viewer=None)
        with commands.counting() as warm:
            await PostService.get_post_by_slug(post.slug, viewer=None)
        assert isinstance(read, PostPage)
        assert (read.post.id, read.post.content_html) == (post.id, post.content_html)
        assert len(cold) <= 2
        assert len(warm) == 0

    @pytest.mark.parametrize("status", [PostStatus.DRAFT, PostStatus.SCHEDULED, PostStatus.ARCHIVED])
    async def test_unpublished_post_is_for_its_author_and_editors(self, status: PostStatus) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post = await create_post(author=owner, status=status)
        for viewer in (viewer_of(owner), viewer_of(await create_user(role=Role.EDITOR))):
            read = await PostService.get_post_by_slug(post.slug, viewer=viewer)
            assert isinstance(read, PostPage)
            assert read.post.id == post.id
        for stranger in (None, await author()):
            with pytest.raises(PostNotFoundError):
                await PostService.get_post_by_slug(post.slug, viewer=stranger)

    async def test_trashed_post_is_for_nobody(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post = await create_post(author=owner, status=PostStatus.TRASHED)
        with pytest.raises(PostNotFoundError):
            await PostService.get_post_by_slug(post.slug, viewer=viewer_of(owner))

    async def test_unknown_slug_is_not_found_in_two_commands(self, commands: CommandLog) -> None:
        with commands.counting() as sent, pytest.raises(PostNotFoundError):
            await PostService.get_post_by_slug("nothing", viewer=None)
        assert len(sent) <= 2

    async def test_old_slug_leads_to_the_new_one_in_two_commands(self, commands: CommandLog) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post = await create_post(author=owner, status=PostStatus.PUBLISHED, slug="old")
        await PostService.update_post(post.id, PostChanges(slug="new"), viewer=viewer_of(owner), revision=1)
        with commands.counting() as sent:
            assert await PostService.get_post_by_slug("old", viewer=None) == PostMoved("new")
        assert len(sent) <= 2

    async def test_old_slug_of_a_draft_tells_strangers_nothing(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post = await create_post(author=owner, slug="old")
        await PostService.update_post(post.id, PostChanges(slug="new"), viewer=viewer_of(owner), revision=1)
        with pytest.raises(PostNotFoundError):
            await PostService.get_post_by_slug("old", viewer=await author())
        assert await PostService.get_post_by_slug("old", viewer=viewer_of(owner)) == PostMoved("new")


class TestGetPostForEdit:
    async def test_author_and_editor_get_the_markdown(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post = await create_post(author=owner, content="**x**")
        for viewer in (viewer_of(owner), viewer_of(await create_user(role=Role.EDITOR))):
            assert (await PostService.get_post_for_edit(post.id, viewer=viewer)).content == "**x**"

    async def test_stranger_and_demoted_author_get_what_an_unknown_id_gets(self) -> None:
        demoted = await create_user(role=Role.USER)
        post = await create_post(author=demoted, status=PostStatus.PUBLISHED)
        for viewer, post_id in ((await author(), post.id), (viewer_of(demoted), post.id), (await author(), PydanticObjectId())):
            with pytest.raises(PostNotFoundError):
                await PostService.get_post_for_edit(post_id, viewer=viewer)


class TestListOwn:
    async def test_all_but_trashed_last_created_first(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        kept = [await create_post(author=owner, status=s) for s in (PostStatus.DRAFT, PostStatus.PUBLISHED, PostStatus.ARCHIVED)]
        trashed = await create_post(author=owner, status=PostStatus.TRASHED)
        await create_post()
        page = await PostService.list_own(PageRequest(), viewer=viewer_of(owner))
        assert [post.id for post in page.items] == [post.id for post in reversed(kept)]
        assert (page.total_count, page.total_pages) == (3, 1)
        only = await PostService.list_own(PageRequest(), viewer=viewer_of(owner), status=PostStatus.TRASHED)
        assert [post.id for post in only.items] == [trashed.id]

    async def test_nothing_written_is_an_empty_page(self) -> None:
        page = await PostService.list_own(PageRequest(), viewer=await author())
        assert (page.items, page.total_count, page.total_pages) == ([], 0, 0)


class TestUpdatePost:
    async def test_edit_is_a_new_revision_with_all_that_follows(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post = await create_post(author=owner, title="Old title", content="Old.")
        editor = await create_user(role=Role.EDITOR)

        edited = await PostService.update_post(
            post.id,
            PostChanges(title="New title", content="word " * 500),
            viewer=viewer_of(editor),
            revision=1,
            now=NOON,
        )

        stored = await _post(post.id)
        assert (stored.title, stored.revision, stored.reading_minutes, stored.edited_at) == ("New title", 2, 3, NOON)
        assert stored.content_html.startswith("<p>word word")
        assert {term.term for term in stored.terms} == {"new", "titl", "word"}
        assert [number for number, *_ in await _revisions(post.id)] == [1, 2]
        assert (await _revisions(post.id))[1][1:] == ("New title", "word " * 500, editor.id)
        assert await _events(post.id) == [EventType.POST_UPDATED]
        assert stored.slug == post.slug
        assert stored.updated_at > post.updated_at
        assert edited.revision == 2

    async def test_null_empties_and_absent_keeps(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        category = await create_category()
        post = await create_post(author=owner, category=category, meta_title="Kept", meta_description="Emptied", excerpt="Kept")
        await PostService.update_post(
            post.id,
            PostChanges(category_id=None, meta_description=None),
            viewer=viewer_of(owner),
            revision=1,
        )
        stored = await _post(post.id)
        assert (stored.category_id, stored.meta_description, stored.meta_title, stored.excerpt) == (None, None, "Kept", "Kept")

    def test_null_is_refused_where_nothing_can_be_empty(self) -> None:
        for field in ("title", "content", "slug", "excerpt", "tag_ids", "tag_names"):
            with pytest.raises(ValidationError):
                PostChanges.model_validate({field: None})

    async def test_nothing_to_change_makes_no_revision(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post = await create_post(author=owner)
        assert (await PostService.update_post(post.id, PostChanges(), viewer=viewer_of(owner), revision=1)).revision == 1
        assert await PostRevision.count_rows({}) == 1

    async def test_stale_revision_is_refused_and_changes_nothing(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post = await create_post(author=owner, title="Kept")
        with pytest.raises(PreconditionError):
            await PostService.update_post(post.id, PostChanges(title="Lost"), viewer=viewer_of(owner), revision=2)
        assert ((await _post(post.id)).title, await PostRevision.count_rows({})) == ("Kept", 1)

    async def test_fifty_editors_of_one_revision_leave_one_edit(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        for _ in range(3):
            post = await create_post(author=owner)
            results = await asyncio.gather(
                *(
                    PostService.update_post(post.id, PostChanges(title=f"Title {n}"), viewer=viewer_of(owner), revision=1)
                    for n in range(50)
                ),
                return_exceptions=True,
            )
            assert sum(isinstance(result, PreconditionError) for result in results) == 49
            assert ((await _post(post.id)).revision, await PostRevision.count_rows({"post_id": post.id})) == (2, 2)

    async def test_fifty_edits_of_whatever_is_current_all_count(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post = await create_post(author=owner)
        await asyncio.gather(
            *(
                PostService.update_post(post.id, PostChanges(title=f"Title {n}"), viewer=viewer_of(owner), revision=None)
                for n in range(50)
            )
        )
        assert ((await _post(post.id)).revision, await PostRevision.count_rows({})) == (51, 51)

    async def test_stranger_finds_nothing_and_changes_nothing(self) -> None:
        for status in PostStatus:
            post = await create_post(title="Kept", status=status)
            with pytest.raises(PostNotFoundError):
                await PostService.update_post(post.id, PostChanges(title="Lost"), viewer=await author(), revision=1)
            assert (await _post(post.id)).title == "Kept"

    async def test_trashed_post_is_not_edited(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post = await create_post(author=owner, status=PostStatus.TRASHED)
        with pytest.raises(PostInTrashError):
            await PostService.update_post(post.id, PostChanges(title="Lost"), viewer=viewer_of(owner), revision=1)

    async def test_blg_s5_category_and_tags_of_a_published_post_move_their_counters_once(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        old, new = await create_category(), await create_category()
        left, stays, comes = await create_tag(), await create_tag(), await create_tag()
        post = await create_post(author=owner, category=old, tags=[left, stays], status=PostStatus.PUBLISHED)

        changes = PostChanges(category_id=new.id, tag_ids=[stays.id, comes.id])
        await PostService.update_post(post.id, changes, viewer=viewer_of(owner), revision=1)

        assert await _counters(owner.id, old.id, left.id) == (1, 0, 0)
        assert await _counters(owner.id, new.id, stays.id) == (1, 1, 1)
        assert await _counters(owner.id, None, comes.id) == (1, 0, 1)

    async def test_blg_s5_those_of_a_draft_move_none(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        category, tag = await create_category(), await create_tag()
        post = await create_post(author=owner)
        changes = PostChanges(category_id=category.id, tag_ids=[tag.id])
        await PostService.update_post(post.id, changes, viewer=viewer_of(owner), revision=1)
        assert await _counters(owner.id, category.id, tag.id) == (0, 0, 0)

    async def test_category_it_is_in_may_be_closed_but_no_other_closed_one_entered(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        closed, other = await create_category(is_active=False), await create_category(is_active=False)
        post = await create_post(author=owner, category=closed)
        await PostService.update_post(post.id, PostChanges(category_id=closed.id), viewer=viewer_of(owner), revision=1)
        with pytest.raises(CategoryNotFoundError):
            await PostService.update_post(post.id, PostChanges(category_id=other.id), viewer=viewer_of(owner), revision=2)

    async def test_end_in_the_past_is_refused(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post = await create_post(author=owner)
        with pytest.raises(ScheduleInPastError):
            await PostService.update_post(post.id, PostChanges(unpublish_at=NOON), viewer=viewer_of(owner), revision=1, now=NOON)

    async def test_blg_s5_old_slug_belongs_to_the_post_for_good(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        viewer = viewer_of(owner)
        post, other = await create_post(author=owner, slug="first"), await create_post(author=owner, slug="other")
        await PostService.update_post(post.id, PostChanges(slug="second"), viewer=viewer, revision=1)

        with pytest.raises(SlugTakenError):
            await PostService.update_post(other.id, PostChanges(slug="first"), viewer=viewer, revision=1)
        assert (await _post(other.id)).slug == "other"
        back = await PostService.update_post(post.id, PostChanges(slug="first"), viewer=viewer, revision=2)
        assert back.slug == "first"
        assert await _slugs(post.id) == ["first", "second"]
        assert await PostService.get_post_by_slug("second", viewer=viewer) == PostMoved("first")

    async def test_edit_while_others_publish_and_withdraw_keeps_counters_true(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        viewer = viewer_of(owner)
        categories = [await create_category() for _ in range(2)]
        post = await create_post(author=owner, category=categories[0], status=PostStatus.PUBLISHED)
        steps = [
            step
            for n in range(10)
            for step in (
                PostService.update_post(post.id, PostChanges(category_id=categories[n % 2].id), viewer=viewer, revision=None),
                PublishingService.unpublish(post.id, viewer=viewer),
                PublishingService.publish(post.id, viewer=viewer),
            )
        ]
        await asyncio.gather(*steps, return_exceptions=True)
        stored = await _post(post.id)
        is_public = int(stored.status is PostStatus.PUBLISHED)
        assert await _counters(owner.id, stored.category_id, None) == (is_public, is_public, 0)
        emptied = next(category.id for category in categories if category.id != stored.category_id)
        assert await _counters(owner.id, emptied, None) == (is_public, 0, 0)


async def _post(post_id: PydanticObjectId) -> Post:
    row = await Post.find_row({"_id": post_id})
    assert row is not None
    return Post.from_row(row)


async def _slugs(post_id: PydanticObjectId) -> list[str]:
    return [row["slug"] for row in await PostSlug.find_rows({"post_id": post_id}, sort=[("slug", 1)])]


async def _revisions(post_id: PydanticObjectId) -> list[tuple[Any, ...]]:
    rows = await PostRevision.find_rows({"post_id": post_id}, sort=[("number", 1)])
    return [(row["number"], row["title"], row["content"], row["editor_id"]) for row in rows]


async def _events(post_id: PydanticObjectId) -> list[str]:
    return [row["type"] for row in await Event.find_rows({"subject": f"post:{post_id}"}, sort=[("_id", 1)])]


async def _counters(
    author_id: PydanticObjectId, category_id: PydanticObjectId | None, tag_id: PydanticObjectId | None
) -> tuple[int, int, int]:
    user = await User.find_row({"_id": author_id}) or {}
    category = await Category.find_row({"_id": category_id}) or {}
    tag = await Tag.find_row({"_id": tag_id}) or {}
    return user["posts_count"], category.get("posts_count", 0), tag.get("usage_count", 0)
