"""Finding posts: search, popular, related, one's feed, and the publication's figures."""

from typing import Annotated

from fastapi import Path, Query

from api.dependencies import Cursor, Cursors, Limit, SignedIn
from api.routing import make_router, refuses
from api.visits import TrackerOf
from models.blog.posts import PostSummary
from services.blog.feed import FeedPage, FeedService
from services.blog.popular import MAX_POPULAR_DAYS, MAX_POPULAR_LIMIT, PopularityService
from services.blog.reading import PostNotFoundError
from services.blog.related import RelatedPostService
from services.blog.search import MAX_SEARCH_LIMIT, PostSearchService
from services.blog.statistics import BlogStats, StatisticsService
from services.errors import UnauthenticatedError
from services.pagination import InvalidCursorError, Page, PageRequest
from services.search import MAX_QUERY_LENGTH

router = make_router("/blog", "Blog: discovery")


@router.get("/search")
async def search_posts(
    tracker: TrackerOf,
    q: Annotated[
        str, Query(max_length=MAX_QUERY_LENGTH, description="Words, all of which a post must hold", examples=["mongodb"])
    ],
    page: Annotated[int, Query(ge=1, le=10_000, description="Page number, from 1")] = 1,
    limit: Annotated[int, Query(ge=1, le=MAX_SEARCH_LIMIT, description="Items per page")] = 10,
) -> Page[PostSummary]:
    """Published posts, best match first. Words are compared without case, accents and endings; common ones do not count."""
    found = await PostSearchService.search_posts(q, page=PageRequest(page, limit))
    tracker.note_search(q, page=page)
    return found


@router.get("/popular")
async def get_popular_posts(
    days: Annotated[int, Query(ge=1, le=MAX_POPULAR_DAYS, description="Whole days before today that count")] = 7,
    limit: Annotated[int, Query(ge=1, le=MAX_POPULAR_LIMIT, description="Items to return")] = 10,
) -> list[PostSummary]:
    """Published posts by their views and likes (five points each) in the window, best first."""
    return await PopularityService.get_popular_posts(days=days, limit=limit)


@router.get("/posts/{slug}/related", responses=refuses(PostNotFoundError))
async def list_related_posts(
    slug: Annotated[str, Path(max_length=200, description="The post's slug", examples=["indexes-that-serve"])],
) -> list[PostSummary]:
    """Up to four published posts that share the most tags and the category with this one, best first."""
    return await RelatedPostService.list_related_posts(slug)


@router.get("/feed", responses=refuses(UnauthenticatedError, InvalidCursorError))
async def get_user_feed(viewer: SignedIn, cursors: Cursors, cursor: Cursor = None, limit: Limit = 20) -> FeedPage:
    """Posts of the people the caller follows, newest first; popular posts while they follow nobody."""
    return await FeedService.get_user_feed(viewer, cursors=cursors, cursor=cursor, limit=limit)


@router.get("/stats")
async def get_blog_stats() -> BlogStats:
    """The publication in figures."""
    return await StatisticsService.get_blog_stats()
