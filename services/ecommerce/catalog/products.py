"""Products as sellers and staff handle them: created, edited, discontinued, listed. What customers read is elsewhere."""

import asyncio
import secrets
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from beanie import PydanticObjectId

from models.database import DuplicateKeyError, Session, after_commit, duplicate_index, run_transaction, start_again
from models.ecommerce.catalog import (
    VISIBLE_STATUSES,
    AttributeDefinition,
    Product,
    ProductCategory,
    ProductStatus,
)
from models.ecommerce.catalog_reads import ProductEdit, ProductListed
from models.events import EventType
from models.inventory.stock import StockLevel
from models.users import User
from services.audit import AuditService
from services.ecommerce.catalog.categories import ProductCategoryNotFoundError
from services.ecommerce.catalog.reading import LISTED_FIELDS, to_edit, to_listed
from services.ecommerce.catalog.reference import get_reference
from services.ecommerce.catalog.slugs import former_slugs, keep_former_slug
from services.ecommerce.catalog.stock import is_available, status_for
from services.ecommerce.catalog.writing import (
    MAX_SLUG,
    ProductChanges,
    ProductDraft,
    check_variants,
    derived,
    is_sold_without_stock,
    normalized_tags,
    to_attributes,
    to_images,
    to_variants,
)
from services.errors import ConflictError, InvalidStateError, NotFoundError, PermissionDeniedError, require_revision
from services.events import EventService
from services.markdown import render_post
from services.pagination import Page, PageRequest, page_of
from services.slugs import slug_of
from services.users.permissions import Permission, Viewer

RESERVED_SLUGS: Final = frozenset({"manage"})
"""Slugs that would hide a route of the same path."""
_ROOM_FOR_SUFFIX = 8


class ProductNotFoundError(NotFoundError):
    """There is no such product, or it is not public and not the caller's."""

    code = "product_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("product", key)


class ProductSlugTakenError(ConflictError):
    """Another product has this slug."""

    code = "product_slug_taken"

    def __init__(self, slug: str) -> None:
        super().__init__("Another product has this slug.")
        self.slug = slug


class SkuTakenError(ConflictError):
    """A variant of another product has one of these SKUs."""

    code = "sku_taken"

    def __init__(self, skus: Sequence[str]) -> None:
        super().__init__("A variant of another product has one of these SKUs.")
        self.skus = list(skus)


class SourceTakenError(ConflictError):
    """A product of this origin has been imported before."""

    code = "product_source_taken"

    def __init__(self, source_key: str | None) -> None:
        super().__init__("A product of this origin exists already.")
        self.source_key = source_key


class SellerNotFoundError(NotFoundError):
    """There is no such person to sell the product, or not any more."""

    code = "seller_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("seller", key)


class ProductDiscontinuedError(InvalidStateError):
    """A discontinued product is kept for old orders and not edited."""

    code = "product_discontinued"

    def __init__(self) -> None:
        super().__init__("This product is discontinued.")


class VariantInStockError(InvalidStateError):
    """A variant that still has stock can be made inactive, not taken away."""

    code = "variant_in_stock"

    def __init__(self, skus: Sequence[str]) -> None:
        super().__init__(f"Stock of these variants is left: {', '.join(skus)}.")
        self.skus = list(skus)


class ProductService:
    @staticmethod
    async def create_product(draft: ProductDraft, *, viewer: Viewer, source_key: str | None = None) -> ProductEdit:
        """The stored product: a seller's own, or the shop's when staff names no seller. `source_key` tells an imported one.

        An active one is `out_of_stock` until its stock arrives. Raises PermissionDeniedError, SellerNotFoundError,
        ProductCategoryNotFoundError, InvalidProductError, InvalidAttributeError, ProductSlugTakenError, SkuTakenError,
        SourceTakenError.
        """
        viewer.require(Permission.WRITE_PRODUCTS)
        seller_id = _seller_of(draft, viewer)
        variants = to_variants(draft.variants, option_names=draft.option_names, known=())
        check_variants(variants, draft.option_names)
        images = to_images(draft.images)
        html = await asyncio.to_thread(render_post, draft.description)
        base = slug_of(draft.name, max_length=MAX_SLUG - _ROOM_FOR_SUFFIX) or "product"

        async def work(session: Session) -> Product:
            if draft.seller_id is not None:
                await _get_active_seller(draft.seller_id, session)
            definitions = await _definitions([value.code for value in draft.attributes], session)
            fields = draft.model_dump(
                exclude={"slug", "variants", "images", "attributes", "tags", "status", "seller_id", "category_id"}
            )
            available = is_sold_without_stock(variants)  # nothing of it lies anywhere yet
            product = Product(
                **fields,
                slug=draft.slug or await _free_slug(base, session),
                description_html=html,
                category_id=draft.category_id,
                tags=normalized_tags(draft.tags),
                attributes=to_attributes(draft.attributes, definitions),
                variants=variants,
                images=images,
                currency=variants[0].price.currency,
                price=variants[0].price,
                price_max=variants[0].price,
                status=status_for(draft.status, available=available),
                is_available=available,
                seller_id=seller_id,
                source_key=source_key,
            )
            product = _with(product, derived(product))
            if product.slug in RESERVED_SLUGS:
                raise ProductSlugTakenError(product.slug)
            await place(None, product, session=session)
            try:
                await product.store(session=session)
            except DuplicateKeyError as error:
                if draft.slug is None and duplicate_index(error) == "slug_unique":
                    # Taken between our look and our insert: look again in a fresh transaction.
                    raise start_again("a slug was taken meanwhile") from error
                raise
            await _record(session, EventType.PRODUCT_CREATED, product, viewer)
            await _audit(session, "created", product, viewer, {})
            return product

        try:
            product = await run_transaction(work, hot=[draft.category_id] if draft.category_id else [])
        except DuplicateKeyError as error:
            raise _taken(error, draft.slug or base, [variant.sku for variant in variants], source_key) from error
        after_commit(partial(_tell_watchers, product.id))
        return to_edit(product.row())

    @staticmethod
    async def get_product_for_edit(product_id: PydanticObjectId, *, viewer: Viewer) -> ProductEdit:
        """A product of any status with its cost prices, for staff and its seller. Raises ProductNotFoundError."""
        return to_edit((await get_editable_product(product_id, viewer=viewer)).row())

    @staticmethod
    async def find_by_sku(sku: str, *, viewer: Viewer) -> ProductListed | None:
        """The product with a variant of this SKU, as lists show it, for who may edit it. Raises PermissionDeniedError."""
        viewer.require(Permission.WRITE_PRODUCTS)
        row = await Product.find_row({"variants.sku": sku}, LISTED_FIELDS)
        if row is None or not may_edit(row["seller_id"], viewer):
            return None
        return to_listed(row, await get_reference())

    @staticmethod
    async def find_by_source(source_key: str) -> ProductEdit | None:
        """The product that was imported from there."""
        row = await Product.find_row({"source_key": source_key})
        return None if row is None else to_edit(row)

    @staticmethod
    async def list_products(
        page: PageRequest,
        *,
        viewer: Viewer,
        status: ProductStatus | None = None,
        seller_id: PydanticObjectId | None = None,
    ) -> Page[ProductListed]:
        """Products of any status, newest first: all to staff, a seller's own to the seller.

        Raises PermissionDeniedError. Two commands.
        """
        viewer.require(Permission.WRITE_PRODUCTS)
        if not viewer.can(Permission.MANAGE_CATALOG):
            seller_id = viewer.user_id
        query: dict[str, Any] = {}
        if seller_id is not None:
            query["seller_id"] = seller_id
        if status is not None:
            query["status"] = status.value
        reference = await get_reference()
        total = await Product.count_rows(query)
        rows = await Product.find_rows(query, LISTED_FIELDS, sort=[("_id", -1)], skip=page.skip, limit=page.limit)
        return page_of([to_listed(row, reference) for row in rows], page, total)

    @staticmethod
    async def update_product(
        product_id: PydanticObjectId, changes: ProductChanges, *, viewer: Viewer, revision: int | None
    ) -> ProductEdit:
        """The product with the changes in it; `revision` is the one the caller read, None for whichever is current.

        A new slug leaves the old one redirecting, until another product takes it. Raises ProductNotFoundError,
        ProductDiscontinuedError, PreconditionError, ProductCategoryNotFoundError, InvalidProductError, InvalidAttributeError,
        VariantInStockError, ProductSlugTakenError, SkuTakenError.
        """
        given = changes.model_fields_set
        html = await asyncio.to_thread(render_post, changes.description) if "description" in given else None

        async def work(session: Session) -> Product:
            before = await get_editable_product(product_id, viewer=viewer, session=session)
            if before.status is ProductStatus.DISCONTINUED:
                raise ProductDiscontinuedError
            require_revision(revision, before.revision)
            if not given:
                return before
            after = await _changed(before, changes, html, session)
            await _check_removed(before, after, session)
            await place(before, after, session=session)
            stored = await _replace(before, after, session)
            if before.slug != after.slug:
                await keep_former_slug(before.slug, product_id, session=session)
            await _record(session, EventType.PRODUCT_UPDATED, stored, viewer)
            await _audit(session, "changed", stored, viewer, {"fields": sorted(given)})
            return stored

        try:
            product = await run_transaction(work, hot=[product_id])
        except DuplicateKeyError as error:
            raise _taken(error, changes.slug, [draft.sku for draft in changes.variants], None) from error
        return to_edit(product.row())

    @staticmethod
    async def delete_product(product_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """Discontinue the product: gone for customers, kept for old orders, its SKUs stay taken. Harmless to repeat.

        Raises ProductNotFoundError.
        """

        async def work(session: Session) -> None:
            before = await get_editable_product(product_id, viewer=viewer, session=session)
            if before.status is ProductStatus.DISCONTINUED:
                return
            after = await Product.change(
                {"_id": product_id, "revision": before.revision, "status": before.status},
                {"$set": {"status": ProductStatus.DISCONTINUED}, "$inc": {"revision": 1}},
                session=session,
            )
            if after is None:
                raise start_again("the product was changed meanwhile")
            await place(before, after, session=session)
            await _record(session, EventType.PRODUCT_REMOVED, after, viewer)
            await _audit(session, "discontinued", after, viewer, {})

        await run_transaction(work, hot=[product_id])


def may_edit(seller_id: PydanticObjectId | None, viewer: Viewer) -> bool:
    return viewer.can(Permission.MANAGE_CATALOG) or (viewer.user_id == seller_id and viewer.can(Permission.WRITE_PRODUCTS))


async def get_editable_product(product_id: PydanticObjectId, *, viewer: Viewer, session: Session | None = None) -> Product:
    """A product of any status that the viewer may change: a seller their own, staff all. Raises ProductNotFoundError."""
    row = await Product.find_row({"_id": product_id}, session=session)
    if row is None or not may_edit(row["seller_id"], viewer):
        raise ProductNotFoundError(product_id)
    return Product.from_row(row)


async def place(before: Product | None, after: Product, *, session: Session) -> None:
    """Count the product for its category from now on, and no longer for the one it was in.

    The category is written even when nothing is counted, so that it cannot be closed at the same moment.
    Raises ProductCategoryNotFoundError for a new category that does not exist or is closed.
    """
    old, counted = (None, 0) if before is None else (before.category_id, int(before.status in VISIBLE_STATUSES))
    new, counts = after.category_id, int(after.status in VISIBLE_STATUSES)
    if old == new:
        if counts != counted and new is not None:
            await ProductCategory.change({"_id": new}, {"$inc": {"products_count": counts - counted}}, session=session)
        return
    if old is not None:
        await ProductCategory.change({"_id": old}, {"$inc": {"products_count": -counted}}, session=session)
    if new is not None:
        placed = await ProductCategory.change(
            {"_id": new, "is_active": True}, {"$inc": {"products_count": counts}}, session=session
        )
        if placed is None:
            raise ProductCategoryNotFoundError(new)


def _seller_of(draft: ProductDraft, viewer: Viewer) -> PydanticObjectId | None:
    """Raises PermissionDeniedError for a seller who names another."""
    if viewer.can(Permission.MANAGE_CATALOG):
        return draft.seller_id
    if draft.seller_id not in (None, viewer.user_id):
        raise PermissionDeniedError
    return viewer.user_id


async def _get_active_seller(user_id: PydanticObjectId, session: Session) -> None:
    row = await User.find_row({"_id": user_id}, {"is_active": 1}, session=session)
    if row is None or not row["is_active"]:
        raise SellerNotFoundError(user_id)


async def _definitions(codes: Iterable[str], session: Session) -> dict[str, AttributeDefinition]:
    wanted = sorted(set(codes))
    if not wanted:
        return {}
    rows = await AttributeDefinition.find_rows({"code": {"$in": wanted}}, session=session)
    return {row["code"]: AttributeDefinition.from_row(row) for row in rows}


async def _free_slug(base: str, session: Session) -> str:
    """The first free of `a-name`, `a-name-2`, `a-name-3` and `a-name-<random>`; one that redirects is taken on purpose only."""
    wishes = [base, f"{base}-2", f"{base}-3"]
    rows = await Product.find_rows({"slug": {"$in": wishes}}, {"slug": 1}, session=session)
    taken = RESERVED_SLUGS | {row["slug"] for row in rows} | await former_slugs(wishes, session=session)
    return next((wish for wish in wishes if wish not in taken), f"{base}-{secrets.token_hex(3)}")


async def _changed(before: Product, changes: ProductChanges, html: str | None, session: Session) -> Product:
    """The product as it is to be. Raises InvalidProductError, InvalidAttributeError, ProductSlugTakenError."""
    given = changes.model_fields_set
    fields: dict[str, Any] = {
        name: getattr(changes, name) for name in given - {"variants", "images", "attributes", "tags", "status"}
    }
    if html is not None:
        fields["description_html"] = html
    if "tags" in given:
        fields["tags"] = normalized_tags(changes.tags)
    if "images" in given:
        fields["images"] = to_images(changes.images)
    if fields.get("slug") in RESERVED_SLUGS:
        raise ProductSlugTakenError(changes.slug)
    option_names = fields.get("option_names", before.option_names)
    variants = before.variants
    if "variants" in given:
        variants = to_variants(changes.variants, option_names=option_names, known=before.variants)
    check_variants(variants, option_names)
    fields |= {"variants": variants, "currency": variants[0].price.currency}
    if "attributes" in given:
        definitions = await _definitions([value.code for value in changes.attributes], session)
        fields["attributes"] = to_attributes(changes.attributes, definitions)
    available = await is_available(before.id, variants, session=session)
    wanted = changes.status if "status" in given else before.status
    fields |= {"is_available": available, "status": status_for(wanted, available=available), "revision": before.revision + 1}
    after = _with(before, fields)
    return _with(after, derived(after))


def _with(product: Product, fields: Mapping[str, Any]) -> Product:
    changed: Product = product.model_copy(update=fields)
    return changed


async def _check_removed(before: Product, after: Product, session: Session) -> None:
    """Raises VariantInStockError when a variant is to go of which something is on hand or promised."""
    kept = {variant.id for variant in after.variants}
    removed = {variant.id: variant.sku for variant in before.variants if variant.id not in kept}
    if not removed:
        return
    levels = await StockLevel.find_rows(
        {"product_id": before.id}, {"variant_id": 1, "on_hand": 1, "reserved": 1}, session=session
    )
    left = {level["variant_id"] for level in levels if level["on_hand"] or level["reserved"]}
    if stuck := sorted(removed[key] for key in left & removed.keys()):
        raise VariantInStockError(stuck)


async def _replace(before: Product, after: Product, session: Session) -> Product:
    """Store the edit over the very revision it was made from; counters that moved meanwhile are left alone."""
    kept = {"_id", "created_at", "updated_at", "views_count", "sales_count", "reviews_count", "rating_total", "rating_average"}
    fields = {name: value for name, value in after.row().items() if name not in kept}
    as_read = {"_id": before.id, "revision": before.revision, "status": before.status}
    if _skus(before) != _skus(after) or before.slug != after.slug:
        stored = await Product.rekey(as_read, fields, session=session)
    else:
        stored = await Product.change(as_read, {"$set": fields}, session=session)
    if stored is None:
        raise start_again("the product was changed meanwhile")
    return stored


def _skus(product: Product) -> set[str]:
    return {variant.sku for variant in product.variants}


def _taken(error: DuplicateKeyError, slug: str, skus: Sequence[str], source_key: str | None) -> ConflictError:
    index = duplicate_index(error)
    if index == "slug_unique":
        return ProductSlugTakenError(slug)
    if index == "source_key_unique":
        return SourceTakenError(source_key)
    return SkuTakenError(skus)


async def _record(session: Session, type: EventType, product: Product, viewer: Viewer) -> None:
    payload = {"slug": product.slug, "name": product.name, "status": product.status.value}
    await EventService.record(session, type, f"product:{product.id}", actor_id=viewer.user_id, payload=payload)


async def _audit(session: Session, act: str, product: Product, viewer: Viewer, details: dict[str, Any]) -> None:
    """What people do; imports and scripts, which act in nobody's session, have reports of their own."""
    if viewer.session_id is not None:
        subject = f"product:{product.id}"
        await AuditService.record(session, f"product.{act}", subject=subject, actor_id=viewer.user_id, details=details)


def _tell_watchers(product_id: PydanticObjectId) -> None:
    """A new product is in no cache, but the lists it belongs to are."""
    for watcher in Product.watchers:
        watcher(product_id)
