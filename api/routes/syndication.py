"""RSS, Atom and the sitemap: outside the API's prefix, for readers and robots."""

from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.conditional import is_unchanged
from api.dependencies import Config
from services.blog.syndication import Syndicated, SyndicationService

router = APIRouter(tags=["Blog: syndication"], generate_unique_id_function=lambda route: route.name)

_RSS = "application/rss+xml"
_ATOM = "application/atom+xml"
_XML = "application/xml"


def _answers(media_type: str) -> dict[int | str, dict[str, Any]]:
    return {
        200: {"description": "The document", "content": {media_type: {"schema": {"type": "string"}}}},
        304: {"description": "Not changed since the copy the caller holds"},
    }


@router.get("/feed.rss", response_class=Response, responses=_answers(_RSS))
async def get_rss(request: Request, settings: Config) -> Response:
    """The newest posts as RSS 2.0."""
    return _conditional(request, await SyndicationService.get_rss(settings=settings), _RSS)


@router.get("/feed.atom", response_class=Response, responses=_answers(_ATOM))
async def get_atom(request: Request, settings: Config) -> Response:
    """The newest posts as Atom."""
    return _conditional(request, await SyndicationService.get_atom(settings=settings), _ATOM)


@router.get("/sitemap.xml", response_class=Response, responses=_answers(_XML))
async def get_sitemap(request: Request, settings: Config) -> Response:
    """Every published post's address, for search engines."""
    return _conditional(request, await SyndicationService.get_sitemap(settings=settings), _XML)


def _conditional(request: Request, document: Syndicated, media_type: str) -> Response:
    headers = {
        "ETag": document.tag,
        "Last-Modified": format_datetime(document.modified_at.replace(microsecond=0), usegmt=True),
        "Cache-Control": "public, max-age=60",
    }
    if _holds_already(request, document):
        return Response(status_code=304, headers=headers)
    return Response(document.body, headers=headers, media_type=f"{media_type}; charset=utf-8")


def _holds_already(request: Request, document: Syndicated) -> bool:
    """If-None-Match decides where it is given (RFC 9110, 13.2.2); a date that is none is ignored."""
    if "if-none-match" in request.headers:
        return is_unchanged(request, document.tag)
    since = _date(request.headers.get("if-modified-since", ""))
    return since is not None and document.modified_at.replace(microsecond=0) <= since


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
