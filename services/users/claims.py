"""Deciding between rivals for one address, also where a unique index alone does not."""

from datetime import timedelta

from beanie import PydanticObjectId

from models.base import now as present
from models.database import Session
from models.users import AccountToken
from services.users.sessions import hash_token


async def claim_address(session: Session, normalized: str) -> None:
    """Make transactions that are about to give this address to somebody collide, so that one is decided after the other.

    The embedded server enforces a unique index between transactions that insert, not between those that update (seven of ten
    users got one address, measured). So each of them first inserts a row under the address, and takes it away again: nobody sees
    it, and still no two can have it at once.
    """
    now = present()
    row = {
        "_id": PydanticObjectId(),
        "user_id": PydanticObjectId(),
        "purpose": "claim",
        "token_hash": f"claim:{hash_token(normalized)}",
        "expires_at": now + timedelta(hours=1),
        "created_at": now,
        "updated_at": now,
    }
    await AccountToken.collection().insert_one(row, session=session)
    await AccountToken.collection().delete_one({"_id": row["_id"]}, session=session)
