"""Users, roles and locks: ranks are the services' rules, and hold here."""

import pytest

from models.audit import AuditEntry
from models.users import LoginSession, Role, User
from tests.api.web.admin.conftest import Clerk, SeatClerk
from tests.factories.customers import create_customer
from tests.factories.orders import create_order
from tests.factories.users import create_session, create_user


async def row_of(user: User) -> User:
    found = await User.find_row({"_id": user.id})
    assert found is not None
    return User.from_row(found)


class TestList:
    async def test_is_narrowed_by_role_and_by_a_whole_name(self, manager: Clerk) -> None:
        vendor = await create_user(role=Role.VENDOR, username="seller")
        await create_user(username="reader")

        assert "seller" in await manager.page("/admin/users?role=vendor")
        assert "/admin/users/" + str(vendor.id) in await manager.page("/admin/users?search=SELLER")
        assert "reader" not in await manager.page("/admin/users?search=seller")


async def test_users_and_customers_are_found_by_an_e_mail_in_any_case(manager: Clerk) -> None:
    user = await create_user(email="Jane.Doe@Example.com", email_normalized="jane.doe@example.com")
    customer = await create_customer(user=user, first_name="Jane")
    other = await create_customer()
    order = await create_order(user_id=user.id, customer_id=customer.id)

    for wanted in ("jane.doe@example.com", "JANE.DOE@EXAMPLE.COM", " Jane.Doe@Example.com "):
        assert f"/admin/users/{user.id}" in await manager.page(f"/admin/users?search={wanted}"), wanted
        found = await manager.page(f"/admin/customers?search={wanted}")
        assert f"/admin/customers/{customer.id}" in found, wanted
        assert str(other.id) not in found
    assert order.number in await manager.page(f"/admin/customers/{customer.id}")
    assert "No such customer." in await manager.page("/admin/customers?search=nobody@example.com")
    assert "No such customer." in await manager.page("/admin/customers?state=gone")


class TestRole:
    async def test_is_changed_with_sessions_ended_and_noted(self, admin: Clerk) -> None:
        user = await create_user()
        await create_session(user)

        answer = await admin.send(f"/admin/users/{user.id}/role", role="editor")

        assert (answer.status_code, answer.headers["location"]) == (303, f"/admin/users/{user.id}?done=role")
        assert (await row_of(user)).role is Role.EDITOR
        assert await LoginSession.count_rows({"user_id": user.id}) == 0
        noted = await AuditEntry.find_rows({"action": "user.role_changed"})
        assert [(row["actor_id"], row["details"]) for row in noted] == [(admin.user.id, {"from": "user", "to": "editor"})]

    @pytest.mark.parametrize(("role", "wanted"), [(Role.USER, "super_admin"), (Role.SUPER_ADMIN, "user")])
    async def test_nobody_grants_or_takes_above_their_own_rank(self, admin: Clerk, role: Role, wanted: str) -> None:
        user = await create_user(role=role)

        answer = await admin.send(f"/admin/users/{user.id}/role", role=wanted)

        assert answer.status_code == 403
        assert 'role="alert"' in answer.text
        assert (await row_of(user)).role is role

    async def test_not_ones_own(self, admin: Clerk) -> None:
        answer = await admin.send(f"/admin/users/{admin.user.id}/role", role="user")

        assert answer.status_code == 403
        assert (await row_of(admin.user)).role is Role.ADMIN

    async def test_managers_see_people_and_change_nothing(self, manager: Clerk) -> None:
        user = await create_user()

        assert "Change the role" not in await manager.page(f"/admin/users/{user.id}")
        for move, fields in [("role", {"role": "editor"}), ("lock", {"minutes": "5"}), ("unlock", {})]:
            assert (await manager.send(f"/admin/users/{user.id}/{move}", **fields)).status_code == 403
        unchanged = await row_of(user)
        assert (unchanged.role, unchanged.suspended_until) == (Role.USER, None)


class TestLock:
    async def test_suspends_and_lifts(self, admin: Clerk, seat: SeatClerk) -> None:
        culprit = await seat(Role.EDITOR)
        page = f"/admin/users/{culprit.user.id}"

        assert (await admin.send(f"{page}/lock", minutes="90")).status_code == 303

        assert (await row_of(culprit.user)).suspended_until is not None
        assert (await culprit.get("/admin/comments")).status_code == 303  # signed out
        assert "suspended" in await admin.page(page)
        assert (await admin.send(f"{page}/unlock")).status_code == 303
        assert (await row_of(culprit.user)).suspended_until is None

    @pytest.mark.parametrize("minutes", ["0", "", "soon", "99999999"])
    async def test_a_time_that_is_none_changes_nothing(self, admin: Clerk, minutes: str) -> None:
        user = await create_user()

        assert (await admin.send(f"/admin/users/{user.id}/lock", minutes=minutes)).status_code == 422
        assert (await row_of(user)).suspended_until is None
