"""What is no longer public is soon no longer shown."""

from beanie import PydanticObjectId

from models.base import now
from models.blog.posts import PostStatus, PostViews
from models.database import Database, Session, run_transaction
from models.events import EventType
from services.blog.discovery import DISCOVERY_CONSUMER
from services.blog.popular import PopularityService
from services.blog.related import RelatedPostService
from services.blog.syndication import SyndicationService
from services.events import EventService
from services.settings import Settings
from tests.factories.blog import create_category, create_post


class TestDiscoveryConsumer:
    async def test_a_withdrawn_post_leaves_every_list(self, database: Database, settings: Settings) -> None:
        category = await create_category()
        stays = await create_post(status=PostStatus.PUBLISHED, slug="stays", category=category)
        goes = await create_post(status=PostStatus.PUBLISHED, slug="goes", category=category)
        today = now().replace(hour=0, minute=0, second=0, microsecond=0)
        for post in (stays, goes):
            await PostViews(post_id=post.id, day=today, views_count=1).store()
        assert await self._shown(settings) == {("goes", "stays"), ("goes",), (True,)}

        async def withdraw(session: Session) -> None:
            await type(goes).change({"_id": goes.id}, {"$set": {"status": PostStatus.ARCHIVED}}, session=session)
            await EventService.record(session, EventType.POST_WITHDRAWN, f"post:{goes.id}", actor_id=PydanticObjectId())

        await run_transaction(withdraw)
        assert await self._shown(settings) == {("goes", "stays"), ("goes",), (True,)}
        await EventService.number_new()
        await EventService.deliver(DISCOVERY_CONSUMER)

        assert await self._shown(settings) == {("stays",), (), (False,)}

    @staticmethod
    async def _shown(settings: Settings) -> set[tuple[object, ...]]:
        popular = await PopularityService.get_popular_posts()
        related = await RelatedPostService.list_related_posts("stays")
        documents = [
            await SyndicationService.get_rss(settings=settings),
            await SyndicationService.get_atom(settings=settings),
            await SyndicationService.get_sitemap(settings=settings),
        ]
        named = {b"/posts/goes" in document.body for document in documents}
        return {tuple(post.slug for post in popular), tuple(post.slug for post in related), tuple(named)}
