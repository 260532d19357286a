"""Posts, categories and tags as the services would have left them: slugs, revisions, terms and counters in step."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from beanie import PydanticObjectId

from models.blog.posts import Post, PostRevision, PostSlug, PostStatus
from models.blog.taxonomy import Category, Tag
from models.users import Role, User
from services.terms import post_terms
from tests.factories.users import create_user

_numbers = count(1)

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def make_category(**over: Any) -> Category:
    number = next(_numbers)
    return Category(**{"name": f"Category {number}", "slug": f"category-{number}", "color": "#3498db", **over})


async def create_category(**over: Any) -> Category:
    return await make_category(**over).store()


def make_tag(**over: Any) -> Tag:
    number = next(_numbers)
    return Tag(**{"name": f"Tag {number}", "slug": f"tag-{number}", **over})


async def create_tag(**over: Any) -> Tag:
    return await make_tag(**over).store()


def make_post(**over: Any) -> Post:
    """A draft, unsaved; a published one appeared later than every one made before it, unless `published_at` is given."""
    number = next(_numbers)
    defaults: dict[str, Any] = {
        "title": f"Post {number}",
        "slug": f"post-{number}",
        "content": f"The content of post {number}.",
        "author_id": PydanticObjectId(),
        "status": PostStatus.DRAFT,
    }
    fields = {**defaults, **over}
    fields.setdefault("content_html", f"<p>{fields['content']}</p>\n")
    moment = EPOCH + timedelta(minutes=number)
    if fields["status"] in (PostStatus.PUBLISHED, PostStatus.ARCHIVED):
        fields.setdefault("published_at", moment)
    elif fields["status"] == PostStatus.SCHEDULED:
        fields.setdefault("scheduled_at", moment)
    elif fields["status"] == PostStatus.TRASHED:
        fields.setdefault("trashed_at", moment)
    post = Post(**fields)
    if "terms" not in over:
        post.terms = post_terms(title=post.title, excerpt=post.excerpt, content=post.content)
    return post


async def create_post(
    *, author: User | None = None, category: Category | None = None, tags: Sequence[Tag] = (), **over: Any
) -> Post:
    """A post with its slug and first revision; a published one is counted by its author, category and tags.

    The documents given are not changed in memory: read the counters again.
    """
    if author is not None:
        over["author_id"] = author.id
    elif "author_id" not in over:
        over["author_id"] = (await create_user(role=Role.AUTHOR)).id
    if category is not None:
        over["category_id"] = category.id
    if tags:
        over["tag_ids"] = [tag.id for tag in tags]
    post = await make_post(**over).store()
    await PostSlug(slug=post.slug, post_id=post.id).store()
    await PostRevision(
        post_id=post.id,
        number=post.revision,
        editor_id=post.author_id,
        title=post.title,
        content=post.content,
        excerpt=post.excerpt,
    ).store()
    if post.status is PostStatus.PUBLISHED:
        await User.collection().update_one({"_id": post.author_id}, {"$inc": {"posts_count": 1}})
        await Category.collection().update_one({"_id": post.category_id}, {"$inc": {"posts_count": 1}})
        await Tag.collection().update_many({"_id": {"$in": post.tag_ids}}, {"$inc": {"usage_count": 1}})
    return post
