"""The published post, its draft twin and their category and tag are the writer's, the comment under it is the member's."""

from typing import Any

from models.blog.comments import Comment, CommentBan, CommentStatus
from models.blog.posts import Post, PostStatus
from models.blog.taxonomy import Category, Tag
from services.blog.previews import PreviewService
from tests.api.world import Body, Operation, Provider, Query, World, fixed
from tests.factories.blog import create_category, create_post, create_tag
from tests.factories.comments import create_ban, create_comment
from tests.factories.users import viewer_of

# The status a post or comment must have for an operation to move it, and the one that a variant wants.
_POST_STATUS = {
    "draft": PostStatus.DRAFT,
    "trashed": PostStatus.TRASHED,
    "publish_post": PostStatus.DRAFT,
    "schedule_post": PostStatus.DRAFT,
    "restore_post": PostStatus.TRASHED,
}
_COMMENT_STATUS = {
    "pending": CommentStatus.PENDING,
    "approve_comment": CommentStatus.PENDING,
    "reject_comment": CommentStatus.PENDING,
}


async def _post(world: World, status: PostStatus = PostStatus.PUBLISHED) -> Post:
    author = await world.person("writer")
    found: Post = await world.once(f"{status} post", lambda: create_post(author=author, status=status))
    return found


async def _comment(world: World, status: CommentStatus = CommentStatus.APPROVED) -> Comment:
    post, author = await _post(world), await world.person("member")
    found: Comment = await world.once(f"{status} comment", lambda: create_comment(post=post, author_id=author.id, status=status))
    return found


async def _post_for(world: World, operation: Operation, variant: str) -> Post:
    return await _post(world, _POST_STATUS.get(variant) or _POST_STATUS.get(operation.id) or PostStatus.PUBLISHED)


async def _post_id(world: World, operation: Operation, variant: str) -> str:
    return str((await _post_for(world, operation, variant)).id)


async def _slug(world: World, operation: Operation, variant: str) -> str:
    return (await _post_for(world, operation, variant)).slug


async def _key(world: World, operation: Operation, variant: str) -> str:
    """A post's or a category's slug where it is read, its id where it is changed."""
    if "/posts/" in operation.path:
        post = await _post_for(world, operation, variant)
        return post.slug if operation.id == "get_post_by_slug" else str(post.id)
    category: Category = await world.once("category", create_category)
    return category.slug if operation.id == "get_category" else str(category.id)


async def _comment_id(world: World, operation: Operation, variant: str) -> str:
    status = _COMMENT_STATUS.get(variant) or _COMMENT_STATUS.get(operation.id) or CommentStatus.APPROVED
    return str((await _comment(world, status)).id)


async def _tag_id(world: World, operation: Operation, variant: str) -> str:
    tag: Tag = await world.once("tag", create_tag)
    return str(tag.id)


async def _ban_id(world: World, operation: Operation, variant: str) -> str:
    ban: CommentBan = await world.once("ban", lambda: create_ban("address:198.51.100.77"))
    return str(ban.id)


async def _number(world: World, operation: Operation, variant: str) -> str:
    return "1"


async def _search(world: World, variant: str) -> dict[str, str]:
    return {"q": "content"}


async def _preview(world: World, variant: str) -> dict[str, str]:
    post, writer = await _post(world), await world.person("writer")
    link = await PreviewService.create_preview(post.id, viewer=viewer_of(writer), settings=world.settings)
    return {"token": link.token}


async def _revisions(world: World, variant: str) -> dict[str, str]:
    return {"from": "1", "to": "1"}


async def _queue(world: World, variant: str) -> dict[str, str]:
    return {"post_id": str((await _post(world)).id)} if variant == "of a post" else {}


async def _comment_ids(world: World) -> dict[str, Any]:
    return {"action": "spam", "comment_ids": [str((await _comment(world)).id)]}


VALUES: dict[str, Provider] = {
    "post_id": _post_id,
    "slug": _slug,
    "key": _key,
    "comment_id": _comment_id,
    "tag_id": _tag_id,
    "ban_id": _ban_id,
    "number": _number,
}
QUERIES: dict[str, Query] = {
    "search_posts": _search,
    "get_preview": _preview,
    "diff_revisions": _revisions,
    "list_comment_queue": _queue,
}
BODIES: dict[str, Body] = {
    "create_post": fixed(title="A post", content="Its content."),
    "update_post": fixed(title="Another title"),
    "schedule_post": fixed(scheduled_at="2100-01-01T00:00:00Z"),
    "create_category": fixed(name="A category"),
    "update_category": fixed(description="What it is about."),
    "rename_tag": fixed(name="Another name"),
    "add_comment": fixed(content="A comment.", guest={"name": "Ada", "email": "ada@example.com"}),
    "update_comment": fixed(content="Another text."),
    "moderate_comments": _comment_ids,
    "create_comment_ban": fixed(kind="address", value="198.51.100.9"),
}
