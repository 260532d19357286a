"""Every router of the API, in the order in which the documentation shows them."""

from fastapi import APIRouter

ROUTERS: list[APIRouter] = []
