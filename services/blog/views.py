"""How often posts are read."""

from models.blog.posts import Post, PostViews
from services.views import MAX_VISITORS, Counted, ViewCounter

_POSTS = Counted(Post, PostViews, "post_id")


def post_views(secret: bytes, *, max_visitors: int = MAX_VISITORS) -> ViewCounter:
    """A counter of the views of posts."""
    return ViewCounter(secret, _POSTS, max_visitors=max_visitors)
