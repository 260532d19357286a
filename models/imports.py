"""Files that were imported: what each run read and did, and the rows it could not take."""

from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime
from models.money import Currency


class ImportFormat(StrEnum):
    WOOCOMMERCE = "woocommerce"  # products
    SHOPIFY = "shopify"  # products
    MEDUSA = "medusa"  # products
    RETAIL = "retail"  # order lines of a retailer: customers, products, orders and returns


class ImportState(StrEnum):
    RUNNING = "running"  # or killed: run again, it completes what is missing
    COMPLETED = "completed"


class ImportedKind(StrEnum):
    PRODUCTS = "products"
    CUSTOMERS = "customers"
    ORDERS = "orders"
    RETURNS = "returns"


class ImportCount(BaseModel):
    """What became of the things of one kind. Each is one of the four."""

    model_config = ConfigDict(frozen=True)

    kind: ImportedKind
    created: int = 0
    updated: int = 0
    unchanged: int = Field(default=0, description="There already, just as the file has them")
    refused: int = Field(default=0, description="Not imported: the dead letters say why")


class ImportRun(AgoraDocument):
    """One reading of one file."""

    format: ImportFormat
    file_name: str  # without its folder
    checksum: str  # SHA-256 of its bytes
    size_bytes: int
    currency: Currency  # of prices that name none
    state: ImportState = ImportState.RUNNING
    rows_count: int = 0  # below the header, blank ones not counted
    counts: list[ImportCount] = Field(default_factory=list)
    failures_count: int = 0  # dead letters, also those beyond what is kept
    started_at: UtcDatetime
    finished_at: UtcDatetime | None = None

    class Settings:
        name = "import_runs"
        indexes: list[IndexModel] = []  # read newest first, by the id


class FailureKind(StrEnum):
    REFUSED = "refused"  # not imported, nor what it belongs to
    LEFT_OUT = "left_out"  # imported without this part
    STOCK_ADJUSTMENT = "stock_adjustment"  # no sale: a correction of the retailer's own stock


class ImportFailure(AgoraDocument):
    """A dead letter: a row that was not imported, or not wholly, and why."""

    run_id: PydanticObjectId
    number: int  # its place among the run's
    kind: FailureKind
    line: int  # in the file, from 1, where the row begins
    reason: str
    raw: str  # the row as CSV, cut where it is very long

    class Settings:
        name = "import_failures"
        indexes = [
            # The dead letters of a run, in their order.
            IndexModel([("run_id", ASCENDING), ("number", ASCENDING)], name="run_number_unique", unique=True),
        ]


class ImportRunRead(BaseModel):
    """One reading of one file, for staff."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    format: ImportFormat
    file_name: str = Field(examples=["online_retail_2010_12.csv"])
    checksum: str = Field(description="SHA-256 of the file, hexadecimal")
    size_bytes: int
    currency: Currency
    state: ImportState = Field(description="`running` also for a run that was killed: run it again, it completes what is missing")
    rows_count: int = Field(description="Rows below the header")
    counts: list[ImportCount] = Field(description="What became of the things in it, by kind")
    failures_count: int = Field(description="Dead letters")
    started_at: UtcDatetime
    finished_at: UtcDatetime | None


class ImportFailureRead(BaseModel):
    """A row that was not imported, or not wholly, and why."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    kind: FailureKind
    line: int = Field(description="In the file, from 1, where the row begins")
    reason: str = Field(examples=["the price 1.999 has more digits than GBP"])
    raw: str = Field(description="The row as CSV, cut where it is very long")
