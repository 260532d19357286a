"""Products, to look at. They are written by the API: their variants, attributes and images do not fit a plain form."""

from api.web.admin.desk import Desk
from api.web.admin.layout import Badge, Page, Row, Table, Value
from api.web.admin.views import View
from models.ecommerce.catalog import ProductStatus
from models.ecommerce.catalog_reads import ProductListed
from services.ecommerce.catalog.products import ProductService
from services.users.permissions import Permission

_TONES = {ProductStatus.ACTIVE: "good", ProductStatus.DRAFT: "wait"}


async def _list(desk: Desk) -> Page:
    status = desk.choice("status", ProductStatus)
    found = await ProductService.list_products(desk.page, viewer=desk.viewer, status=status)
    columns = ["Name", "SKUs", "Category", "Status", "Price", "Available", "Sold", "Changed"]
    return Page(
        title="Products",
        tabs=desk.tabs("status", ProductStatus, status),
        tables=[Table(_counted(found.total_count), columns, [_row(one) for one in found.items], "No such product.")],
        paging=desk.numbered(found.page, found.total_pages, status=status),
        note="Products are written by the API.",
    )


def _counted(count: int) -> str:
    return "1 product" if count == 1 else f"{count:,} products, newest first"


def _row(product: ProductListed) -> Row:
    prices = str(product.price) if product.price == product.price_max else f"{product.price} to {product.price_max}"
    skus = ", ".join(product.skus[:5]) + (" and more" if len(product.skus) > 5 else "")
    cells: list[Value] = [
        product.name,
        skus,
        product.category.name if product.category else None,
        Badge(product.status, _TONES.get(product.status, "plain")),
        prices,
        product.is_available,
        product.sales_count,
        product.updated_at,
    ]
    return Row(cells)


PRODUCTS = View("products", "Products", "what is sold, to look at", Permission.MANAGE_CATALOG, pages={"": _list})
