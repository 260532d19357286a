"""Mail that must not be sent twice: what was sent, without saying to whom."""

from beanie import PydanticObjectId
from pymongo import ASCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime


class SentMail(AgoraDocument):
    """One mail about one event, written when the mail server had taken it (or had refused its recipient for good)."""

    event_id: PydanticObjectId
    recipient: str  # a keyed digest of the address
    is_refused: bool = False
    expires_at: UtcDatetime

    class Settings:
        name = "sent_mails"
        indexes = [
            # Whether this was sent already.
            IndexModel([("event_id", ASCENDING), ("recipient", ASCENDING)], name="event_recipient_unique", unique=True),
            # Events are not repeated after so long.
            IndexModel([("expires_at", ASCENDING)], name="expires_at_ttl", expireAfterSeconds=0),
        ]
