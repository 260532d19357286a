"""Search, popular, related, feed and statistics over HTTP."""

from datetime import UTC, datetime

import httpx2
import pytest

from models.blog.posts import PostStatus, PostViews
from models.social import Follow
from models.users import Role, User
from tests.api.conftest import SignIn
from tests.commands import CommandLog
from tests.factories.blog import create_post, create_tag
from tests.factories.users import create_user

PUBLISHED = PostStatus.PUBLISHED


class TestSearchPosts:
    async def test_anyone_searches(self, client: httpx2.AsyncClient) -> None:
        post = await create_post(status=PUBLISHED, title="Red roses", slug="red-roses")
        await create_post(status=PostStatus.DRAFT, title="Rose in the drawer")

        response = await client.get("/api/v1/blog/search", params={"q": "rose"})

        assert response.status_code == 200
        body = response.json()
        assert [(item["id"], item["slug"], item["title"]) for item in body["items"]] == [(str(post.id), "red-roses", "Red roses")]
        assert (body["page"], body["limit"], body["total_count"], body["total_pages"]) == (1, 10, 1, 1)
        assert "content" not in body["items"][0]
        assert "terms" not in body["items"][0]
        assert "score" not in body["items"][0]

    @pytest.mark.parametrize("q", ["", " ", ".*", '{"$ne": null}', "$where", "(", "\\", "%", "ÿ", "the"])
    async def test_odd_queries_find_nothing_and_break_nothing(self, client: httpx2.AsyncClient, q: str) -> None:
        await create_post(status=PUBLISHED, title="Rose")

        response = await client.get("/api/v1/blog/search", params={"q": q})

        assert response.status_code == 200
        assert response.json() == {"items": [], "page": 1, "limit": 10, "total_count": 0, "total_pages": 0}

    @pytest.mark.parametrize(
        "params", [{}, {"q": "x" * 201}, {"q": "x", "limit": "51"}, {"q": "x", "page": "0"}, {"q": "x", "limit": "many"}]
    )
    async def test_malformed_queries_are_refused(self, client: httpx2.AsyncClient, params: dict[str, str]) -> None:
        response = await client.get("/api/v1/blog/search", params=params)

        assert response.status_code == 422
        assert response.headers["content-type"] == "application/problem+json"


class TestGetPopularPosts:
    async def test_anyone_sees_what_is_read(self, client: httpx2.AsyncClient) -> None:
        post = await create_post(status=PUBLISHED, slug="read")
        await create_post(status=PUBLISHED, slug="unread")
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        await PostViews(post_id=post.id, day=today, views_count=2).store()

        response = await client.get("/api/v1/blog/popular", params={"days": 1, "limit": 3})

        assert response.status_code == 200
        assert [item["slug"] for item in response.json()] == ["read"]

    @pytest.mark.parametrize("params", [{"days": "0"}, {"days": "91"}, {"limit": "0"}, {"limit": "51"}])
    async def test_impossible_windows_are_refused(self, client: httpx2.AsyncClient, params: dict[str, str]) -> None:
        assert (await client.get("/api/v1/blog/popular", params=params)).status_code == 422


class TestListRelatedPosts:
    async def test_anyone_sees_what_goes_with_a_post(self, client: httpx2.AsyncClient) -> None:
        tag = await create_tag()
        await create_post(status=PUBLISHED, slug="it", tags=[tag])
        await create_post(status=PUBLISHED, slug="other", tags=[tag])

        response = await client.get("/api/v1/blog/posts/it/related")

        assert response.status_code == 200
        assert [item["slug"] for item in response.json()] == ["other"]

    async def test_a_draft_looks_as_if_it_were_not_there(self, client: httpx2.AsyncClient) -> None:
        await create_post(slug="draft")

        answers = [await client.get(f"/api/v1/blog/posts/{slug}/related") for slug in ("draft", "nowhere")]

        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "post_not_found")] * 2


class TestGetUserFeed:
    async def test_strangers_have_none(self, client: httpx2.AsyncClient) -> None:
        response = await client.get("/api/v1/blog/feed")

        assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")

    async def test_a_reader_pages_through_what_they_follow_in_two_commands(
        self, client: httpx2.AsyncClient, as_role: SignIn, commands: CommandLog
    ) -> None:
        headers = await as_role(Role.USER, username="reader")
        reader, author = await User.find_row({"username": "reader"}), await create_user()
        assert reader is not None
        await Follow(follower_id=reader["_id"], following_id=author.id).store()
        for number in range(3):
            await create_post(author=author, status=PUBLISHED, slug=f"post-number-{number}")

        first = (await client.get("/api/v1/blog/feed", params={"limit": 2}, headers=headers)).json()
        with commands.counting() as sent:
            second = await client.get("/api/v1/blog/feed", params={"limit": 2, "cursor": first["next_cursor"]}, headers=headers)

        assert [item["slug"] for item in first["items"]] == ["post-number-2", "post-number-1"]
        assert [item["slug"] for item in second.json()["items"]] == ["post-number-0"]
        assert (second.json()["source"], second.json()["next_cursor"]) == ("following", None)
        assert [command for command in sent.sent if "login_sessions" not in command] == ["find follows", "find posts"]

    async def test_a_made_up_cursor_is_refused(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        response = await client.get("/api/v1/blog/feed", params={"cursor": "abc"}, headers=await as_role())

        assert (response.status_code, response.json()["code"]) == (400, "invalid_cursor")

    async def test_following_nobody_says_so(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        response = await client.get("/api/v1/blog/feed", headers=await as_role())

        assert response.json() == {"items": [], "next_cursor": None, "source": "popular"}


class TestGetBlogStats:
    async def test_anyone_sees_the_figures(self, client: httpx2.AsyncClient) -> None:
        await create_post(status=PUBLISHED, views_count=4)

        response = await client.get("/api/v1/blog/stats")

        assert response.status_code == 200
        assert response.json() == {
            "total_users": 1,
            "active_users": 1,
            "authors": 1,
            "total_posts": 1,
            "published_posts": 1,
            "total_views": 4,
            "total_likes": 0,
            "total_categories": 0,
            "total_tags": 0,
            "total_comments": 0,
        }
