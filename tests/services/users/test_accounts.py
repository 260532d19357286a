import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from pydantic import ValidationError

from models.database import Database
from models.events import Event
from models.users import Role, User
from services.errors import AppError, PermissionDeniedError, PreconditionError
from services.pagination import InvalidPageError, PageRequest
from services.settings import Settings
from services.users.accounts import RankTooLowError, UserNotFoundError, UserService, UserSort
from services.users.identity import EmailTakenError, UsernameTakenError
from services.users.inputs import NewUser, ProfileChanges
from services.users.permissions import SYSTEM
from tests.commands import CommandLog
from tests.factories.users import PASSWORD, create_user, viewer_of


def new_user(**over: Any) -> NewUser:
    defaults = {"username": "jane", "email": "jane@example.com", "first_name": "Jane", "last_name": "Doe"}
    return NewUser(**{**defaults, "password": PASSWORD, **over})


async def stored(user: User) -> User:
    row = await User.find_row({"_id": user.id})
    assert row is not None
    return User.from_row(row)


async def outcome(call: Awaitable[object]) -> str:
    try:
        await call
    except AppError as error:
        return error.code
    return "done"


class TestCreateUser:
    async def test_the_account_can_be_used_at_once(self, database: Database, settings: Settings) -> None:
        """USR-S1: the source left out the required names and always failed."""
        account = await UserService.create_user(new_user(role=Role.EDITOR), viewer=SYSTEM, settings=settings)
        assert (account.username, account.role, account.is_verified) == ("jane", Role.EDITOR, True)
        (row,) = await User.find_rows({})
        assert row["password_hash"].startswith("$argon2id$")

    async def test_name_and_address_are_told_apart_when_taken(self, database: Database, settings: Settings) -> None:
        """BLG-S18."""
        await create_user(username="jane", email="jane@example.com")
        with pytest.raises(UsernameTakenError):
            await UserService.create_user(new_user(email="x@example.com"), viewer=SYSTEM, settings=settings)
        with pytest.raises(EmailTakenError):
            await UserService.create_user(new_user(username="other"), viewer=SYSTEM, settings=settings)
        assert await User.count_rows({}) == 1

    async def test_no_role_above_ones_own_and_none_without_permission(self, database: Database, settings: Settings) -> None:
        admin, editor = await create_user(role=Role.ADMIN), await create_user(role=Role.EDITOR)
        with pytest.raises(RankTooLowError):
            await UserService.create_user(new_user(role=Role.SUPER_ADMIN), viewer=viewer_of(admin), settings=settings)
        with pytest.raises(PermissionDeniedError):
            await UserService.create_user(new_user(), viewer=viewer_of(editor), settings=settings)
        assert await User.count_rows({}) == 2

    async def test_fifty_of_one_address_are_one(self, database: Database, settings: Settings) -> None:
        calls = [
            outcome(UserService.create_user(new_user(username=f"jane{number}"), viewer=SYSTEM, settings=settings))
            for number in range(50)
        ]
        assert sorted(await asyncio.gather(*calls)) == ["done"] + ["email_taken"] * 49
        assert await User.count_rows({}) == 1


class TestUpdateUser:
    async def test_only_what_is_set_changes(self, database: Database) -> None:
        user = await create_user(bio="old", website="https://old.example")
        changes = ProfileChanges(bio="new", social_links={"github": "https://github.com/jane"})
        account = await UserService.update_me(changes, viewer=viewer_of(user))
        assert (account.bio, account.website, account.revision) == ("new", "https://old.example", 2)
        after = await stored(user)
        assert after.social_links == {"github": "https://github.com/jane"}
        assert after.updated_at > user.updated_at
        (event,) = await Event.find_rows({})
        assert event["type"] == "user.updated"

    async def test_null_clears_and_nothing_is_no_write(self, database: Database) -> None:
        user = await create_user(website="https://old.example")
        assert (await UserService.update_me(ProfileChanges(website=None), viewer=viewer_of(user))).website is None
        assert (await UserService.update_me(ProfileChanges(), viewer=viewer_of(user))).revision == 2

    @pytest.mark.parametrize(
        "field",
        [
            "role",
            "password_hash",
            "is_active",
            "is_verified",
            "_id",
            "email",
            "email_normalized",
            "username",
            "posts_count",
            "$set",
        ],
    )
    def test_x15_no_other_field_can_be_named(self, field: str) -> None:
        """The source set any attribute the caller named."""
        with pytest.raises(ValidationError):
            ProfileChanges.model_validate({field: "x"})

    @pytest.mark.parametrize(
        "links",
        [
            {"myspace": "https://myspace.com/jane"},
            {"github": "javascript:alert(1)"},
            {"github": "not a link"},
            {"github": "ftp://example.com"},
            {"$where": "https://example.com"},
            {"github": {"$ne": ""}},
            {"github": "https://user:secret@example.com"},
        ],
    )
    def test_usr_m7_social_links_are_five_networks_and_web_links(self, links: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            ProfileChanges.model_validate({"social_links": links})

    def test_names_and_texts_are_bounded(self) -> None:
        for wrong in ({"first_name": ""}, {"first_name": "x" * 51}, {"bio": "x" * 1001}, {"first_name": None}):
            with pytest.raises(ValidationError):
                ProfileChanges.model_validate(wrong)

    async def test_a_stale_revision_changes_nothing(self, database: Database) -> None:
        user = await create_user()
        await UserService.update_me(ProfileChanges(bio="first"), viewer=viewer_of(user), revision=1)
        with pytest.raises(PreconditionError):
            await UserService.update_me(ProfileChanges(bio="second"), viewer=viewer_of(user), revision=1)
        assert (await stored(user)).bio == "first"

    async def test_fifty_editors_of_one_revision_win_once(self, database: Database) -> None:
        user = await create_user()
        calls = [
            outcome(UserService.update_me(ProfileChanges(bio=str(n)), viewer=viewer_of(user), revision=1)) for n in range(50)
        ]
        assert sorted(await asyncio.gather(*calls)) == ["done"] + ["precondition_failed"] * 49
        assert (await stored(user)).revision == 2

    async def test_strangers_and_lower_ranks_change_nobody(self, database: Database) -> None:
        user, root = await create_user(), await create_user(role=Role.SUPER_ADMIN)
        stranger, admin = viewer_of(await create_user()), viewer_of(await create_user(role=Role.ADMIN))
        with pytest.raises(PermissionDeniedError):
            await UserService.update_user(user.id, ProfileChanges(bio="x"), viewer=stranger)
        with pytest.raises(RankTooLowError):
            await UserService.update_user(root.id, ProfileChanges(bio="x"), viewer=admin)
        assert (await UserService.update_user(user.id, ProfileChanges(bio="x"), viewer=admin)).bio == "x"
        assert (await stored(root)).bio == ""


class TestGet:
    async def test_a_profile_has_no_private_field(self, database: Database, commands: CommandLog) -> None:
        await create_user(username="jane", email="jane@example.com")
        with commands.counting() as sent:
            profile = await UserService.get_profile("JANE")
        assert sent.sent == ["find users"]
        assert profile.full_name == "Jane Doe"
        assert not {"email", "is_active", "last_login_at", "first_name"} & profile.model_dump().keys()

    async def test_unknown_and_impossible_names_are_not_found(self, database: Database) -> None:
        await create_user(username="gone", is_active=False)
        for name in ("nobody", "gone", "jané", "{$ne: 1}", ".*", ""):
            with pytest.raises(UserNotFoundError):
                await UserService.get_profile(name)

    async def test_accounts_of_others_need_the_permission(self, database: Database) -> None:
        user = await create_user()
        with pytest.raises(PermissionDeniedError):
            await UserService.get_user_by_id(user.id, viewer=viewer_of(await create_user(role=Role.EDITOR)))
        manager = viewer_of(await create_user(role=Role.MANAGER))
        assert (await UserService.get_user_by_id(user.id, viewer=manager)).email == user.email
        with pytest.raises(UserNotFoundError):
            await UserService.get_user_by_id((await create_user()).id.__class__(), viewer=manager)


class TestListUsers:
    async def test_pages_filters_and_orders(self, database: Database, commands: CommandLog) -> None:
        people = [await create_user(role=role) for role in (Role.EDITOR, Role.USER, Role.EDITOR)]
        gone = await create_user(role=Role.EDITOR, is_active=False)
        with commands.counting() as sent:
            page = await UserService.list_users(PageRequest(1, 2), viewer=SYSTEM, role=Role.EDITOR)
        assert len(sent) == 2
        assert [user.id for user in page.items] == [gone.id, people[2].id]
        assert (page.total_count, page.total_pages) == (3, 2)
        active = await UserService.list_users(PageRequest(), viewer=SYSTEM, role=Role.EDITOR, is_active=True)
        assert [user.id for user in active.items] == [people[2].id, people[0].id]
        oldest = await UserService.list_users(PageRequest(1, 1), viewer=SYSTEM, sort=UserSort.OLDEST)
        assert [user.id for user in oldest.items] == [people[0].id]
        beyond = await UserService.list_users(PageRequest(9), viewer=SYSTEM)
        assert (beyond.items, beyond.total_count) == ([], 4)

    async def test_x16_search_is_a_whole_name_or_address_never_a_pattern(self, database: Database) -> None:
        jane = await create_user(username="jane", email="jane@example.com", role=Role.AUTHOR)
        for text, found in (("Jane", 1), ("JANE@example.com", 1), ("jan", 0), (".*", 0), ("@", 0), ("nobody", 0)):
            page = await UserService.list_users(PageRequest(), viewer=SYSTEM, search=text)
            assert (len(page.items), page.total_count) == (found, found), text
        page = await UserService.list_users(PageRequest(), viewer=SYSTEM, search="jane", role=Role.USER)
        assert page.items == []
        page = await UserService.list_users(PageRequest(), viewer=SYSTEM, search="jane", role=Role.AUTHOR, is_active=True)
        assert [user.id for user in page.items] == [jane.id]

    async def test_it_is_for_those_who_may_read_accounts(self, database: Database) -> None:
        with pytest.raises(PermissionDeniedError):
            await UserService.list_users(PageRequest(), viewer=viewer_of(await create_user(role=Role.EDITOR)))
        with pytest.raises(InvalidPageError):
            PageRequest(0, 20)
