"""RSS, Atom and the sitemap over HTTP."""

from xml.etree import ElementTree as ET

import httpx2
import pytest

from models.blog.posts import PostStatus
from services.blog.syndication import SyndicationService
from tests.factories.blog import EPOCH, create_post

PATHS = {
    "/feed.rss": "application/rss+xml; charset=utf-8",
    "/feed.atom": "application/atom+xml; charset=utf-8",
    "/sitemap.xml": "application/xml; charset=utf-8",
}


@pytest.mark.parametrize("path", PATHS)
class TestSyndication:
    async def test_everyone_gets_well_formed_xml_of_its_type(self, client: httpx2.AsyncClient, path: str) -> None:
        await create_post(status=PostStatus.PUBLISHED, slug="a-post", published_at=EPOCH)

        response = await client.get(path)

        assert response.status_code == 200
        assert response.headers["content-type"] == PATHS[path]
        assert response.headers["last-modified"] == "Thu, 01 Jan 2026 00:00:00 GMT"
        ET.fromstring(response.content)
        assert b"/api/v1/blog/posts/a-post" in response.content

    async def test_a_reader_who_holds_it_gets_304(self, client: httpx2.AsyncClient, path: str) -> None:
        await create_post(status=PostStatus.PUBLISHED, published_at=EPOCH)
        first = await client.get(path)

        by_tag = await client.get(path, headers={"If-None-Match": first.headers["etag"]})
        by_date = await client.get(path, headers={"If-Modified-Since": first.headers["last-modified"]})

        for response in (by_tag, by_date):
            assert (response.status_code, response.content) == (304, b"")
            assert response.headers["etag"] == first.headers["etag"]

    async def test_a_changed_one_is_sent_again(self, client: httpx2.AsyncClient, path: str) -> None:
        await create_post(status=PostStatus.PUBLISHED, published_at=EPOCH)
        first = await client.get(path)
        await create_post(status=PostStatus.PUBLISHED)
        SyndicationService.forget()

        for headers in (
            {"If-None-Match": first.headers["etag"]},
            {"If-Modified-Since": first.headers["last-modified"]},
            {"If-None-Match": '"another"', "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
            {"If-Modified-Since": "yesterday"},
            {"If-Modified-Since": "Thu, 01 Jan 2099 00:00:00 -0000"},
        ):
            assert (await client.get(path, headers=headers)).status_code == 200
