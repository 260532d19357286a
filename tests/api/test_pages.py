"""The pages: what they link to, and the confirmation of an address by its button."""

import re

import httpx2
import pytest

from models.users import User
from services.events import EventService
from services.mail import MemoryMailer
from services.settings import Settings
from services.users.credentials import PasswordResetService
from services.users.inputs import NewAccount
from services.users.mails import account_mail_consumer
from services.users.registrations import RegistrationService
from services.users.sessions import ClientInfo
from tests.factories.users import PASSWORD, create_login_user, create_session, create_user


@pytest.fixture
async def link(client: httpx2.AsyncClient, settings: Settings, mailer: MemoryMailer) -> str:
    """The path of a mailed confirmation link."""
    account = NewAccount(
        username="newcomer", email="new@example.com", first_name="New", last_name="Comer", password="a-password-of-hers"
    )
    await RegistrationService.register(account, client=ClientInfo("203.0.113.7"), settings=settings)
    await EventService.pump([account_mail_consumer(settings, mailer)])
    return mailed_link(mailer, settings, "verify")


@pytest.fixture
async def reset_link(client: httpx2.AsyncClient, settings: Settings, mailer: MemoryMailer) -> str:
    await create_user(email="forgetful@example.com")
    await PasswordResetService.request("forgetful@example.com", client=ClientInfo("203.0.113.7"), settings=settings)
    await EventService.pump([account_mail_consumer(settings, mailer)])
    return mailed_link(mailer, settings, "reset")


def mailed_link(mailer: MemoryMailer, settings: Settings, page: str) -> str:
    found = [re.search(rf"{settings.base_url}(/account/{page}\?token=\S+)", message.text) for message in mailer.sent]
    return next(match.group(1) for match in found if match)


class TestFrontPage:
    async def test_every_link_leads_somewhere(self, client: httpx2.AsyncClient) -> None:
        page = await client.get("/")
        links = re.findall(r'href="(/[^"]*)"', page.text)

        assert page.headers["Content-Type"].startswith("text/html")
        assert len(links) >= 6
        for target in links:
            assert (await client.get(target, follow_redirects=True)).status_code == 200, target

    async def test_pages_run_no_script(self, client: httpx2.AsyncClient) -> None:
        for path in ("/", "/dashboard/login", "/account/verify"):
            policy = (await client.get(path)).headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none';")
            assert "script-src" not in policy


class TestMailedLinks:
    async def test_opening_the_link_changes_nothing(self, client: httpx2.AsyncClient, link: str) -> None:
        page = await client.get(link)

        assert page.status_code == 200
        assert await User.find_row({"username": "newcomer"}) is None

    async def test_button_opens_the_account_once(self, client: httpx2.AsyncClient, link: str) -> None:
        token = link.partition("token=")[2]

        first = await client.post("/account/verify", data={"token": token})
        second = await client.post("/account/verify", data={"token": token})

        assert first.status_code == 200
        assert "Welcome, New." in first.text
        assert second.status_code == 400
        user = await User.find_row({"username": "newcomer"})
        assert user is not None
        assert user["is_verified"] is True

    async def test_token_is_shown_escaped(self, client: httpx2.AsyncClient) -> None:
        page = await client.get('/account/verify?token="><script>alert(1)</script>')

        assert "<script>" not in page.text

    async def test_weak_password_may_be_tried_again(self, client: httpx2.AsyncClient, reset_link: str) -> None:
        token = reset_link.partition("token=")[2]

        weak = await client.post("/account/reset", data={"token": token, "password": "password"})
        good = await client.post("/account/reset", data={"token": token, "password": "a-new-password-of-hers"})

        assert weak.status_code == 400
        assert token in weak.text
        assert "Your new password is set" in good.text

    async def test_changed_address_is_confirmed_by_its_button(
        self, client: httpx2.AsyncClient, settings: Settings, mailer: MemoryMailer
    ) -> None:
        user = await create_login_user(settings=settings, username="mover")
        headers = {"Authorization": f"Bearer {await create_session(user)}"}
        wish = {"new_email": "moved@example.com", "password": PASSWORD}
        answer = await client.post("/api/v1/auth/email/change", json=wish, headers=headers)
        assert answer.status_code == 202
        await EventService.pump([account_mail_consumer(settings, mailer)])
        link = mailed_link(mailer, settings, "email")

        page = await client.post("/account/email", data={"token": link.partition("token=")[2]})

        assert page.status_code == 200
        row = await User.find_row({"username": "mover"})
        assert row is not None
        assert row["email"] == "moved@example.com"
