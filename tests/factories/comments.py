"""Comments, bans, likes and follows as the services would have left them, counters in step."""

from itertools import count
from typing import Any

from beanie import PydanticObjectId

from models.blog.comments import Comment, CommentBan, CommentStatus
from models.blog.posts import Post
from models.social import Follow, Like, LikeKind
from models.users import User

_numbers = count(1)


def make_comment(*, parent: Comment | None = None, **over: Any) -> Comment:
    """An approved comment by a guest, unsaved; under `parent` if given."""
    number = next(_numbers)
    content = over.get("content", f"Comment {number}")
    defaults: dict[str, Any] = {
        "post_id": PydanticObjectId(),
        "content": content,
        "content_html": f"<p>{content}</p>\n",
        "status": CommentStatus.APPROVED,
        "author_name": "" if over.get("author_id") else f"Guest {number}",
        "author_email": None if over.get("author_id") else f"guest{number}@example.com",
        "address": "198.51.100.7",
        "user_agent": "Test/1.0",
    }
    if parent is not None:
        ancestor_ids = [*parent.ancestor_ids, parent.id]
        defaults |= {
            "post_id": parent.post_id,
            "parent_id": parent.id,
            "ancestor_ids": ancestor_ids,
            "root_id": ancestor_ids[0],
            "depth": len(ancestor_ids),
        }
    return Comment(**{**defaults, **over})


async def create_comment(*, post: Post | None = None, parent: Comment | None = None, **over: Any) -> Comment:
    """A saved comment; an approved one is counted by its post and the comments above it."""
    if post is not None:
        over["post_id"] = post.id
    comment = await make_comment(parent=parent, **over).store()
    if comment.status is CommentStatus.APPROVED:
        await Post.collection().update_one({"_id": comment.post_id}, {"$inc": {"comments_count": 1}})
        if parent is not None:
            await Comment.collection().update_one({"_id": parent.id}, {"$inc": {"replies_count": 1}})
            await Comment.collection().update_many({"_id": {"$in": comment.ancestor_ids}}, {"$inc": {"descendants_count": 1}})
    return comment


async def create_ban(key: str = "address:203.0.113.7", **over: Any) -> CommentBan:
    return await CommentBan(**{"key": key, "banned_by": PydanticObjectId(), **over}).store()


async def create_like(subject: Post | Comment, user: User) -> Like:
    """A like, counted by its subject."""
    kind = LikeKind.POST if isinstance(subject, Post) else LikeKind.COMMENT
    like = await Like(kind=kind, subject_id=subject.id, user_id=user.id).store()
    await type(subject).collection().update_one({"_id": subject.id}, {"$inc": {"likes_count": 1}})
    return like


async def create_follow(follower: User, following: User) -> Follow:
    """A follow, counted by both."""
    follow = await Follow(follower_id=follower.id, following_id=following.id).store()
    await User.collection().update_one({"_id": follower.id}, {"$inc": {"following_count": 1}})
    await User.collection().update_one({"_id": following.id}, {"$inc": {"followers_count": 1}})
    return follow
