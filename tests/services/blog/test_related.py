"""Related posts: shared tags first, then the category."""

from datetime import timedelta

import pytest

from models.blog.posts import PostStatus
from models.database import Database
from models.users import User
from services.blog.reading import PostNotFoundError
from services.blog.related import RelatedPostService
from tests.commands import CommandLog
from tests.factories.blog import EPOCH, create_category, create_post, create_tag
from tests.factories.users import create_user

PUBLISHED = PostStatus.PUBLISHED


@pytest.fixture
async def author(database: Database) -> User:
    return await create_user()


async def related(slug: str) -> list[str]:
    return [post.title for post in await RelatedPostService.list_related_posts(slug)]


class TestListRelatedPosts:
    async def test_n_11_the_four_with_most_in_common_best_first(self, author: User) -> None:
        design, technology = await create_category(), await create_category()
        one, two, three = await create_tag(), await create_tag(), await create_tag()
        await create_post(author=author, status=PUBLISHED, slug="it", title="It", tags=[one, two], category=design)
        await create_post(author=author, status=PUBLISHED, title="Category", category=design, tags=[three])  # 1
        await create_post(author=author, status=PUBLISHED, title="Both tags", tags=[two, one])  # 4
        await create_post(author=author, status=PUBLISHED, title="Everything", tags=[one, two, three], category=design)  # 5
        await create_post(author=author, status=PUBLISHED, title="Tag and category", tags=[one], category=design)  # 3
        await create_post(author=author, status=PUBLISHED, title="Tag", tags=[one], category=technology)  # 2
        await create_post(author=author, status=PUBLISHED, title="Nothing", tags=[three], category=technology)
        await create_post(author=author, status=PostStatus.DRAFT, title="Draft", tags=[one, two], category=design)

        assert await related("it") == ["Everything", "Both tags", "Tag and category", "Tag"]

    async def test_ties_newest_first_then_by_id(self, author: User) -> None:
        tag = await create_tag()
        same = EPOCH + timedelta(days=1)
        await create_post(author=author, status=PUBLISHED, slug="it", tags=[tag])
        await create_post(author=author, status=PUBLISHED, title="Older", tags=[tag], published_at=EPOCH)
        await create_post(author=author, status=PUBLISHED, title="One", tags=[tag], published_at=same)
        await create_post(author=author, status=PUBLISHED, title="Two", tags=[tag], published_at=same)

        assert await related("it") == ["Two", "One", "Older"]

    async def test_a_post_without_tags_goes_by_its_category_and_one_without_either_has_none(self, author: User) -> None:
        category = await create_category()
        await create_post(author=author, status=PUBLISHED, slug="categorised", title="A", category=category)
        await create_post(author=author, status=PUBLISHED, title="B", category=category, tags=[await create_tag()])
        await create_post(author=author, status=PUBLISHED, slug="alone", title="C")
        await create_post(author=author, status=PUBLISHED, slug="also-alone", title="D")

        assert await related("categorised") == ["B"]
        assert await related("alone") == []

    async def test_a_post_that_is_not_public_is_not_found(self, author: User) -> None:
        await create_post(author=author, status=PostStatus.DRAFT, slug="draft")

        for slug in ("draft", "unheard-of"):
            with pytest.raises(PostNotFoundError):
                await related(slug)

    async def test_costs_two_commands_and_one_when_remembered(self, author: User, commands: CommandLog) -> None:
        tag = await create_tag()
        await create_post(author=author, status=PUBLISHED, slug="it", tags=[tag])
        await create_post(author=author, status=PUBLISHED, tags=[tag])
        await related("it")
        RelatedPostService.forget()

        with commands.counting() as warm_names:
            await related("it")
        with commands.counting() as remembered:
            await related("it")

        assert warm_names.sent == ["find posts", "aggregate posts"]
        assert remembered.sent == ["find posts"]
