import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from beanie import PydanticObjectId

from models.ecommerce.catalog import VISIBLE_STATUSES, AttributeKind, AttributeValue, Product, ProductCategory, ProductStatus
from models.ecommerce.catalog_reads import SearchFacets
from services.ecommerce.catalog.listing import ProductSort
from services.ecommerce.catalog.search import (
    InvalidFilterError,
    ProductFilter,
    ProductSearchService,
    price_limit,
)
from services.pagination import PageRequest
from services.terms import words
from tests.commands import CommandLog
from tests.factories.catalog import create_attribute, create_category, create_product, make_product, money

pytestmark = pytest.mark.usefixtures("database")


@dataclass
class Found:
    """A page as it is sent."""

    items: list[dict[str, Any]]
    page: int
    limit: int
    total_count: int
    total_pages: int
    filters: dict[str, Any]
    facets: dict[str, Any] | None

    def all_of(self, field: str) -> list[Any]:
        return [item[field] for item in self.items]


async def search(page: int = 1, limit: int = 20, **over: Any) -> Found:
    sort, facets = over.pop("sort", ProductSort.RELEVANCE), over.pop("facets", False)
    body = await ProductSearchService.search_products(ProductFilter(**over), PageRequest(page, limit), sort=sort, facets=facets)
    return Found(**json.loads(body))


async def names(**over: Any) -> list[str]:
    return (await search(**over)).all_of("name")


class TestFilters:
    async def test_com_m3_subtree_is_the_tree_s_not_the_path_s(self) -> None:
        """COM-M3: as a prefix, `electronics/comp` matched `electronics/computers-used`, and an empty path everything."""
        root = await create_category(slug="electronics")
        comp = await create_category(parent=root, slug="comp")
        used = await create_category(parent=root, slug="computers-used")
        below = await create_category(parent=comp, slug="parts")
        for category, name in ((root, "root"), (comp, "comp"), (used, "used"), (below, "below")):
            await create_product(category=category, name=name)
        await create_product(name="nowhere")
        assert sorted(await names(category="comp")) == ["below", "comp"]
        assert sorted(await names(category="electronics")) == ["below", "comp", "root", "used"]
        assert await names(category="computers") == []
        assert await names(category="") == []

    @pytest.mark.parametrize("brand", [".*", "^A", "Acme|Other", '{"$ne": 1}', "acme.*", "(a+)+$"])
    async def test_com_s2_brand_is_text_and_no_pattern(self, brand: str) -> None:
        """COM-S2: the source put the brand into a regular expression."""
        await create_product(brand="Acme")
        await create_product(brand="A.me")
        assert await names(brands=(brand,)) == []

    async def test_com_s2_values_are_compared_without_case_and_whole(self) -> None:
        """COM-S2: 001's `contains` was a case-sensitive test of the beginning."""
        await create_product(name="one", brand="Acme Tools", tags=["summer sale"])
        await create_product(name="two", brand="Acme")
        assert await names(brands=("ACME  tools",)) == ["one"]
        assert sorted(await names(brands=("acme", "acme tools"))) == ["one", "two"]
        assert await names(tags=("Summer Sale",)) == ["one"]
        assert await names(query="TOOLS") == ["one"]

    async def test_values_of_one_kind_widen_and_kinds_narrow(self) -> None:
        await create_attribute(code="color")
        await create_attribute(code="size", kind=AttributeKind.TEXT, choices=[])
        for name, color, size in (("a", "red", "L"), ("b", "blue", "L"), ("c", "red", "S"), ("d", "green", "L")):
            await create_product(
                name=name, attributes=[AttributeValue(code="color", value=color), AttributeValue(code="size", value=size)]
            )
        assert sorted(await names(attributes=("color:red", "color:blue"))) == ["a", "b", "c"]
        assert sorted(await names(attributes=("color:red", "color:blue", "size:l"))) == ["a", "b"]

    async def test_unknown_or_hidden_attributes_and_shapeless_filters_are_refused(self) -> None:
        await create_attribute(code="secret", is_facet=False)
        for attributes in (("nothing:red",), ("secret:red",), ("red",), ("color:",), ("$where:1",), ("a:b",) * 21):
            with pytest.raises(InvalidFilterError):
                await search(attributes=attributes)

    async def test_prices_are_compared_inclusively_and_in_their_currency(self) -> None:
        for price in ("9.99", "10.00", "15.00", "20.00", "20.01"):
            await create_product(name=price, price=price)
        await create_product(
            name="euro", variants=[make_product().variants[0].model_copy(update={"price": money("15.00", "EUR")})]
        )
        within = {"min_price": money("10.00"), "max_price": money("20.00"), "sort": ProductSort.PRICE_LOW}
        assert await names(**within) == ["10.00", "15.00", "20.00"]
        assert await names(**within, query="product") == []
        assert await names(min_price=money("20.01")) == ["20.01"]
        assert await names(currency="EUR", max_price=money("99.00", "EUR")) == ["euro"]

    def test_price_of_too_many_digits_is_refused(self) -> None:
        with pytest.raises(InvalidFilterError):
            price_limit(Decimal("1.999"), "USD")

    async def test_only_public_products_are_found(self) -> None:
        for status in ProductStatus:
            await create_product(name=status.value, status=status)
        assert sorted(await names()) == ["active", "out_of_stock"]
        assert sorted(await names(query="out stock active draft")) == []

    async def test_availability_and_seller_narrow(self) -> None:
        seller = PydanticObjectId()
        await create_product(name="there", seller_id=seller)
        await create_product(name="gone", is_available=False, status=ProductStatus.OUT_OF_STOCK)
        assert await names(available=True) == ["there"]
        assert await names(available=False) == ["gone"]
        assert await names(seller_id=seller) == ["there"]

    @pytest.mark.parametrize("query", ["to be or not to be", "$", "."])
    async def test_query_of_no_words_finds_nothing(self, query: str) -> None:
        await create_product()
        assert (await search(query=query)).total_count == 0

    async def test_com_s2_echo_is_plain_json(self) -> None:
        """COM-S2: ObjectId and Decimal in the echo broke the source's answer."""
        seller = PydanticObjectId()
        page = await search(query="x", brands=("Acme",), min_price=money("1.50"), seller_id=seller, sort=ProductSort.RATING)
        assert page.filters == {
            "query": "x",
            "category": None,
            "brands": ["Acme"],
            "tags": [],
            "attributes": [],
            "currency": "USD",
            "min_price": {"amount": "1.50", "currency": "USD"},
            "max_price": None,
            "available": None,
            "seller_id": str(seller),
            "sort": "rating",
        }


class TestOrder:
    async def test_com_s2_relevance_without_words_is_featured_then_bestselling(self) -> None:
        """COM-S2: and ties go to the newest, by _id."""
        for name, featured, sold in (("a", False, 9), ("b", True, 1), ("c", False, 9), ("d", True, 2)):
            await create_product(name=name, is_featured=featured, sales_count=sold)
        assert await names() == ["d", "b", "c", "a"]

    async def test_relevance_with_words_weighs_where_they_stand(self) -> None:
        await create_product(name="first", description="linen linen", sales_count=99)
        await create_product(name="linen", sales_count=1)
        await create_product(name="other", brand="Linen")
        await create_product(name="linen", sales_count=5)
        found = await search(query="Linen")
        assert list(zip(found.all_of("name"), found.all_of("brand"), strict=True)) == [
            ("linen", ""),
            ("linen", ""),
            ("other", "Linen"),
            ("first", ""),
        ]
        assert found.total_count == 4

    @pytest.mark.parametrize("sort", list(ProductSort))
    async def test_every_order_is_total_and_pages_fit_together(self, sort: ProductSort) -> None:
        generator = random.Random(sort.value)
        rows = [
            make_product(
                price=f"{generator.randint(1, 3)}.00",
                sales_count=generator.randint(0, 2),
                rating_average=generator.choice((0, 45)),
                is_featured=generator.random() < 0.5,
            )
            for _ in range(25)
        ]
        await Product.collection().insert_many([row.row() for row in rows])
        keys: dict[ProductSort, Callable[[Product], Any]] = {
            ProductSort.RELEVANCE: lambda one: (-one.is_featured, -one.sales_count, -int(str(one.id), 16)),
            ProductSort.PRICE_LOW: lambda one: (one.price.amount, -int(str(one.id), 16)),
            ProductSort.PRICE_HIGH: lambda one: (-one.price.amount, int(str(one.id), 16)),
            ProductSort.NEWEST: lambda one: -int(str(one.id), 16),
            ProductSort.BESTSELLING: lambda one: (-one.sales_count, -int(str(one.id), 16)),
            ProductSort.RATING: lambda one: (-one.rating_average, -int(str(one.id), 16)),
        }
        pages = [await search(page=number, limit=10, sort=sort) for number in (1, 2, 3, 4)]
        found = [key for page in pages for key in page.all_of("id")]
        assert found == [str(one.id) for one in sorted(rows, key=keys[sort])]
        assert [(len(page.items), page.total_count, page.total_pages) for page in pages] == [
            (10, 25, 3),
            (10, 25, 3),
            (5, 25, 3),
            (0, 25, 3),
        ]


class TestFacets:
    @pytest.mark.parametrize("seed", range(3))
    async def test_counts_are_those_of_plain_python(self, seed: int) -> None:
        """Against the rows themselves: every filter is applied but the facet's own."""
        products, categories = await _shop(random.Random(seed))
        for wanted in (
            {},
            {"brands": ("ACME",)},
            {"brands": ("acme", "loom"), "attributes": ("color:red",), "max_price": money("6.00")},
            {"category": categories[0].slug, "tags": ("sale",), "available": True},
            {"query": "shirt", "attributes": ("color:red", "color:blue")},
            {"query": "linen shirt", "min_price": money("3.00")},
        ):
            found = await search(**wanted, facets=True, limit=100)
            assert found.facets == _counted(products, categories, wanted), wanted
            plain = await search(**wanted, limit=100)
            assert (plain.items, plain.total_count) == (found.items, found.total_count)
            assert set(found.all_of("id")) == {str(one.id) for one in products if _meets(one, categories, wanted)}

    async def test_nothing_found_counts_nothing(self) -> None:
        found = await search(facets=True, query="nothing")
        assert found.facets == {
            "categories": [],
            "facets": [],
            "price": {"lowest": None, "highest": None},
            "availability": {"available": 0, "unavailable": 0},
        }
        assert (await search(facets=True, category="unknown")).facets == found.facets

    async def test_hidden_attributes_are_not_counted_and_choices_keep_their_spelling(self) -> None:
        await create_attribute(code="color", choices=["Dark Red"])
        await create_attribute(code="secret", is_facet=False)
        await create_product(
            brand="Acme",
            attributes=[AttributeValue(code="color", value="Dark Red"), AttributeValue(code="secret", value="red")],
        )
        facets = (await search(facets=True)).facets
        assert facets is not None
        assert [(one["code"], [tuple(value.values()) for value in one["values"]]) for one in facets["facets"]] == [
            ("brand", [("acme", "Acme", 1)]),
            ("color", [("dark red", "Dark Red", 1)]),
        ]


class TestEverything:
    """The list without a filter is read within the range that held the page last time."""

    @pytest.mark.parametrize("sort", ProductSort)
    async def test_pages_stay_right_while_products_come_go_and_change(self, sort: ProductSort) -> None:
        generator = random.Random(f"everything {sort}")

        def draw(name: str) -> Product:
            return make_product(
                name=name,
                price=f"{generator.randint(1, 4)}.00",
                is_featured=generator.random() < 0.4,
                sales_count=generator.randint(0, 4),
                rating_average=generator.randint(0, 4),
                status=generator.choice(["active", "active", "out_of_stock", "draft"]),
            )

        keys: dict[ProductSort, Callable[[Product], Any]] = {
            ProductSort.RELEVANCE: lambda one: (-one.is_featured, -one.sales_count, _latest(one)),
            ProductSort.PRICE_LOW: lambda one: (one.price.amount, _latest(one)),
            ProductSort.PRICE_HIGH: lambda one: (-one.price.amount, one.id),
            ProductSort.NEWEST: _latest,
            ProductSort.BESTSELLING: lambda one: (-one.sales_count, _latest(one)),
            ProductSort.RATING: lambda one: (-one.rating_average, _latest(one)),
        }
        there = [await draw(f"thing {number}").store() for number in range(24)]
        for step in range(8):
            public = sorted((one for one in there if one.status in VISIBLE_STATUSES), key=keys[sort])
            for number in (1, 2, 3):
                found = await search(number, 5, sort=sort)
                assert found.all_of("id") == [str(one.id) for one in public[number * 5 - 5 : number * 5]], step
                assert found.total_count == len(public)
            gone = there.pop(generator.randrange(len(there)))
            await Product.collection().delete_one({"_id": gone.id})
            there.append(await draw(f"late thing {step}").store())
            changed = there[generator.randrange(len(there))]
            changed.is_featured, changed.sales_count = not changed.is_featured, generator.randint(0, 6)
            values = {"is_featured": changed.is_featured, "sales_count": changed.sales_count}
            assert await Product.change_row({"_id": changed.id}, {"$set": values})

    async def test_second_reading_is_bounded(self, commands: CommandLog) -> None:
        for number in range(4):
            await create_product(sales_count=number)
        with commands.counting() as sent:
            for _ in range(2):
                await ProductSearchService.search_products(ProductFilter(), PageRequest(1, 2), sort=ProductSort.BESTSELLING)

        filters = [read.filter for read in sent.reads if read.collection == "products"]
        assert [found.get("sales_count") for found in filters] == [None, {"$gt": 1}]


def _latest(product: Product) -> int:
    return -int(str(product.id), 16)


class TestBudget:
    async def test_com_s2_two_commands_with_facets_and_none_for_what_is_kept(self, commands: CommandLog) -> None:
        """COM-S2: query budget of search with facets: two."""
        category = await create_category()
        await create_product(name="linen shirt", category=category, brand="Acme")
        await names()  # warms the reference
        wanted = ProductFilter(query="linen shirt", category=category.slug, brands=("Acme",), max_price=money("99.00"))
        for facets in (False, True):
            with commands.counting() as sent:
                await ProductSearchService.search_page(wanted, PageRequest(), facets=facets)
                await ProductSearchService.search_page(wanted, PageRequest(), facets=facets)
            assert len(sent) <= 2

    async def test_page_is_made_anew_once_a_product_changes_here(self) -> None:
        product = await create_product(name="Before")
        assert b'"Before"' in await ProductSearchService.search_page(ProductFilter(), PageRequest())
        await Product.change({"_id": product.id}, {"$set": {"name": "After"}})
        assert b'"After"' in await ProductSearchService.search_page(ProductFilter(), PageRequest())


async def _shop(generator: random.Random) -> tuple[list[Product], list[ProductCategory]]:
    await create_attribute(code="color", choices=["red", "blue", "green"])
    root = await create_category()
    categories = [root, await create_category(parent=root), await create_category()]
    products = [
        make_product(
            name=" ".join(generator.sample(["linen", "shirt", "wool", "scarf"], 2)),
            brand=generator.choice(["Acme", "Loom", ""]),
            tags=generator.sample(["sale", "summer", "new"], generator.randint(0, 2)),
            category_id=generator.choice([*(category.id for category in categories), None]),
            price=f"{generator.randint(1, 9)}.00",
            is_available=generator.random() < 0.7,
            status=generator.choice(["active", "active", "out_of_stock", "draft"]),
            attributes=[
                AttributeValue(code="color", value=color)
                for color in generator.sample(["red", "blue", "green"], generator.randint(0, 2))
            ],
        )
        for _ in range(40)
    ]
    await Product.collection().insert_many([product.row() for product in products])
    return products, categories


def _meets(product: Product, categories: list[ProductCategory], wanted: dict[str, Any], *, but: str = "") -> bool:
    subtree = {categories[0].id, categories[1].id}
    colors = {value.split(":")[1] for value in wanted.get("attributes", ())}
    stems = {term.term for term in product.terms}
    return (
        product.status in ("active", "out_of_stock")
        and all(word in stems for word in words(wanted.get("query", "")))
        and ("category" not in wanted or product.category_id in subtree)
        and (but == "brand" or "brands" not in wanted or product.brand.casefold() in {one.casefold() for one in wanted["brands"]})
        and (but == "tag" or "tags" not in wanted or bool(set(product.tags) & set(wanted["tags"])))
        and (but == "color" or not colors or bool(colors & {str(value.value) for value in product.attributes}))
        and (but == "availability" or "available" not in wanted or product.is_available == wanted["available"])
        and (but == "price" or "min_price" not in wanted or product.price >= wanted["min_price"])
        and (but == "price" or "max_price" not in wanted or product.price <= wanted["max_price"])
    )


def _counted(products: list[Product], categories: list[ProductCategory], wanted: dict[str, Any]) -> dict[str, Any]:
    def left(but: str = "") -> list[Product]:
        return [product for product in products if _meets(product, categories, wanted, but=but)]

    def listed(counts: Counter[str], labels: dict[str, str]) -> list[dict[str, Any]]:
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return [{"value": value, "label": labels.get(value, value), "count": count} for value, count in ordered]

    brands = Counter(one.brand.casefold() for one in left("brand") if one.brand)
    tags = Counter(tag for one in left("tag") for tag in one.tags)
    colors = Counter(str(value.value) for one in left("color") for value in one.attributes)
    shown = [
        ("brand", "Brand", listed(brands, {"acme": "Acme", "loom": "Loom"})),
        ("tag", "Tag", listed(tags, {})),
        ("color", "Colour", listed(colors, {})),
    ]
    slugs = {category.id: category.slug for category in categories}
    labels = {category.slug: category.name for category in categories}
    prices = sorted((one.price for one in left("price")), key=lambda price: price.amount)
    stock = Counter(one.is_available for one in left("availability"))
    facets = SearchFacets.model_validate(
        {
            "categories": listed(Counter(slugs[one.category_id] for one in left() if one.category_id in slugs), labels),
            "facets": [{"code": code, "name": name, "values": values} for code, name, values in shown if values],
            "price": {"lowest": prices[0] if prices else None, "highest": prices[-1] if prices else None},
            "availability": {"available": stock[True], "unavailable": stock[False]},
        }
    )
    return facets.model_dump(mode="json")
