"""Links that show a post before it is public to whoever holds them, for a while."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

from beanie import PydanticObjectId

from models.base import now as present
from models.blog.posts import Post, PostRead, PostStatus, PreviewLink
from services.blog.reading import READ_FIELDS, get_editable_post, to_read
from services.errors import NotFoundError
from services.settings import Settings
from services.users.permissions import Viewer

LIFETIME = timedelta(days=2)
_SIGNATURE_BYTES = 16
_TOKEN_BYTES = _SIGNATURE_BYTES + 12 + 5  # with the post's id and the end in seconds


class PreviewNotFoundError(NotFoundError):
    """The preview link is not one of ours, has expired, or its post is gone."""

    code = "preview_not_found"

    def __init__(self) -> None:
        super().__init__("preview")


class PreviewService:
    @staticmethod
    async def create_preview(
        post_id: PydanticObjectId, *, viewer: Viewer, settings: Settings, now: datetime | None = None
    ) -> PreviewLink:
        """A link for two days; it shows the post as it then is, whatever its status, but for the trash. Stores nothing.

        Raises PostNotFoundError.
        """
        post = await get_editable_post(post_id, viewer=viewer)
        expires_at = ((now or present()) + LIFETIME).replace(microsecond=0)
        body = post.id.binary + int(expires_at.timestamp()).to_bytes(5)
        token = base64.urlsafe_b64encode(_sign(body, settings) + body).decode()
        url = f"{settings.base_url.rstrip('/')}/api/v1/blog/posts/preview?token={token}"
        return PreviewLink(token=token, url=url, expires_at=expires_at)

    @staticmethod
    async def get_preview(token: str, *, settings: Settings, now: datetime | None = None) -> PostRead:
        """The post of a valid link. Raises PreviewNotFoundError, the same for every reason."""
        post_id = _post_of(token, settings, now or present())
        row = await Post.find_row({"_id": post_id}, READ_FIELDS)
        if row is None or row["status"] == PostStatus.TRASHED:
            raise PreviewNotFoundError
        return await to_read(row)


def _post_of(token: str, settings: Settings, now: datetime) -> PydanticObjectId:
    """Raises PreviewNotFoundError."""
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except ValueError as error:
        raise PreviewNotFoundError from error
    signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
    if len(raw) != _TOKEN_BYTES or not hmac.compare_digest(signature, _sign(body, settings)):
        raise PreviewNotFoundError
    if datetime.fromtimestamp(int.from_bytes(body[12:]), UTC) <= now:
        raise PreviewNotFoundError
    return PydanticObjectId(body[:12])


def _sign(body: bytes, settings: Settings) -> bytes:
    key = hashlib.blake2b(settings.secret_bytes, person=b"agora-preview").digest()
    return hmac.new(key, body, hashlib.sha256).digest()[:_SIGNATURE_BYTES]
