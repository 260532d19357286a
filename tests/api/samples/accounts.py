"""The account, the profile and the session that paths lead to are the member's."""

from typing import Any

from beanie import PydanticObjectId

from services.users.credentials import CredentialService, PasswordResetService
from services.users.registrations import RegistrationService
from services.users.sessions import SessionService
from tests.api.world import Body, Operation, Provider, Query, World, fixed
from tests.factories.users import CLIENT, PASSWORD, deliver_mail, new_account, open_session, token_in


async def _username(world: World, operation: Operation, variant: str) -> str:
    return (await world.person("member")).username


async def _user_id(world: World, operation: Operation, variant: str) -> str:
    return str((await world.person("chief" if variant == "chief" else "member")).id)


async def _session_id(world: World, operation: Operation, variant: str) -> str:
    """Another one than the member calls with."""
    member = await world.person("member")
    opened = await world.once("other session", lambda: open_session(member))
    return str(opened.session.id)


async def _registration(world: World) -> dict[str, Any]:
    return new_account().model_dump()


async def _login(world: World) -> dict[str, Any]:
    return {"login": (await world.person("member")).username, "password": PASSWORD}


async def _verification(world: World) -> dict[str, Any]:
    wish = new_account()
    await RegistrationService.register(wish, client=CLIENT, settings=world.settings)
    return {"token": await _mailed_token(world, wish.email)}


async def _reset(world: World) -> dict[str, Any]:
    email = (await world.person("member")).email
    await PasswordResetService.request(email, client=CLIENT, settings=world.settings)
    return {"token": await _mailed_token(world, email), "new_password": "another long password"}


async def _email_confirmation(world: World) -> dict[str, Any]:
    opened = await open_session(await world.person("member"))
    viewer = await SessionService.find_viewer(opened.token)
    assert viewer is not None
    address = f"new-{PydanticObjectId()}@example.com"
    await CredentialService.request_email_change(address, PASSWORD, viewer=viewer, client=CLIENT, settings=world.settings)
    return {"token": await _mailed_token(world, address)}


async def _mailed_token(world: World, address: str) -> str:
    await deliver_mail(world.settings, world.mailer)
    return token_in(next(mail for mail in reversed(world.mailer.sent) if mail.to == address))


VALUES: dict[str, Provider] = {"username": _username, "user_id": _user_id, "session_id": _session_id}
QUERIES: dict[str, Query] = {}
BODIES: dict[str, Body] = {
    "register": _registration,
    "verify_registration": _verification,
    "login": _login,
    "request_password_reset": fixed(email="somebody@example.com"),
    "reset_password": _reset,
    "change_password": fixed(current_password=PASSWORD, new_password="another long password"),
    "request_email_change": fixed(new_email="another@example.com", password=PASSWORD),
    "confirm_email_change": _email_confirmation,
    "update_me": fixed(bio="Writes."),
    "delete_me": fixed(password=PASSWORD),
    "create_user": _registration,
    "update_user": fixed(bio="Writes."),
    "change_user_role": fixed(role="vendor"),
    "lock_user": fixed(minutes=5),
}
