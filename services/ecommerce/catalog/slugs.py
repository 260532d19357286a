"""The slugs that products had before: they lead to where the product is found today, unless another one is found there."""

from dataclasses import dataclass

from beanie import PydanticObjectId

from models.database import DuplicateKeyError, Session, start_again
from models.ecommerce.catalog import VISIBLE_STATUSES, ProductSlug


@dataclass(frozen=True, slots=True)
class ProductMoved:
    """The slug is a former one of the public product that has this `slug`."""

    slug: str


async def keep_former_slug(slug: str, product_id: PydanticObjectId, *, session: Session) -> None:
    """Have `slug`, which the product is giving up, lead to it; no longer to the one that had it before."""
    if await ProductSlug.change({"slug": slug}, {"$set": {"product_id": product_id}}, session=session) is not None:
        return
    try:
        await ProductSlug(slug=slug, product_id=product_id).store(session=session)
    except DuplicateKeyError as error:
        raise start_again("the slug was given up by another product meanwhile") from error


async def former_slugs(slugs: list[str], *, session: Session) -> set[str]:
    """Those of the slugs that lead to a product."""
    return {row["slug"] for row in await ProductSlug.find_rows({"slug": {"$in": slugs}}, {"slug": 1}, session=session)}


async def find_moved(slug: str) -> ProductMoved | None:
    """Where the public product is found that gave this slug up last. One command."""
    rows = await ProductSlug.aggregate_rows(
        [
            {"$match": {"slug": slug}},
            {"$lookup": {"from": "products", "localField": "product_id", "foreignField": "_id", "as": "product"}},
            {"$unwind": "$product"},
            {"$project": {"slug": "$product.slug", "status": "$product.status"}},
        ]
    )
    return ProductMoved(rows[0]["slug"]) if rows and rows[0]["status"] in VISIBLE_STATUSES else None
