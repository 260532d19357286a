"""What live connections are told: one frozen model per kind of fact, told apart by `type`."""

from datetime import datetime
from typing import Annotated, Literal

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True)


class PostPublished(_Fact):
    type: Literal["post.published"] = "post.published"
    post_id: PydanticObjectId
    slug: str
    title: str


class PostUpdated(_Fact):
    """A public post was edited."""

    type: Literal["post.updated"] = "post.updated"
    post_id: PydanticObjectId
    slug: str
    title: str


class PostWithdrawn(_Fact):
    """A post is no longer public. Not told when it is public again by the time it would be told."""

    type: Literal["post.withdrawn"] = "post.withdrawn"
    post_id: PydanticObjectId


class PostLikes(_Fact):
    type: Literal["post.likes"] = "post.likes"
    post_id: PydanticObjectId
    likes_count: int


class CommentApproved(_Fact):
    type: Literal["comment.approved"] = "comment.approved"
    post_id: PydanticObjectId
    comment_id: PydanticObjectId
    comments_count: int  # of the post, approved ones


class CommentWithdrawn(_Fact):
    type: Literal["comment.withdrawn"] = "comment.withdrawn"
    post_id: PydanticObjectId
    comment_id: PydanticObjectId
    comments_count: int


class CommentLikes(_Fact):
    type: Literal["comment.likes"] = "comment.likes"
    post_id: PydanticObjectId
    comment_id: PydanticObjectId
    likes_count: int


class CommentWaiting(_Fact):
    """For moderators: a comment waits for their word."""

    type: Literal["comment.waiting"] = "comment.waiting"
    post_id: PydanticObjectId
    comment_id: PydanticObjectId


class UserFollowers(_Fact):
    """For the person who is followed."""

    type: Literal["user.followers"] = "user.followers"
    user_id: PydanticObjectId
    followers_count: int


LiveFact = Annotated[
    PostPublished
    | PostUpdated
    | PostWithdrawn
    | PostLikes
    | CommentApproved
    | CommentWithdrawn
    | CommentLikes
    | CommentWaiting
    | UserFollowers,
    Field(discriminator="type"),
]


class LiveEvent(BaseModel):
    """One fact as it is told, once per connection. Name the highest `sequence` you saw to resume after it."""

    model_config = ConfigDict(frozen=True)

    type: Literal["event"] = "event"
    sequence: int
    topics: list[str] = Field(description="Those of the connection's topics that it belongs to")
    happened_at: datetime
    fact: LiveFact
