import pytest
from beanie import PydanticObjectId

from models.blog.posts import Post, PostRevision, PostStatus
from models.users import Role
from services.blog.posts import PostInTrashError, PostService
from services.blog.reading import PostNotFoundError
from services.blog.revisions import MAX_LINES, DiffTooLongError, RevisionNotFoundError, RevisionService
from services.blog.writing import PostChanges
from services.errors import PreconditionError
from services.pagination import PageRequest
from services.users.permissions import Viewer
from tests.factories.blog import create_post
from tests.factories.users import create_user, viewer_of

pytestmark = pytest.mark.usefixtures("database")


async def edited_post() -> tuple[Post, Viewer]:
    """Three revisions: "one two", "one two three", "one two three" under another title."""
    owner = await create_user(role=Role.AUTHOR)
    viewer = viewer_of(owner)
    post = await create_post(author=owner, title="First", content="one\ntwo")
    await PostService.update_post(post.id, PostChanges(content="one\ntwo\nthree"), viewer=viewer, revision=1)
    await PostService.update_post(post.id, PostChanges(title="Third"), viewer=viewer, revision=2)
    return post, viewer


class TestListRevisions:
    async def test_newest_first_and_paged(self) -> None:
        post, viewer = await edited_post()
        page = await RevisionService.list_revisions(post.id, PageRequest(limit=2), viewer=viewer)
        assert [(one.number, one.title, one.editor_id) for one in page.items] == [
            (3, "Third", viewer.user_id),
            (2, "First", viewer.user_id),
        ]
        assert (page.total_count, page.total_pages) == (3, 2)

    async def test_stranger_learns_nothing(self) -> None:
        post, _ = await edited_post()
        stranger = viewer_of(await create_user(role=Role.AUTHOR))
        for call in (
            RevisionService.list_revisions(post.id, PageRequest(), viewer=stranger),
            RevisionService.get_revision(post.id, 1, viewer=stranger),
            RevisionService.diff_revisions(post.id, from_number=1, to_number=2, viewer=stranger),
            RevisionService.restore_revision(post.id, 1, viewer=stranger, revision=None),
        ):
            with pytest.raises(PostNotFoundError):
                await call
        assert await PostRevision.count_rows({}) == 3


class TestGetRevision:
    async def test_content_of_then(self) -> None:
        post, viewer = await edited_post()
        assert (await RevisionService.get_revision(post.id, 1, viewer=viewer)).content == "one\ntwo"

    async def test_unknown_number_is_not_found(self) -> None:
        post, viewer = await edited_post()
        with pytest.raises(RevisionNotFoundError):
            await RevisionService.get_revision(post.id, 4, viewer=viewer)
        with pytest.raises(PostNotFoundError):
            await RevisionService.get_revision(PydanticObjectId(), 1, viewer=viewer)


class TestDiffRevisions:
    async def test_lines_that_came_and_went(self) -> None:
        post, viewer = await edited_post()
        found = await RevisionService.diff_revisions(post.id, from_number=1, to_number=2, viewer=viewer)
        assert found.diff == "--- revision 1\n+++ revision 2\n@@ -1,2 +1,3 @@\n one\n two\n+three\n"
        assert not found.title_changed
        back = await RevisionService.diff_revisions(post.id, from_number=3, to_number=1, viewer=viewer)
        assert "-three\n" in back.diff
        assert back.title_changed

    async def test_same_content_gives_an_empty_diff(self) -> None:
        post, viewer = await edited_post()
        assert (await RevisionService.diff_revisions(post.id, from_number=2, to_number=3, viewer=viewer)).diff == ""

    async def test_text_of_too_many_lines_is_refused(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post = await create_post(author=owner, content="x\n" * (MAX_LINES + 1))
        with pytest.raises(DiffTooLongError):
            await RevisionService.diff_revisions(post.id, from_number=1, to_number=1, viewer=viewer_of(owner))


class TestRestoreRevision:
    async def test_old_content_comes_back_as_a_new_revision(self) -> None:
        post, viewer = await edited_post()
        restored = await RevisionService.restore_revision(post.id, 1, viewer=viewer, revision=3)
        assert (restored.revision, restored.title, restored.content) == (4, "First", "one\ntwo")
        assert restored.content_html == "<p>one\ntwo</p>\n"
        rows = await PostRevision.find_rows({"post_id": post.id}, sort=[("number", 1)])
        assert [row["content"] for row in rows] == ["one\ntwo", "one\ntwo\nthree", "one\ntwo\nthree", "one\ntwo"]

    async def test_stale_revision_is_refused(self) -> None:
        post, viewer = await edited_post()
        with pytest.raises(PreconditionError):
            await RevisionService.restore_revision(post.id, 1, viewer=viewer, revision=2)
        assert await PostRevision.count_rows({}) == 3

    async def test_trashed_post_is_not_touched(self) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post = await create_post(author=owner, status=PostStatus.TRASHED)
        with pytest.raises(PostInTrashError):
            await RevisionService.restore_revision(post.id, 1, viewer=viewer_of(owner), revision=1)
