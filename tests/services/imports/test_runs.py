"""Runs: what is told of them while they go and afterwards."""

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from models.database import Database
from models.imports import FailureKind, ImportFormat, ImportRun
from models.users import Role
from services.errors import PermissionDeniedError
from services.imports import letters as kept
from services.imports.files import SourceRow, Table, UnreadableFileError, read_lines
from services.imports.letters import DeadLetters
from services.imports.retail import key_of
from services.imports.runs import ImportService
from services.imports.spool import Spool
from services.settings import Settings
from tests.factories.imports import create_run
from tests.factories.users import create_user, viewer_of
from tests.services.imports.conftest import Bring, counted, letters, stored
from tests.services.imports.tables import NOW, retail_file, shopify_file, woo_file
from tests.services.imports.test_retailers import LANTERN, LINES
from tests.services.imports.test_woocommerce import BEANIE


class TestRun:
    async def test_the_run_says_what_was_read(self, bring: Bring, tmp_path: Path) -> None:
        text = retail_file(*LINES)
        run = await bring(text)
        [row] = await stored(ImportRun)

        assert row == run
        assert (run.format, run.file_name, run.currency, run.state) == ("retail", "file.csv", "GBP", "completed")
        assert (run.rows_count, run.failures_count, run.size_bytes) == (12, 1, len(text))
        assert (len(run.checksum), run.started_at) == (64, NOW)
        assert run.finished_at is not None

    async def test_progress_is_told(self, bring: Bring) -> None:
        told: list[tuple[str, int, int | None]] = []

        await bring(retail_file(*LINES), progress=lambda *said: told.append(said))

        assert told == [("reading", 12, None), ("writing", 0, 6), ("writing", 6, 6)]

    async def test_broken_rows_do_not_hold_up_the_rest(self, bring: Bring) -> None:
        run = await bring(retail_file("1,2", LANTERN, ",71053,NOWHERE,1,12/1/2010 8:26,1,,France", "2,\0,,,,,,"))

        assert counted(run)["orders"] == "1/0/0/0"
        assert await letters(run) == [
            ("refused", 2, "the row has 2 cells, the header 8"),
            ("refused", 4, "the row has no number of an invoice"),
            ("refused", 5, "it holds a NUL"),
        ]

    async def test_windows_1252_and_a_semicolon(self, bring: Bring, tmp_path: Path) -> None:
        path = tmp_path / "café.csv"
        path.write_bytes(woo_file({**BEANIE, "Name": "Café £5 – “hot”"}).replace(",", ";").encode("cp1252"))

        run = await bring(path)

        assert (counted(run), run.file_name) == ({"products": "1/0/0/0"}, "café.csv")

    @pytest.mark.parametrize(
        ("text", "terms", "reason"),
        [
            ("", {}, "no header"),
            ("a,b\n1,2\n", {}, "no format known here"),
            (shopify_file(), {"currency": "XXX"}, "no ISO 4217 code"),
            (shopify_file(), {"format": ImportFormat.RETAIL}, "no retail file"),
        ],
    )
    async def test_what_cannot_be_read_is_no_run(self, bring: Bring, text: str, terms: dict[str, Any], reason: str) -> None:
        with pytest.raises(UnreadableFileError, match=reason):
            await bring(text, **terms)

        assert await stored(ImportRun) == []

    async def test_only_who_keeps_the_catalogue_may(self, database: Database, settings: Settings, tmp_path: Path) -> None:
        viewer = viewer_of(await create_user(role=Role.VENDOR))

        with pytest.raises(PermissionDeniedError):
            await ImportService.run(tmp_path / "any.csv", viewer=viewer, settings=settings)

    def test_memory_does_not_grow_with_the_file(self, tmp_path: Path) -> None:
        """What is held of the lines while they are brought together is a buffer or two."""
        path = tmp_path / "long.csv"
        path.write_text(retail_file(*(LANTERN.replace("536365", str(at // 3)) for at in range(6_000))))
        with Spool() as spool:
            tracemalloc.start()
            table = Table(read_lines(path, "utf-8"))
            spool.keep_columns(table.columns)
            for row in table.rows():
                spool.add(key_of(row), row)
            groups = spool.groups(1_900, 40)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()

        assert (len(groups), len(groups[0].rows)) == (40, 3)
        assert path.stat().st_size > 400_000
        assert peak < 400_000


class TestDeadLetters:
    async def test_letters_beyond_the_limit_are_counted(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kept, "MAX_KEPT", 250)
        run = await create_run()
        found = DeadLetters(run.id)
        for line in range(300):
            found.add(FailureKind.REFUSED, SourceRow(line, ["a", "b"]), "x" * 600)
        await found.flush()
        assert len(await letters(run)) == 200

        await found.flush(wholly=True)

        stored_letters = await letters(run)
        assert (found.count, len(stored_letters), len(stored_letters[0][2])) == (300, 250, 500)
