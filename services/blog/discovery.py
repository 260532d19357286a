"""Keeps what discovery remembers in step with what is public."""

from models.events import Event, EventType
from services.blog.popular import PopularityService
from services.blog.related import RelatedPostService
from services.blog.syndication import SyndicationService
from services.events import Consumer


async def _forget(event: Event) -> None:
    PopularityService.forget()
    RelatedPostService.forget()
    SyndicationService.forget()


DISCOVERY_CONSUMER = Consumer(
    "blog_discovery", {EventType.POST_PUBLISHED, EventType.POST_UPDATED, EventType.POST_WITHDRAWN}, _forget
)
"""Forgets popular and related posts, feeds and the sitemap when a post appears, changes or goes; others forget in time."""
