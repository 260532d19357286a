"""The audit log: security acts and administration, written in the transaction of the act and never changed."""

from typing import Any

from beanie import PydanticObjectId

from models.audit import AuditEntry, AuditRead
from models.database import Session
from services.pagination import CursorCodec, CursorPage, find_stretch
from services.users.permissions import Permission, Viewer


class AuditService:
    @staticmethod
    async def record(
        session: Session,
        action: str,
        *,
        subject: str,
        actor_id: PydanticObjectId | None = None,
        address: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        """Note an act in its own transaction. `details` must hold no secret and nothing the person may want erased."""
        entry = AuditEntry(action=action, subject=subject, actor_id=actor_id, address=address, details=details or {})
        await entry.store_later(session=session)

    @staticmethod
    async def list_entries(
        *,
        viewer: Viewer,
        cursors: CursorCodec,
        subject: str | None = None,
        actor_id: PydanticObjectId | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> CursorPage[AuditRead]:
        """The log, newest first, of one subject or one actor if named. Raises PermissionDeniedError and InvalidCursorError."""
        viewer.require(Permission.READ_AUDIT)
        query: dict[str, Any] = {}
        if subject is not None:
            query["subject"] = subject
        if actor_id is not None:
            query["actor_id"] = actor_id
        rows, next_cursor = await find_stretch(
            AuditEntry, query, listing=f"audit:{subject}:{actor_id}", cursors=cursors, cursor=cursor, limit=limit
        )
        items = [AuditRead.model_validate({**row, "id": row["_id"]}) for row in rows]
        return CursorPage[AuditRead](items=items, next_cursor=next_cursor)
