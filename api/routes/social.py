"""Who follows whom."""

from typing import Annotated

from fastapi import Path

from api.dependencies import Cursor, Cursors, Limit, SignedIn
from api.routing import make_router, refuses
from models.social import FollowState
from models.users import AuthorName
from services.pagination import CursorPage, InvalidCursorError
from services.social import FollowService, PersonNotFoundError, SelfFollowError

router = make_router("/profiles", "Social")

Username = Annotated[str, Path(max_length=50, description="A person's username", examples=["janedoe"])]

_FOLLOW = refuses(PersonNotFoundError, SelfFollowError)
_LIST = refuses(PersonNotFoundError, InvalidCursorError)


@router.put("/{username}/follow", responses=_FOLLOW)
async def follow_user(username: Username, viewer: SignedIn) -> FollowState:
    """Follow a person: their posts appear in one's feed. Safe to repeat."""
    return await FollowService.follow(username, viewer=viewer)


@router.delete("/{username}/follow", responses=_FOLLOW)
async def unfollow_user(username: Username, viewer: SignedIn) -> FollowState:
    """Stop following a person. Safe to repeat."""
    return await FollowService.unfollow(username, viewer=viewer)


@router.get("/{username}/followers", responses=_LIST)
async def list_followers(
    username: Username, cursors: Cursors, cursor: Cursor = None, limit: Limit = 20
) -> CursorPage[AuthorName]:
    """Who follows a person, newest first."""
    return await FollowService.list_followers(username, cursors=cursors, cursor=cursor, limit=limit)


@router.get("/{username}/following", responses=_LIST)
async def list_following(
    username: Username, cursors: Cursors, cursor: Cursor = None, limit: Limit = 20
) -> CursorPage[AuthorName]:
    """Whom a person follows, newest first."""
    return await FollowService.list_following(username, cursors=cursors, cursor=cursor, limit=limit)
