"""Traps of the sources (SPEC A0, A1) that no other test is about; `docs/sources.md` lists them all."""

import ast
import re
from datetime import timedelta
from pathlib import Path

from beanie import PydanticObjectId

from models.base import now
from models.blog.posts import PostStatus
from models.database import Database
from models.users import LoginSession, Role
from services.blog.posts import PostService
from services.blog.writing import PostDraft
from services.settings import Settings
from services.users.permissions import ROLE_PERMISSIONS, Permission
from services.users.sessions import SessionService
from tests.factories.blog import create_category, create_tag
from tests.factories.users import create_user, open_session, viewer_of

ROOT = Path(__file__).parent.parent

# What guards nothing yet, and which issue will use it.
NOT_ASKED_FOR_YET: set[Permission] = set()


class TestInputs:
    async def test_x_15_what_the_caller_gave_is_left_as_it_was(self, database: Database) -> None:
        """X-15: the source wrote the author into the caller's own dictionary."""
        viewer = viewer_of(await create_user(role=Role.AUTHOR))
        category, tag = await create_category(), await create_tag()
        draft = PostDraft(
            title="Mine",
            content="Text",
            category_id=category.id,
            tag_ids=[tag.id, tag.id],
            tag_names=["Go", "go"],
            status="published",
        )
        before = draft.model_dump()

        await PostService.create_post(draft, viewer=viewer)

        assert draft.model_dump() == before
        assert before["status"] == PostStatus.PUBLISHED


class TestMail:
    def test_x_28_host_and_credentials_come_from_the_environment_alone(self) -> None:
        """X-28: the source had a host, a user and a password in its code."""
        defaults = {name: Settings.model_fields[name].default for name in ("smtp_host", "smtp_username", "smtp_password")}

        assert defaults == {"smtp_host": None, "smtp_username": None, "smtp_password": None}
        for name in ("services/mail.py", "services/users/mails.py", "services/ecommerce/mails.py"):
            texts = {
                node.value for node in ast.walk(ast.parse((ROOT / name).read_text("utf-8"))) if isinstance(node, ast.Constant)
            }
            assert not [text for text in texts if isinstance(text, str) and re.search(r"smtp\.|@\w+\.\w|gmail", text)]


class TestPermissions:
    def test_usr_m3_each_is_asked_for_and_held(self) -> None:
        """USR-M3: in the source nothing asked for any of them."""
        asked = {
            node.attr
            for folder in ("services", "api")
            for path in (ROOT / folder).rglob("*.py")
            if path.name != "permissions.py"
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Permission"
        }

        assert set(Permission) - {Permission[name] for name in asked} == NOT_ASKED_FOR_YET
        assert set(Permission) == ROLE_PERMISSIONS[Role.SUPER_ADMIN]
        assert ROLE_PERMISSIONS[Role.USER] == frozenset()


class TestSessions:
    async def test_usr_m4_a_session_names_its_person_by_the_persons_id(self, database: Database) -> None:
        """USR-M4: the source declared a number where ids are ObjectIds."""
        user = await create_user()
        await open_session(user)

        [row] = await LoginSession.find_rows({})

        assert LoginSession.model_fields["user_id"].annotation is PydanticObjectId
        assert row["user_id"] == user.id

    async def test_usr_s9_only_expired_sessions_are_tidied_away(self, database: Database) -> None:
        """USR-S9: the source's filter was another framework's and matched nothing."""
        user = await create_user()
        moment = now()
        await open_session(user, now=moment - timedelta(hours=24))
        living = await open_session(user, now=moment - timedelta(hours=23))

        assert await SessionService.cleanup_expired(now=moment) == 1
        assert [row["_id"] for row in await LoginSession.find_rows({})] == [living.session.id]
        assert await SessionService.cleanup_expired(now=moment) == 0
