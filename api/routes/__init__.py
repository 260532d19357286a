"""Every router of the API, in the order in which the documentation shows them."""

from fastapi import APIRouter

from api.routes import live, social, syndication
from api.routes.blog import comments, discovery, likes

ROUTERS: list[APIRouter] = [live.router, discovery.router, comments.router, likes.router, social.router, syndication.router]
