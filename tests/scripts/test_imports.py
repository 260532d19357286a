"""`make import` as a person runs it."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import typer
from rich.console import Console

from models.database import Database
from models.imports import ImportCount, ImportedKind
from scripts.imports import main, report
from services.settings import Settings
from tests.factories.imports import create_failure, create_run
from tests.scripts.processes import run_script
from tests.services.imports.tables import retail_file
from tests.services.imports.test_retailers import LINES


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.csv"
    path.write_text(retail_file(*LINES, "1,2"))
    return path


@pytest.fixture
def import_file(settings: Settings, tmp_path: Path) -> Callable[..., CompletedProcess[str]]:
    """Run the script on the test's own database."""

    def run(*arguments: str) -> CompletedProcess[str]:
        return run_script(
            tmp_path / "data",
            "imports",
            *arguments,
            COLUMNS="200",
            MONGODB_URI=settings.mongodb_uri,
            AGORA_DATABASE=settings.database,
        )

    return run


class TestImport:
    def test_a_file_is_brought_in_and_a_second_time_nothing_changes(
        self, lines: Path, import_file: Callable[..., CompletedProcess[str]]
    ) -> None:
        first = import_file(str(lines))
        again = import_file(str(lines), "--format", "retail", "--currency", "gbp")

        assert (first.returncode, again.returncode) == (0, 0)
        assert "lines.csv, retail" in first.stdout
        assert "the row has 2 cells, the header 8" in first.stdout
        assert "a price of 0 and no description are a correction of stock" in first.stdout
        assert first.stdout.splitlines()[-1] == "13 rows read, 2 dead letters."
        assert again.stdout.splitlines()[-1] == "13 rows: everything was there already, nothing changed."

    def test_what_cannot_be_read_is_told_in_one_sentence(
        self, tmp_path: Path, import_file: Callable[..., CompletedProcess[str]]
    ) -> None:
        strange = tmp_path / "strange.csv"
        strange.write_text("a,b\n1,2\n")

        unknown = import_file(str(strange))

        assert (unknown.returncode, unknown.stderr) == (
            1,
            "The header is that of no format known here (woocommerce, shopify, medusa, retail).\n",
        )

    def test_an_unknown_format_is_told_before_anything_starts(self) -> None:
        with pytest.raises(typer.BadParameter, match="auto or one of woocommerce, shopify, medusa, retail"):
            main(Path("any.csv"), format="xml")


class TestReport:
    async def test_nothing_taken_is_a_failure(self, database: Database, capsys: pytest.CaptureFixture[str]) -> None:
        count = ImportCount(kind=ImportedKind.PRODUCTS, refused=60)
        run = await create_run(counts=[count], rows_count=60, failures_count=60)
        for number in range(1, 61):
            await create_failure(run, number=number, reason=f"[bold]{number}[/bold]")

        code = await report(run, Console(width=120))

        printed = capsys.readouterr().out
        assert code == 1
        assert "[bold]50[/bold]" in printed  # as it was written
        assert "[bold]51[/bold]" not in printed
        assert f"The first 50 of 60: GET /api/v1/imports/{run.id}/failures has them all." in printed
        assert printed.splitlines()[-1] == "60 rows read, 60 dead letters."
