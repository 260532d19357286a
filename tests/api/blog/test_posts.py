import asyncio
from typing import Any

import httpx2
from beanie import PydanticObjectId
from fastapi import FastAPI

from models.blog.posts import Post, PostStatus, PostViews
from models.blog.taxonomy import Tag
from models.users import Role
from tests.api.conftest import Headers, SignIn
from tests.commands import CommandLog
from tests.factories.blog import create_category, create_post, create_tag
from tests.factories.users import create_session, create_user

POSTS = "/api/v1/blog/posts"
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}

MALFORMED: list[dict[str, Any]] = [
    {"title": ""},
    {"title": None},
    {"title": {"$gt": ""}},
    {"content": 5},
    {"status": "archived"},
    {"status": "nonsense"},
    {"scheduled_at": "2030-01-01T00:00:00"},
    {"category_id": "x"},
    {"category_id": {"$ne": None}},
    {"tag_names": "x"},
    {"featured_image": "javascript:alert(1)"},
    {"featured_image": "https://user:pass@a.example/b.png"},
    {"author_id": "65f0c0ffee0ddba11ca7f00d"},
    {"views_count": 1000},
    {"published_at": "2020-01-01T00:00:00Z"},
    {"_id": "65f0c0ffee0ddba11ca7f00d"},
]


async def writer(**over: Any) -> tuple[PydanticObjectId, Headers]:
    user = await create_user(role=Role.AUTHOR, **over)
    return user.id, {"Authorization": f"Bearer {await create_session(user)}"}


class TestListPublishedPosts:
    async def test_everyone_reads_a_page(self, client: httpx2.AsyncClient) -> None:
        category, tag = await create_category(slug="design"), await create_tag(slug="go")
        post = await create_post(category=category, tags=[tag], status=PostStatus.PUBLISHED)
        await create_post()
        answer = await client.get(POSTS, params={"category": "design", "tag": "go", "limit": 5, "sort": "most_viewed"})
        body = answer.json()
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert (body["page"], body["limit"], body["total_count"], body["total_pages"]) == (1, 5, 1, 1)
        assert body["items"][0]["id"] == str(post.id)
        assert body["items"][0]["category"] == {
            "id": str(category.id),
            "name": category.name,
            "slug": "design",
            "color": "#3498db",
        }
        assert body["items"][0]["tags"] == [{"id": str(tag.id), "name": tag.name, "slug": "go"}]
        assert body["items"][0]["published_at"].endswith("Z")
        assert "content" not in body["items"][0]

    async def test_x_22_x_23_bad_page_or_sort_is_422(self, client: httpx2.AsyncClient) -> None:
        for query in ("page=0", "limit=0", "limit=101", "page=x", "sort=random", "sort=-views", "category=" + "x" * 51):
            assert (await client.get(f"{POSTS}?{query}")).status_code == 422

    async def test_warm_page_costs_one_command(self, client: httpx2.AsyncClient, commands: CommandLog) -> None:
        for _ in range(3):
            await create_post(status=PostStatus.PUBLISHED)
        await client.get(f"{POSTS}?limit=3")
        with commands.counting() as sent:
            await client.get(f"{POSTS}?limit=3")
        assert len(sent) <= 2


class TestCreatePost:
    async def test_author_publishes_with_new_tags(self, client: httpx2.AsyncClient) -> None:
        user_id, headers = await writer()
        body = {"title": "Hello World", "content": "# Hi", "tag_names": ["C++"], "status": "published"}
        answer = await client.post(POSTS, json=body, headers=headers)
        created = answer.json()
        assert answer.status_code == 201
        assert (created["slug"], created["status"], created["author"]["id"]) == ("hello-world", "published", str(user_id))
        assert created["content_html"] == "<h1>Hi</h1>\n"
        assert [tag["slug"] for tag in created["tags"]] == ["c-plus-plus"]
        assert answer.headers["etag"].startswith('"1-')
        assert (await client.get(f"{POSTS}/hello-world")).status_code == 200

    async def test_anonymous_401_and_readers_403_and_nothing_is_written(
        self, client: httpx2.AsyncClient, as_role: SignIn
    ) -> None:
        """BLG-A2: in the source any caller could publish."""
        body = {"title": "T", "content": "c", "status": "published", "tag_names": ["New"]}
        assert (await client.post(POSTS, json=body)).status_code == 401
        for role in (Role.USER, Role.VENDOR):
            assert (await client.post(POSTS, json=body, headers=await as_role(role))).status_code == 403
        assert (await Post.count_rows({}), await Tag.count_rows({})) == (0, 0)

    async def test_blg_a3_malformed_or_privileged_field_is_422(self, client: httpx2.AsyncClient) -> None:
        """BLG-A3, X-15: the source turned such errors into 400 and let callers set any field."""
        _, headers = await writer()
        for over in MALFORMED:
            answer = await client.post(POSTS, json={"title": "T", "content": "c", **over}, headers=headers)
            assert answer.status_code == 422
        assert await Post.count_rows({}) == 0

    async def test_refusals_have_their_status_and_code(self, client: httpx2.AsyncClient) -> None:
        _, headers = await writer()
        await create_post(slug="taken")
        for over, status, code in (
            ({"slug": "taken"}, 409, "slug_taken"),
            ({"slug": "mine"}, 409, "slug_taken"),
            ({"category_id": str(PydanticObjectId())}, 404, "category_not_found"),
            ({"tag_ids": [str(PydanticObjectId())]}, 404, "tag_not_found"),
            ({"tag_names": ["!!!"]}, 400, "invalid_tag_name"),
            ({"status": "scheduled"}, 400, "schedule_in_past"),
        ):
            answer = await client.post(POSTS, json={"title": "T", "content": "c", **over}, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert await Post.count_rows({}) == 1

    async def test_same_idempotency_key_writes_one_post(self, client: httpx2.AsyncClient) -> None:
        _, headers = await writer()
        headers = {**headers, "Idempotency-Key": "one"}
        body = {"title": "Same", "content": "c", "status": "published", "tag_names": ["Go"]}
        answers = [await client.post(POSTS, json=body, headers=headers) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].content == answers[1].content
        assert await Post.count_rows({}) == 1

    async def test_same_title_under_many_keys_at_once_gives_many_slugs(self, client: httpx2.AsyncClient) -> None:
        _, headers = await writer()
        answers = await asyncio.gather(
            *(
                client.post(
                    POSTS,
                    json={"title": "Same", "content": "c", "tag_names": ["Go"]},
                    headers={**headers, "Idempotency-Key": f"key-{n}"},
                )
                for n in range(20)
            )
        )
        assert [answer.status_code for answer in answers] == [201] * 20
        assert len({answer.json()["slug"] for answer in answers}) == 20
        assert await Tag.count_rows({}) == 1


class TestGetPostBySlug:
    async def test_blg_a1_page_has_everything_and_nothing_private(self, client: httpx2.AsyncClient) -> None:
        """BLG-S7, X-13: in the source this was a 500 for its ObjectIds, and leaked the author's account."""
        author = await create_user(role=Role.AUTHOR, username="jane", email="private@example.com")
        post = await create_post(author=author, category=await create_category(), status=PostStatus.PUBLISHED)
        answer = await client.get(f"{POSTS}/{post.slug}")
        body = answer.json()
        assert answer.status_code == 200
        assert body["author"] == {"id": str(author.id), "username": "jane", "full_name": "Jane Doe", "avatar_url": None}
        assert "private@example.com" not in answer.text
        assert not {"content", "author_id", "category_id", "tag_ids", "terms", "_id"} & body.keys()

    async def test_current_copy_is_answered_304(self, client: httpx2.AsyncClient) -> None:
        post = await create_post(status=PostStatus.PUBLISHED)
        tag = (await client.get(f"{POSTS}/{post.slug}")).headers["etag"]
        again = await client.get(f"{POSTS}/{post.slug}", headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        await Post.change({"_id": post.id}, {"$inc": {"likes_count": 1}})
        moved = await client.get(f"{POSTS}/{post.slug}", headers={"If-None-Match": tag})
        assert (moved.status_code, moved.json()["likes_count"]) == (200, 1)

    async def test_draft_is_404_to_all_but_its_author_and_editors(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        user = await create_user(role=Role.AUTHOR)
        post = await create_post(author=user)
        own = {"Authorization": f"Bearer {await create_session(user)}"}
        unknown = await client.get(f"{POSTS}/nothing")
        for headers in ({}, await as_role(Role.USER), await as_role(Role.AUTHOR)):
            answer = await client.get(f"{POSTS}/{post.slug}", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (404, unknown.json()["code"])
        for headers in (own, await as_role(Role.EDITOR), await as_role(Role.ADMIN)):
            assert (await client.get(f"{POSTS}/{post.slug}", headers=headers)).status_code == 200

    async def test_old_slug_redirects(self, client: httpx2.AsyncClient) -> None:
        user = await create_user(role=Role.AUTHOR)
        headers = {"Authorization": f"Bearer {await create_session(user)}", "If-Match": "*"}
        post = await create_post(author=user, slug="old", status=PostStatus.PUBLISHED)
        assert (await client.patch(f"{POSTS}/{post.id}", json={"slug": "new"}, headers=headers)).status_code == 200
        answer = await client.get(f"{POSTS}/old")
        assert (answer.status_code, answer.headers["location"]) == (308, f"{POSTS}/new")

    async def test_two_commands_cold_and_one_more_when_signed_in(
        self, client: httpx2.AsyncClient, as_role: SignIn, commands: CommandLog
    ) -> None:
        post = await create_post(category=await create_category(), tags=[await create_tag()], status=PostStatus.PUBLISHED)
        headers = await as_role(Role.USER)
        with commands.counting() as cold:
            await client.get(f"{POSTS}/{post.slug}")
        with commands.counting() as warm:
            await client.get(f"{POSTS}/{post.slug}", headers=headers)
        assert len(cold) <= 2
        assert len(warm) <= 2

    async def test_views_are_counted_behind_the_answer(self, app: FastAPI, client: httpx2.AsyncClient) -> None:
        post = await create_post(status=PostStatus.PUBLISHED)
        draft = await create_post()
        for headers in (BROWSER, BROWSER, {"User-Agent": "Googlebot/2.1"}):
            await client.get(f"{POSTS}/{post.slug}", headers=headers)
        await client.get(f"{POSTS}/{draft.slug}", headers=BROWSER)
        await app.state.views.flush()
        rows = await PostViews.find_rows({})
        assert [(row["post_id"], row["views_count"]) for row in rows] == [(post.id, 1)]
        stored = await Post.find_row({"_id": post.id})
        assert stored is not None
        assert stored["views_count"] == 1

    async def test_evil_slug_is_404(self, client: httpx2.AsyncClient) -> None:
        for slug in ("%24ne", "..%2f..", ".*", "x" * 200):
            assert (await client.get(f"{POSTS}/{slug}")).status_code == 404
        assert (await client.get(f"{POSTS}/{'x' * 201}")).status_code == 422


class TestUpdatePost:
    async def test_edit_needs_the_revision_that_was_read(self, client: httpx2.AsyncClient) -> None:
        user = await create_user(role=Role.AUTHOR)
        headers = {"Authorization": f"Bearer {await create_session(user)}"}
        post = await create_post(author=user, title="Old")
        path = f"{POSTS}/{post.id}"
        tag = (await client.get(f"{path}/edit", headers=headers)).headers["etag"]

        missing = await client.patch(path, json={"title": "New"}, headers=headers)
        assert (missing.status_code, missing.json()["code"]) == (428, "precondition_required")
        done = await client.patch(path, json={"title": "New"}, headers={**headers, "If-Match": tag})
        assert (done.status_code, done.json()["title"], done.json()["revision"]) == (200, "New", 2)
        stale = await client.patch(path, json={"title": "Lost"}, headers={**headers, "If-Match": tag})
        assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
        current = {**headers, "If-Match": done.headers["etag"]}
        assert (await client.patch(path, json={"excerpt": "E"}, headers=current)).json()["revision"] == 3

    async def test_a_like_does_not_cost_an_editor_their_work(self, client: httpx2.AsyncClient) -> None:
        user = await create_user(role=Role.AUTHOR)
        headers = {"Authorization": f"Bearer {await create_session(user)}"}
        post = await create_post(author=user, status=PostStatus.PUBLISHED)
        tag = (await client.get(f"{POSTS}/{post.id}/edit", headers=headers)).headers["etag"]
        await Post.collection().update_one({"_id": post.id}, {"$inc": {"likes_count": 1}})
        answer = await client.patch(f"{POSTS}/{post.id}", json={"title": "New"}, headers={**headers, "If-Match": tag})
        assert answer.status_code == 200

    async def test_stranger_404_reader_403_anonymous_401_and_malformed_id_422(
        self, client: httpx2.AsyncClient, as_role: SignIn
    ) -> None:
        post = await create_post(title="Kept", status=PostStatus.PUBLISHED)
        for headers, status in (({}, 401), (await as_role(Role.USER), 403), (await as_role(Role.AUTHOR), 404)):
            answer = await client.patch(f"{POSTS}/{post.id}", json={"title": "X"}, headers={**headers, "If-Match": "*"})
            assert answer.status_code == status
        editor = {**await as_role(Role.EDITOR), "If-Match": "*"}
        assert (await client.patch(f"{POSTS}/{post.slug}", json={"title": "X"}, headers=editor)).status_code == 422
        row = await Post.find_row({"_id": post.id})
        assert row is not None
        assert row["title"] == "Kept"

    async def test_x_15_what_may_not_be_set_is_422(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        post = await create_post()
        headers = {**await as_role(Role.EDITOR), "If-Match": "*"}
        for body in ({"title": None}, {"status": "published"}, {"author_id": "x"}, {"likes_count": 5}, {"revision": 9}):
            assert (await client.patch(f"{POSTS}/{post.id}", json=body, headers=headers)).status_code == 422


class TestTransitions:
    async def test_a_whole_life(self, client: httpx2.AsyncClient) -> None:
        user = await create_user(role=Role.AUTHOR)
        headers = {"Authorization": f"Bearer {await create_session(user)}"}
        post = await create_post(author=user)
        for step, body, status in (
            ("schedule", {"scheduled_at": "2099-01-01T00:00:00Z"}, "scheduled"),
            ("unpublish", None, "draft"),
            ("publish", None, "published"),
            ("publish", None, "published"),
            ("archive", None, "archived"),
            ("trash", None, "trashed"),
            ("restore", None, "draft"),
        ):
            answer = await client.post(f"{POSTS}/{post.id}/{step}", json=body, headers=headers)
            assert (answer.status_code, answer.json()["status"]) == (200, status)
        wrong = await client.post(f"{POSTS}/{post.id}/archive", headers=headers)
        assert (wrong.status_code, wrong.json()["code"]) == (409, "post_transition")
        past = await client.post(f"{POSTS}/{post.id}/schedule", json={"scheduled_at": "2020-01-01T00:00:00Z"}, headers=headers)
        assert (past.status_code, past.json()["code"]) == (400, "schedule_in_past")

    async def test_others_may_not(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        post = await create_post()
        reader, stranger = await as_role(Role.USER), await as_role(Role.AUTHOR)
        for step in ("publish", "unpublish", "archive", "trash", "restore", "preview"):
            path = f"{POSTS}/{post.id}/{step}"
            assert (await client.post(path)).status_code == 401
            assert (await client.post(path, headers=reader)).status_code == 403
            for missing in (path, f"{POSTS}/{PydanticObjectId()}/{step}"):
                answer = await client.post(missing, headers=stranger)
                assert (answer.status_code, answer.json()["code"]) == (404, "post_not_found")
        row = await Post.find_row({"_id": post.id})
        assert row is not None
        assert row["status"] == "draft"


class TestListOwnPosts:
    async def test_own_drafts_only(self, client: httpx2.AsyncClient) -> None:
        user = await create_user(role=Role.AUTHOR)
        headers = {"Authorization": f"Bearer {await create_session(user)}"}
        post = await create_post(author=user)
        await create_post()
        body = (await client.get(f"{POSTS}/mine", params={"status": "draft"}, headers=headers)).json()
        assert [item["id"] for item in body["items"]] == [str(post.id)]
        assert (await client.get(f"{POSTS}/mine")).status_code == 401
        assert (await client.get(f"{POSTS}/mine", params={"status": "x"}, headers=headers)).status_code == 422


class TestGetPostForEdit:
    async def test_markdown_for_the_author_and_404_for_others(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        user = await create_user(role=Role.AUTHOR)
        headers = {"Authorization": f"Bearer {await create_session(user)}"}
        post = await create_post(author=user, content="**x**")
        assert (await client.get(f"{POSTS}/{post.id}/edit", headers=headers)).json()["content"] == "**x**"
        assert (await client.get(f"{POSTS}/{post.id}/edit", headers=await as_role(Role.AUTHOR))).status_code == 404


class TestPreview:
    async def test_link_shows_a_draft_to_anyone(self, client: httpx2.AsyncClient) -> None:
        user = await create_user(role=Role.AUTHOR)
        headers = {"Authorization": f"Bearer {await create_session(user)}"}
        post = await create_post(author=user)
        link = (await client.post(f"{POSTS}/{post.id}/preview", headers=headers)).json()
        answer = await client.get(f"{POSTS}/preview", params={"token": link["token"]})
        assert (answer.status_code, answer.json()["id"], answer.headers["cache-control"]) == (200, str(post.id), "no-store")
        forged = await client.get(f"{POSTS}/preview", params={"token": "A" * 44})
        assert (forged.status_code, forged.json()["code"]) == (404, "preview_not_found")
        assert (await client.get(f"{POSTS}/preview")).status_code == 422
