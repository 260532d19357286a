import httpx2
from beanie import PydanticObjectId

from models.users import Role
from tests.api.conftest import SignIn
from tests.factories.blog import create_post
from tests.factories.users import create_session, create_user

POSTS = "/api/v1/blog/posts"


class TestRevisions:
    async def test_history_is_read_compared_and_restored(self, client: httpx2.AsyncClient) -> None:
        user = await create_user(role=Role.AUTHOR)
        headers = {"Authorization": f"Bearer {await create_session(user)}"}
        post = await create_post(author=user, content="one")
        path = f"{POSTS}/{post.id}"
        await client.patch(path, json={"content": "two"}, headers={**headers, "If-Match": '"1"'})

        listed = (await client.get(f"{path}/revisions", headers=headers)).json()
        assert [(one["number"], one["editor_id"]) for one in listed["items"]] == [(2, str(user.id)), (1, str(user.id))]
        assert (await client.get(f"{path}/revisions/1", headers=headers)).json()["content"] == "one"
        diff = (await client.get(f"{path}/revisions/diff", params={"from": 1, "to": 2}, headers=headers)).json()
        assert diff["diff"] == "--- revision 1\n+++ revision 2\n@@ -1 +1 @@\n-one\n+two\n"

        stale = await client.post(f"{path}/revisions/1/restore", headers={**headers, "If-Match": '"1"'})
        assert stale.status_code == 412
        restored = await client.post(f"{path}/revisions/1/restore", headers=headers)
        assert (restored.status_code, restored.json()["content"], restored.json()["revision"]) == (200, "one", 3)

    async def test_unknown_numbers_are_404_and_impossible_ones_422(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.EDITOR)
        post = await create_post()
        path = f"{POSTS}/{post.id}/revisions"
        assert (await client.get(f"{path}/9", headers=headers)).json()["code"] == "revision_not_found"
        assert (await client.get(f"{path}/0", headers=headers)).status_code == 422
        assert (await client.get(f"{path}/{2**31}", headers=headers)).status_code == 422
        assert (await client.get(f"{path}/diff", params={"from": 1}, headers=headers)).status_code == 422

    async def test_others_learn_nothing(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        post = await create_post()
        for path in ("revisions", "revisions/1", "revisions/diff?from=1&to=1"):
            assert (await client.get(f"{POSTS}/{post.id}/{path}")).status_code == 401
            assert (await client.get(f"{POSTS}/{post.id}/{path}", headers=await as_role(Role.USER))).status_code == 403
            assert (await client.get(f"{POSTS}/{post.id}/{path}", headers=await as_role(Role.AUTHOR))).status_code == 404
            absent = f"{POSTS}/{PydanticObjectId()}/{path}"
            assert (await client.get(absent, headers=await as_role(Role.AUTHOR))).status_code == 404
