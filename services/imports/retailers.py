"""Batches of a retailer's documents: their products and customers first, then each document by itself."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from beanie import PydanticObjectId

from models.database import Session, run_transaction
from models.ecommerce.catalog import Product, ProductStatus
from models.ecommerce.orders import Order
from models.ecommerce.returns import ReturnRequest
from models.imports import FailureKind, ImportedKind
from models.money import Money
from services.ecommerce.catalog.products import SourceTakenError
from services.ecommerce.catalog.writing import ProductDraft
from services.errors import AppError
from services.imports.credits import write_credit
from services.imports.invoices import InvoiceTerms, ensure_customers, source_key_of, write_invoice
from services.imports.letters import DeadLetters
from services.imports.products import Outcome, create_product, known_products
from services.imports.retail import RetailDocument, RetailLine, product_sku
from services.imports.sources import draft_of
from services.imports.values import RefusedRowError, cut
from services.settings import Settings
from services.users.permissions import Viewer

_TOGETHER = 50  # products in one transaction

Counts = Counter[tuple[ImportedKind, Outcome]]


class RetailWriter:
    """Writes the documents of one run. Remembers which products and customers it has met, to count each once."""

    def __init__(self, *, currency: str, settings: Settings, viewer: Viewer, letters: DeadLetters, counts: Counts) -> None:
        self._currency = currency
        self._settings = settings
        self._viewer = viewer
        self._letters = letters
        self._counts = counts
        self._codes: set[str] = set()
        self._customers: set[str] = set()

    async def write(self, documents: Sequence[RetailDocument]) -> None:
        """Bring the documents in, in their order. What is there already is left as it is."""
        for document in documents:
            for trouble in document.adjustments:
                self._letters.add(FailureKind.STOCK_ADJUSTMENT, trouble.row, trouble.reason)
        sales = [document for document in documents if not document.is_empty]
        totals = await _known_totals(sales)
        products, failed = await self._ensure_products(sales)
        customers = await self._ensure_customers(sales)
        for document in sales:
            await self._write_one(document, totals.get(document.number), products, failed, customers)

    async def _write_one(
        self,
        document: RetailDocument,
        known: Money | None,
        products: dict[str, Product],
        failed: dict[str, str],
        customers: dict[str, PydanticObjectId],
    ) -> None:
        kind = ImportedKind.RETURNS if document.is_credit else ImportedKind.ORDERS
        total = Money(amount=document.total, currency=self._currency)
        if known is not None:
            if known == total:
                self._counts[kind, Outcome.UNCHANGED] += 1
            else:
                self._refuse(kind, document, f"it was imported before with a total of {known}, not {total}: it is left as it was")
            return
        self._leave_out_gifts(document, failed)
        lacking = next((line for line in document.goods if line.code in failed), None)
        if lacking is not None:
            reason = f"line {lacking.row.line}: {failed[lacking.code]}"
            self._refuse(kind, document, reason, lacking)
            return
        terms = InvoiceTerms(
            currency=self._currency,
            products=products,
            customer_id=customers[document.customer] if document.customer else None,
            settings=self._settings,
        )
        is_new = await (write_credit if document.is_credit else write_invoice)(document, terms)
        self._counts[kind, Outcome.CREATED if is_new else Outcome.UNCHANGED] += 1

    def _leave_out_gifts(self, document: RetailDocument, failed: dict[str, str]) -> None:
        """Lines that cost nothing do not hold up the rest, when nothing is known of which a product could be made."""
        gifts = [line for line in document.goods if line.code in failed and not line.unit_price.amount]
        for line in gifts:
            document.goods.remove(line)
            self._letters.add(FailureKind.LEFT_OUT, line.row, failed[line.code])

    def _refuse(self, kind: ImportedKind, document: RetailDocument, reason: str, line: RetailLine | None = None) -> None:
        self._counts[kind, Outcome.REFUSED] += 1
        noun = "credit note" if document.is_credit else "invoice"
        row = document.row if line is None else line.row
        self._letters.add(FailureKind.REFUSED, row, f"{noun} {document.number}: {reason}")

    async def _ensure_products(self, documents: Sequence[RetailDocument]) -> tuple[dict[str, Product], dict[str, str]]:
        """The products of the goods by stock code, and why there is none for the other codes.

        A product is what the first line about it says; later ones change nothing.
        """
        lines = _first_lines(documents)
        known = await known_products([source_key_of(code) for code in lines])
        for code in lines:
            if source_key_of(code) in known:
                self._count_once(code, Outcome.UNCHANGED)
        missing = [code for code in lines if source_key_of(code) not in known]
        failed: dict[str, str] = {}
        for start in range(0, len(missing), _TOGETHER):
            stretch = {code: lines[code] for code in missing[start : start + _TOGETHER]}
            failed |= await self._make_products(stretch)
        known |= await known_products([source_key_of(code) for code in missing if code not in failed])
        return {code: known[key] for code in lines if (key := source_key_of(code)) in known}, failed

    async def _make_products(self, lines: Mapping[str, RetailLine]) -> dict[str, str]:
        """Make these products in one transaction, because a commit costs more than a product; if that fails, one by one.

        Returns why there is none for some codes.
        """

        async def work(session: Session) -> None:
            for code, line in lines.items():
                await create_product(_draft(line), source_key_of(code), {}, viewer=self._viewer, currency=self._currency)

        failed: dict[str, str] = {}
        try:
            await run_transaction(work)
        except SourceTakenError:  # another import was faster
            if len(lines) == 1:
                self._count_once(next(iter(lines)), Outcome.UNCHANGED)
                return failed
        except (AppError, RefusedRowError) as error:
            if len(lines) == 1:
                [code] = lines
                return {code: f"no product can be made of {code}: {error}"}
        else:
            for code in lines:
                self._count_once(code, Outcome.CREATED)
            return failed
        for code, line in lines.items():
            failed |= await self._make_products({code: line})
        return failed

    def _count_once(self, code: str, outcome: Outcome) -> None:
        self._counts[ImportedKind.PRODUCTS, outcome] += code not in self._codes
        self._codes.add(code)

    async def _ensure_customers(self, documents: Sequence[RetailDocument]) -> dict[str, PydanticObjectId]:
        numbers = {document.customer: None for document in documents if document.customer}
        found, created = await ensure_customers([number for number in numbers if number], currency=self._currency)
        met = found.keys() - self._customers
        self._customers |= met
        self._counts[ImportedKind.CUSTOMERS, Outcome.CREATED] += created
        self._counts[ImportedKind.CUSTOMERS, Outcome.UNCHANGED] += len(met) - created
        return found


async def _known_totals(documents: Collection[RetailDocument]) -> dict[str, Money]:
    """What the documents that are there already come to, by their numbers. Two commands."""
    keys = {source_key_of(document.number): document.number for document in documents}
    if not keys:
        return {}
    query = {"source_key": {"$in": sorted(keys)}}
    orders = await Order.find_rows(query, {"source_key": 1, "totals.total": 1})
    returns = await ReturnRequest.find_rows(query, {"source_key": 1, "refund": 1})
    totals = {keys[row["source_key"]]: Money(**row["totals"]["total"]) for row in orders}
    return totals | {keys[row["source_key"]]: Money(**row["refund"]) for row in returns}


def _first_lines(documents: Sequence[RetailDocument]) -> dict[str, RetailLine]:
    """The line by which each product is made, by its stock code: the first that has a price, else the first."""
    found: dict[str, RetailLine] = {}
    for document in documents:
        for line in document.goods:
            known = found.get(line.code)
            if known is None or (line.unit_price.amount and not known.unit_price.amount):
                found[line.code] = line
    return found


def _draft(line: RetailLine) -> ProductDraft:
    """What a line tells of its product. Raises RefusedRowError."""
    if not line.unit_price.amount:
        raise RefusedRowError("it has no price yet")
    # Its stock is counted and not known: it can be bought once somebody has entered it.
    return draft_of(
        {
            "name": cut(line.name, 200),
            "variants": [{"sku": product_sku(line.code), "price": line.unit_price}],
            "status": ProductStatus.ACTIVE,
        }
    )
