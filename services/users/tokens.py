"""Secrets that can be made again from an id: mailed tokens, the tokens of known devices and those of forms.

A mailed token is `base64url(id + HMAC(secret, purpose + id))`. The database holds its SHA-256 only, and whoever sends the mail
derives the token again from the id, so a token lies nowhere in clear: not in the outbox, not in a backup.
"""

import base64
import hashlib
import hmac
import secrets

from beanie import PydanticObjectId

from services.settings import Settings

_DEVICE_ID_BYTES = 16


def mail_token(purpose: str, id: PydanticObjectId, *, settings: Settings) -> str:
    return _encode(id.binary + _sign(settings, f"mail:{purpose}", id.binary))


def new_device_id() -> str:
    return secrets.token_hex(_DEVICE_ID_BYTES)


def device_token(user_id: PydanticObjectId, device_id: str, *, settings: Settings) -> str:
    """What a device keeps to be known as one on which this person has signed in before."""
    return f"{device_id}.{_encode(_sign(settings, 'device', user_id.binary + device_id.encode()))}"


def known_device(token: str | None, user_id: PydanticObjectId, *, settings: Settings) -> str | None:
    """The id of the device this token was given to, if this person signed in there; else None."""
    if token is None or not token.isascii():
        return None
    device_id = token.partition(".")[0]
    expected = device_token(user_id, device_id, settings=settings)
    return device_id if hmac.compare_digest(token, expected) else None


def form_token(bound_to: str, *, settings: Settings) -> str:
    """What the forms of a page carry, so that no other site can send them: it can be made only here, for one session or visit."""
    return _encode(_sign(settings, "form", bound_to.encode()))


def is_form_token(token: str, bound_to: str, *, settings: Settings) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(token.encode(), form_token(bound_to, settings=settings).encode())


def _sign(settings: Settings, purpose: str, message: bytes) -> bytes:
    return hmac.new(settings.secret_bytes, f"agora:{purpose}:".encode() + message, hashlib.sha256).digest()


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
