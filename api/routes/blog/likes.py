"""Likes of posts and comments. PUT and DELETE may be repeated; POST turns the like over, as the old clients do."""

from api.dependencies import ObjectIdPath, SignedIn
from api.routing import make_router, refuses
from models.social import LikeKind, LikeState
from services.blog.comment_states import CommentNotFoundError
from services.blog.reading import PostNotFoundError
from services.social import LikeService

router = make_router("/blog", "Blog: likes")

_POST = refuses(PostNotFoundError)
_COMMENT = refuses(CommentNotFoundError, PostNotFoundError)


@router.put("/posts/{post_id}/like", responses=_POST)
async def like_post(post_id: ObjectIdPath, viewer: SignedIn) -> LikeState:
    """Like a post. Safe to repeat."""
    return await LikeService.like(post_id, kind=LikeKind.POST, viewer=viewer)


@router.delete("/posts/{post_id}/like", responses=_POST)
async def unlike_post(post_id: ObjectIdPath, viewer: SignedIn) -> LikeState:
    """Take the like of a post back. Safe to repeat."""
    return await LikeService.unlike(post_id, kind=LikeKind.POST, viewer=viewer)


@router.post("/posts/{post_id}/like", responses=_POST)
async def toggle_post_like(post_id: ObjectIdPath, viewer: SignedIn) -> LikeState:
    """Like a post that one does not like, and the other way round. Not safe to repeat: prefer PUT and DELETE."""
    return await LikeService.toggle_like(post_id, kind=LikeKind.POST, viewer=viewer)


@router.put("/comments/{comment_id}/like", responses=_COMMENT)
async def like_comment(comment_id: ObjectIdPath, viewer: SignedIn) -> LikeState:
    """Like a comment. Safe to repeat."""
    return await LikeService.like(comment_id, kind=LikeKind.COMMENT, viewer=viewer)


@router.delete("/comments/{comment_id}/like", responses=_COMMENT)
async def unlike_comment(comment_id: ObjectIdPath, viewer: SignedIn) -> LikeState:
    """Take the like of a comment back. Safe to repeat."""
    return await LikeService.unlike(comment_id, kind=LikeKind.COMMENT, viewer=viewer)


@router.post("/comments/{comment_id}/like", responses=_COMMENT)
async def toggle_comment_like(comment_id: ObjectIdPath, viewer: SignedIn) -> LikeState:
    """Like a comment that one does not like, and the other way round. Not safe to repeat: prefer PUT and DELETE."""
    return await LikeService.toggle_like(comment_id, kind=LikeKind.COMMENT, viewer=viewer)
