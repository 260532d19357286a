"""RSS, Atom and the sitemap, read back with a parser."""

from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest

from models.blog.posts import PostStatus
from models.database import Database
from models.users import User
from services.blog import syndication
from services.blog.syndication import SyndicationService
from services.settings import Settings
from tests.commands import CommandLog
from tests.factories.blog import EPOCH, create_category, create_post, create_tag
from tests.factories.users import create_user

PUBLISHED = PostStatus.PUBLISHED
ATOM = "{http://www.w3.org/2005/Atom}"
SITEMAP = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
CONTENT = "{http://purl.org/rss/1.0/modules/content/}encoded"
CREATOR = "{http://purl.org/dc/elements/1.1/}creator"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"base_url": "https://agora.example/", "site_title": "Agora & Sons <Ltd>"})


@pytest.fixture
async def author(database: Database) -> User:
    return await create_user(first_name="Jane", last_name="Doe")


class TestGetRss:
    async def test_a_post_by_hand(self, author: User, settings: Settings) -> None:
        category, tag = await create_category(name="Design"), await create_tag(name="C++")
        post = await create_post(
            author=author,
            category=category,
            tags=[tag],
            status=PUBLISHED,
            title="Tips & <Tricks>",
            slug="tips",
            excerpt='Say "hi" ]]> </description>',
            content_html="<p>a &amp; b</p>",
            published_at=EPOCH,
            edited_at=EPOCH + timedelta(hours=2),
        )

        document = await SyndicationService.get_rss(settings=settings)

        channel = ET.fromstring(document.body)[0]
        assert channel.findtext("title") == "Agora & Sons <Ltd>"
        assert channel.findtext("link") == "https://agora.example/"
        assert channel.findtext("lastBuildDate") == "Thu, 01 Jan 2026 02:00:00 GMT"
        [item] = channel.findall("item")
        assert item.findtext("title") == "Tips & <Tricks>"
        assert item.findtext("link") == "https://agora.example/api/v1/blog/posts/tips"
        assert item.findtext("guid") == f"tag:agora.example,2026:post:{post.id}"
        assert item.findtext("pubDate") == "Thu, 01 Jan 2026 00:00:00 GMT"
        assert item.findtext("description") == 'Say "hi" ]]> </description>'
        assert item.findtext(CONTENT) == "<p>a &amp; b</p>"
        assert item.findtext(CREATOR) == "Jane Doe"
        assert [topic.text for topic in item.findall("category")] == ["Design", "C++"]
        assert document.modified_at == EPOCH + timedelta(hours=2)

    async def test_only_the_newest_published_ones_newest_first(self, author: User, settings: Settings) -> None:
        for number in range(22):
            await create_post(
                author=author, status=PUBLISHED, title=f"Post {number}", published_at=EPOCH + timedelta(days=number)
            )
        for status in set(PostStatus) - {PUBLISHED}:
            await create_post(author=author, status=status, title="Hidden")

        root = ET.fromstring((await SyndicationService.get_rss(settings=settings)).body)

        assert [item.findtext("title") for item in root.iter("item")] == [f"Post {number}" for number in range(21, 1, -1)]

    async def test_characters_that_xml_cannot_hold_are_dropped(self, author: User, settings: Settings) -> None:
        await create_post(author=author, status=PUBLISHED, title="a\x0bb\x1b[0mc\ufffed", content_html="<p>\x08</p>")

        root = ET.fromstring((await SyndicationService.get_rss(settings=settings)).body)

        assert [item.findtext("title") for item in root.iter("item")] == ["ab[0mcd"]

    async def test_no_posts_an_empty_channel(self, database: Database, settings: Settings) -> None:
        document = await SyndicationService.get_rss(settings=settings)

        assert list(ET.fromstring(document.body).iter("item")) == []


class TestGetAtom:
    async def test_a_post_by_hand(self, author: User, settings: Settings) -> None:
        post = await create_post(
            author=author,
            status=PUBLISHED,
            title="Tips & <Tricks>",
            slug="tips",
            content_html="<p>a</p>",
            published_at=EPOCH,
            edited_at=EPOCH + timedelta(hours=2),
        )

        root = ET.fromstring((await SyndicationService.get_atom(settings=settings)).body)

        assert root.findtext(f"{ATOM}updated") == "2026-01-01T02:00:00+00:00"
        assert root.findtext(f"{ATOM}id") == "https://agora.example/"
        [entry] = root.findall(f"{ATOM}entry")
        assert entry.findtext(f"{ATOM}id") == f"tag:agora.example,2026:post:{post.id}"
        assert entry.findtext(f"{ATOM}title") == "Tips & <Tricks>"
        assert entry.findtext(f"{ATOM}published") == "2026-01-01T00:00:00+00:00"
        assert entry.findtext(f"{ATOM}updated") == "2026-01-01T02:00:00+00:00"
        assert entry.findtext(f"{ATOM}author/{ATOM}name") == "Jane Doe"
        content = entry.find(f"{ATOM}content")
        assert content is not None
        assert (content.get("type"), content.text) == ("html", "<p>a</p>")
        assert entry.find(f"{ATOM}summary") is None

    async def test_a_post_whose_author_is_gone_is_the_sites(self, database: Database, settings: Settings) -> None:
        gone = await create_user(is_active=False)
        await create_post(author=gone, status=PUBLISHED, excerpt="Short")

        root = ET.fromstring((await SyndicationService.get_atom(settings=settings)).body)

        assert root.findtext(f"{ATOM}entry/{ATOM}author/{ATOM}name") == "Agora & Sons <Ltd>"
        assert root.findtext(f"{ATOM}entry/{ATOM}summary") == "Short"

    async def test_no_posts_a_valid_empty_feed(self, database: Database, settings: Settings) -> None:
        document = await SyndicationService.get_atom(settings=settings)

        assert ET.fromstring(document.body).findtext(f"{ATOM}updated") == "1970-01-01T00:00:00+00:00"

    async def test_is_built_once_a_minute(self, author: User, settings: Settings, commands: CommandLog) -> None:
        await create_post(author=author, status=PUBLISHED)

        with commands.counting() as sent:
            first = await SyndicationService.get_atom(settings=settings)
            second = await SyndicationService.get_atom(settings=settings)

        assert first is second
        assert sent.sent == ["find posts", "aggregate users"]


class TestGetSitemap:
    async def test_published_posts_newest_first_with_their_last_edit(self, author: User, settings: Settings) -> None:
        await create_post(author=author, status=PUBLISHED, slug="old", published_at=EPOCH, edited_at=EPOCH + timedelta(days=40))
        await create_post(author=author, status=PUBLISHED, slug="new", published_at=EPOCH + timedelta(days=1, microseconds=5000))
        await create_post(author=author, status=PostStatus.DRAFT, slug="draft")

        document = await SyndicationService.get_sitemap(settings=settings)

        assert [(url.findtext(f"{SITEMAP}loc"), url.findtext(f"{SITEMAP}lastmod")) for url in ET.fromstring(document.body)] == [
            ("https://agora.example/api/v1/blog/posts/new", "2026-01-02T00:00:00Z"),
            ("https://agora.example/api/v1/blog/posts/old", "2026-02-10T00:00:00Z"),
        ]
        assert document.modified_at == EPOCH + timedelta(days=40)

    async def test_holds_no_more_than_a_file_may(self, author: User, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        assert syndication.MAX_SITEMAP_URLS == 50_000
        monkeypatch.setattr(syndication, "MAX_SITEMAP_URLS", 2)
        for number in range(3):
            await create_post(author=author, status=PUBLISHED, slug=f"s{number}")

        root = ET.fromstring((await SyndicationService.get_sitemap(settings=settings)).body)

        assert [url.findtext(f"{SITEMAP}loc", "")[-2:] for url in root] == ["s2", "s1"]

    async def test_forgotten_documents_are_built_again(self, author: User, settings: Settings) -> None:
        empty = await SyndicationService.get_sitemap(settings=settings)
        await create_post(author=author, status=PUBLISHED)

        SyndicationService.forget()

        assert empty.tag != (await SyndicationService.get_sitemap(settings=settings)).tag
