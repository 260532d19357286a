"""What Agora is measured against: raw ASGI routes on the driver, as few commands as it can do with and no cache.

It has no middleware, checks nothing, knows no one, and answers with the same data. Started by `scripts.bench`.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import orjson
from beanie import PydanticObjectId

from models.database import Database, aggregate
from scripts.benchmark.baseline_shop import BareShop

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

database = Database.connect(os.environ["MONGODB_URI"], os.environ["AGORA_DATABASE"])
posts = database.raw["posts"]
shop = BareShop(database)

# A `$lookup` with a pipeline of its own scans on the embedded server; the plain form uses the index.
_JOIN: list[dict[str, Any]] = [
    {"$lookup": {"from": collection, "localField": field, "foreignField": "_id", "as": name}}
    for collection, field, name in (
        ("users", "author_id", "author"),
        ("blog_categories", "category_id", "category"),
        ("tags", "tag_ids", "tags"),
    )
]
_NAMES: dict[str, Any] = {
    "author": {"_id": 1, "username": 1, "first_name": 1, "last_name": 1, "avatar_url": 1},
    "category": {"_id": 1, "name": 1, "slug": 1, "color": 1},
    "tags": {"_id": 1, "name": 1, "slug": 1},
}
_CONTENT = ["title", "slug", "excerpt", "featured_image", "status", "published_at", "reading_minutes"]
_COUNTS = ["views_count", "likes_count", "comments_count"]
_SUMMARY: dict[str, Any] = dict.fromkeys([*_CONTENT, *_COUNTS, "author_id", "category_id", "tag_ids"], 1)
_DETAIL = ["content_html", "meta_title", "meta_description", "created_at", "updated_at", "revision"]
_READ: dict[str, Any] = {**_SUMMARY, **dict.fromkeys(_DETAIL, 1)}

# Where the newest posts begin. The embedded server sorts all that a filter matches, so even the bare program bounds it.
_floor: list[datetime] = []


async def post_by_slug(slug: str) -> Any:
    stages = [{"$match": {"slug": slug}}, {"$project": _READ}, *_JOIN, {"$project": {**_READ, **_NAMES}}]
    return (await aggregate(posts, stages))[0]


async def page_of_posts() -> Any:
    published = {"status": "published"}
    newest = [("published_at", -1), ("_id", -1)]
    if not _floor:
        rows = await posts.find(published, {"published_at": 1}, sort=newest, limit=40).to_list(None)
        _floor.append(rows[-1]["published_at"])
    recent = {**published, "published_at": {"$gte": _floor[0]}}
    rows, count = await asyncio.gather(
        posts.find(recent, _SUMMARY, sort=newest, limit=20).to_list(None),
        database.raw.command({"count": "posts", "query": published}),
    )
    names = await asyncio.gather(
        _by_id("users", {row["author_id"] for row in rows}, _NAMES["author"]),
        _by_id("blog_categories", {row["category_id"] for row in rows}, _NAMES["category"]),
        _by_id("tags", {tag for row in rows for tag in row["tag_ids"]}, _NAMES["tags"]),
    )
    return {"items": rows, "names": names, "total_count": count["n"]}


async def _by_id(collection: str, ids: set[Any], fields: dict[str, Any]) -> Any:
    return await database.raw[collection].find({"_id": {"$in": list(ids)}}, fields).to_list(None)


async def create_comment(post_id: str, body: bytes) -> Any:
    comment = {
        "post_id": PydanticObjectId(post_id),
        "content": orjson.loads(body)["content"],
        "created_at": datetime.now(UTC),
    }
    await database.raw["bare_comments"].insert_one(comment)
    await posts.update_one({"_id": comment["post_id"]}, {"$inc": {"bare_comments": 1}})
    return comment


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The routes, told apart by the shape of their path."""
    if scope["type"] != "http":
        return
    domain, *parts = scope["path"].split("/")[3:]  # after /api/v1
    status = 200
    if domain == "shop":
        if parts[0] == "checkout":
            answer = await shop.checkout((await receive())["body"])
            status = 201
        else:
            answer = await (shop.page(parts[1]) if len(parts) == 2 else shop.search(scope["query_string"]))
    elif len(parts) == 3:
        body = (await receive())["body"]
        answer = await create_comment(parts[1], body)
        status = 201
    elif len(parts) == 2:
        answer = await post_by_slug(parts[1])
    else:
        answer = await page_of_posts()
    encoded = orjson.dumps(answer, default=str)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(encoded)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": encoded})
