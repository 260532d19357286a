"""Products: staff keep all of them, sellers their own. One form changes the product, one of its variants or one picture."""

from collections.abc import Mapping
from typing import Any

from api.schemas.catalog import ProductCreate, ProductUpdate
from api.web.admin.desk import ADMIN, Desk, Form, PageNotFoundError, filled
from api.web.admin.layout import Action, Badge, Field, Figures, Link, Page, Row, Table, Text, Value, check
from api.web.admin.stock import product_levels
from api.web.admin.subjects import user_link
from api.web.admin.views import Act, Group, Move, View
from api.web.formats import money
from models.ecommerce.catalog import ProductStatus
from models.ecommerce.catalog_reads import ImageRead, ProductEdit, ProductListed, VariantEdit
from models.money import Money, decimal_text
from services.ecommerce.catalog.products import ProductService
from services.ecommerce.catalog.reference import Reference, get_reference
from services.users.permissions import Permission

_PATH = f"{ADMIN}/products"
_TONES = {ProductStatus.ACTIVE: "good", ProductStatus.DRAFT: "wait", ProductStatus.OUT_OF_STOCK: "wait"}
_OPTION = "option_"  # and the place of its name among the product's
_SHOWN = (ProductStatus.ACTIVE, ProductStatus.OUT_OF_STOCK)


async def _list(desk: Desk) -> Page:
    status, sku = desk.choice("status", ProductStatus), desk.asked("search", max_length=64)
    columns = ["Name", "SKUs", "Category", "Status", "Price", "Available", "Sold", "Changed"]
    if sku is None:
        found = await ProductService.list_products(desk.page, viewer=desk.viewer, status=status)
        items, title = found.items, _counted(found.total_count)
        paging = desk.numbered(found.page, found.total_pages, status=status)
    else:
        one = await ProductService.find_by_sku(sku, viewer=desk.viewer)
        items, title, paging = [one] if one else [], "With this SKU", []
    name = Field("name", "Name", max_length=200, is_required=True)
    return Page(
        title="Products",
        actions=[Action(f"{_PATH}/create", "New product", [name, *_variant_fields(None, desk.settings.currency)], is_once=True)],
        tabs=desk.tabs("status", ProductStatus, status),
        path=desk.path,
        search=[Field("search", "SKU", "search", sku or "", max_length=64)],
        tables=[Table(title, columns, [_row(one) for one in items], "No such product.")],
        paging=paging,
    )


def _counted(count: int) -> str:
    return "1 product" if count == 1 else f"{count:,} products, newest first"


def _row(product: ProductListed) -> Row:
    one_price = product.price == product.price_max
    skus = ", ".join(product.skus[:3]) + (" and more" if len(product.skus) > 3 else "")
    return Row(
        [
            Link(f"{_PATH}/{product.id}", product.name),
            skus,
            product.category.name if product.category else None,
            _state(product.status),
            product.price if one_price else Figures(f"{money(product.price)} – {money(product.price_max)}"),
            product.is_available,
            product.sales_count,
            product.updated_at,
        ]
    )


def _state(status: ProductStatus) -> Badge:
    return Badge(status.value.replace("_", " "), _TONES.get(status, "plain"))


async def _detail(desk: Desk) -> Page:
    product = await ProductService.get_product_for_edit(desk.id(), viewer=desk.viewer)
    reference = await get_reference()
    tables = [_variants(product), _pictures(product)]
    if desk.viewer.can(Permission.MANAGE_INVENTORY):
        tables.insert(1, await product_levels(product.id, viewer=desk.viewer))
    category = reference.name_of(product.category_id)
    facts: list[tuple[str, Value]] = [
        ("State", _state(product.status)),
        ("Can be bought", product.is_available),
        ("Category", category.name if category else None),
        ("Brand", product.brand),
        ("Slug", product.slug),
        ("Tags", ", ".join(product.tags)),
        *([("Seller", user_link(product.seller_id))] if desk.viewer.can(Permission.READ_USER) and product.seller_id else []),
        ("Tax class", product.tax_class),
        ("Featured", product.is_featured),
        ("Digital", product.is_digital),
        ("Sold", product.sales_count),
        ("Stars", f"{product.rating_average}, {product.reviews_count:,} given" if product.reviews_count else None),
        ("Views", product.views_count),
        ("Changed", product.updated_at),
        ("In short", Text(product.short_description) if product.short_description else None),
        ("Description", Text(product.description) if product.description else None),
    ]
    return Page(
        title=product.name,
        back=Link(_PATH, "Products"),
        facts=facts,
        actions=_actions(product, reference),
        tables=tables,
        note="Attributes are written by the API."
        if product.status is not ProductStatus.DISCONTINUED
        else "It is kept as it was.",
    )


def _actions(product: ProductEdit, reference: Reference) -> list[Action]:
    """Every form names the revision that was read: a change meanwhile is refused, and shown."""
    if product.status is ProductStatus.DISCONTINUED:
        return []
    here, read = f"{_PATH}/{product.id}", _read(product)
    categories = [
        ("", "none"),
        *sorted(((str(key), one.path.strip("/")) for key, one in reference.categories.items()), key=_text),
    ]
    category = str(product.category_id or "")
    edit = [
        Field("name", "Name", value=product.name, max_length=200, is_required=True),
        Field("brand", "Brand", value=product.brand, max_length=50),
        Field("category_id", "Category", "select", category, categories),
        Field("tags", "Tags", value=", ".join(product.tags), hint="With commas between them", max_length=2000),
        Field("short_description", "In short", value=product.short_description),
        Field("description", "Description", "lines", product.description, hint="Markdown", max_length=50_000),
        check("is_featured", "Featured", is_checked=product.is_featured),
    ]
    # A new variant says something for each option; its place there is in the name of the field, for option names are free text.
    choices = [Field(f"{_OPTION}{at}", name, max_length=100, is_required=True) for at, name in enumerate(product.option_names)]
    picture = [Field("url", "Address of the picture", max_length=2000, is_required=True), _alt("")]
    actions = [
        Action(f"{here}/publish", "Publish", hidden=read)
        if product.status not in _SHOWN
        else Action(f"{here}/hide", "Hide", hidden=read),
        Action(f"{here}/edit", "Edit", edit, hidden=read),
        Action(f"{here}/variant", "Add a variant", [*choices, *_variant_fields(None, product.currency)], hidden=read),
        Action(f"{here}/picture", "Add a picture", picture, hidden=read),
        Action(f"{here}/discontinue", "Discontinue", is_grave=True),
    ]
    if len(product.variants) == 1 and not product.option_names:
        del actions[2]  # two variants are told apart by options, which the API gives a product
    return actions


def _text(choice: tuple[str, str]) -> str:
    return choice[1]


def _read(product: ProductEdit) -> dict[str, str]:
    return {"revision": str(product.revision)}


def _alt(text: str) -> Field:
    return Field("alt", "What it shows", value=text, hint="For those who do not see it", max_length=200)


def _variant_fields(variant: VariantEdit | None, currency: str) -> list[Field]:
    """What makes a variant; of a new one, where there is none yet."""
    fields = [
        Field("sku", "SKU", value=variant.sku if variant else "", max_length=64, is_required=True),
        Field(
            "price",
            f"Price in {currency}",
            "decimal",
            _decimal(variant.price if variant else None),
            max_length=20,
            is_required=True,
        ),
    ]
    if variant is None:
        return fields
    return [
        *fields,
        Field("compare_at_price", "Before", "decimal", _decimal(variant.compare_at_price), hint="Above the price", max_length=20),
        Field("cost_price", "Costs us", "decimal", _decimal(variant.cost_price), hint="Customers never see it", max_length=20),
        Field("weight_grams", "Grams", "number", str(variant.weight_grams or ""), max_length=8),
        check("is_active", "For sale", is_checked=variant.is_active),
        check("track_inventory", "Its stock is counted", is_checked=variant.track_inventory),
        check("allow_backorder", "Sold below zero", is_checked=variant.allow_backorder),
    ]


def _decimal(amount: Money | None) -> str:
    return decimal_text(amount.amount, amount.currency) if amount else ""


def _variants(product: ProductEdit) -> Table:
    is_open = product.status is not ProductStatus.DISCONTINUED
    here = f"{_PATH}/{product.id}/variants"
    rows = []
    for one in product.variants:
        fields = _variant_fields(one, one.price.currency)
        change = Action(f"{here}/{one.id}/change", "Change", fields, hidden=_read(product), about=f"the variant {one.sku}")
        cells: list[Value] = [
            one.sku,
            one.title or "the only one",
            one.price,
            one.compare_at_price,
            one.cost_price,
            Badge("for sale", "good") if one.is_active else Badge("not for sale", "bad"),
            "not counted" if not one.track_inventory else "sold below zero" if one.allow_backorder else "counted",
        ]
        rows.append(Row(cells, [change] if is_open else []))
    return Table("Variants", ["SKU", "Options", "Price", "Before", "Costs us", "State", "Stock"], rows)


def _pictures(product: ProductEdit) -> Table:
    """Told, not shown: the admin loads nothing from elsewhere."""
    rows = []
    for at, image in enumerate(product.images):
        here, read, about = f"{_PATH}/{product.id}/pictures/{at}", _read(product), f"picture {at + 1}"
        actions = [
            Action(f"{here}/describe", "Describe", [_alt(image.alt)], hidden=read, about=about),
            *([] if image.is_primary else [Action(f"{here}/first", "Make it the main one", hidden=read, about=about)]),
            Action(f"{here}/remove", "Remove", hidden=read, is_grave=True, about=about),
        ]
        cells: list[Value] = [Text(image.url), Text(image.alt) if image.alt else None, image.is_primary]
        rows.append(Row(cells, actions if product.status is not ProductStatus.DISCONTINUED else []))
    return Table("Pictures", ["Address", "What it shows", "Main one"], rows, "It has no picture.")


async def _create(desk: Desk, form: Form) -> str:
    variant = {"sku": form.get("sku"), "price": {"amount": form.get("price"), "currency": desk.settings.currency}}
    product = filled(ProductCreate, {"name": form.get("name"), "variants": [variant]})

    async def work() -> str:
        return f"{_PATH}/{(await ProductService.create_product(product, viewer=desk.viewer)).id}"

    return await desk.once(form, work)


async def _update(desk: Desk, form: Form, changes: Mapping[str, Any]) -> None:
    revision = form.number("revision")
    await ProductService.update_product(desk.id(), filled(ProductUpdate, changes), viewer=desk.viewer, revision=revision)


def _to(status: ProductStatus) -> Act:
    async def act(desk: Desk, form: Form) -> None:
        await _update(desk, form, {"status": status.value})

    return act


async def _edit(desk: Desk, form: Form) -> None:
    texts = {name: form.get(name) for name in ("name", "brand", "short_description", "description")}
    tags = [tag.strip() for tag in form.get("tags").split(",") if tag.strip()]
    chosen = {"category_id": form.get("category_id") or None, "tags": tags, "is_featured": form.flag("is_featured")}
    await _update(desk, form, {**texts, **chosen})


async def _discontinue(desk: Desk, form: Form) -> None:
    await ProductService.delete_product(desk.id(), viewer=desk.viewer)


async def _add_variant(desk: Desk, form: Form) -> None:
    product = await ProductService.get_product_for_edit(desk.id(), viewer=desk.viewer)
    options = {name: form.get(f"{_OPTION}{at}") for at, name in enumerate(product.option_names)}
    new = {"sku": form.get("sku"), "options": options, "price": _amount(form, "price", product.currency)}
    await _update(desk, form, {"variants": [*map(_as_sent, product.variants), new]})


async def _change_variant(desk: Desk, form: Form) -> None:
    product = await ProductService.get_product_for_edit(desk.id(), viewer=desk.viewer)
    variant_id = desk.id("variant_id")
    if variant_id not in {one.id for one in product.variants}:
        raise PageNotFoundError
    variants = [
        _as_sent(one) | (_variant_said(form, one.price.currency) if one.id == variant_id else {}) for one in product.variants
    ]
    await _update(desk, form, {"variants": variants})


def _as_sent(variant: VariantEdit) -> dict[str, Any]:
    """A variant as the API takes it: lists are replaced as a whole."""
    return variant.model_dump(mode="json", exclude={"title"})


def _variant_said(form: Form, currency: str) -> dict[str, Any]:
    prices = {name: _amount(form, name, currency) for name in ("price", "compare_at_price", "cost_price")}
    flags = {name: form.flag(name) for name in ("is_active", "track_inventory", "allow_backorder")}
    return {"sku": form.get("sku"), "weight_grams": form.number("weight_grams"), **prices, **flags}


def _amount(form: Form, name: str, currency: str) -> dict[str, str] | None:
    return {"amount": form.get(name), "currency": currency} if form.get(name) else None


async def _add_picture(desk: Desk, form: Form) -> None:
    product = await ProductService.get_product_for_edit(desk.id(), viewer=desk.viewer)
    new = {"url": form.get("url"), "alt": form.get("alt")}
    await _update(desk, form, {"images": [*map(ImageRead.model_dump, product.images), new]})


def _with_picture(change: str) -> Act:
    """Pictures are named by their place, which holds for the revision that was read."""

    async def act(desk: Desk, form: Form) -> None:
        product = await ProductService.get_product_for_edit(desk.id(), viewer=desk.viewer)
        images = [image.model_dump() for image in product.images]
        place = desk.request.path_params["at"]
        if not (place.isascii() and place.isdigit() and len(place) < 4 and int(place) < len(images)):
            raise PageNotFoundError
        at = int(place)
        if change == "remove":
            del images[at]
        elif change == "describe":
            images[at]["alt"] = form.get("alt")
        else:
            images = [{**image, "is_primary": other == at} for other, image in enumerate(images)]
        await _update(desk, form, {"images": images})

    return act


PRODUCTS = View(
    "products",
    "Products",
    "what is sold, and for how much",
    Group.SHOP,
    Permission.WRITE_PRODUCTS,
    pages={"": _list, "/{id}": _detail},
    moves={
        "/create": Move(_create, _list, "The product is a draft: add what is missing, then publish it."),
        "/{id}/publish": Move(_to(ProductStatus.ACTIVE), _detail, "The product is public; it is sold while there is stock."),
        "/{id}/hide": Move(_to(ProductStatus.INACTIVE), _detail, "The product is hidden."),
        "/{id}/edit": Move(_edit, _detail, "The product was changed."),
        "/{id}/discontinue": Move(_discontinue, _detail, "The product is discontinued: gone for customers, kept for old orders."),
        "/{id}/variant": Move(_add_variant, _detail, "The variant was added."),
        "/{id}/variants/{variant_id}/change": Move(_change_variant, _detail, "The variant was changed."),
        "/{id}/picture": Move(_add_picture, _detail, "The picture was added."),
        "/{id}/pictures/{at}/describe": Move(_with_picture("describe"), _detail, "The picture is described."),
        "/{id}/pictures/{at}/first": Move(_with_picture("first"), _detail, "It is the main picture now."),
        "/{id}/pictures/{at}/remove": Move(_with_picture("remove"), _detail, "The picture was removed."),
    },
)
