"""The follow routes."""

import httpx2

from models.social import Follow
from tests.api.conftest import SignIn
from tests.factories.users import create_user

API = "/api/v1/profiles"


class TestFollow:
    async def test_blg_s11_put_and_delete_are_idempotent(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        await create_user(username="grace")
        headers = await as_role(username="ada")

        answers = [
            await client.request(method, f"{API}/grace/follow", headers=headers) for method in ("PUT", "PUT", "DELETE", "DELETE")
        ]

        assert [(answer.status_code, *answer.json().values()) for answer in answers] == [
            (200, True, 1),
            (200, True, 1),
            (200, False, 0),
            (200, False, 0),
        ]

    async def test_anonymous_oneself_and_nobody(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        await create_user(username="grace")
        headers = await as_role(username="ada")

        answers = [
            await client.put(f"{API}/grace/follow"),
            await client.delete(f"{API}/grace/follow"),
            await client.put(f"{API}/ada/follow", headers=headers),
            await client.put(f"{API}/nobody/follow", headers=headers),
            await client.put(f"{API}/{'x' * 51}/follow", headers=headers),
        ]

        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
            (401, "unauthenticated"),
            (401, "unauthenticated"),
            (400, "self_follow"),
            (404, "person_not_found"),
            (422, "malformed_input"),
        ]
        assert await Follow.find_rows({}) == []


class TestLists:
    async def test_anyone_reads_names_and_nothing_private(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        grace = await create_user(username="grace", first_name="Grace", last_name="Hopper")
        ada = await create_user(username="ada", first_name="Ada", last_name="Lovelace")
        await client.put(f"{API}/grace/follow", headers=await as_role(username="alan"))
        await Follow(follower_id=ada.id, following_id=grace.id).store()

        followers = await client.get(f"{API}/grace/followers?limit=1")
        rest = await client.get(f"{API}/grace/followers", params={"cursor": followers.json()["next_cursor"]})
        following = await client.get(f"{API}/ada/following")

        assert followers.json()["items"] == [
            {"id": str(ada.id), "username": "ada", "full_name": "Ada Lovelace", "avatar_url": None}
        ]
        assert [person["username"] for person in rest.json()["items"]] == ["alan"]
        assert [person["username"] for person in following.json()["items"]] == ["grace"]
        assert "@example.com" not in followers.text + rest.text + following.text

    async def test_unknown_person(self, client: httpx2.AsyncClient) -> None:
        answers = [await client.get(f"{API}/nobody/{name}") for name in ("followers", "following")]

        assert [answer.status_code for answer in answers] == [404, 404]
