"""What Agora is measured against: raw ASGI routes on the driver, as few commands as it can do with and no cache.

It has no middleware, checks nothing, knows no one, and answers with the same data. Started by `scripts.bench`.
"""

import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import orjson
from beanie import PydanticObjectId

from models.database import Database, aggregate

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

database = Database.connect(os.environ["MONGODB_URI"], os.environ["AGORA_DATABASE"])
posts = database.raw["posts"]

_JOIN: list[dict[str, Any]] = [
    {
        "$lookup": {
            "from": "users",
            "localField": "author_id",
            "foreignField": "_id",
            "pipeline": [{"$project": {"username": 1, "first_name": 1, "last_name": 1, "avatar_url": 1}}],
            "as": "author",
        }
    },
    {
        "$lookup": {
            "from": "blog_categories",
            "localField": "category_id",
            "foreignField": "_id",
            "pipeline": [{"$project": {"name": 1, "slug": 1, "color": 1}}],
            "as": "category",
        }
    },
    {
        "$lookup": {
            "from": "tags",
            "localField": "tag_ids",
            "foreignField": "_id",
            "pipeline": [{"$project": {"name": 1, "slug": 1}}],
            "as": "tags",
        }
    },
]
_HIDDEN = {"content": 0, "terms": 0, "tag_ids": 0}


async def post_by_slug(slug: str) -> Any:
    rows = await aggregate(posts, [{"$match": {"slug": slug}}, {"$limit": 1}, {"$project": _HIDDEN}, *_JOIN])
    return rows[0]


async def page_of_posts() -> Any:
    published = {"status": "published"}
    rows = await aggregate(
        posts,
        [
            {"$match": published},
            {"$sort": {"published_at": -1, "_id": -1}},
            {"$limit": 20},
            {"$project": {**_HIDDEN, "content_html": 0}},
            *_JOIN,
        ],
    )
    count = await database.raw.command({"count": "posts", "query": published})
    return {"items": rows, "total_count": count["n"]}


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
    """Three routes, told apart by the shape of their path."""
    if scope["type"] != "http":
        return
    parts = scope["path"].split("/")[4:]  # after /api/v1/blog
    status = 200
    if len(parts) == 3:
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
