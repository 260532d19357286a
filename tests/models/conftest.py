"""A store for what the documents must do alike on every server: `any_store`."""

from typing import Any

import mongomock_motor
import pytest

from models.database import LANE, Database
from models.documents import DOCUMENTS

if LANE == "pymongo":

    @pytest.fixture(name="any_store")
    async def real_store(database: Database) -> Database:
        """The documents on the embedded server."""
        return database

else:

    @pytest.fixture(name="any_store")
    async def mocked_store() -> Database:
        """The documents on mongomock: no server, no sessions, and no race ever shows. For single reads and writes only."""
        client: Any = mongomock_motor.AsyncMongoMockClient(tz_aware=True)
        mocked = Database(client, "agora")
        await mocked.bind(DOCUMENTS)
        return mocked
