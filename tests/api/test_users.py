from datetime import timedelta
from typing import Any

import httpx2
import pytest

from models.audit import AuditEntry
from models.base import now as present
from models.users import LoginSession, Role, User
from services.cache import clear_all_caches
from services.settings import Settings
from tests.api.conftest import SignIn
from tests.commands import CommandLog
from tests.factories.users import PASSWORD, create_login_user, create_session, create_user, open_session

BASE = "/api/v1/users"
UNKNOWN = "65f0c0ffee0ddba11ca7f00d"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def stored(user: User) -> User:
    row = await User.find_row({"_id": user.id})
    assert row is not None
    return User.from_row(row)


class TestMe:
    async def test_one_sees_ones_own_account_for_two_reads(self, client: httpx2.AsyncClient, commands: CommandLog) -> None:
        """The query budget: being signed in costs one command."""
        user = await create_user(username="jane", email="jane@example.com")
        token = await create_session(user)
        with commands.counting() as sent:
            answer = await client.get(f"{BASE}/me", headers=bearer(token))
        assert sent.sent == ["find login_sessions", "find users"]
        assert (answer.status_code, answer.json()["email"], answer.json()["id"]) == (200, "jane@example.com", str(user.id))
        assert not {"password_hash", "email_normalized", "guard"} & answer.json().keys()

    async def test_without_a_token_or_with_a_wrong_one_it_is_401(self, client: httpx2.AsyncClient) -> None:
        """S3: forged tokens."""
        await create_session(await create_user())
        for headers in (
            {},
            bearer("x"),
            bearer("A" * 43),
            {"Authorization": "Basic eDp5"},
        ):
            answer = await client.get(f"{BASE}/me", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
            assert answer.headers["www-authenticate"] == "Bearer"

    async def test_a_patch_is_guarded_by_if_match(self, client: httpx2.AsyncClient) -> None:
        user = await create_user()
        headers = bearer(await create_session(user))
        tag = (await client.get(f"{BASE}/me", headers=headers)).headers["etag"]
        unchanged = await client.get(f"{BASE}/me", headers={**headers, "If-None-Match": tag})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        first = await client.patch(f"{BASE}/me", json={"bio": "first"}, headers={**headers, "If-Match": tag})
        second = await client.patch(f"{BASE}/me", json={"bio": "second"}, headers={**headers, "If-Match": tag})
        free = await client.patch(f"{BASE}/me", json={"website": None}, headers=headers)
        assert (first.status_code, second.status_code, free.status_code) == (200, 412, 200)
        assert ((await stored(user)).bio, (await stored(user)).revision) == ("first", 3)

    @pytest.mark.parametrize(
        "body",
        [
            {"role": "admin"},
            {"is_verified": False},
            {"password_hash": "x"},
            {"_id": UNKNOWN},
            {"email": "x@example.com"},
            {"username": "other"},
            {"followers_count": 9},
            {"revision": 9},
            {"locked_until": None},
            {"created_at": "2020-01-01T00:00:00Z"},
            {"bio": {"$gt": ""}},
            {"first_name": ""},
            {"first_name": None},
            {"avatar_url": "javascript:alert(1)"},
            {"social_links": {"myspace": "https://example.com"}},
            [],
        ],
    )
    async def test_x15_nothing_else_can_be_set(self, client: httpx2.AsyncClient, body: Any) -> None:
        """S3: mass assignment and operators are malformed input and change nothing."""
        user = await create_user()
        answer = await client.patch(f"{BASE}/me", json=body, headers=bearer(await create_session(user)))
        assert answer.status_code == 422
        assert await stored(user) == user

    async def test_an_account_ends_with_its_password(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        user = await create_login_user(settings=settings)
        headers = bearer(await create_session(user))
        wrong = await client.request("DELETE", f"{BASE}/me", json={"password": "wrong one"}, headers=headers)
        assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong_password")
        right = await client.request("DELETE", f"{BASE}/me", json={"password": PASSWORD}, headers=headers)
        assert right.status_code == 204
        assert (await client.get(f"{BASE}/me", headers=headers)).status_code == 401
        assert not (await stored(user)).is_active


class TestSessions:
    async def test_usr_s8_the_list_leaves_expired_and_foreign_ones_out(self, client: httpx2.AsyncClient) -> None:
        user = await create_user()
        await create_session(user, now=present() - timedelta(hours=25))
        await create_session(await create_user())
        old, here = await create_session(user), await open_session(user)
        answer = await client.get(f"{BASE}/me/sessions", headers=bearer(here.token))
        assert [item["is_current"] for item in answer.json()] == [True, False]
        assert old not in answer.text
        assert "token" not in answer.text

    async def test_one_is_revoked_and_refused_at_once(self, client: httpx2.AsyncClient) -> None:
        user = await create_user()
        here, there = await open_session(user), await open_session(user)
        assert (await client.get(f"{BASE}/me", headers=bearer(there.token))).status_code == 200
        path = f"{BASE}/me/sessions/{there.session.id}"
        assert (await client.delete(path, headers=bearer(here.token))).status_code == 204
        assert (await client.get(f"{BASE}/me", headers=bearer(there.token))).status_code == 401
        assert (await client.delete(path, headers=bearer(here.token))).json()["code"] == "session_not_found"

    async def test_foreign_and_absent_ones_are_the_same_404(self, client: httpx2.AsyncClient) -> None:
        """USR-S8, S3: IDOR."""
        foreign = (await open_session(await create_user())).session
        headers = bearer(await create_session(await create_user()))
        bodies = []
        for session_id in (str(foreign.id), UNKNOWN):
            answer = await client.delete(f"{BASE}/me/sessions/{session_id}", headers=headers)
            assert answer.status_code == 404
            bodies.append({k: v for k, v in answer.json().items() if k not in ("instance", "request_id")})
        assert bodies[0] == bodies[1]
        assert await LoginSession.count_rows({"_id": foreign.id}) == 1
        assert (await client.delete(f"{BASE}/me/sessions/nonsense", headers=headers)).status_code == 422

    async def test_all_others_are_revoked(self, client: httpx2.AsyncClient) -> None:
        user = await create_user()
        tokens = [await create_session(user) for _ in range(3)]
        answer = await client.delete(f"{BASE}/me/sessions", headers=bearer(tokens[0]))
        assert answer.json() == {"revoked_count": 2}
        codes = [(await client.get(f"{BASE}/me", headers=bearer(token))).status_code for token in tokens]
        assert codes == [200, 401, 401]

    async def test_the_login_history_is_ones_own(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        await create_login_user(settings=settings, username="jane")
        for password in ("wrong one", PASSWORD):
            answer = await client.post("/api/v1/auth/login", json={"login": "jane", "password": password})
        logins = await client.get(f"{BASE}/me/logins", headers=bearer(answer.json()["token"]))
        assert [item["succeeded"] for item in logins.json()["items"]] == [True, False]
        other = await client.get(f"{BASE}/me/logins", headers=bearer(await create_session(await create_user())))
        assert other.json() == {"items": [], "next_cursor": None}


class TestProfile:
    async def test_everyone_sees_the_public_part(self, client: httpx2.AsyncClient) -> None:
        await create_user(username="jane", email="jane@example.com", bio="hello")
        answer = await client.get("/api/v1/profiles/Jane")
        assert (answer.status_code, answer.json()["bio"], answer.json()["full_name"]) == (200, "hello", "Jane Doe")
        assert "jane@example.com" not in answer.text
        assert (await client.get("/api/v1/profiles/nobody")).json()["code"] == "user_not_found"


class TestAdministration:
    async def test_roles_decide_who_gets_in(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        """USR-M3: every route asks for its permission; denied ones change nothing."""
        target = await create_user()
        requests: list[tuple[str, str, Any, set[Role]]] = [
            ("GET", "", None, {Role.SUPER_ADMIN, Role.ADMIN, Role.MANAGER}),
            ("GET", f"/{target.id}", None, {Role.SUPER_ADMIN, Role.ADMIN, Role.MANAGER}),
            ("PATCH", f"/{target.id}", {"bio": "x"}, {Role.SUPER_ADMIN, Role.ADMIN}),
            ("PUT", f"/{target.id}/role", {"role": "author"}, {Role.SUPER_ADMIN, Role.ADMIN}),
            ("PUT", f"/{target.id}/lock", {}, {Role.SUPER_ADMIN, Role.ADMIN}),
            ("DELETE", f"/{target.id}/lock", None, {Role.SUPER_ADMIN, Role.ADMIN}),
        ]
        for method, path, body, allowed in requests:
            assert (await client.request(method, BASE + path, json=body)).status_code == 401
            for role in Role:
                before = await stored(target)
                answer = await client.request(method, BASE + path, json=body, headers=await as_role(role))
                assert answer.status_code == (200 if role in allowed else 403), (method, path, role)
                if role not in allowed:
                    assert await stored(target) == before

    async def test_making_an_account_needs_the_permission_and_the_rank(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        body = {
            "username": "newbie",
            "email": "newbie@example.com",
            "first_name": "New",
            "last_name": "Bie",
            "password": PASSWORD,
            "role": "super_admin",
        }
        admin = await as_role(Role.ADMIN)
        assert (await client.post(BASE, json=body)).status_code == 401
        assert (await client.post(BASE, json=body, headers=await as_role(Role.MANAGER))).status_code == 403
        assert (await client.post(BASE, json=body, headers=admin)).json()["code"] == "rank_too_low"
        assert await User.count_rows({"username": "newbie"}) == 0
        keyed = {**admin, "Idempotency-Key": "key-1"}
        made = [await client.post(BASE, json={**body, "role": "admin"}, headers=keyed) for _ in range(2)]
        assert [answer.status_code for answer in made] == [201, 201]
        assert made[0].content == made[1].content
        assert PASSWORD not in made[0].text
        taken = await client.post(BASE, json={**body, "role": "user"}, headers=admin)
        assert (taken.status_code, taken.json()["code"]) == (409, "username_taken")

    async def test_ending_an_account(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        target, root = await create_user(), await create_user(role=Role.SUPER_ADMIN)
        admin = await as_role(Role.ADMIN, username="theadmin")
        for role in (Role.USER, Role.EDITOR, Role.MANAGER):
            assert (await client.delete(f"{BASE}/{target.id}", headers=await as_role(role))).status_code == 403
        assert (await client.delete(f"{BASE}/{root.id}", headers=admin)).json()["code"] == "rank_too_low"
        assert (await client.delete(f"{BASE}/{UNKNOWN}", headers=admin)).json()["code"] == "user_not_found"
        assert (await client.delete(f"{BASE}/{target.id}", headers=admin)).status_code == 204
        assert (await client.delete(f"{BASE}/{target.id}", headers=admin)).status_code == 404
        own = (await client.get(BASE, params={"search": "theadmin"}, headers=admin)).json()["items"][0]["id"]
        assert (await client.delete(f"{BASE}/{own}", headers=admin)).json()["code"] == "own_account"

    async def test_listing_filters_pages_and_refuses_what_it_does_not_know(
        self, client: httpx2.AsyncClient, as_role: SignIn
    ) -> None:
        for _ in range(3):
            await create_user(role=Role.AUTHOR)
        headers = await as_role(Role.MANAGER)
        answer = await client.get(BASE, params={"role": "author", "limit": 2, "sort": "created_at"}, headers=headers)
        assert (len(answer.json()["items"]), answer.json()["total_count"], answer.json()["total_pages"]) == (2, 3, 2)
        for params in ({"sort": "password_hash"}, {"role": "$ne"}, {"limit": 101}, {"page": 0}, {"is_active": "perhaps"}):
            assert (await client.get(BASE, params=params, headers=headers)).status_code == 422

    async def test_a_demotion_is_felt_on_the_next_request(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        editor = await create_user(role=Role.EDITOR)
        token = await create_session(editor)
        assert (await client.get(f"{BASE}/me", headers=bearer(token))).status_code == 200
        admin = await as_role(Role.ADMIN)
        await client.put(f"{BASE}/{editor.id}/role", json={"role": "user"}, headers=admin)
        assert (await client.get(f"{BASE}/me", headers=bearer(token))).status_code == 401

    async def test_a_revoked_session_is_dead_for_another_process_within_the_cache_second(
        self, client: httpx2.AsyncClient
    ) -> None:
        """S8: the other process's cache is as good as empty after a second."""
        opened = await open_session(await create_user())
        assert (await client.get(f"{BASE}/me", headers=bearer(opened.token))).status_code == 200
        await LoginSession.collection().delete_one({"_id": opened.session.id})
        clear_all_caches()
        assert (await client.get(f"{BASE}/me", headers=bearer(opened.token))).status_code == 401


class TestAudit:
    async def test_admins_read_what_was_done(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        target, admin = await create_user(), await as_role(Role.ADMIN)
        await client.put(f"{BASE}/{target.id}/lock", json={"minutes": 5}, headers=admin)
        await client.delete(f"{BASE}/{target.id}/lock", headers=admin)
        params: dict[str, Any] = {"subject": f"user:{target.id}", "limit": 1}
        first = (await client.get("/api/v1/audit", params=params, headers=admin)).json()
        params["cursor"] = first["next_cursor"]
        second = (await client.get("/api/v1/audit", params=params, headers=admin)).json()
        assert [first["items"][0]["action"], second["items"][0]["action"]] == ["user.unlocked", "user.locked"]
        assert second["next_cursor"] is None
        everything = (await client.get("/api/v1/audit", headers=admin)).json()
        assert len(everything["items"]) == await AuditEntry.count_rows({}) == 2
        foreign = {"cursor": first["next_cursor"]}
        assert (await client.get("/api/v1/audit", params=foreign, headers=admin)).json()["code"] == "invalid_cursor"
        acts = {"actor_id": first["items"][0]["actor_id"]}
        assert len((await client.get("/api/v1/audit", params=acts, headers=admin)).json()["items"]) == 2

    async def test_others_do_not(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        assert (await client.get("/api/v1/audit")).status_code == 401
        for role in (Role.USER, Role.VENDOR, Role.AUTHOR, Role.EDITOR, Role.MANAGER):
            assert (await client.get("/api/v1/audit", headers=await as_role(role))).status_code == 403
