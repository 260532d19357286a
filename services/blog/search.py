"""Search in published posts."""

from models.blog.posts import Post, PostStatus, PostSummary
from services.blog.reading import SUMMARY_FIELDS, to_summaries
from services.pagination import Page, PageRequest, page_of
from services.search import SearchService

MAX_SEARCH_LIMIT = 50


class PostSearchService:
    @staticmethod
    async def search_posts(query: str, *, page: PageRequest) -> Page[PostSummary]:
        """Published posts that hold every word of `query` in title, excerpt or content, best first; ties newest first.

        A word in the title weighs 8, in the excerpt 3, in the content 1 for each occurrence. A query of nothing, or of words that
        do not count ("to be or not to be"), finds nothing. Pages hold at most `MAX_SEARCH_LIMIT`: a larger limit is cut to it.
        """
        page = PageRequest(page=page.page, limit=min(page.limit, MAX_SEARCH_LIMIT))
        hits = await SearchService.search(
            Post, query, where={"status": PostStatus.PUBLISHED}, fields=SUMMARY_FIELDS, newest="published_at", page=page
        )
        return page_of(await to_summaries(hits.rows), page, hits.total_count)
