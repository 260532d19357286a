import asyncio
from collections.abc import Awaitable
from datetime import timedelta

import pytest

from models.audit import AuditEntry
from models.base import now as present
from models.database import Database
from models.events import Event
from models.social import Follow
from models.users import AccountToken, LoginRecord, LoginSession, Role, User
from services.errors import AppError, PermissionDeniedError, UnauthenticatedError
from services.settings import Settings
from services.users.accounts import RankTooLowError, UserNotFoundError, UserService
from services.users.administration import LastSuperAdminError, OwnAccountError, UserAdministration
from services.users.credentials import WrongPasswordError
from services.users.permissions import SYSTEM
from services.users.sessions import SessionService
from tests.factories.users import PASSWORD, create_login_user, create_session, create_user, open_session, viewer_of


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


class TestChangeRole:
    async def test_sessions_of_the_old_role_end_at_once(self, database: Database) -> None:
        """RELIABILITY S8: a demotion is felt on every token."""
        admin, user = await create_user(role=Role.ADMIN), await create_user(role=Role.EDITOR)
        token = await create_session(user)
        await SessionService.find_viewer(token)
        account = await UserAdministration.change_role(user.id, Role.AUTHOR, viewer=viewer_of(admin))
        assert account.role is Role.AUTHOR
        assert (await stored(user)).role is Role.AUTHOR
        assert await SessionService.find_viewer(token) is None
        (entry,) = await AuditEntry.find_rows({})
        assert (entry["action"], entry["actor_id"], entry["subject"], entry["details"]) == (
            "user.role_changed",
            admin.id,
            f"user:{user.id}",
            {"from": "editor", "to": "author"},
        )
        types = [event["type"] for event in await Event.find_rows({}, sort=[("_id", 1)])]
        assert types == ["user.updated", "user.sessions_revoked"]

    async def test_usr_s11_nobody_grants_or_touches_above_their_rank(self, database: Database) -> None:
        admin, user = await create_user(role=Role.ADMIN), await create_user()
        root = await create_user(role=Role.SUPER_ADMIN)
        with pytest.raises(RankTooLowError):
            await UserAdministration.change_role(user.id, Role.SUPER_ADMIN, viewer=viewer_of(admin))
        with pytest.raises(RankTooLowError):
            await UserAdministration.change_role(root.id, Role.USER, viewer=viewer_of(admin))
        assert ((await stored(user)).role, (await stored(root)).role) == (Role.USER, Role.SUPER_ADMIN)
        assert await AuditEntry.count_rows({}) == 0

    async def test_usr_s2_nobody_changes_their_own_role(self, database: Database) -> None:
        root = await create_user(role=Role.SUPER_ADMIN)
        await create_user(role=Role.SUPER_ADMIN)
        with pytest.raises(OwnAccountError):
            await UserAdministration.change_role(root.id, Role.USER, viewer=viewer_of(root))

    @pytest.mark.parametrize("role", [Role.USER, Role.VENDOR, Role.AUTHOR, Role.EDITOR, Role.MANAGER])
    async def test_usr_m3_without_the_permission_nothing_happens(self, database: Database, role: Role) -> None:
        """The source declared permissions and never asked for one."""
        viewer, user = viewer_of(await create_user(role=role)), await create_user()
        with pytest.raises(PermissionDeniedError):
            await UserAdministration.change_role(user.id, Role.AUTHOR, viewer=viewer)
        assert (await stored(user)).role is Role.USER

    async def test_unknown_people_are_not_found(self, database: Database) -> None:
        gone = await create_user(is_active=False)
        for user_id in (gone.id, LoginSession.model_construct().id):
            with pytest.raises(UserNotFoundError):
                await UserAdministration.change_role(user_id, Role.AUTHOR, viewer=SYSTEM)

    async def test_the_last_super_admin_stays_when_two_demote_each_other(self, database: Database) -> None:
        """USR-S2. Counting alone would let both go: each would still see the other."""
        for _ in range(10):
            await User.collection().delete_many({})
            one, two = await create_user(role=Role.SUPER_ADMIN), await create_user(role=Role.SUPER_ADMIN)
            calls = [
                UserAdministration.change_role(two.id, Role.ADMIN, viewer=viewer_of(one)),
                UserAdministration.change_role(one.id, Role.ADMIN, viewer=viewer_of(two)),
            ]
            outcomes = await asyncio.gather(*(outcome(call) for call in calls))
            assert outcomes.count("done") == 1
            assert await User.count_rows({"role": "super_admin", "is_active": True}) == 1

    async def test_the_last_super_admin_stays_when_fifty_acts_meet(self, database: Database, settings: Settings) -> None:
        people = [await create_login_user(settings=settings, role=Role.SUPER_ADMIN) for _ in range(10)]
        calls: list[Awaitable[object]] = []
        for person in people:
            calls.append(UserAdministration.delete_me(PASSWORD, viewer=viewer_of(person), settings=settings))
            for other in people[:4]:
                if other is not person:
                    calls.append(UserAdministration.change_role(other.id, Role.USER, viewer=viewer_of(person)))
        await asyncio.gather(*(outcome(call) for call in calls))
        assert await User.count_rows({"role": "super_admin", "is_active": True}) >= 1

    async def test_a_demoted_admin_cannot_go_on_with_an_old_viewer(self, database: Database) -> None:
        admin, user = await create_user(role=Role.ADMIN), await create_user()
        viewer = viewer_of(admin)
        await UserAdministration.change_role(admin.id, Role.USER, viewer=SYSTEM)
        with pytest.raises(UnauthenticatedError):
            await UserAdministration.change_role(user.id, Role.EDITOR, viewer=viewer)
        assert (await stored(user)).role is Role.USER


class TestLock:
    async def test_it_ends_sessions_and_unlock_forgets_the_failures(self, database: Database, settings: Settings) -> None:
        """USR-S3."""
        admin = viewer_of(await create_user(role=Role.ADMIN))
        user = await create_user(failed_login_attempts=4)
        token, now = await create_session(user), present()
        account = await UserAdministration.lock(user.id, viewer=admin, settings=settings, now=now)
        assert account.suspended_until == now + timedelta(minutes=30)
        assert (await stored(user)).is_locked(now) is True
        assert await SessionService.find_viewer(token) is None
        await UserAdministration.unlock(user.id, viewer=admin)
        after = await stored(user)
        assert (after.is_locked(now), after.failed_login_attempts) == (False, 0)
        actions = [entry["action"] for entry in await AuditEntry.find_rows({}, sort=[("_id", 1)])]
        assert actions == ["user.locked", "user.unlocked"]

    async def test_managers_and_lower_may_not(self, database: Database, settings: Settings) -> None:
        user = await create_user()
        manager = viewer_of(await create_user(role=Role.MANAGER))
        with pytest.raises(PermissionDeniedError):
            await UserAdministration.lock(user.id, viewer=manager, settings=settings)
        assert (await stored(user)).suspended_until is None

    async def test_two_super_admins_cannot_lock_each_other_out(self, database: Database, settings: Settings) -> None:
        one, two = await create_user(role=Role.SUPER_ADMIN), await create_user(role=Role.SUPER_ADMIN)
        calls = [
            UserAdministration.lock(two.id, viewer=viewer_of(one), settings=settings),
            UserAdministration.lock(one.id, viewer=viewer_of(two), settings=settings),
        ]
        outcomes = await asyncio.gather(*(outcome(call) for call in calls))
        assert sorted(outcomes) == ["done", "unauthenticated"]


class TestDeleteUser:
    async def test_usr_s2_personal_data_goes_and_the_rest_stays(self, database: Database, settings: Settings) -> None:
        """The source deleted the row and orphaned everything else."""
        admin = viewer_of(await create_user(role=Role.ADMIN))
        user = await create_login_user(
            settings=settings,
            username="jane",
            email="jane@example.com",
            bio="about me",
            website="https://example.com",
            social_links={"github": "https://github.com/jane"},
            posts_count=3,
        )
        token = (await open_session(user)).token
        expires_at = present() + timedelta(days=1)
        await LoginRecord(user_id=user.id, succeeded=True, address="a", user_agent="b", expires_at=expires_at).store()
        await AccountToken(user_id=user.id, purpose="password_reset", token_hash="h", expires_at=expires_at).store()
        await UserAdministration.delete_user(user.id, viewer=admin)
        after = await stored(user)
        assert (after.username, after.email, after.full_name) == (f"deleted-{user.id}", "", "Former member")
        assert (after.bio, after.website, after.social_links, after.is_active) == ("", None, {}, False)
        assert after.posts_count == 3
        row = await User.find_row({"_id": user.id})
        assert not any(word in str(row) for word in ("jane", "Jane", "Doe", "argon2"))
        assert await SessionService.find_viewer(token) is None
        for document in (LoginSession, LoginRecord, AccountToken):
            assert await document.count_rows({"user_id": user.id}) == 0
        assert await Event.count_rows({"type": "user.deactivated", "subject": f"user:{user.id}"}) == 1
        assert await AuditEntry.count_rows({"action": "user.deactivated"}) == 1
        with pytest.raises(UserNotFoundError):
            await UserService.get_profile(after.username)

    async def test_name_and_address_are_free_again(self, database: Database) -> None:
        admin, user = viewer_of(await create_user(role=Role.ADMIN)), await create_user(username="jane")
        await UserAdministration.delete_user(user.id, viewer=admin)
        again = await create_user(username="jane", email=user.email)
        assert again.id != user.id

    async def test_follows_go_with_their_counters(self, database: Database) -> None:
        admin = viewer_of(await create_user(role=Role.ADMIN))
        user = await create_user(followers_count=1, following_count=1)
        fan, idol = await create_user(following_count=1), await create_user(followers_count=1)
        await Follow(follower_id=fan.id, following_id=user.id).store()
        await Follow(follower_id=user.id, following_id=idol.id).store()
        await UserAdministration.delete_user(user.id, viewer=admin)
        assert await Follow.count_rows({}) == 0
        assert ((await stored(fan)).following_count, (await stored(idol)).followers_count) == (0, 0)
        after = await stored(user)
        assert (after.followers_count, after.following_count) == (0, 0)

    async def test_fifty_at_once_delete_once(self, database: Database) -> None:
        admin = viewer_of(await create_user(role=Role.ADMIN))
        for number in range(1, 4):
            user = await create_user()
            calls = [outcome(UserAdministration.delete_user(user.id, viewer=admin)) for _ in range(50)]
            outcomes = await asyncio.gather(*calls)
            assert outcomes.count("done") == 1
            assert set(outcomes) <= {"done", "user_changed", "user_not_found"}
            assert await AuditEntry.count_rows({"action": "user.deactivated"}) == number

    async def test_the_last_super_admin_stays(self, database: Database, settings: Settings) -> None:
        root = await create_login_user(settings=settings, role=Role.SUPER_ADMIN)
        with pytest.raises(LastSuperAdminError):
            await UserAdministration.delete_me(PASSWORD, viewer=viewer_of(root), settings=settings)
        assert (await stored(root)).is_active

    async def test_staff_above_are_out_of_reach(self, database: Database) -> None:
        admin, root = await create_user(role=Role.ADMIN), await create_user(role=Role.SUPER_ADMIN)
        with pytest.raises(RankTooLowError):
            await UserAdministration.delete_user(root.id, viewer=viewer_of(admin))
        with pytest.raises(PermissionDeniedError):
            await UserAdministration.delete_user(admin.id, viewer=viewer_of(await create_user(role=Role.MANAGER)))
        assert (await stored(root)).is_active
        assert (await stored(admin)).is_active


class TestDeleteMe:
    async def test_it_needs_the_password(self, database: Database, settings: Settings) -> None:
        user = await create_login_user(settings=settings)
        with pytest.raises(WrongPasswordError):
            await UserAdministration.delete_me("wrong one", viewer=viewer_of(user), settings=settings)
        assert (await stored(user)).is_active
        await UserAdministration.delete_me(PASSWORD, viewer=viewer_of(user), settings=settings)
        assert not (await stored(user)).is_active
