"""The like routes: PUT and DELETE may be repeated, POST turns over."""

import httpx2
import pytest
from beanie import PydanticObjectId

from models.blog.comments import CommentStatus
from models.blog.posts import PostStatus
from models.social import Like
from tests.api.conftest import SignIn
from tests.factories.blog import create_post
from tests.factories.comments import create_comment

API = "/api/v1/blog"


async def subject(kind: str) -> str:
    post = await create_post(status=PostStatus.PUBLISHED)
    return f"{API}/posts/{post.id}/like" if kind == "post" else f"{API}/comments/{(await create_comment(post=post)).id}/like"


async def hidden(kind: str) -> list[str]:
    draft = await create_post()
    post = await create_post(status=PostStatus.PUBLISHED)
    waiting = await create_comment(post=post, status=CommentStatus.PENDING)
    if kind == "post":
        return [f"{API}/posts/{draft.id}/like", f"{API}/posts/{PydanticObjectId()}/like"]
    return [f"{API}/comments/{waiting.id}/like", f"{API}/comments/{PydanticObjectId()}/like"]


@pytest.mark.parametrize("kind", ["post", "comment"])
class TestLike:
    async def test_blg_s10_put_and_delete_are_idempotent(self, client: httpx2.AsyncClient, as_role: SignIn, kind: str) -> None:
        url = await subject(kind)
        one, other = await as_role(), await as_role()

        answers = [
            await client.put(url, headers=one),
            await client.put(url, headers=one),
            await client.put(url, headers=other),
            await client.delete(url, headers=one),
            await client.delete(url, headers=one),
        ]

        assert [(answer.status_code, *answer.json().values()) for answer in answers] == [
            (200, True, 1),
            (200, True, 1),
            (200, True, 2),
            (200, False, 1),
            (200, False, 1),
        ]

    async def test_post_turns_over_and_a_key_makes_it_safe_to_repeat(
        self, client: httpx2.AsyncClient, as_role: SignIn, kind: str
    ) -> None:
        url = await subject(kind)
        headers = await as_role()

        turned = [(await client.post(url, headers=headers)).json()["liked"] for _ in range(2)]
        keyed = [(await client.post(url, headers={**headers, "Idempotency-Key": "one"})).json()["liked"] for _ in range(2)]

        assert (turned, keyed) == ([True, False], [True, True])

    async def test_anonymous_and_hidden_change_nothing(self, client: httpx2.AsyncClient, as_role: SignIn, kind: str) -> None:
        url = await subject(kind)
        headers = await as_role()

        anonymous = [(await client.request(method, url)).status_code for method in ("PUT", "DELETE", "POST")]
        missing = [
            (await client.request(method, path, headers=headers)).status_code
            for method in ("PUT", "DELETE", "POST")
            for path in await hidden(kind)
        ]
        malformed = await client.put(f"{API}/{kind}s/nonsense/like", headers=headers)

        assert anonymous == [401] * 3
        assert missing == [404] * 6
        assert malformed.status_code == 422
        assert await Like.find_rows({}) == []
