"""Every read of people, sessions, logins, mailed tokens and the audit log is served by a declared index, as it is really sent."""

from typing import Any

from models.database import Database
from models.users import Role
from services.audit import AuditService
from services.mail import MemoryMailer
from services.pagination import CursorCodec, PageRequest
from services.settings import Settings
from services.users.accounts import UserService, UserSort
from services.users.administration import UserAdministration
from services.users.credentials import PasswordResetService
from services.users.logins import LoginService
from services.users.permissions import Viewer
from services.users.registrations import RegistrationService
from services.users.sessions import SessionService
from tests.commands import CommandLog
from tests.factories.users import (
    CLIENT,
    PASSWORD,
    create_login_user,
    create_session,
    create_user,
    deliver_mail,
    new_account,
    token_in,
    viewer_of,
)
from tests.shapes import narrowing_index, serving_index

CURSORS = CursorCodec(b"0" * 32)
PAGE = PageRequest(limit=2)


class TestReads:
    async def test_accounts_sessions_and_logins(self, database: Database, commands: CommandLog, settings: Settings) -> None:
        user = await create_login_user(settings=settings)
        viewer = viewer_of(user)
        token = await create_session(user)

        with commands.counting() as sent:
            for login in (user.username, user.email):
                signed_in = await LoginService.authenticate(login, PASSWORD, client=CLIENT, settings=settings)
            await LoginService.authenticate(
                user.username, PASSWORD, device=signed_in.device_token, client=CLIENT, settings=settings
            )
            await SessionService.find_viewer(token)
            await SessionService.list_active(viewer)
            await SessionService.revoke_others(viewer_of(user, signed_in.opened.session))
            logins = await LoginService.list_logins(viewer=viewer, cursors=CURSORS, limit=1)
            await LoginService.list_logins(viewer=viewer, cursors=CURSORS, cursor=logins.next_cursor, limit=1)
            await UserService.get_me(viewer)
            await UserService.get_profile(user.username)

        served = {(read.collection, serving_index(read)) for read in sent.reads}
        assert served >= {
            ("users", "username_unique"),
            ("users", "email_unique"),
            ("users", "_id_"),
            ("login_sessions", "token_unique"),
            ("login_sessions", "user_newest"),
            ("login_records", "user_newest"),
        }
        assert [read for read in sent.reads if narrowing_index(read) is None] == []

    async def test_registrations_and_mailed_tokens(self, database: Database, commands: CommandLog, settings: Settings) -> None:
        mailer = MemoryMailer()
        user = await create_login_user(settings=settings)
        with commands.counting() as sent:
            await RegistrationService.register(new_account(), client=CLIENT, settings=settings)
            [welcome] = await deliver_mail(settings, mailer)
            await RegistrationService.verify(token_in(welcome))
            await PasswordResetService.request(user.email, client=CLIENT, settings=settings)
            [reset] = await deliver_mail(settings, mailer)
            await PasswordResetService.reset(token_in(reset), "another horse battery", client=CLIENT, settings=settings)

        served = {(read.collection, serving_index(read)) for read in sent.reads}
        assert served >= {
            ("registrations", "_id_"),
            ("registrations", "username_unique"),
            ("registrations", "token_unique"),
            ("account_tokens", "token_unique"),
            ("users", "email_unique"),
            ("events", "sequence"),
            ("event_checkpoints", "consumer_unique"),
        }
        unserved = {(read.collection, tuple(read.filter)) for read in sent.reads if narrowing_index(read) is None}
        assert unserved == set()

    async def test_administration_and_the_audit_log(self, database: Database, commands: CommandLog) -> None:
        admin = viewer_of(await create_user(role=Role.SUPER_ADMIN))
        people = [await create_user() for _ in range(3)]
        with commands.counting() as changes:
            await UserAdministration.change_role(people[0].id, Role.EDITOR, viewer=admin)
            await UserAdministration.delete_user(people[1].id, viewer=admin)
        assert [read for read in changes.reads if narrowing_index(read) is None] == []

        with commands.counting() as sent:
            for sort in UserSort:
                await UserService.list_users(PAGE, viewer=admin, sort=sort)
                await UserService.list_users(PAGE, viewer=admin, is_active=True, sort=sort)
                await UserService.list_users(PAGE, viewer=admin, is_active=True, role=Role.USER, sort=sort)
            for search in (people[0].username, people[0].email):
                await UserService.list_users(PAGE, viewer=admin, search=search)
            await UserService.get_user_by_id(people[0].id, viewer=admin)
            await _read_audit_log(admin)
            await _read_audit_log(admin, subject=f"user:{people[0].id}")
            await _read_audit_log(admin, actor_id=admin.user_id)
        assert {(read.collection, serving_index(read)) for read in sent.reads} == {
            ("users", "_id_"),
            ("users", "active_newest"),
            ("users", "role_active_newest"),
            ("users", "username_unique"),
            ("users", "email_unique"),
            ("audit_entries", "_id_"),
            ("audit_entries", "subject_newest"),
            ("audit_entries", "actor_newest"),
        }

        # A role, whether active or not: found by the index and sorted.
        with commands.counting() as sent:
            await UserService.list_users(PAGE, viewer=admin, role=Role.USER)
        assert [narrowing_index(read) for read in sent.reads] == ["role_active_newest"]


async def _read_audit_log(viewer: Viewer, **of: Any) -> None:
    page = await AuditService.list_entries(viewer=viewer, cursors=CURSORS, limit=1, **of)
    await AuditService.list_entries(viewer=viewer, cursors=CURSORS, cursor=page.next_cursor, limit=1, **of)
