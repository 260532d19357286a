import httpx2
from beanie import PydanticObjectId

from models.blog.taxonomy import Category
from models.users import Role
from tests.api.conftest import SignIn
from tests.factories.blog import create_category

CATEGORIES = "/api/v1/blog/categories"


class TestCategories:
    async def test_editor_opens_changes_and_closes_one(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.EDITOR)
        created = await client.post(CATEGORIES, json={"name": "Technology", "color": "#3498db"}, headers=headers)
        category = created.json()
        assert (created.status_code, category["slug"], category["posts_count"]) == (201, "technology", 0)
        path = f"{CATEGORIES}/{category['id']}"

        assert (await client.patch(path, json={"name": "Tech"}, headers=headers)).status_code == 428
        changed = await client.patch(path, json={"name": "Tech"}, headers={**headers, "If-Match": '"1"'})
        assert (changed.json()["name"], changed.json()["slug"], changed.json()["revision"]) == ("Tech", "technology", 2)
        assert (await client.patch(path, json={"name": "X"}, headers={**headers, "If-Match": '"1"'})).status_code == 412
        assert [one["name"] for one in (await client.get(CATEGORIES)).json()] == ["Tech"]
        assert (await client.get(f"{CATEGORIES}/technology")).json()["name"] == "Tech"

        assert (await client.delete(path, headers=headers)).status_code == 204
        assert (await client.get(CATEGORIES)).json() == []
        assert (await client.get(f"{CATEGORIES}/technology")).status_code == 404

    async def test_taken_slug_is_409_and_unknown_id_404(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = {**await as_role(Role.EDITOR), "If-Match": "*"}
        await create_category(slug="design")
        taken = await client.post(CATEGORIES, json={"name": "Design"}, headers=headers)
        assert (taken.status_code, taken.json()["code"]) == (409, "category_taken")
        absent = f"{CATEGORIES}/{PydanticObjectId()}"
        assert (await client.patch(absent, json={"name": "X"}, headers=headers)).status_code == 404
        assert (await client.delete(absent, headers=headers)).status_code == 404

    async def test_author_403_and_anonymous_401_change_nothing(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        category = await create_category(name="Kept")
        for headers, status in (({}, 401), (await as_role(Role.USER), 403), (await as_role(Role.AUTHOR), 403)):
            headers = {**headers, "If-Match": "*"}
            path = f"{CATEGORIES}/{category.id}"
            assert (await client.post(CATEGORIES, json={"name": "New"}, headers=headers)).status_code == status
            assert (await client.patch(path, json={"name": "Lost"}, headers=headers)).status_code == status
            assert (await client.delete(path, headers=headers)).status_code == status
        rows = await Category.find_rows({})
        assert [(row["name"], row["is_active"]) for row in rows] == [("Kept", True)]

    async def test_malformed_one_is_422(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.EDITOR)
        for body in ({}, {"name": ""}, {"name": "X", "color": "red"}, {"name": "X", "posts_count": 9}):
            assert (await client.post(CATEGORIES, json=body, headers=headers)).status_code == 422
