"""Everybody's posts: what editors do with them is noted where it is not their own."""

from models.audit import AuditEntry
from models.blog.posts import Post, PostStatus
from models.users import Role
from tests.api.web.admin.conftest import Clerk
from tests.factories.blog import create_post
from tests.factories.users import create_user

LIST = "/admin/posts"


async def status_of(post: Post) -> str:
    row = await Post.find_row({"_id": post.id})
    assert row is not None
    return str(row["status"])


async def test_somebody_elses_post_is_taken_down_and_put_back(editor: Clerk) -> None:
    author = await create_user(role=Role.AUTHOR)
    post = await create_post(author=author, title="A loud one", status=PostStatus.PUBLISHED)
    here = f"{LIST}/{post.id}"
    assert f'action="{here}/archive"' in await editor.page(here)

    for move, expected in [
        ("archive", "archived"),
        ("publish", "published"),
        ("unpublish", "draft"),
        ("trash", "trashed"),
        ("restore", "draft"),
    ]:
        answer = await editor.send(f"{here}/{move}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{here}?done={move}")
        assert await status_of(post) == expected

    refused = await editor.send(f"{here}/archive")
    assert refused.status_code == 409
    assert "A post that is draft cannot become archived." in refused.text
    noted = await AuditEntry.find_rows({"subject": f"post:{post.id}"}, sort=[("_id", 1)])
    assert [(entry["action"], entry["details"]["from"]) for entry in noted] == [
        ("post.archived", "published"),
        ("post.published", "archived"),
        ("post.draft", "published"),
        ("post.trashed", "draft"),
        ("post.draft", "trashed"),
    ]
    assert {entry["actor_id"] for entry in noted} == {editor.user.id}


async def test_ones_own_needs_no_note_and_lists_are_narrowed_by_status_and_slug(editor: Clerk) -> None:
    own = await create_post(author=editor.user, title="My own", status=PostStatus.PUBLISHED)
    draft = await create_post(title="A draft of somebody", status=PostStatus.DRAFT)

    await editor.send(f"{LIST}/{own.id}/archive")

    assert await status_of(own) == "archived"
    assert await AuditEntry.count_rows({"subject": f"post:{own.id}"}) == 0
    drafts = await editor.page(f"{LIST}?status=draft")
    assert (draft.title in drafts, own.title in drafts) == (True, False)
    assert own.title in await editor.page(f"{LIST}?search={own.slug}")
