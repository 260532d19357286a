"""Every router of the API, in the order in which the documentation shows them."""

from fastapi import APIRouter

from api.routes import syndication
from api.routes.blog import discovery

ROUTERS: list[APIRouter] = [discovery.router, syndication.router]
