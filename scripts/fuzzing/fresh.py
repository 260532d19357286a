"""What a single request needs to get through and nobody could guess: a token just mailed, a comment of one's own."""

import secrets

from beanie import PydanticObjectId

from models.base import now
from models.blog.comments import Comment
from models.database import Session, run_transaction
from models.users import Registration, TokenPurpose
from services.blog.previews import PreviewService
from services.settings import Settings
from services.users.credentials import issue_token
from services.users.permissions import SYSTEM
from services.users.registrations import VERIFY_PURPOSE
from services.users.sessions import hash_token
from services.users.tokens import mail_token

# Which operations take a mailed token, and of which kind.
_PURPOSES = {"reset_password": TokenPurpose.PASSWORD_RESET, "confirm_email_change": TokenPurpose.EMAIL_CHANGE}


async def fresh_token(
    operation: str, user_id: PydanticObjectId, *, post_id: str, password_hash: str, settings: Settings
) -> str | None:
    """The token of a mail just sent to this person, or to someone who asked for an account, or of a preview of the post.

    None where an operation takes no token.
    """
    if operation == "get_preview":
        return (await PreviewService.create_preview(PydanticObjectId(post_id), viewer=SYSTEM, settings=settings)).token
    later = now().replace(year=now().year + 1)
    name = f"fresh-{secrets.token_hex(6)}"
    if operation == "verify_registration":
        return await wish_for_account(name, f"{name}@example.com", password_hash=password_hash, settings=settings)
    purpose = _PURPOSES.get(operation)
    if purpose is None:
        return None
    address = f"{name}@example.com" if purpose is TokenPurpose.EMAIL_CHANGE else None

    async def work(session: Session) -> str:
        row = await issue_token(session, user_id, purpose, expires_at=later, settings=settings, new_email=address)
        return mail_token(purpose, row.id, settings=settings)

    return await run_transaction(work)


async def wish_for_account(username: str, email: str, *, password_hash: str, settings: Settings) -> str:
    """Store what a stranger asked for a moment ago; returns the token of the mail that confirms it."""
    wish_id = PydanticObjectId()
    token = mail_token(VERIFY_PURPOSE, wish_id, settings=settings)
    await Registration(
        id=wish_id,
        username=username,
        email=email,
        email_normalized=email,
        first_name="Fresh",
        last_name="Person",
        password_hash=password_hash,
        token_hash=hash_token(token),
        expires_at=now().replace(year=now().year + 1),
    ).store()
    return token


async def fresh_comment(operation: str, user_id: PydanticObjectId, *, post_id: str) -> str | None:
    """A comment that this person has just written; None where it need not be one's own."""
    if operation not in ("update_comment", "delete_comment"):
        return None
    comment = Comment(post_id=PydanticObjectId(post_id), content="Mine.", content_html="<p>Mine.</p>\n", author_id=user_id)
    return str((await comment.store()).id)
