"""Products of files brought into the catalogue, by its own services: made once, changed where the file changed."""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any

from beanie import PydanticObjectId

from models.database import Session, run_transaction
from models.ecommerce.catalog import VISIBLE_STATUSES, AttributeKind, Dimensions, Product, ProductStatus, Variant
from models.ecommerce.catalog_reads import ProductEdit
from models.inventory.stock import MovementKind
from models.money import Money
from services.ecommerce.catalog.attributes import AttributeChanges, AttributeDraft, AttributeService, AttributeTakenError
from services.ecommerce.catalog.categories import (
    ProductCategoryDraft,
    ProductCategoryService,
    ProductCategoryTakenError,
)
from services.ecommerce.catalog.products import ProductService, SkuTakenError, SourceTakenError
from services.ecommerce.catalog.reference import forget_reference, get_reference
from services.ecommerce.catalog.writing import (
    ProductAttributeDraft,
    ProductChanges,
    ProductDraft,
    VariantDraft,
    normalized,
    normalized_tags,
    to_attributes,
    to_images,
)
from services.ecommerce.stock_items import StockItemService
from services.errors import PreconditionError
from services.imports.sources import SourceProduct, Trouble
from services.imports.values import RefusedRowError, cut
from services.inventory.locations import LocationService
from services.inventory.stock import Correction, StockService
from services.slugs import slug_of
from services.users.permissions import Viewer

_SLUG_TRIES = 20


class Outcome(StrEnum):
    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


async def known_products(source_keys: Collection[str]) -> dict[str, Product]:
    """The products that came from there, by their origin. One command."""
    rows = await Product.find_rows({"source_key": {"$in": sorted(source_keys)}}) if source_keys else []
    return {row["source_key"]: Product.from_row(row) for row in rows}


async def write_product(source: SourceProduct, known: Product | None, *, viewer: Viewer, currency: str) -> Outcome:
    """Bring one product in. `known` is what an earlier run made of it.

    Stock is entered with the product, in its transaction, and never again: from then on the ledger knows better. Raises
    RefusedRowError, and what ProductService and StockService raise.
    """
    draft = source.draft
    if source.part_skus:
        draft = await _of_parts(draft, source.part_skus)
    if source.category_path:
        draft = draft.model_copy(update={"category_id": await ensure_category(source.category_path, viewer=viewer)})
    await ensure_attributes(source.attribute_names, draft.attributes, viewer=viewer)
    if known is None:
        try:
            await create_product(draft, source.source_key, source.opening, viewer=viewer, currency=currency)
        except SourceTakenError:
            # Another import made it between our look and our insert.
            known = (await known_products([source.source_key]))[source.source_key]
        else:
            return Outcome.CREATED
    changes = await changes_of(known, draft, source.left_out, source)
    if not changes:
        return Outcome.UNCHANGED
    await _update(known, ProductChanges(**changes), source.opening, viewer=viewer, currency=currency)
    return Outcome.UPDATED


async def create_product(
    draft: ProductDraft, source_key: str, opening: Mapping[str, int], *, viewer: Viewer, currency: str
) -> ProductEdit:
    """The new product with its first stock: both or nothing. Raises as ProductService does, and RefusedRowError."""
    if opening:
        await LocationService.ensure_default(currency=currency)

    async def work(session: Session) -> ProductEdit:
        made = await ProductService.create_product(draft, viewer=viewer, source_key=source_key)
        skus = {variant.sku: variant.id for variant in made.variants}
        await _receive(skus, opening, source_key, viewer=viewer, currency=currency)
        return made

    try:
        return await run_transaction(work)
    except SkuTakenError as error:
        # Of a product that was imported meanwhile the SKU is taken as well, and the server names only one of the two.
        if await Product.find_row({"source_key": source_key}, {"_id": 1}) is not None:
            raise SourceTakenError(source_key) from error
        raise RefusedRowError(f"another product has one of the SKUs {cut(', '.join(error.skus), 200)}") from error


async def ensure_category(path: Sequence[str], *, viewer: Viewer) -> PydanticObjectId | None:
    """The category at the end of the path, made where it is missing. Names are compared in any case."""
    parent_id: PydanticObjectId | None = None
    parent_slug = ""
    for name in path:
        reference = await get_reference()
        siblings = reference.children.get(parent_id, [])
        found = next((one for one in siblings if normalized(one.name) == normalized(name)), None)
        if found is None:
            parent_id, parent_slug = await _make_category(name, parent_id, parent_slug, viewer=viewer)
        else:
            parent_id, parent_slug = found.id, found.slug
    return parent_id


async def ensure_attributes(names: Mapping[str, str], values: Sequence[ProductAttributeDraft], *, viewer: Viewer) -> None:
    """Define the attributes that are not there yet, as texts that can be filtered by; add what a list of choices lacks."""
    reference = await get_reference()
    for code, name in names.items():
        if code not in reference.attributes:
            draft = AttributeDraft(code=code, name=name, kind=AttributeKind.TEXT)
            try:
                await AttributeService.create_attribute(draft, viewer=viewer)
            except AttributeTakenError:  # meanwhile
                continue
        elif reference.attributes[code].kind is AttributeKind.CHOICE:
            await _ensure_choices(code, [value.value for value in values if value.code == code], viewer=viewer)


async def _ensure_choices(code: str, values: Sequence[str | bool], *, viewer: Viewer) -> None:
    while (definition := (await get_reference()).attributes.get(code)) is not None:
        known = {normalized(choice) for choice in definition.choices}
        missing = [value for value in values if isinstance(value, str) and normalized(value) not in known]
        if not missing:
            return
        changes = AttributeChanges(choices=[*definition.choices, *missing])
        try:
            await AttributeService.update_attribute(definition.id, changes, viewer=viewer, revision=definition.revision)
        except PreconditionError:  # somebody edits it: look again
            forget_reference()


async def changes_of(known: Product, draft: ProductDraft, left_out: list[Trouble], source: SourceProduct) -> dict[str, Any]:
    """The fields in which a product is not what the file says; of what the file does not say, nothing."""
    reference = await get_reference()
    here: dict[str, Any] = {name: getattr(known, name) for name in draft.model_fields_set if name in Product.model_fields}
    here["status"] = ProductStatus.ACTIVE if known.status in VISIBLE_STATUSES else known.status
    wanted = {name: getattr(draft, name) for name in here if name in draft.model_fields_set}
    compared = wanted | {
        "tags": normalized_tags(draft.tags),
        "images": to_images(draft.images),
        "attributes": to_attributes(draft.attributes, reference.attributes),
    }
    changed = {name: value for name, value in wanted.items() if name != "variants" and compared[name] != here[name]}
    if draft.category_id is not None and draft.category_id != known.category_id:
        changed["category_id"] = draft.category_id
    variants, is_other = _variants_of(known, draft)
    lost = {variant.id for variant in known.variants} - {variant.id for variant in variants}
    for variant in known.variants:
        if variant.id in lost:
            left_out.append(Trouble(source.row, f"the variant {variant.sku} is not in the file any more: it was left as it is"))
            variants.append(_kept(variant))
    if is_other:
        changed["variants"] = variants
    return changed


def _variants_of(known: Product, draft: ProductDraft) -> tuple[list[VariantDraft], bool]:
    """The file's variants with the ids of those they are here, and whether any of them differs.

    A variant is known by its SKU, or else by its options: one whose SKU was changed stays the same.
    """
    by_sku = {variant.sku: variant for variant in known.variants}
    named = {variant.sku for variant in draft.variants}
    by_options = {tuple(sorted(variant.options.items())): variant for variant in known.variants if variant.sku not in named}
    variants, is_other = [], False
    for wanted in draft.variants:
        variant = by_sku.get(wanted.sku) or by_options.get(tuple(sorted(wanted.options.items())))
        if variant is None:
            variants.append(wanted)
            is_other = True
            continue
        fields = {name: getattr(wanted, name) for name in wanted.model_fields_set - {"id"}}
        is_other = is_other or any(_plain(value) != _plain(getattr(variant, name)) for name, value in fields.items())
        variants.append(_kept(variant).model_copy(update=fields))
    return variants, is_other


def _plain(value: Any) -> Any:
    return value.model_dump() if isinstance(value, Dimensions) else value


def _kept(variant: Variant) -> VariantDraft:
    fields = {name: _plain(getattr(variant, name)) for name in VariantDraft.model_fields}
    return VariantDraft(**{name: value for name, value in fields.items() if value is not None})


async def _of_parts(draft: ProductDraft, skus: Sequence[str]) -> ProductDraft:
    """A product that is a collection of others: it costs what the cheapest of them does, and names them."""
    rows = await Product.find_rows({"variants.sku": {"$in": list(skus)}}, {"name": 1, "price": 1, "variants.sku": 1}, limit=100)
    prices = [Money(**row["price"]) for row in rows]
    [unit] = draft.variants
    fitting = [price for price in prices if price.currency == unit.price.currency]
    if not fitting:
        raise RefusedRowError("none of the products it is made of is here")
    place = {sku: at for at, sku in enumerate(skus)}
    rows.sort(key=lambda row: min(place.get(variant["sku"], len(place)) for variant in row["variants"]))
    names = "\n".join(f"- {row['name']}" for row in rows)
    cheapest = min(fitting, key=lambda price: price.amount)
    return draft.model_copy(
        update={
            "description": f"{draft.description}\n\n{names}".strip(),
            "variants": [unit.model_copy(update={"price": cheapest})],
        }
    )


async def _make_category(
    name: str, parent_id: PydanticObjectId | None, parent_slug: str, *, viewer: Viewer
) -> tuple[PydanticObjectId, str]:
    """A new category; one whose slug is taken elsewhere in the tree is told apart by its parent's, or a number."""
    name = cut(name, 100)
    base = slug_of(name, max_length=60)
    wishes: list[str | None] = [None, slug_of(f"{parent_slug} {base}", max_length=60) if parent_slug else None]
    wishes += [slug_of(f"{base} {number}", max_length=60) for number in range(2, _SLUG_TRIES)]
    for wish in dict.fromkeys(wishes):
        try:
            made = await ProductCategoryService.create_category(
                ProductCategoryDraft(name=name, slug=wish, parent_id=parent_id), viewer=viewer
            )
        except ProductCategoryTakenError:
            forget_reference()  # another import may have made this very one
            siblings = (await get_reference()).children.get(parent_id, [])
            found = next((one for one in siblings if normalized(one.name) == normalized(name)), None)
            if found is not None:
                return found.id, found.slug
            continue
        return made.id, made.slug
    raise RefusedRowError(f"no slug is left for the category {name}")


async def _update(known: Product, changes: ProductChanges, opening: Mapping[str, int], *, viewer: Viewer, currency: str) -> None:
    """The changes, with the first stock of variants that are new."""
    there = {variant.sku for variant in known.variants}
    new = {sku: pieces for sku, pieces in opening.items() if sku not in there and "variants" in changes.model_fields_set}
    before = {variant.id for variant in known.variants}
    if new:
        await LocationService.ensure_default(currency=currency)

    async def work(session: Session) -> None:
        made = await ProductService.update_product(known.id, changes, viewer=viewer, revision=known.revision)
        skus = {variant.sku: variant.id for variant in made.variants if variant.id not in before}
        await _receive(skus, new, known.source_key or "", viewer=viewer, currency=currency)

    try:
        await run_transaction(work, hot=[known.id])
    except SkuTakenError as error:
        raise RefusedRowError(f"another product has one of the SKUs {cut(', '.join(error.skus), 200)}") from error


async def _receive(
    skus: Mapping[str, PydanticObjectId], opening: Mapping[str, int], source_key: str, *, viewer: Viewer, currency: str
) -> None:
    """In the caller's transaction: what is in stock on the day of the import."""
    for sku, quantity in opening.items():
        if sku not in skus:
            continue
        correction = Correction(variant_id=skus[sku], quantity=quantity, reason=f"opening stock of {source_key}")
        await StockService.correct(
            correction, kind=MovementKind.RECEIPT, catalog=StockItemService, viewer=viewer, currency=currency
        )
