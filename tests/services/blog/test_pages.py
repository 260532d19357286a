"""Kept pages: never older than what this process did, whoever did it and in whatever transaction."""

import pytest

from models.blog.posts import Post, PostStatus
from models.database import Session, run_transaction
from models.events import EventType
from models.social import LikeKind
from models.users import Role
from services.blog.categories import CategoryChanges, CategoryService
from services.blog.lifecycle import PublishingService
from services.blog.pages import PAGE_CONSUMER, NotPublicError, get_public_page
from services.events import EventService
from services.social import LikeService
from tests.commands import CommandLog
from tests.factories.blog import create_category, create_post
from tests.factories.users import create_user, viewer_of

pytestmark = pytest.mark.usefixtures("database")


async def test_kept_page_costs_no_command(commands: CommandLog) -> None:
    post = await create_post(status=PostStatus.PUBLISHED)
    first = await get_public_page(post.slug)

    with commands.counting() as sent:
        again = await get_public_page(post.slug)

    assert again is first
    assert len(sent) == 0


async def test_like_is_on_the_next_page() -> None:
    post = await create_post(status=PostStatus.PUBLISHED)
    await get_public_page(post.slug)

    await LikeService.like(post.id, kind=LikeKind.POST, viewer=viewer_of(await create_user()))

    assert (await get_public_page(post.slug)).post.likes_count == 1


async def test_withdrawn_post_has_no_page() -> None:
    owner = await create_user(role=Role.AUTHOR)
    post = await create_post(author=owner, status=PostStatus.PUBLISHED)
    await get_public_page(post.slug)

    await PublishingService.archive(post.id, viewer=viewer_of(owner))

    with pytest.raises(NotPublicError):
        await get_public_page(post.slug)


async def test_renamed_category_is_on_the_next_page() -> None:
    category = await create_category(name="Before")
    post = await create_post(category=category, status=PostStatus.PUBLISHED)
    await get_public_page(post.slug)
    editor = viewer_of(await create_user(role=Role.EDITOR))

    await CategoryService.update_category(category.id, CategoryChanges(name="After"), viewer=editor, revision=None)

    shown = (await get_public_page(post.slug)).post.category
    assert shown is not None
    assert shown.name == "After"


async def test_page_is_forgotten_after_the_outer_commit_and_not_before() -> None:
    """Under an Idempotency-Key a service runs inside the request's transaction: what is read meanwhile is the old page."""
    post = await create_post(status=PostStatus.PUBLISHED, title="Before")

    async def work(session: Session) -> None:
        await Post.change({"_id": post.id}, {"$set": {"title": "After"}}, session=session)
        meanwhile = await get_public_page(post.slug)
        assert meanwhile.post.title == "Before"

    await run_transaction(work)

    assert (await get_public_page(post.slug)).post.title == "After"


async def test_change_by_another_process_arrives_as_an_event() -> None:
    post = await create_post(status=PostStatus.PUBLISHED, title="Before")
    await get_public_page(post.slug)
    await Post.collection().update_one({"_id": post.id}, {"$set": {"title": "After"}})
    assert (await get_public_page(post.slug)).post.title == "Before"

    async def work(session: Session) -> None:
        await EventService.record(session, EventType.POST_UPDATED, f"post:{post.id}")

    await run_transaction(work)
    await EventService.pump([PAGE_CONSUMER])

    assert (await get_public_page(post.slug)).post.title == "After"
