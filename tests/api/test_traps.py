"""Traps of the sources (SPEC A0, A1) that show over HTTP alone; `docs/sources.md` lists them all."""

import re

import httpx2
import pytest
from beanie import PydanticObjectId

from models.blog.posts import PostStatus
from models.users import Registration, Role, User
from tests.api.conftest import SignIn
from tests.api.test_openapi import DOCUMENT
from tests.factories.blog import create_category, create_post, create_tag
from tests.factories.users import PASSWORD, create_session, create_user

ID_PATHS = [
    (method.upper(), path)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if any("24 hexadecimal digits" in parameter.get("description", "") for parameter in operation.get("parameters", ()))
]


class TestIds:
    async def test_x_12_malformed_id_is_422_on_every_route(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        """X-12: in the source every one of them was a 500."""
        headers = {**await as_role(Role.SUPER_ADMIN), "If-Match": "*"}
        assert len(ID_PATHS) > 20
        for method, path in ID_PATHS:
            for malformed in ("x", "65f0", "g" * 24, "1" * 25, "%7B%22$ne%22:1%7D"):
                url = re.sub(r"\{\w+_id\}", malformed, path).replace("{number}", "1")
                # A key of its own each time: what moves money is refused without one before anything is looked at.
                key = {"Idempotency-Key": str(PydanticObjectId())}
                answer = await client.request(method, url, headers={**headers, **key})
                assert (method, path, answer.status_code) == (method, path, 422)
                assert answer.headers["content-type"] == "application/problem+json"


class TestAnswers:
    async def test_x_13_page_search_and_lists_are_plain_json(self, client: httpx2.AsyncClient) -> None:
        """X-13: in the source the ids of category and tags broke the page of a post and the search."""
        category, tag = await create_category(), await create_tag()
        post = await create_post(title="Serving", category=category, tags=[tag], status=PostStatus.PUBLISHED)

        page = (await client.get(f"/api/v1/blog/posts/{post.slug}")).json()
        [found] = (await client.get("/api/v1/blog/search", params={"q": "serving"})).json()["items"]
        [listed] = (await client.get("/api/v1/blog/posts")).json()["items"]

        for body in (page, found, listed):
            assert (body["id"], body["status"]) == (str(post.id), "published")
            assert body["category"]["id"] == str(category.id)
            assert [each["id"] for each in body["tags"]] == [str(tag.id)]


class TestCaches:
    async def test_x_26_what_its_author_read_is_not_kept_for_strangers(self, client: httpx2.AsyncClient) -> None:
        """X-26: what is kept belongs to nobody in particular."""
        author = await create_user(role=Role.AUTHOR)
        own = {"Authorization": f"Bearer {await create_session(author)}"}
        draft = await create_post(author=author)

        for headers, status in ((own, 200), ({}, 404), (own, 200), ({}, 404)):
            assert (await client.get(f"/api/v1/blog/posts/{draft.slug}", headers=headers)).status_code == status

        me = await client.get("/api/v1/users/me", headers=own)
        other = await create_user()
        them = await client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {await create_session(other)}"})
        assert (me.json()["username"], them.json()["username"]) == (author.username, other.username)


class TestRegister:
    @pytest.mark.parametrize(
        "field", [{"role": "super_admin"}, {"is_verified": True}, {"password_hash": "x"}, {"_id": "65f0c0ffee0ddba11ca7f00d"}]
    )
    async def test_usr_s1_nobody_chooses_a_role(self, client: httpx2.AsyncClient, field: dict[str, object]) -> None:
        """USR-S1: in the source whoever registered chose their own role."""
        wish = {"username": "mallory", "email": "m@example.com", "first_name": "M", "last_name": "L", "password": PASSWORD}

        answer = await client.post("/api/v1/auth/register", json={**wish, **field})

        assert answer.status_code == 422
        assert await Registration.find_rows({}) == []
        assert await User.find_rows({}) == []
