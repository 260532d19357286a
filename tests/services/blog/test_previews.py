import base64
from datetime import UTC, datetime, timedelta

import pytest

from models.blog.posts import Post, PostStatus
from models.users import Role
from services.blog.lifecycle import PublishingService
from services.blog.previews import LIFETIME, PreviewNotFoundError, PreviewService
from services.blog.reading import PostNotFoundError
from services.settings import Settings
from tests.factories.blog import create_post
from tests.factories.users import create_user, viewer_of

pytestmark = pytest.mark.usefixtures("database")

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class TestPreview:
    async def test_whoever_holds_the_link_reads_the_draft_until_it_expires(self, settings: Settings) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post = await create_post(author=owner, content="Secret plans.")
        link = await PreviewService.create_preview(post.id, viewer=viewer_of(owner), settings=settings, now=NOON)

        assert link.expires_at == NOON + LIFETIME
        assert link.url == f"http://127.0.0.1:8000/api/v1/blog/posts/preview?token={link.token}"
        shown = await PreviewService.get_preview(link.token, settings=settings, now=NOON + LIFETIME - timedelta(seconds=1))
        assert (shown.id, shown.status, shown.content_html) == (post.id, PostStatus.DRAFT, "<p>Secret plans.</p>\n")
        with pytest.raises(PreviewNotFoundError):
            await PreviewService.get_preview(link.token, settings=settings, now=NOON + LIFETIME)

    async def test_stranger_gets_no_link(self, settings: Settings) -> None:
        post = await create_post()
        stranger = viewer_of(await create_user(role=Role.AUTHOR))
        with pytest.raises(PostNotFoundError):
            await PreviewService.create_preview(post.id, viewer=stranger, settings=settings)

    async def test_forged_token_shows_nothing(self, settings: Settings) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post, other = await create_post(author=owner), await create_post()
        link = await PreviewService.create_preview(post.id, viewer=viewer_of(owner), settings=settings)
        raw = base64.urlsafe_b64decode(link.token)
        for_other = base64.urlsafe_b64encode(raw[:16] + other.id.binary + raw[28:]).decode()
        longer = base64.urlsafe_b64encode(raw[:28] + b"\xff" * 5).decode()
        for forged in ("", "x", "é", "a" * 44, link.token[:-4], for_other, longer):
            with pytest.raises(PreviewNotFoundError):
                await PreviewService.get_preview(forged, settings=settings)

    async def test_trashed_or_purged_post_is_shown_no_more(self, settings: Settings) -> None:
        owner = await create_user(role=Role.AUTHOR)
        post = await create_post(author=owner)
        link = await PreviewService.create_preview(post.id, viewer=viewer_of(owner), settings=settings)
        await PublishingService.trash(post.id, viewer=viewer_of(owner))
        with pytest.raises(PreviewNotFoundError):
            await PreviewService.get_preview(link.token, settings=settings)
        await Post.collection().delete_many({})
        with pytest.raises(PreviewNotFoundError):
            await PreviewService.get_preview(link.token, settings=settings)
