"""What people do to each other and to things: follows and likes, one mechanism for every domain."""

from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument


class Follow(AgoraDocument):
    """`follower_id` wants to see what `following_id` publishes."""

    follower_id: PydanticObjectId
    following_id: PydanticObjectId

    class Settings:
        name = "follows"
        indexes = [
            # At most one follow per pair; also whom a person follows, for the feed.
            IndexModel([("follower_id", ASCENDING), ("following_id", ASCENDING)], name="follower_following_unique", unique=True),
            # Whom a person follows, newest first.
            IndexModel([("follower_id", ASCENDING), ("_id", DESCENDING)], name="follower_newest"),
            # A person's followers, newest first.
            IndexModel([("following_id", ASCENDING), ("_id", DESCENDING)], name="following_newest"),
        ]


class LikeKind(StrEnum):
    POST = "post"
    COMMENT = "comment"
    REVIEW = "review"  # a helpful vote


class Like(AgoraDocument):
    """One person's like of one thing."""

    kind: LikeKind
    subject_id: PydanticObjectId
    user_id: PydanticObjectId

    class Settings:
        name = "likes"
        indexes = [
            # At most one like per person and thing; ids are unique across collections, so the kind is not part of it.
            IndexModel([("subject_id", ASCENDING), ("user_id", ASCENDING)], name="subject_user_unique", unique=True),
            # What a person liked, newest first.
            IndexModel([("user_id", ASCENDING), ("_id", DESCENDING)], name="user_newest"),
            # Likes of a kind within a time window, for popularity.
            IndexModel([("kind", ASCENDING), ("created_at", ASCENDING)], name="kind_created"),
        ]


class LikeState(BaseModel):
    """Whether the viewer likes a thing now, and how many people do."""

    model_config = ConfigDict(frozen=True)

    liked: bool
    likes_count: int = Field(examples=[12])


class FollowState(BaseModel):
    """Whether the viewer follows a person now, and how many people do."""

    model_config = ConfigDict(frozen=True)

    is_following: bool
    followers_count: int = Field(examples=[12])
