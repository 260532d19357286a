"""What is left of a person under posts once their account is gone: the comments, without where they were written from."""

from beanie import PydanticObjectId

from models.blog.comments import Comment
from models.events import Event, EventType
from services.events import Consumer


async def _forget_origins(event: Event) -> None:
    author_id = PydanticObjectId(event.subject.removeprefix("user:"))
    await Comment.change_many({"author_id": author_id}, {"$set": {"address": None, "user_agent": None}})


ANONYMITY_CONSUMER = Consumer("comment_anonymity", {EventType.USER_DEACTIVATED}, _forget_origins)
"""Removes network address and user agent from the comments of a person who was deactivated. Harmless to repeat."""
