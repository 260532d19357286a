"""Every router of the API, in the order in which the documentation shows them."""

from fastapi import APIRouter

from api.routes import auth, live, social, syndication, users
from api.routes.blog import categories, comments, discovery, likes, posts, revisions, tags

ROUTERS: list[APIRouter] = [
    auth.router,
    *users.ROUTERS,
    live.router,
    posts.router,
    revisions.router,
    categories.router,
    tags.router,
    discovery.router,
    comments.router,
    likes.router,
    social.router,
    syndication.router,
]
