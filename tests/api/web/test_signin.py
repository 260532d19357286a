"""Signing in by cookie: what gets a session, what never does, and that the API knows nothing of it."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from api.app import create_app
from api.web.signin import safe_next
from models.database import Database
from models.users import LoginSession, Role
from services.settings import Settings
from tests.api.web.signing import LOGIN, LOGOUT, SESSION, enter, form_token_in, open_form, send_form
from tests.factories.users import PASSWORD, create_login_user, create_session, create_user


@pytest.fixture
async def secure_client(settings: Settings, database: Database) -> AsyncIterator[httpx2.AsyncClient]:
    """Of an Agora that is served over https."""
    application = create_app(settings.model_copy(update={"base_url": "https://agora.test"}), database=database)
    async with application.router.lifespan_context(application):
        transport = httpx2.ASGITransport(app=application, client=("203.0.113.7", 50_000))
        async with httpx2.AsyncClient(transport=transport, base_url="https://agora.test") as connected:
            yield connected


async def sessions() -> int:
    return len(await LoginSession.find_rows({}, {"_id": 1}))


class TestLogin:
    async def test_manager_comes_in_with_a_cookie_that_no_script_reads(
        self, client: httpx2.AsyncClient, settings: Settings
    ) -> None:
        user = await create_login_user(settings=settings, role=Role.MANAGER)

        answer = await send_form(client, user.username)

        assert (answer.status_code, answer.headers["Location"]) == (303, "/dashboard")
        cookie = next(value for value in answer.headers.get_list("set-cookie") if value.startswith(f"{SESSION}="))
        assert {part.strip() for part in cookie.split(";")[1:]} == {"HttpOnly", "Max-Age=86400", "Path=/", "SameSite=lax"}
        assert await sessions() == 1

    async def test_over_https_the_cookie_is_for_this_host_alone(
        self, secure_client: httpx2.AsyncClient, settings: Settings
    ) -> None:
        user = await create_login_user(settings=settings, role=Role.MANAGER)

        answer = await send_form(secure_client, user.username)

        set_cookies = answer.headers.get_list("set-cookie")
        assert len(set_cookies) == 3
        for cookie in set_cookies:
            assert cookie.startswith("__Host-")
            assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= {part.strip() for part in cookie.split(";")}
            assert "domain" not in cookie.lower()
        assert (await secure_client.get("/dashboard")).status_code == 200

    async def test_reader_is_told_why_not_and_keeps_no_session(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        user = await create_login_user(settings=settings, role=Role.USER)

        answer = await send_form(client, user.username)

        assert answer.status_code == 403
        assert "may not see reports" in answer.text
        assert SESSION not in client.cookies
        assert await sessions() == 0

    async def test_wrong_password_unknown_name_and_the_api_say_the_same(
        self, client: httpx2.AsyncClient, settings: Settings
    ) -> None:
        user = await create_login_user(settings=settings, role=Role.MANAGER)
        body = {"login": user.username, "password": "not her password"}

        wrong = await send_form(client, user.username, "not her password", next="/dashboard/stock")
        unknown = await send_form(client, "nobody", "not her password")
        told = (await client.post("/api/v1/auth/login", json=body)).json()["detail"]

        assert wrong.status_code == unknown.status_code == 401
        assert told in wrong.text
        assert told in unknown.text
        assert "not her password" not in wrong.text
        assert f'name="login" value="{user.username}"' in wrong.text
        assert 'name="next" value="/dashboard/stock"' in wrong.text
        assert await sessions() == 0

    async def test_failures_lock_the_page_and_the_api_alike(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        user = await create_login_user(settings=settings, role=Role.MANAGER)
        for _ in range(settings.lock_after_failures):
            await send_form(client, user.username, "not her password")

        page = await send_form(client, user.username)
        api = await client.post("/api/v1/auth/login", json={"login": user.username, "password": PASSWORD})

        assert page.status_code == api.status_code == 401
        assert await sessions() == 0

    async def test_signing_in_anew_ends_the_session_before(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        """A token that somebody planted or copied is worth nothing afterwards."""
        user = await enter(client, settings)
        before = client.cookies[SESSION]
        token = form_token_in((await client.get("/dashboard")).text)

        data = {"form_token": token, "login": user.username, "password": PASSWORD}
        answer = await client.post(LOGIN, data=data)

        assert answer.status_code == 303
        assert client.cookies[SESSION] != before
        assert await sessions() == 1
        old = await client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {before}"})
        assert old.status_code == 401

    async def test_who_is_signed_in_goes_on(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        await enter(client, settings)

        answer = await client.get(LOGIN, params={"next": "/dashboard?range=7d"})

        assert (answer.status_code, answer.headers["Location"]) == (303, "/dashboard?range=7d")

    async def test_leads_back_to_the_page_that_was_asked_for(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        user = await create_login_user(settings=settings, role=Role.MANAGER)
        asked = await client.get("/dashboard?range=7d&zone=Europe/Berlin")
        form = await client.get(asked.headers["Location"])
        target = "/dashboard?range=7d&amp;zone=Europe/Berlin"

        answer = await send_form(client, user.username, next="/dashboard?range=7d&zone=Europe/Berlin")

        assert f'value="{target}"' in form.text
        assert answer.headers["Location"] == "/dashboard?range=7d&zone=Europe/Berlin"

    async def test_each_lands_on_the_first_page_that_is_for_them(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        for role, asked, landing in [
            (Role.MANAGER, "", "/dashboard"),
            (Role.MANAGER, "/admin/orders?page=2", "/admin/orders?page=2"),
            (Role.MANAGER, "/admin/jobs", "/dashboard"),
            (Role.EDITOR, "", "/admin"),
            (Role.EDITOR, "/dashboard/sales", "/admin"),
            (Role.EDITOR, "/admin/reviews", "/admin/reviews"),
            (Role.EDITOR, "/admin/orders", "/admin"),
            (Role.VENDOR, "", "/admin"),
        ]:
            client.cookies.clear()
            user = await create_login_user(settings=settings, role=role)
            answer = await send_form(client, user.username, next=asked)
            assert (answer.status_code, answer.headers["Location"]) == (303, landing), (role, asked)
            assert (await client.get(landing)).status_code == 200

    async def test_an_editor_at_the_dashboard_is_shown_the_way_to_the_admin(
        self, client: httpx2.AsyncClient, settings: Settings
    ) -> None:
        await enter(client, settings, Role.EDITOR)

        refused = await client.get("/dashboard")

        assert refused.status_code == 403
        assert '<a href="/admin">Open the admin</a>' in refused.text
        assert (await client.get(LOGIN)).headers["Location"] == "/admin"

    @pytest.mark.parametrize("target", ["https://evil.test/", "//evil.test", "/dashboard/login", "/api/v1/users/me"])
    async def test_leads_nowhere_else(self, client: httpx2.AsyncClient, settings: Settings, target: str) -> None:
        user = await create_login_user(settings=settings, role=Role.MANAGER)

        answer = await send_form(client, user.username, next=target)

        assert answer.headers["Location"] == "/dashboard"


class TestStrangeForms:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.test"},
            {"Origin": "null"},
            {"Origin": "http://agora.test:8001"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Content-Type": "text/plain"},
        ],
    )
    async def test_from_elsewhere_sign_nobody_in(
        self, client: httpx2.AsyncClient, settings: Settings, headers: dict[str, str]
    ) -> None:
        user = await create_login_user(settings=settings, role=Role.MANAGER)
        fields = {"form_token": await open_form(client), "login": user.username, "password": PASSWORD}

        answer = await client.post(LOGIN, data=fields, headers=headers)

        assert answer.status_code == 403
        assert await sessions() == 0

    async def test_from_our_own_origin_it_does(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        user = await create_login_user(settings=settings, role=Role.MANAGER)
        fields = {"form_token": await open_form(client), "login": user.username, "password": PASSWORD}
        headers = {"Origin": "http://agora.test", "Sec-Fetch-Site": "same-origin"}

        assert (await client.post(LOGIN, data=fields, headers=headers)).status_code == 303

    @pytest.mark.parametrize("token", ["", "x", "ümlaut"])
    async def test_without_its_token_sign_nobody_in(self, client: httpx2.AsyncClient, settings: Settings, token: str) -> None:
        user = await create_login_user(settings=settings, role=Role.MANAGER)

        answer = await send_form(client, user.username, form_token=token)

        assert answer.status_code == 403
        assert await sessions() == 0

    async def test_with_the_token_of_somebody_elses_visit(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        """Otherwise a stranger's page could sign people in to an account of its own, and read what they do there."""
        user = await create_login_user(settings=settings, role=Role.MANAGER)
        strange = await open_form(client)
        client.cookies.clear()

        answer = await send_form(client, user.username, form_token=strange)

        assert answer.status_code == 403
        assert await sessions() == 0

    async def test_too_large_or_with_too_many_fields(self, client: httpx2.AsyncClient) -> None:
        token = await open_form(client)

        long = await client.post(LOGIN, data={"form_token": token, "login": "x" * 20_000, "password": "x"})
        many = await client.post(LOGIN, data={"form_token": token, **{f"field{number}": "x" for number in range(60)}})

        assert long.status_code == many.status_code == 400


class TestLogout:
    async def test_ends_the_session_everywhere(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        await enter(client, settings)
        token = client.cookies[SESSION]

        page = await client.get("/dashboard")
        answer = await client.post(LOGOUT, data={"form_token": form_token_in(page.text)})

        assert (answer.status_code, answer.headers["Location"]) == (303, LOGIN)
        assert SESSION not in client.cookies
        assert await sessions() == 0
        client.cookies.set(SESSION, token)
        assert (await client.get("/dashboard")).status_code == 303

    async def test_nobody_else_can_sign_one_out(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        await enter(client, settings)

        answer = await client.post(LOGOUT, data={"form_token": "x"})

        assert answer.status_code == 403
        assert await sessions() == 1
        assert (await client.get("/dashboard")).status_code == 200

    async def test_token_of_another_session_does_not(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        await enter(client, settings)
        other = form_token_in((await client.get("/dashboard")).text)
        client.cookies.clear()
        await enter(client, settings)

        answer = await client.post(LOGOUT, data={"form_token": other})

        assert answer.status_code == 403
        assert await sessions() == 2

    async def test_without_a_session_leads_to_the_form(self, client: httpx2.AsyncClient) -> None:
        answer = await client.post(LOGOUT)

        assert (answer.status_code, answer.headers["Location"]) == (303, LOGIN)

    async def test_no_link_signs_out(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        await enter(client, settings)

        assert (await client.get(LOGOUT)).status_code == 405
        assert await sessions() == 1


class TestCookieAndToken:
    async def test_api_does_not_know_the_cookie(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        await enter(client, settings)

        assert (await client.get("/api/v1/users/me")).status_code == 401
        assert (await client.post("/api/v1/auth/logout")).status_code == 401
        assert (await client.get("/api/v1/users")).status_code == 401
        assert await sessions() == 1

    async def test_pages_do_not_know_the_bearer_token(self, client: httpx2.AsyncClient) -> None:
        token = await create_session(await create_user(role=Role.ADMIN))

        answer = await client.get("/dashboard", headers={"Authorization": f"Bearer {token}"})

        assert answer.status_code == 303


class TestSafeNext:
    @pytest.mark.parametrize(
        "target",
        [
            "/dashboard",
            "/dashboard/",
            "/dashboard/sales",
            "/dashboard?range=7d&zone=Europe/Berlin",
            "/admin",
            "/admin/orders?page=2",
            "/dashboard/files/table-products.csv?range=7d",
        ],
    )
    def test_pages_of_ours_stay(self, target: str) -> None:
        assert safe_next(target) == target

    @pytest.mark.parametrize(
        "target",
        [
            None,
            "",
            "dashboard",
            "/",
            "//evil.test/dashboard",
            "/\\evil.test",
            "/dashboard//evil.test",
            "/dashboard\\evil",
            "/dashboard/../api",
            "/dashboard/./api",
            "/dashboard/.hidden",
            "/dashboard/..",
            "/dashboardx",
            "/dashboard@evil.test",
            "/dashboard?next=<script>",
            "/dashboard\r\nSet-Cookie: a=b",
            "/dashboard\n",
            "\t/dashboard",
            "javascript:alert(1)",
            "https://agora.test/dashboard",
            "/dashboard/logout",
            "/admin/login",
            "/dashboard?" + "x" * 600,
        ],
    )
    def test_everything_else_is_the_dashboard(self, target: str | None) -> None:
        assert safe_next(target) == "/dashboard"
