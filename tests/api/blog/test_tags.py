import httpx2
from beanie import PydanticObjectId

from models.users import Role
from tests.api.conftest import SignIn
from tests.factories.blog import create_tag

TAGS = "/api/v1/blog/tags"


class TestGetPopularTags:
    async def test_used_ones_fullest_first(self, client: httpx2.AsyncClient) -> None:
        few, many = await create_tag(usage_count=1), await create_tag(usage_count=2)
        await create_tag()
        answer = await client.get(f"{TAGS}/popular")
        assert answer.status_code == 200
        assert [(tag["id"], tag["usage_count"]) for tag in answer.json()] == [(str(many.id), 2), (str(few.id), 1)]
        assert len((await client.get(f"{TAGS}/popular?limit=1")).json()) == 1

    async def test_impossible_limit_is_422(self, client: httpx2.AsyncClient) -> None:
        for limit in ("0", "101", "x"):
            assert (await client.get(f"{TAGS}/popular?limit={limit}")).status_code == 422


class TestRenameTag:
    async def test_editor_renames(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        tag = await create_tag(name="JS", slug="js")
        answer = await client.patch(f"{TAGS}/{tag.id}", json={"name": "JavaScript"}, headers=await as_role(Role.EDITOR))
        assert (answer.status_code, answer.json()["slug"]) == (200, "javascript")

    async def test_others_may_not(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        tag = await create_tag(name="JS", slug="js")
        assert (await client.patch(f"{TAGS}/{tag.id}", json={"name": "X"})).status_code == 401
        assert (await client.patch(f"{TAGS}/{tag.id}", json={"name": "X"}, headers=await as_role(Role.AUTHOR))).status_code == 403
        absent = await client.patch(f"{TAGS}/{PydanticObjectId()}", json={"name": "X"}, headers=await as_role(Role.EDITOR))
        assert absent.json()["code"] == "tag_not_found"
