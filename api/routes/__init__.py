"""Every router of the API, in the order in which the documentation shows them."""

from fastapi import APIRouter

from api.routes import auth, live, social, syndication, users
from api.routes.blog import comments, discovery, likes

ROUTERS: list[APIRouter] = [
    auth.router,
    *users.ROUTERS,
    live.router,
    discovery.router,
    comments.router,
    likes.router,
    social.router,
    syndication.router,
]
