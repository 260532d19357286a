"""What the readers of product files hand on: a product as its file has it, checked against the catalogue's rules."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from services.ecommerce.catalog.writing import (
    MAX_ATTRIBUTES,
    MAX_IMAGES,
    MAX_TAGS,
    RESERVED_CODES,
    ProductAttributeDraft,
    ProductDraft,
    normalized_tags,
)
from services.imports.files import SourceRow
from services.imports.spool import RowGroup
from services.imports.values import RefusedRowError, cut, web_link
from services.slugs import slug_of

MAX_TAG = 50
MAX_BRAND = 50
MAX_SHORT = 500
MAX_SUMMARY_TITLE = 60
MAX_SUMMARY = 160


@dataclass(frozen=True, slots=True)
class Trouble:
    """A row that cannot be taken as it is, and why."""

    row: SourceRow
    reason: str


@dataclass(slots=True)
class SourceProduct:
    """One product of a file.

    `draft` lacks the category, which is found by its path. A product made of others has their SKUs in `part_skus` and costs what
    the cheapest of them does; the price in its draft stands for that. `opening` are the pieces in stock when it is created.
    """

    source_key: str
    row: SourceRow  # where it begins
    draft: ProductDraft
    category_path: Sequence[str] = ()
    attribute_names: Mapping[str, str] = field(default_factory=dict)  # by code
    opening: Mapping[str, int] = field(default_factory=dict)  # by SKU
    part_skus: Sequence[str] = ()
    left_out: list[Trouble] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ReadingTerms:
    """What a reader must know besides the rows."""

    currency: str
    now: datetime


ProductReader = Callable[[RowGroup, ReadingTerms], SourceProduct]
"""Makes one product of the rows of one key. Raises RefusedRowError."""


def draft_of(fields: Mapping[str, Any]) -> ProductDraft:
    """Raises RefusedRowError with the first thing that the catalogue would not take."""
    try:
        return ProductDraft(**fields)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in found["loc"])
        reason = found["msg"].removeprefix("Value error, ")
        raise RefusedRowError(f"{place}: {reason}") from error


def images_of(found: Sequence[tuple[SourceRow, str, str]], left_out: list[Trouble]) -> list[dict[str, Any]]:
    """The images of rows, addresses and alternative texts: each address once. What is no address of the web is left out."""
    images: dict[str, dict[str, Any]] = {}
    seen: set[str] = set()
    for row, url, alt in found:
        if not url or url in seen:
            continue
        seen.add(url)
        if web_link(url) is None:
            left_out.append(Trouble(row, f"the image {cut(url, 100)} is no address of the web"))
        elif len(images) == MAX_IMAGES:
            left_out.append(Trouble(row, f"the image {cut(url, 100)} is one too many: a product has {MAX_IMAGES}"))
        else:
            images[url] = {"url": url, "alt": cut(alt, 200)}
    return list(images.values())


def tags_of(tags: Sequence[str], row: SourceRow, left_out: list[Trouble]) -> list[str]:
    """Each tag once, in the catalogue's form."""
    kept = [tag for tag in normalized_tags(tags) if len(tag) <= MAX_TAG]
    lost = [tag for tag in normalized_tags(tags) if len(tag) > MAX_TAG] + kept[MAX_TAGS:]
    if lost:
        left_out.append(Trouble(row, f"these tags are too many or too long: {cut(', '.join(lost), 200)}"))
    return kept[:MAX_TAGS]


def attributes_of(
    values: Mapping[str, Sequence[str]], row: SourceRow, left_out: list[Trouble]
) -> tuple[list[ProductAttributeDraft], dict[str, str]]:
    """The attributes by name as drafts, and the names by code. `brand` and the shop's own words are no attributes."""
    drafts: list[ProductAttributeDraft] = []
    names: dict[str, str] = {}
    for name, texts in values.items():
        code = slug_of(name, max_length=50)
        if not code:
            left_out.append(Trouble(row, f"no code can be made of the attribute {cut(name, 50)}"))
            continue
        if code in RESERVED_CODES:
            code = f"product-{code}"
        names.setdefault(code, cut(name, 100))
        drafts += [ProductAttributeDraft(code=code, value=cut(text, 200)) for text in dict.fromkeys(texts) if text]
    if len(drafts) > MAX_ATTRIBUTES:
        left_out.append(Trouble(row, f"only {MAX_ATTRIBUTES} values of attributes are kept"))
    drafts = drafts[:MAX_ATTRIBUTES]
    used = {draft.code for draft in drafts}
    return drafts, {code: name for code, name in names.items() if code in used}
