"""What the results of a search can be narrowed by: how it is counted, and how the counts are answered."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from models.ecommerce.catalog import AttributeKind
from models.ecommerce.catalog_reads import AvailabilityCounts, Facet, FacetValue, PriceRange, SearchFacets
from models.money import Money
from services.ecommerce.catalog.reference import Reference
from services.ecommerce.catalog.writing import BRAND, TAG, normalized

MAX_FACET_VALUES = 50  # of one facet, the most frequent
_MAX_GROUPS = 2_000

FACET_FIELDS = ("facets", "brand", "category_id", "currency", "price", "price_max", "is_available")
"""What the branches look at."""

Stages: TypeAlias = list[dict[str, Any]]
Condition: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Groups:
    """What each facet's own filter asks for, by `brand`, `price`, `availability` or the code of an attribute."""

    conditions: Mapping[str, Condition]

    def all_but(self, left_out: str | None = None) -> Stages:
        """A stage that applies them, but one."""
        return match_all(condition for name, condition in self.conditions.items() if name != left_out)

    @property
    def filtered(self) -> list[str]:
        """The facets among them whose values are listed."""
        return [code for code in self.conditions if code not in ("price", "availability")]


def match_all(conditions: Iterable[Condition]) -> Stages:
    """No stage for no condition."""
    conditions = list(conditions)
    return [{"$match": {"$and": conditions}}] if conditions else []


def facet_branches(groups: Groups, *, currency: str) -> dict[str, Stages]:
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
        "values": [*groups.all_but(), *unwound, *counted],
        "categories": [*groups.all_but(), {"$group": {"_id": "$category_id", "n": {"$sum": 1}}}],
        "price": [
            *groups.all_but("price"),
            {"$match": {"currency": currency}},
            {"$group": {"_id": None, "lowest": {"$min": "$price.amount"}, "highest": {"$max": "$price_max.amount"}}},
        ],
        "availability": [
            *groups.all_but("availability"),
            {"$group": {"_id": "$is_available", "n": {"$sum": 1}}},
        ],
    }
    for number, code in enumerate(groups.filtered):
        own = {"facets": {"$gte": f"{code}=", "$lt": f"{code}>"}}  # `>` follows `=`
        branches[f"of_{number}"] = [*groups.all_but(code), *unwound, {"$match": own}, *counted]
    return branches


def no_facets() -> SearchFacets:
    return SearchFacets(
        categories=[],
        facets=[],
        price=PriceRange(lowest=None, highest=None),
        availability=AvailabilityCounts(available=0, unavailable=0),
    )


def to_facets(found: Mapping[str, Any], groups: Groups, reference: Reference, *, currency: str) -> SearchFacets:
    """The answer that the rows of `facet_branches` make."""
    rows = list(found["values"])
    for number, code in enumerate(groups.filtered):
        own = f"{code}="
        rows = [row for row in rows if not row["_id"].startswith(own)] + found[f"of_{number}"]
    price = found["price"][0] if found["price"] else {"lowest": None, "highest": None}
    available = {row["_id"]: row["n"] for row in found["availability"]}
    return SearchFacets(
        categories=_categories(found["categories"], reference),
        facets=_by_code(rows, reference),
        price=PriceRange(lowest=_money(price["lowest"], currency), highest=_money(price["highest"], currency)),
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
