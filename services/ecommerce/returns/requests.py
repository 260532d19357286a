"""What customers do: ask for a return, look at it, keep the pieces after all."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from beanie import PydanticObjectId

from models.base import now as present
from models.base import to_milliseconds
from models.database import Session, run_transaction
from models.ecommerce.returns import (
    ReturnRead,
    ReturnRequest,
    ReturnStatus,
)
from models.events import EventType
from services.ecommerce.orders.reading import OrderAccess, get_order_row, read_order
from services.ecommerce.returns.moves import (
    check_access,
    close_return,
    load_return,
    record_return,
    speak_of,
    to_return,
)
from services.ecommerce.returns.pieces import ReturnPart, check_window, requested_lines
from services.pagination import CursorCodec, CursorPage, find_stretch
from services.sequences import SequenceService
from services.settings import Settings
from services.users.permissions import Viewer

MAX_NOTES_LENGTH = 1_000


class ReturnService:
    @staticmethod
    async def request(
        order_id: PydanticObjectId,
        parts: Sequence[ReturnPart],
        *,
        access: OrderAccess,
        settings: Settings,
        notes: str = "",
        now: datetime | None = None,
    ) -> ReturnRead:
        """Ask to send pieces of a delivered order back; from then on no other return can speak of them.

        Raises OrderNotFoundError, NotReturnableError, ReturnTooLargeError.
        """
        now = to_milliseconds(now or present())
        number = await SequenceService.next_number("RMA", now=now)

        async def work(session: Session) -> ReturnRequest:
            order = await read_order(order_id, access=access, session=session)
            check_window(order, settings=settings, now=now)
            lines = requested_lines(order, parts)
            wanted = Counter({line.line_id: line.quantity for line in lines})
            await speak_of(order, wanted, session=session)
            request = ReturnRequest(
                number=number,
                order_id=order.id,
                customer_id=order.customer_id,
                user_id=order.user_id,
                lines=lines,
                notes=notes,
                requested_at=now,
            )
            await request.store(session=session)
            await record_return(EventType.RETURN_REQUESTED, request, access.viewer, session)
            return request

        return to_return((await run_transaction(work, hot=[order_id])).row())

    @staticmethod
    async def get_return(return_id: PydanticObjectId, *, access: OrderAccess) -> ReturnRead:
        """Raises ReturnNotFoundError, for what is foreign as for what is absent."""
        request = await load_return(return_id, None)
        await check_access(request, access)
        return to_return(request.row())

    @staticmethod
    async def list_of_order(order_id: PydanticObjectId, *, access: OrderAccess) -> list[ReturnRead]:
        """The returns of an order, oldest first, 100 at most. Raises OrderNotFoundError."""
        await get_order_row(order_id, access=access, fields={"user_id": 1, "guest_token_hash": 1})
        rows = await ReturnRequest.find_rows({"order_id": order_id}, sort=[("_id", 1)], limit=100)
        return [to_return(row) for row in rows]

    @staticmethod
    async def list_own_returns(
        *, viewer: Viewer, cursors: CursorCodec, cursor: str | None = None, limit: int = 20
    ) -> CursorPage[ReturnRead]:
        """The viewer's returns, newest first. Raises InvalidCursorError."""
        rows, next_cursor = await find_stretch(
            ReturnRequest,
            {"user_id": viewer.user_id},
            listing=f"returns:{viewer.user_id}",
            cursors=cursors,
            cursor=cursor,
            limit=limit,
            direction=-1,
        )
        return CursorPage[ReturnRead].model_construct(items=[to_return(row) for row in rows], next_cursor=next_cursor)

    @staticmethod
    async def cancel(return_id: PydanticObjectId, *, access: OrderAccess) -> ReturnRead:
        """The customer keeps the pieces after all. Cancelling again changes nothing.

        Raises ReturnNotFoundError, ReturnTransitionError once something was received.
        """
        await check_access(await load_return(return_id, None), access)
        closed = await close_return(return_id, ReturnStatus.CANCELLED, EventType.RETURN_REJECTED, viewer=access.viewer, fields={})
        return to_return(closed.row())
