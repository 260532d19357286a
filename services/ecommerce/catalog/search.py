"""What customers find: public products by words and filters, sorted, paged, with what the results can be narrowed by.

One pipeline on either server. It starts with one condition that an index serves, filters the rest in a second stage, and carries
no more than sorting and counting need; the few products of the page come from `summaries`. Only the list of everything is a plain
find (see `listing`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from beanie import PydanticObjectId

from models.ecommerce.catalog import Product
from models.ecommerce.catalog_reads import ProductSearchPage, SearchFilters
from models.money import Money
from services.cache import Cache
from services.ecommerce.catalog.facets import (
    FACET_FIELDS,
    Condition,
    Groups,
    Stages,
    facet_branches,
    match_all,
    no_facets,
    to_facets,
)
from services.ecommerce.catalog.listing import ORDERS, PUBLIC, ProductSort, all_public, forget_totals
from services.ecommerce.catalog.reference import Reference, get_reference, shows_reference
from services.ecommerce.catalog.summaries import STAMP_FIELDS, WHOLE_FIELDS, summaries_of
from services.ecommerce.catalog.writing import BRAND, TAG, facet
from services.errors import UnprocessableError
from services.pagination import PageRequest
from services.search import carrying, query_terms, rarest_first, score_of

MAX_FILTERS = 20  # values of one kind

_PAIR = re.compile(r"([a-z0-9_-]{1,50}):(.{1,200})", re.DOTALL)


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
    groups: Groups
    terms: Sequence[str]

    @property
    def is_everything(self) -> bool:
        return self.lead is PUBLIC and not self.groups.conditions


_Key: TypeAlias = tuple[ProductFilter, ProductSort, PageRequest, bool]

_pages: Cache[_Key, bytes] = Cache("shop_search_pages", ttl=5.0, size=300)


class ProductSearchService:
    @staticmethod
    async def search_products(
        wanted: ProductFilter,
        page: PageRequest,
        *,
        sort: ProductSort = ProductSort.RELEVANCE,
        facets: bool = False,
    ) -> bytes:
        """The public products that hold every word of the query and meet the filters, as the JSON of a ProductSearchPage; none
        for an unknown category.

        By relevance: the sum of what the words weigh (name 8, brand and SKU 6, tags 4, short description 3, attributes and
        options 2, description 1 for each occurrence), then bestselling; without words featured ones first, then bestselling.
        Words that do not count ("the") are left out; a query of nothing else finds nothing. A facet's counts are what would be
        left with its value chosen, so its own filter is not applied to them. Raises InvalidFilterError.

        Two commands at most, also with facets; one while the products of the page are kept (see `summaries`).
        """
        reference = await get_reference()
        search = await _taken_apart(wanted, reference)
        found: dict[str, Any] = {"rows": [], "total": []}
        counted = no_facets() if facets else None
        if search is not None and search.is_everything and not facets:
            found = await all_public(page, sort)
        elif search is not None:
            [found] = await Product.aggregate_rows(_pipeline(search, wanted, page, sort, with_facets=facets))
            if facets:
                counted = to_facets(found, search.groups, reference, currency=wanted.currency)
        total = found["total"][0]["n"] if found["total"] else 0
        around = ProductSearchPage.model_construct(
            items=[],
            page=page.page,
            limit=page.limit,
            total_count=total,
            total_pages=-(-total // page.limit),
            filters=_echo(wanted, sort),
            facets=counted,
        )
        # The items are JSON already.
        rest = around.model_dump_json(exclude={"items"}).encode()
        return b'{"items":[' + b",".join(await summaries_of(found["rows"])) + b"]," + rest[1:]

    @staticmethod
    async def search_page(
        wanted: ProductFilter,
        page: PageRequest,
        *,
        sort: ProductSort = ProductSort.RELEVANCE,
        facets: bool = False,
    ) -> bytes:
        """The same, kept for up to 5 s and until a product changes here. Carts and orders read prices themselves."""

        async def load() -> bytes:
            return await ProductSearchService.search_products(wanted, page, sort=sort, facets=facets)

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
    forget_totals()


Product.watchers.append(forget_searches)
shows_reference(_pages)


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
    lead, *base = [*conditions, PUBLIC]
    groups: dict[str, Condition] = {code: {"facets": {"$in": chosen}} for code, chosen in values.items()}
    if price := _price_condition(wanted):
        groups["price"] = price
    if wanted.available is not None:
        groups["availability"] = {"is_available": wanted.available}
    return _Search(lead, base, Groups(groups), terms)


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


_BY_SCORE = {"score": -1, "sales_count": -1, "_id": -1}
_WHOLE: Stages = [
    {"$lookup": {"from": "products", "localField": "_id", "foreignField": "_id", "as": "product"}},
    {"$unwind": "$product"},
    {"$replaceRoot": {"newRoot": "$product"}},
    {"$project": WHOLE_FIELDS},
]


def _pipeline(search: _Search, wanted: ProductFilter, page: PageRequest, sort: ProductSort, *, with_facets: bool) -> Stages:
    """One row: `{"rows": [{"_id": <id>, "updated_at": <time>}, ...], "total": [{"n": 42}]}`, and with facets what
    `facet_branches` adds.

    The rows of several words are whole: a command may have gone to find the rarest of them, and another one would be a third.
    """
    order = _BY_SCORE if search.terms and sort is ProductSort.RELEVANCE else ORDERS[sort]
    names = [field.partition(".")[0] for field in order if field not in ("_id", "score")]
    names += [*STAMP_FIELDS, *(FACET_FIELDS if with_facets else ())]
    carried: dict[str, Any] = {name: f"${name}" for name in names}
    if "score" in order:
        carried["score"] = score_of(search.terms)
    shown: Stages = _WHOLE if len(search.terms) > 1 else [{"$project": STAMP_FIELDS}]
    rows: Stages = [{"$sort": order}, {"$skip": page.skip}, {"$limit": page.limit}, *shown]
    total: Stages = [{"$count": "n"}]
    if not with_facets:
        lead = _narrowest(search)
        rest = [*search.base, *search.groups.conditions.values()]
        return [
            {"$match": lead},
            *match_all(rest if lead is search.lead else [search.lead, *rest]),
            carrying(carried),
            {"$facet": {"rows": rows, "total": total}},
        ]
    chosen = search.groups.all_but()
    branches = facet_branches(search.groups, currency=wanted.currency)
    return [
        {"$match": search.lead},
        *match_all(search.base),
        carrying(carried),
        {"$facet": {"rows": [*chosen, *rows], "total": [*chosen, *total], **branches}},
    ]


def _narrowest(search: _Search) -> Condition:
    """Where facets are not counted, a chosen brand, tag, attribute or range of prices leads rather than all that is public."""
    if search.lead is not PUBLIC:
        return search.lead
    conditions = search.groups.conditions
    chosen = [condition for condition in conditions.values() if "facets" in condition]
    if chosen:
        return chosen[0]
    if "price" in conditions:
        # Wider by one on both sides, and without the currency: as an index serves it on either server, boundaries included.
        within = conditions["price"]["price.amount"]
        wider = {"$gte": ("$gt", -1), "$lte": ("$lt", 1)}
        return {**search.lead, "price.amount": {wider[at][0]: bound + wider[at][1] for at, bound in within.items()}}
    return search.lead
