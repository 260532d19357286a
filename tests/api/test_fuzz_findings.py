"""What `make fuzz` found once, each under a name of its own."""

import httpx2
import pytest
from fastapi import FastAPI

from models.database import Database
from models.users import Role
from tests.api.conftest import SignIn
from tests.factories.blog import create_post
from tests.factories.users import create_user


class TestNotModified:
    @pytest.mark.parametrize(
        ("path", "template"),
        [
            ("/api/v1/users/me", "/api/v1/users/me"),
            ("/api/v1/users/{user}", "/api/v1/users/{user_id}"),
            ("/api/v1/blog/posts/{post}/edit", "/api/v1/blog/posts/{post_id}/edit"),
        ],
    )
    async def test_s1_304_of_every_tagged_read_is_documented(
        self, app: FastAPI, client: httpx2.AsyncClient, database: Database, as_role: SignIn, path: str, template: str
    ) -> None:
        """Found with seed 78: the reads answered 304 and their descriptions did not say so."""
        headers = await as_role(Role.ADMIN)
        user, post = await create_user(), await create_post()
        url = path.format(user=user.id, post=post.id)
        tag = (await client.get(url, headers=headers)).headers["ETag"]

        answer = await client.get(url, headers={**headers, "If-None-Match": tag})

        assert (answer.status_code, answer.content) == (304, b"")
        assert "304" in app.openapi()["paths"][template]["get"]["responses"]
