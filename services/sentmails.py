"""Mail about an event, sent once: what was sent is written down, without saying to whom."""

import hashlib
from datetime import datetime, timedelta

import structlog
from beanie import PydanticObjectId

from models.base import now as present
from models.database import DuplicateKeyError
from models.events import Event
from models.mails import SentMail
from services.mail import Mailer, MailRefusedError, Message
from services.settings import Settings

log = structlog.get_logger(__name__)

KEPT_FOR = timedelta(days=90)
NEWS_FOR = timedelta(days=7)  # what is older when it is handled is no news: a restored backup must not write to everyone


def is_news(event: Event, *, now: datetime | None = None) -> bool:
    """Whether it is recent enough to write to somebody about it."""
    return (now or present()) - event.created_at <= NEWS_FOR


class SentMailService:
    """One mail per event and address: only a consumer killed between the mail server's "taken" and the note of it sends twice,
    and then under one Message-ID.
    """

    @staticmethod
    async def was_sent(event_id: PydanticObjectId, *, to: str, settings: Settings) -> bool:
        """Whether this address had its mail about this event, or was refused for good."""
        query = {"event_id": event_id, "recipient": _digest(to, settings)}
        return await SentMail.find_row(query, {"_id": 1}) is not None

    @staticmethod
    async def send(event_id: PydanticObjectId, message: Message, *, mailer: Mailer, settings: Settings) -> None:
        """Send it under a key of its event and address, and write that down. What the mailer raises for the moment is raised."""
        recipient = _digest(message.to, settings)
        key = f"event-{event_id}-{recipient[:12]}"
        is_refused = False
        try:
            await mailer.send(Message(message.to, message.subject, message.text, key))
        except MailRefusedError:
            is_refused = True
            log.warning("mail_refused", about=str(event_id))
        try:
            await SentMail(event_id=event_id, recipient=recipient, is_refused=is_refused, expires_at=present() + KEPT_FOR).store()
        except DuplicateKeyError:
            return


def _digest(address: str, settings: Settings) -> str:
    key = hashlib.blake2b(settings.secret_bytes, person=b"agora-sent-mail").digest()
    return hashlib.blake2b(address.casefold().encode(), key=key, digest_size=16).hexdigest()
