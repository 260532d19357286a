"""Getting an account, signing in and out, and changing what one signs in with."""

from typing import Annotated

from fastapi import Cookie, Response

from api.dependencies import Client, Config, MaybeSignedIn, SignedIn
from api.routing import API_PREFIX, make_router, refuses
from api.schemas.users import (
    Accepted,
    ChangeEmail,
    ChangePassword,
    ForgotPassword,
    LoginInput,
    LoginRead,
    Register,
    ResetPassword,
    TokenInput,
)
from models.users import SessionRead, UserAccount
from services.ratelimits import TooManyAttemptsError
from services.settings import Settings
from services.users.accounts import account_of
from services.users.credentials import CredentialService, PasswordResetService, WrongPasswordError
from services.users.identity import EmailTakenError, InvalidEmailError, InvalidUsernameError, UsernameTakenError
from services.users.logins import InvalidCredentialsError, Login, LoginService
from services.users.passwords import WeakPasswordError
from services.users.registrations import InvalidTokenError, RegistrationService
from services.users.sessions import SessionNotFoundError, SessionService

router = make_router("/auth", "Accounts: signing in")

_DEVICE_COOKIE = "agora_device"
_DEVICE_SECONDS = 365 * 24 * 3600
_ACCEPTED = Accepted(detail="If that is possible, a mail is on its way.")


@router.post(
    "/register",
    status_code=202,
    responses=refuses(WeakPasswordError, UsernameTakenError, InvalidUsernameError, InvalidEmailError, TooManyAttemptsError),
)
async def register(body: Register, client: Client, settings: Config) -> Accepted:
    """Ask for an account. A mail to the address says how to go on; the answer is the same whether or not it has an account."""
    await RegistrationService.register(body, client=client, settings=settings)
    return _ACCEPTED


@router.post("/verify", status_code=201, responses=refuses(InvalidTokenError, EmailTakenError, UsernameTakenError))
async def verify_registration(body: TokenInput, client: Client) -> UserAccount:
    """Confirm the address with the mailed token: from now on there is an account."""
    return account_of(await RegistrationService.verify(body.token, client=client))


@router.post("/login", responses=refuses(InvalidCredentialsError, TooManyAttemptsError))
async def login(
    body: LoginInput,
    response: Response,
    client: Client,
    settings: Config,
    agora_device: Annotated[str | None, Cookie(max_length=200, include_in_schema=False)] = None,
) -> LoginRead:
    """Sign in. The session lasts 24 hours and can be extended. Five failures shut out strange devices for 30 minutes."""
    device = body.device_token or agora_device
    entered = await LoginService.authenticate(body.login, body.password, device=device, client=client, settings=settings)
    _remember_device(response, entered, settings)
    opened = entered.opened
    return LoginRead(
        token=opened.token,
        expires_at=opened.session.expires_at,
        device_token=entered.device_token,
        user=account_of(entered.user),
    )


@router.post("/logout", status_code=204)
async def logout(viewer: SignedIn) -> None:
    """End this session."""
    await LoginService.logout(viewer)


@router.post("/sessions/extend", responses=refuses(SessionNotFoundError))
async def extend_session(viewer: SignedIn, settings: Config) -> SessionRead:
    """Give this session its full life again."""
    return await SessionService.extend(viewer.session_id, viewer=viewer, settings=settings)


@router.post("/password/forgot", status_code=202, responses=refuses(InvalidEmailError, TooManyAttemptsError))
async def request_password_reset(body: ForgotPassword, client: Client, settings: Config) -> Accepted:
    """Ask for a link to choose a new password. The answer is the same for every address."""
    await PasswordResetService.request(body.email, client=client, settings=settings)
    return _ACCEPTED


@router.post("/password/reset", status_code=204, responses=refuses(InvalidTokenError, WeakPasswordError))
async def reset_password(body: ResetPassword, client: Client, settings: Config) -> None:
    """Choose a new password with the mailed token. Ends every session."""
    await PasswordResetService.reset(body.token, body.new_password, client=client, settings=settings)


@router.post("/password/change", status_code=204, responses=refuses(WrongPasswordError, WeakPasswordError, TooManyAttemptsError))
async def change_password(body: ChangePassword, viewer: SignedIn, client: Client, settings: Config) -> None:
    """Choose a new password. Ends every other session."""
    await CredentialService.change_password(
        body.current_password, body.new_password, viewer=viewer, client=client, settings=settings
    )


@router.post("/email/change", status_code=202, responses=refuses(WrongPasswordError, InvalidEmailError, TooManyAttemptsError))
async def request_email_change(body: ChangeEmail, viewer: SignedIn, client: Client, settings: Config) -> Accepted:
    """Ask for another e-mail address. A mail to it says how to go on, and the old address is told."""
    await CredentialService.request_email_change(body.new_email, body.password, viewer=viewer, client=client, settings=settings)
    return _ACCEPTED


@router.post("/email/confirm", status_code=204, responses=refuses(InvalidTokenError, EmailTakenError))
async def confirm_email_change(body: TokenInput, viewer: MaybeSignedIn, client: Client) -> None:
    """Take the new address with the mailed token. Ends every session but the one that asks."""
    await CredentialService.confirm_email_change(body.token, viewer=viewer, client=client)


def _remember_device(response: Response, entered: Login, settings: Settings) -> None:
    response.set_cookie(
        _DEVICE_COOKIE,
        entered.device_token,
        max_age=_DEVICE_SECONDS,
        path=f"{API_PREFIX}/auth",
        secure=settings.is_production,
        httponly=True,
        samesite="lax",
    )
