from datetime import timedelta
from typing import Any

import httpx2
import pytest

from models.base import now as present
from models.users import LoginSession, Registration, User
from services.mail import MemoryMailer
from services.settings import Settings
from tests.api.conftest import SignIn
from tests.commands import CommandLog
from tests.factories.users import PASSWORD, create_login_user, create_session, deliver_mail, token_in

BASE = "/api/v1/auth"

ACCOUNT: dict[str, Any] = {
    "username": "JaneDoe",
    "email": "Jane@Example.com",
    "first_name": "Jane",
    "last_name": "Doe",
    "password": PASSWORD,
}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def sign_in(client: httpx2.AsyncClient, login: str, password: str = PASSWORD) -> dict[str, Any]:
    answer = await client.post(f"{BASE}/login", json={"login": login, "password": password})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


class TestRegister:
    async def test_from_registration_to_a_first_login(
        self, client: httpx2.AsyncClient, settings: Settings, mailer: MemoryMailer
    ) -> None:
        answer = await client.post(f"{BASE}/register", json=ACCOUNT)
        assert answer.status_code == 202
        (mail,) = await deliver_mail(settings, mailer)
        assert mail.to == "Jane@example.com"
        verified = await client.post(f"{BASE}/verify", json={"token": token_in(mail)})
        assert verified.status_code == 201
        assert verified.json()["username"] == "janedoe"
        assert (verified.json()["role"], verified.json()["is_verified"]) == ("user", True)
        entered = await sign_in(client, "jane@EXAMPLE.com")
        me = await client.get("/api/v1/users/me", headers=bearer(entered["token"]))
        assert me.json()["email"] == "Jane@example.com"

    async def test_nothing_tells_whether_the_address_has_an_account(
        self, client: httpx2.AsyncClient, settings: Settings, commands: CommandLog
    ) -> None:
        """RELIABILITY S6: same status, same body, same commands."""
        await create_login_user(settings=settings, username="jane", email="jane@example.com")
        answers, sent = [], []
        for username, email in (("one", "jane@example.com"), ("two", "nobody@example.com")):
            with commands.counting() as counted:
                answers.append(await client.post(f"{BASE}/register", json={**ACCOUNT, "username": username, "email": email}))
            sent.append(counted.sent)
        assert [answer.status_code for answer in answers] == [202, 202]
        assert answers[0].content == answers[1].content
        assert sent[0] == sent[1]

    async def test_the_owner_of_a_known_address_is_told_by_mail(
        self, client: httpx2.AsyncClient, settings: Settings, mailer: MemoryMailer
    ) -> None:
        await create_login_user(settings=settings, username="jane", email="jane@example.com")
        await client.post(f"{BASE}/register", json={**ACCOUNT, "username": "other"})
        (mail,) = await deliver_mail(settings, mailer)
        assert "already" in mail.subject
        assert "token=" not in mail.text

    async def test_a_taken_name_is_a_conflict(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        """USR-M6: names are compared lower-cased, so `Bob` and `bob` are one."""
        await create_login_user(settings=settings, username="janedoe")
        answer = await client.post(f"{BASE}/register", json=ACCOUNT)
        assert (answer.status_code, answer.json()["code"]) == (409, "username_taken")
        assert await Registration.count_rows({}) == 0

    async def test_what_is_no_account_is_refused(self, client: httpx2.AsyncClient) -> None:
        """USR-S1: no role, no hash, no missing names, no weak password."""
        wrong: list[tuple[dict[str, Any], int, str]] = [
            ({"role": "super_admin"}, 422, "malformed_input"),
            ({"password_hash": "x"}, 422, "malformed_input"),
            ({"is_verified": True}, 422, "malformed_input"),
            ({"first_name": "  "}, 422, "malformed_input"),
            ({"username": {"$ne": None}}, 422, "malformed_input"),
            ({"username": "jané"}, 422, "invalid_username"),
            ({"email": "jane"}, 422, "malformed_input" if len("jane") < 3 else "invalid_email"),
            ({"password": "12345678"}, 400, "weak_password"),
            ({"password": "a" * 257}, 422, "malformed_input"),
        ]
        for over, status, code in wrong:
            answer = await client.post(f"{BASE}/register", json={**ACCOUNT, **over})
            assert (answer.status_code, answer.json()["code"]) == (status, code), over
        assert await Registration.count_rows({}) == 0

    @pytest.mark.usefixtures("one_window")
    async def test_the_sixth_from_one_address_waits(self, client: httpx2.AsyncClient) -> None:
        for number in range(6):
            email = f"jane{number}@example.com"
            answer = await client.post(f"{BASE}/register", json={**ACCOUNT, "username": f"jane{number}", "email": email})
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 1800


class TestLogin:
    async def test_all_failures_look_alike(self, client: httpx2.AsyncClient, settings: Settings, commands: CommandLog) -> None:
        """USR-S5, RELIABILITY S6: unknown, wrong, locked, suspended, unverified, deactivated: one answer, the same commands."""
        later = present() + timedelta(minutes=5)
        await create_login_user(settings=settings, username="wrong")
        await create_login_user(settings=settings, username="locked", locked_until=later, failed_login_attempts=5)
        await create_login_user(settings=settings, username="suspended", suspended_until=later)
        await create_login_user(settings=settings, username="unverified", is_verified=False)
        await create_login_user(settings=settings, username="inactive", is_active=False)
        seen = set()
        for login in ("unknown", "unknown@example.com", "wrong", "locked", "suspended", "unverified", "inactive", "{$ne: 1}"):
            password = "not the password" if login == "wrong" else PASSWORD
            with commands.counting() as sent:
                answer = await client.post(f"{BASE}/login", json={"login": login, "password": password})
            body = {key: value for key, value in answer.json().items() if key != "request_id"}
            seen.add((answer.status_code, str(body), tuple(sent.sent), "set-cookie" in answer.headers))
        assert len(seen) == 1, seen
        assert next(iter(seen))[0] == 401

    async def test_no_secret_is_in_the_answer(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        """X-14: the source answered with `user.dict()`, hash included."""
        await create_login_user(settings=settings, username="jane")
        answer = await client.post(f"{BASE}/login", json={"login": "jane", "password": PASSWORD})
        assert "argon2" not in answer.text
        assert not {"password_hash", "email_normalized", "failed_login_attempts"} & answer.json()["user"].keys()

    async def test_the_device_is_remembered_in_a_cookie_scripts_cannot_read(
        self, client: httpx2.AsyncClient, settings: Settings
    ) -> None:
        await create_login_user(settings=settings, username="jane")
        answer = await client.post(f"{BASE}/login", json={"login": "jane", "password": PASSWORD})
        cookie = answer.headers["set-cookie"].lower()
        assert cookie.startswith("agora_device=")
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        again = await client.post(f"{BASE}/login", json={"login": "jane", "password": PASSWORD})
        assert again.json()["device_token"] == answer.json()["device_token"]

    async def test_an_idempotency_key_neither_stores_the_token_nor_undoes_a_failure(
        self, client: httpx2.AsyncClient, settings: Settings
    ) -> None:
        user = await create_login_user(settings=settings, username="jane")
        headers = {"Idempotency-Key": "k1"}
        wrong = await client.post(f"{BASE}/login", json={"login": "jane", "password": "wrong one"}, headers=headers)
        assert wrong.status_code == 401
        row = await User.find_row({"_id": user.id})
        assert row is not None
        assert row["failed_login_attempts"] == 1
        right = {"login": "jane", "password": PASSWORD}
        tokens = {(await client.post(f"{BASE}/login", json=right, headers=headers)).json()["token"] for _ in range(2)}
        assert len(tokens) == 2

    @pytest.mark.usefixtures("one_window")
    async def test_too_many_from_one_address_wait_whatever_the_forwarded_header_says(
        self, client: httpx2.AsyncClient, settings: Settings
    ) -> None:
        """RELIABILITY S16: no proxy is trusted here."""
        codes = []
        for number in range(26):
            headers = {"X-Forwarded-For": f"198.51.100.{number}"}
            body = {"login": f"nobody{number}", "password": PASSWORD}
            codes.append((await client.post(f"{BASE}/login", json=body, headers=headers)).status_code)
        assert codes == [401] * 25 + [429]


class TestLogout:
    async def test_the_token_is_refused_at_once(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        """RELIABILITY S8."""
        headers = await as_role()
        assert (await client.get("/api/v1/users/me", headers=headers)).status_code == 200
        assert (await client.post(f"{BASE}/logout", headers=headers)).status_code == 204
        assert (await client.get("/api/v1/users/me", headers=headers)).status_code == 401
        assert (await client.post(f"{BASE}/logout", headers=headers)).status_code == 401


class TestExtendSession:
    async def test_it_lives_24_hours_from_now(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        user = await create_login_user(settings=settings)
        token = await create_session(user, now=present() - timedelta(hours=20))
        before = present()
        answer = await client.post(f"{BASE}/sessions/extend", headers=bearer(token))
        assert answer.status_code == 200
        (row,) = await LoginSession.find_rows({})
        assert row["expires_at"] >= before + timedelta(hours=24)

    async def test_an_expired_one_stays_over(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        """USR-S8: the source resurrected it."""
        user = await create_login_user(settings=settings)
        token = await create_session(user, now=present() - timedelta(hours=25))
        assert (await client.post(f"{BASE}/sessions/extend", headers=bearer(token))).status_code == 401


class TestPasswordReset:
    async def test_known_and_unknown_addresses_get_one_answer_for_one_work(
        self, client: httpx2.AsyncClient, settings: Settings, commands: CommandLog
    ) -> None:
        """RELIABILITY S6."""
        await create_login_user(settings=settings, email="jane@example.com")
        answers, sent = [], []
        for email in ("jane@example.com", "nobody@example.com"):
            with commands.counting() as counted:
                answers.append(await client.post(f"{BASE}/password/forgot", json={"email": email}))
            sent.append(counted.sent)
        assert [answer.status_code for answer in answers] == [202, 202]
        assert answers[0].content == answers[1].content
        assert sent[0] == sent[1]

    async def test_the_mailed_link_opens_the_account_once(
        self, client: httpx2.AsyncClient, settings: Settings, mailer: MemoryMailer
    ) -> None:
        user = await create_login_user(settings=settings, username="jane", email="jane@example.com")
        old = await create_session(user)
        await client.post(f"{BASE}/password/forgot", json={"email": "JANE@example.com"})
        await client.post(f"{BASE}/password/forgot", json={"email": "nobody@example.com"})
        (mail,) = await deliver_mail(settings, mailer)
        body = {"token": token_in(mail), "new_password": "another horse battery"}
        assert (await client.post(f"{BASE}/password/reset", json=body)).status_code == 204
        again = await client.post(f"{BASE}/password/reset", json=body)
        assert (again.status_code, again.json()["code"]) == (400, "invalid_token")
        assert (await client.get("/api/v1/users/me", headers=bearer(old))).status_code == 401
        await sign_in(client, "jane", "another horse battery")


class TestChangePassword:
    async def test_other_sessions_end_and_this_one_stays(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        user = await create_login_user(settings=settings, username="jane")
        here, there = bearer(await create_session(user)), bearer(await create_session(user))
        body = {"current_password": PASSWORD, "new_password": "another horse battery"}
        assert (await client.post(f"{BASE}/password/change", json=body, headers=here)).status_code == 204
        assert (await client.get("/api/v1/users/me", headers=here)).status_code == 200
        assert (await client.get("/api/v1/users/me", headers=there)).status_code == 401
        await sign_in(client, "jane", "another horse battery")

    async def test_it_needs_the_current_password(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        user = await create_login_user(settings=settings)
        headers = bearer(await create_session(user))
        body = {"current_password": "wrong one", "new_password": "another horse battery"}
        answer = await client.post(f"{BASE}/password/change", json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "wrong_password")
        assert (await client.post(f"{BASE}/password/change", json=body)).status_code == 401
        row = await User.find_row({"_id": user.id})
        assert row is not None
        assert row["password_hash"] == user.password_hash


class TestChangeEmail:
    async def test_the_new_address_counts_once_confirmed(
        self, client: httpx2.AsyncClient, settings: Settings, mailer: MemoryMailer
    ) -> None:
        user = await create_login_user(settings=settings, username="jane", email="jane@example.com")
        here, there = bearer(await create_session(user)), bearer(await create_session(user))
        body = {"new_email": "jane@example.org", "password": PASSWORD}
        assert (await client.post(f"{BASE}/email/change", json=body, headers=here)).status_code == 202
        to_new, to_old = await deliver_mail(settings, mailer)
        assert (to_new.to, to_old.to) == ("jane@example.org", "jane@example.com")
        assert "token=" not in to_old.text
        assert (await client.get("/api/v1/users/me", headers=here)).json()["email"] == "jane@example.com"
        confirm = {"token": token_in(to_new)}
        assert (await client.post(f"{BASE}/email/confirm", json=confirm, headers=here)).status_code == 204
        assert (await client.get("/api/v1/users/me", headers=here)).json()["email"] == "jane@example.org"
        assert (await client.get("/api/v1/users/me", headers=there)).status_code == 401
        assert (await client.post(f"{BASE}/email/confirm", json=confirm)).json()["code"] == "invalid_token"
