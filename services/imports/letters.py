"""The dead letters of a run, stored by the hundred."""

from beanie import PydanticObjectId
from pymongo import InsertOne

from models.imports import FailureKind, ImportFailure
from services.imports.files import SourceRow

MAX_KEPT = 10_000  # of one run; what comes after is counted
_BATCH = 200


class DeadLetters:
    """Takes the rows of one run that were not imported, or not wholly."""

    def __init__(self, run_id: PydanticObjectId) -> None:
        self.count = 0
        self._run_id = run_id
        self._waiting: list[ImportFailure] = []

    def add(self, kind: FailureKind, row: SourceRow, reason: str) -> None:
        self.count += 1
        if self.count <= MAX_KEPT:
            letter = ImportFailure(
                run_id=self._run_id, number=self.count, kind=kind, line=row.line, reason=reason[:500], raw=row.text
            )
            self._waiting.append(letter)

    async def flush(self, *, wholly: bool = False) -> None:
        """Store what waits, once it is worth a command."""
        while len(self._waiting) >= (1 if wholly else _BATCH):
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            await ImportFailure.collection().bulk_write([InsertOne(letter.row()) for letter in batch], ordered=True)
