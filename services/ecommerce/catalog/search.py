"""What customers find: public products by words and filters, sorted, paged, with what the results can be narrowed by.

One pipeline on either server. It starts with one condition that an index serves, filters the rest in a second stage, and carries
no more than sorting and counting need; the few rows of the page are read again at its end. Only the list of everything is a plain
find, which an index can sort.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeAlias

from beanie import PydanticObjectId
from bson import ObjectId

from models.ecommerce.catalog import VISIBLE_STATUSES, AttributeKind, Product
from models.ecommerce.catalog_reads import (
    AvailabilityCounts,
    Facet,
    FacetValue,
    PriceRange,
    ProductSearchPage,
    SearchFacets,
    SearchFilters,
)
from models.money import Money
from services.cache import Cache
from services.ecommerce.catalog.reading import SUMMARY_FIELDS, to_summary
from services.ecommerce.catalog.reference import Reference, get_reference, shows_reference
from services.ecommerce.catalog.writing import BRAND, TAG, facet, normalized
from services.errors import UnprocessableError
from services.pagination import PageRequest
from services.search import query_terms, rarest_first, score_of

MAX_FACET_VALUES = 50  # of one facet, the most frequent
MAX_FILTERS = 20  # values of one kind
_MAX_GROUPS = 2_000

_PAIR = re.compile(r"([a-z0-9_-]{1,50}):(.{1,200})", re.DOTALL)

Stages: TypeAlias = list[dict[str, Any]]
Condition: TypeAlias = dict[str, Any]


class ProductSort(StrEnum):
    """Ties always go to the newest product; to the oldest with `price_high`."""

    RELEVANCE = "relevance"  # best match, then bestselling; without words: featured, then bestselling
    PRICE_LOW = "price_low"
    PRICE_HIGH = "price_high"
    NEWEST = "newest"
    BESTSELLING = "bestselling"
    RATING = "rating"


class InvalidFilterError(UnprocessableError):
    """A filter is no `code:value` of an attribute that is a facet, no price, or one of too many."""

    code = "invalid_filter"

    def __init__(self, given: str) -> None:
        super().__init__("Attributes are filtered as `code:value`, prices by amounts of the currency, by 20 of a kind at most.")
        self.given = given


@dataclass(frozen=True, slots=True)
class ProductFilter:
    """Which public products are wanted. Values of one kind widen each other, different kinds narrow. Empty does not narrow.

    `attributes` are `code:value`. Prices are compared in `currency`; products priced in others are then left out.
    """

    query: str = ""
    category: str | None = None  # a slug; its subtree is included
    brands: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    currency: str = "USD"
    min_price: Money | None = None
    max_price: Money | None = None
    available: bool | None = None
    seller_id: PydanticObjectId | None = None


@dataclass(frozen=True, slots=True)
class _Search:
    """A search taken apart."""

    lead: Condition  # what an index serves; all the results meet it
    base: list[Condition]  # what all results meet besides, whatever facet is counted
    groups: Mapping[str, Condition]  # what each facet's own filter asks for, by `brand`, `price`, ...
    terms: Sequence[str]

    def all_but(self, left_out: str | None = None) -> Condition:
        conditions = [condition for name, condition in self.groups.items() if name != left_out]
        return {"$and": conditions} if conditions else {}


_Key: TypeAlias = tuple[ProductFilter, ProductSort, PageRequest, bool]

_pages: Cache[_Key, bytes] = Cache("shop_search_pages", ttl=5.0, size=300)
_totals: Cache[str, int] = Cache("shop_totals", ttl=5.0, size=1)
_bounds: Cache[tuple[ProductSort, int], Any] = Cache("shop_page_bounds", ttl=600.0, size=500)


class ProductSearchService:
    @staticmethod
    async def search_products(
        wanted: ProductFilter,
        page: PageRequest,
        *,
        sort: ProductSort = ProductSort.RELEVANCE,
        facets: bool = False,
    ) -> ProductSearchPage:
        """The public products that hold every word of the query and meet the filters; none for an unknown category.

        By relevance: the sum of what the words weigh (name 8, brand and SKU 6, tags 4, short description 3, attributes and
        options 2, description 1 for each occurrence), then bestselling; without words featured ones first, then bestselling.
        Words that do not count ("the") are left out; a query of nothing else finds nothing. A facet's counts are what would be
        left with its value chosen, so its own filter is not applied to them. Raises InvalidFilterError.

        One command, also with facets, and one more when the frequency of one of several words is not known yet; two without any
        filter.
        """
        reference = await get_reference()
        search = await _taken_apart(wanted, reference)
        echo = _echo(wanted, sort)
        if search is None:
            return _result([], page, 0, echo, _no_facets() if facets else None)
        if not (search.base or search.groups or facets) and "status" in search.lead:
            found = await _all_public(search.lead, page, sort)
        else:
            [found] = await Product.aggregate_rows(_pipeline(search, wanted, page, sort, with_facets=facets))
        total = found["total"][0]["n"] if found["total"] else 0
        items = [to_summary(row, reference) for row in found["rows"]]
        counted = _facets(found, wanted, reference) if facets else None
        return _result(items, page, total, echo, counted)

    @staticmethod
    async def search_page(
        wanted: ProductFilter,
        page: PageRequest,
        *,
        sort: ProductSort = ProductSort.RELEVANCE,
        facets: bool = False,
    ) -> bytes:
        """The same as JSON, kept for up to 5 s and until a product changes here. Carts and orders read prices themselves."""

        async def load() -> bytes:
            found = await ProductSearchService.search_products(wanted, page, sort=sort, facets=facets)
            return found.model_dump_json().encode()

        return await _pages.get_or_load((wanted, sort, page, facets), load)


def price_limit(amount: Decimal | None, currency: str) -> Money | None:
    """A bound of the price filter. Raises InvalidFilterError for more digits than the currency has."""
    if amount is None:
        return None
    try:
        return Money.of(amount, currency)
    except ValueError as error:
        raise InvalidFilterError(str(amount)) from error


def forget_searches(_: PydanticObjectId | None = None) -> None:
    """Have results found anew."""
    _pages.invalidate()
    _totals.invalidate()


Product.watchers.append(forget_searches)
shows_reference(_pages)


async def _all_public(visible: Condition, page: PageRequest, sort: ProductSort) -> dict[str, Any]:
    """Everything, in the order of an index and without a look at what is not on the page; in the form of `_pipeline`."""
    total, rows = await asyncio.gather(
        _totals.get_or_load("public", lambda: Product.count_rows(visible)),
        _public_rows(visible, page, sort),
    )
    return {"rows": rows, "total": [{"n": total}]}


async def _public_rows(visible: Condition, page: PageRequest, sort: ProductSort) -> list[dict[str, Any]]:
    """The rows of a page of everything, read within the range that held the whole page last time, if there was one.

    The embedded server sorts all that a filter matches; the range makes that little more than the page. It cannot make the answer
    wrong: a full page within the range is the page, because all that sorts before the range's end lies in it.
    """
    order = _ORDERS[sort]
    field, direction = next(iter(order.items()))
    window: dict[str, Any] = {"sort": list(order.items()), "skip": page.skip, "limit": page.limit}
    fields = {**SUMMARY_FIELDS, field.partition(".")[0]: 1}
    key = (sort, page.skip + page.limit)
    bound = _bounds.get(key)
    rows: list[dict[str, Any]] = []
    if bound is not None:
        rows = await Product.find_rows({**visible, field: bound}, fields, **window)
    if len(rows) < page.limit:
        rows = await Product.find_rows(visible, fields, **window)
    if len(rows) == page.limit:
        end: Any = rows[-1]
        for part in field.split("."):
            end = end[part]
        _bounds.put(key, _up_to(end, direction))
    return rows


def _up_to(end: Any, direction: int) -> Any:
    """What holds for everything that sorts before or at `end`; None where that is everything.

    Wider than need be: asked for a bound itself, the embedded server may leave it out.
    """
    if isinstance(end, bool):
        return end or None  # not featured: at the end of the list
    if isinstance(end, ObjectId):
        return {"$gt": ObjectId.from_datetime(end.generation_time - timedelta(seconds=1))}
    return {"$gt": end - 1} if direction < 0 else {"$lt": end + 1}


def _result(
    items: list[Any], page: PageRequest, total: int, echo: SearchFilters, facets: SearchFacets | None
) -> ProductSearchPage:
    return ProductSearchPage.model_construct(
        items=items,
        page=page.page,
        limit=page.limit,
        total_count=total,
        total_pages=-(-total // page.limit),
        filters=echo,
        facets=facets,
    )


def _echo(wanted: ProductFilter, sort: ProductSort) -> SearchFilters:
    return SearchFilters(
        query=wanted.query,
        category=wanted.category,
        brands=list(wanted.brands),
        tags=list(wanted.tags),
        attributes=list(wanted.attributes),
        currency=wanted.currency,
        min_price=wanted.min_price,
        max_price=wanted.max_price,
        available=wanted.available,
        seller_id=wanted.seller_id,
        sort=sort.value,
    )


async def _taken_apart(wanted: ProductFilter, reference: Reference) -> _Search | None:
    """None when nothing can meet it. Raises InvalidFilterError."""
    values = _chosen(wanted, reference)
    visible: Condition = {"status": {"$in": [status.value for status in VISIBLE_STATUSES]}}
    conditions: list[Condition] = []
    terms: Sequence[str] = ()
    if wanted.query.strip():
        terms = query_terms(wanted.query)
        if not terms:
            return None
        terms = await rarest_first(Product, terms, most_commands=1)
        # An `$and` of equalities: the embedded server finds nothing for an `$all` of several values in an array of documents.
        conditions += [{"terms.term": term} for term in terms]
    if wanted.category is not None:
        category = reference.slugs.get(wanted.category)
        if category is None or not category.is_active:
            return None
        conditions.append({"category_id": {"$in": reference.subtree(category.id)}})
    if wanted.seller_id is not None:
        conditions.append({"seller_id": wanted.seller_id})
    lead, *base = [*conditions, visible]
    groups: dict[str, Condition] = {code: {"facets": {"$in": chosen}} for code, chosen in values.items()}
    if price := _price_condition(wanted):
        groups["price"] = price
    if wanted.available is not None:
        groups["availability"] = {"is_available": wanted.available}
    return _Search(lead, base, groups, terms)


def _chosen(wanted: ProductFilter, reference: Reference) -> dict[str, list[str]]:
    """The wanted values of each facet as `facets` hold them. Raises InvalidFilterError."""
    if max(map(len, (wanted.brands, wanted.tags, wanted.attributes))) > MAX_FILTERS:
        raise InvalidFilterError("")
    chosen: dict[str, list[str]] = {}
    for code, texts in ((BRAND, wanted.brands), (TAG, wanted.tags)):
        for text in texts:
            chosen.setdefault(code, []).append(facet(code, text))
    for pair in wanted.attributes:
        found = _PAIR.fullmatch(pair)
        definition = reference.attributes.get(found.group(1)) if found else None
        if found is None or definition is None or not definition.is_facet:
            raise InvalidFilterError(pair)
        chosen.setdefault(definition.code, []).append(facet(definition.code, found.group(2)))
    return chosen


def _price_condition(wanted: ProductFilter) -> Condition | None:
    within = {}
    if wanted.min_price is not None:
        within["$gte"] = wanted.min_price.amount
    if wanted.max_price is not None:
        within["$lte"] = wanted.max_price.amount
    return {"currency": wanted.currency, "price.amount": within} if within else None


_ORDERS: Mapping[ProductSort, dict[str, int]] = {
    ProductSort.RELEVANCE: {"is_featured": -1, "sales_count": -1, "_id": -1},
    ProductSort.PRICE_LOW: {"price.amount": 1, "_id": -1},
    ProductSort.PRICE_HIGH: {"price.amount": -1, "_id": 1},
    ProductSort.NEWEST: {"_id": -1},
    ProductSort.BESTSELLING: {"sales_count": -1, "_id": -1},
    ProductSort.RATING: {"rating_average": -1, "_id": -1},
}
_BY_SCORE = {"score": -1, "sales_count": -1, "_id": -1}


def _pipeline(search: _Search, wanted: ProductFilter, page: PageRequest, sort: ProductSort, *, with_facets: bool) -> Stages:
    """One row: `{"rows": [<SUMMARY_FIELDS>, ...], "total": [{"n": 42}]}`, and with facets what `_facet_branches` adds."""
    order = _BY_SCORE if search.terms and sort is ProductSort.RELEVANCE else _ORDERS[sort]
    carried: dict[str, Any] = {field.partition(".")[0]: 1 for field in order if field not in ("_id", "score")}
    if "score" in order:
        carried["score"] = score_of(search.terms)
    rows: Stages = [
        {"$sort": order},
        {"$skip": page.skip},
        {"$limit": page.limit},
        {"$lookup": {"from": "products", "localField": "_id", "foreignField": "_id", "as": "product"}},
        {"$unwind": "$product"},
        {"$replaceRoot": {"newRoot": "$product"}},
        {"$project": SUMMARY_FIELDS},
    ]
    total: Stages = [{"$count": "n"}]
    if not with_facets:
        lead = _narrowest(search)
        rest = [*search.base, *search.groups.values()]
        return [
            {"$match": lead},
            *([{"$match": {"$and": [search.lead, *rest]}}] if lead is not search.lead else _match_all(rest)),
            {"$project": carried or {"_id": 1}},
            {"$facet": {"rows": rows, "total": total}},
        ]
    carried |= dict.fromkeys(("facets", "brand", "category_id", "currency", "price", "price_max", "is_available"), 1)
    chosen = _match(search.all_but())
    return [
        {"$match": search.lead},
        *_match_all(search.base),
        {"$project": carried},
        {"$facet": {"rows": [*chosen, *rows], "total": [*chosen, *total], **_facet_branches(search, wanted)}},
    ]


def _narrowest(search: _Search) -> Condition:
    """Where facets are not counted, a chosen brand, tag, attribute or range of prices leads rather than all that is public."""
    if "status" not in search.lead:
        return search.lead
    chosen = [condition for condition in search.groups.values() if "facets" in condition]
    if chosen:
        return chosen[0]
    if "price" in search.groups:
        # Wider by one on both sides, and without the currency: as an index serves it on either server, boundaries included.
        within = search.groups["price"]["price.amount"]
        wider = {"$gte": ("$gt", -1), "$lte": ("$lt", 1)}
        return {**search.lead, "price.amount": {wider[at][0]: bound + wider[at][1] for at, bound in within.items()}}
    return search.lead


def _match_all(conditions: Iterable[Condition]) -> Stages:
    return _match({"$and": list(conditions)})


def _match(condition: Condition) -> Stages:
    return [{"$match": condition}] if condition and condition.get("$and") != [] else []


def _facet_branches(search: _Search, wanted: ProductFilter) -> dict[str, Stages]:
    """What is counted beside the rows.

    `values` has `{"_id": "color=red", "n": 3, "brand": "Acme"}`, `of_<n>` the same for the n-th facet that has a filter, which is
    not applied there; `categories` has `{"_id": <id>, "n": 3}`, `price` one `{"lowest": 500, "highest": 9900}`, `availability`
    `{"_id": true, "n": 3}`.
    """
    counted: Stages = [
        {"$group": {"_id": "$facets", "n": {"$sum": 1}, "brand": {"$min": "$brand"}}},
        {"$sort": {"n": -1, "_id": 1}},
        {"$limit": _MAX_GROUPS},
    ]
    # Without what is not counted: it would be copied for every value.
    unwound: Stages = [{"$project": {"facets": 1, "brand": 1}}, {"$unwind": "$facets"}]
    branches: dict[str, Stages] = {
        "values": [*_match(search.all_but()), *unwound, *counted],
        "categories": [*_match(search.all_but()), {"$group": {"_id": "$category_id", "n": {"$sum": 1}}}],
        "price": [
            *_match(search.all_but("price")),
            {"$match": {"currency": wanted.currency}},
            {"$group": {"_id": None, "lowest": {"$min": "$price.amount"}, "highest": {"$max": "$price_max.amount"}}},
        ],
        "availability": [
            *_match(search.all_but("availability")),
            {"$group": {"_id": "$is_available", "n": {"$sum": 1}}},
        ],
    }
    for number, code in enumerate(_filtered(search.groups)):
        own = {"facets": {"$gte": f"{code}=", "$lt": f"{code}>"}}  # `>` follows `=`
        branches[f"of_{number}"] = [*_match(search.all_but(code)), *unwound, {"$match": own}, *counted]
    return branches


def _filtered(groups: Mapping[str, Condition]) -> list[str]:
    return [code for code in groups if code not in ("price", "availability")]


def _no_facets() -> SearchFacets:
    return SearchFacets(
        categories=[],
        facets=[],
        price=PriceRange(lowest=None, highest=None),
        availability=AvailabilityCounts(available=0, unavailable=0),
    )


def _facets(found: Mapping[str, Any], wanted: ProductFilter, reference: Reference) -> SearchFacets:
    groups = _chosen(wanted, reference)
    rows = list(found["values"])
    for number, code in enumerate(groups):
        own = f"{code}="
        rows = [row for row in rows if not row["_id"].startswith(own)] + found[f"of_{number}"]
    price = found["price"][0] if found["price"] else {"lowest": None, "highest": None}
    available = {row["_id"]: row["n"] for row in found["availability"]}
    return SearchFacets(
        categories=_categories(found["categories"], reference),
        facets=_by_code(rows, reference),
        price=PriceRange(lowest=_money(price["lowest"], wanted.currency), highest=_money(price["highest"], wanted.currency)),
        availability=AvailabilityCounts(available=available.get(True, 0), unavailable=available.get(False, 0)),
    )


def _money(amount: int | None, currency: str) -> Money | None:
    return None if amount is None else Money(amount=amount, currency=currency)


def _categories(rows: Sequence[Mapping[str, Any]], reference: Reference) -> list[FacetValue]:
    counts = {row["_id"]: row["n"] for row in rows}
    values = [
        FacetValue(value=category.slug, label=category.name, count=counts[category.id])
        for category in reference.categories.values()
        if category.id in counts
    ]
    return sorted(values, key=lambda value: (-value.count, value.value))


def _by_code(rows: Sequence[Mapping[str, Any]], reference: Reference) -> list[Facet]:
    by_code: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_code.setdefault(row["_id"].partition("=")[0], []).append(row)
    shown = [(BRAND, "Brand"), (TAG, "Tag")]
    shown += [(code, definition.name) for code, definition in reference.attributes.items() if definition.is_facet]
    return [
        Facet(code=code, name=name, values=_values(code, by_code[code], reference)) for code, name in shown if code in by_code
    ]


def _values(code: str, rows: Sequence[Mapping[str, Any]], reference: Reference) -> list[FacetValue]:
    labels = _labels(code, reference)
    values = []
    for row in rows[:MAX_FACET_VALUES]:  # in their order already
        value = row["_id"].partition("=")[2]
        label = row["brand"] if code == BRAND else labels.get(value, value)
        values.append(FacetValue.model_construct(value=value, label=label, count=row["n"]))
    return values


def _labels(code: str, reference: Reference) -> dict[str, str]:
    definition = reference.attributes.get(code)
    if definition is None or definition.kind is not AttributeKind.CHOICE:
        return {}
    return {normalized(choice): choice for choice in definition.choices}
