"""The sample shop: what is for sale, who buys, and what lies in stock. Orders are made in `scripts.samples.orders`.

As with the rest of the sample data everything is drawn from one generator in a fixed order, and every stored number is the sum it
claims to be: `make reconcile` finds nothing to mend.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from beanie import PydanticObjectId

from models.base import to_milliseconds
from models.ecommerce.catalog import (
    AttributeDefinition,
    AttributeKind,
    AttributeValue,
    Product,
    ProductCategory,
    ProductStatus,
    ProductViews,
    ProductVisit,
    Variant,
)
from models.ecommerce.coupons import Coupon, DiscountKind, DiscountRule
from models.ecommerce.customers import Address, AddressDefault, Customer, DefaultKind
from models.inventory.stock import MovementKind, StockLevel, StockLocation, StockMovement
from models.money import Money
from models.places import PostalAddress
from models.users import Role, User
from scripts.samples import goods, texts
from scripts.samples.unit import Unit, day_of, moment_between, sample_id
from services.ecommerce.catalog.writing import derived
from services.inventory.locations import DEFAULT_CODE
from services.markdown import render_post
from services.settings import Settings
from services.slugs import slug_of
from services.users.passwords import UNUSABLE_HASH

PRODUCTS = 200
CUSTOMERS = 500
VISITS = 300

Key = PydanticObjectId


@dataclass(frozen=True)
class Buyer:
    """A customer with the address their parcels go to."""

    user: User
    customer: Customer
    address: PostalAddress


@dataclass
class Shop:
    """What orders are made from, and what they leave behind in it."""

    location_id: Key
    products: list[Product] = field(default_factory=list)
    popularity: list[float] = field(default_factory=list)
    categories: dict[Key, ProductCategory] = field(default_factory=dict)
    buyers: list[Buyer] = field(default_factory=list)
    coupons: list[Coupon] = field(default_factory=list)
    costs: dict[Key, int] = field(default_factory=dict)  # by variant, minor units
    movements: dict[Key, list[StockMovement]] = field(default_factory=lambda: defaultdict(list))  # by variant, in order
    reserved: Counter[Key] = field(default_factory=Counter)


class ShopMaker:
    """One unit's products and customers. Categories, attributes, locations and coupons come with the first unit."""

    def __init__(self, unit: Unit, people: Sequence[User], anchor: datetime, start: datetime, settings: Settings) -> None:
        self.unit = unit
        self.people = people
        self.anchor = anchor
        self.start = start
        self.currency = settings.currency
        self.chance = Random(f"agora-sample-shop-{unit.number}")
        self.shop = Shop(location_id=sample_id("location", DEFAULT_CODE, start))

    def make(self) -> Shop:
        self._categories()
        if self.unit.number == 0:
            self._tables()
        self.shop.coupons = self._coupons()
        self._products()
        self._buyers()
        return self.shop

    def finish(self) -> None:
        """What follows from the orders: stock, availability, views, and the counts of the categories."""
        for product in self.shop.products:
            self._stock(product)
        self._views()
        self._visits()
        for product in self.shop.products:
            if product.category_id is not None and product.status in (ProductStatus.ACTIVE, ProductStatus.OUT_OF_STOCK):
                self.unit.moves[ProductCategory, "products_count"][product.category_id] += 1
        documents = self.unit.documents
        documents[Product] = self.shop.products
        documents[Customer] = [buyer.customer for buyer in self.shop.buyers]

    def _stamp(self, moment: datetime) -> dict[str, Any]:
        return {"created_at": moment, "updated_at": moment}

    # What the first unit brings for all

    def _categories(self) -> None:
        """The tree; its nodes are the same for every unit and stored with the first."""
        made: dict[tuple[str, ...], ProductCategory] = {}
        for shelf in goods.SHELVES:
            for depth in range(1, len(shelf.path) + 1):
                path = shelf.path[:depth]
                if path in made:
                    continue
                parent = made.get(path[:-1])
                slug = slug_of(" ".join(path[-1:] if depth < 3 else path[-2:]), max_length=100)
                made[path] = ProductCategory(
                    id=sample_id("product category", "/".join(path), self.start),
                    name=path[-1],
                    slug=slug,
                    parent_id=parent.id if parent else None,
                    ancestor_ids=[*parent.ancestor_ids, parent.id] if parent else [],
                    path=f"{parent.path if parent else ''}{slug}/",
                    level=depth - 1,
                    sort_order=len(made),
                    **self._stamp(self.start),
                )
        self.shop.categories = {category.id: category for category in made.values()}
        self.by_path = made
        if self.unit.number == 0:
            self.unit.documents[ProductCategory] = list(made.values())

    def _tables(self) -> None:
        stamp = self._stamp(self.start)
        self.unit.documents[AttributeDefinition] = [
            AttributeDefinition(
                id=sample_id("attribute", code, self.start),
                code=code,
                name=code.capitalize(),
                kind=AttributeKind.CHOICE,
                choices=list(choices),
                sort_order=order,
                **stamp,
            )
            for order, (code, choices) in enumerate((("color", goods.COLOURS), ("material", goods.MATERIALS)))
        ]
        self.unit.documents[StockLocation] = [
            StockLocation(
                id=sample_id("location", code, self.start),
                code=code,
                name=name,
                priority=priority,
                currency=self.currency,
                **stamp,
            )
            for code, name, priority in ((DEFAULT_CODE, "Main warehouse", 0), ("STORE", "Shop in town", 10))
        ]

    def _coupons(self) -> list[Coupon]:
        """Three codes for all; every unit has its own, since how often they were used is counted with its orders."""
        ending = "" if self.unit.number == 0 else f"-{self.unit.number}"
        rules = (
            ("WELCOME10", "Ten per cent for newcomers", DiscountRule(kind=DiscountKind.PERCENTAGE, rate=1000)),
            ("FIVE", "Five off", DiscountRule(kind=DiscountKind.FIXED_AMOUNT, amount=Money.of("5", self.currency))),
            ("FREESHIP", "Sent for nothing", DiscountRule(kind=DiscountKind.FREE_SHIPPING)),
        )
        coupons = [
            Coupon(
                id=sample_id("coupon", f"{code}{ending}", self.start),
                code=f"{code}{ending}",
                name=name,
                rule=rule,
                usage_limit_per_customer=1 if code == "WELCOME10" else None,
                **self._stamp(self.start),
            )
            for code, name, rule in rules
        ]
        self.unit.documents[Coupon] = coupons
        return coupons

    # What is for sale

    def _products(self) -> None:
        for position in range(PRODUCTS):
            shelf = goods.SHELVES[position % len(goods.SHELVES)]
            self.shop.products.append(self._product(position, shelf))
            self.shop.popularity.append(0.05 + self.chance.random() ** 3)

    def _product(self, position: int, shelf: goods.Shelf) -> Product:
        number = self.unit.number * PRODUCTS + position
        name = f"{self.chance.choice(goods.ADJECTIVES).capitalize()} {self.chance.choice(shelf.nouns)}"
        colour, material = self.chance.choice(goods.COLOURS), self.chance.choice(goods.MATERIALS)
        points = self.chance.sample(goods.SELLING_POINTS, 3)
        description = "\n\n".join([f"A {name.lower()} in {material}.", *points]) + "\n"
        created_at = to_milliseconds(self.start + timedelta(minutes=position))
        price = self._price(shelf)
        variants = [self._variant(number, at, size, price, shelf, created_at) for at, size in enumerate(shelf.sizes or ("",))]
        attributes = [AttributeValue(code="color", value=colour), AttributeValue(code="material", value=material)]
        product = Product(
            id=sample_id("product", number, created_at),
            name=name,
            slug=slug_of(f"{name} {number + 1}", max_length=100),
            description=description,
            description_html=render_post(description),
            short_description=points[0],
            category_id=self.by_path[shelf.path].id,
            brand=self.chance.choice(shelf.brands),
            tags=sorted({shelf.path[0].lower(), material}),
            attributes=[] if shelf.is_digital else attributes,
            option_names=["Size"] if shelf.sizes else [],
            variants=variants,
            currency=self.currency,
            price=variants[0].price,
            price_max=variants[0].price,
            is_featured=position % 25 == 0,
            is_digital=shelf.is_digital,
            **self._stamp(created_at),
        )
        for name, value in derived(product).items():
            setattr(product, name, value)
        return product

    def _price(self, shelf: goods.Shelf) -> int:
        """Minor units, ending in 90 hundredths as prices do."""
        low, high = shelf.prices
        units = round(low + (high - low) * self.chance.random() ** 2)
        return Money.of(f"{units}.90", self.currency).amount

    def _variant(self, number: int, at: int, size: str, price: int, shelf: goods.Shelf, moment: datetime) -> Variant:
        variant = Variant(
            id=sample_id("variant", f"{number}.{at}", moment),
            sku=f"AG-{number + 1:05d}{f'-{size}' if size else ''}",
            title=size,
            options={"Size": size} if size else {},
            price=Money(amount=price, currency=self.currency),
            cost_price=Money(amount=price * 55 // 100, currency=self.currency),
            weight_grams=shelf.weight_grams,
            track_inventory=not shelf.is_digital,
        )
        self.shop.costs[variant.id] = price * 55 // 100
        return variant

    # Who buys

    def _buyers(self) -> None:
        newcomers = [self._newcomer(position) for position in range(len(self.people), CUSTOMERS)]
        self.unit.documents[User] = [*self.people, *newcomers]
        for user in [*self.people, *newcomers]:
            self.shop.buyers.append(self._buyer(user))

    def _newcomer(self, position: int) -> User:
        number = self.unit.number * CUSTOMERS + position
        joined = moment_between(self.chance, self.start, self.anchor - timedelta(days=1))
        first, last = self.chance.choice(texts.FIRST_NAMES), self.chance.choice(texts.LAST_NAMES)
        username = f"{first}-{last}-c{number}".lower()
        return User(
            id=sample_id("shopper", number, joined),
            username=username,
            email=f"{username}@example.org",
            email_normalized=f"{username}@example.org",
            first_name=first,
            last_name=last,
            password_hash=UNUSABLE_HASH,
            role=Role.USER,
            is_verified=True,
            **self._stamp(joined),
        )

    def _buyer(self, user: User) -> Buyer:
        stamp = self._stamp(user.created_at)
        customer = Customer(
            id=sample_id("customer", user.id, user.created_at),
            user_id=user.id,
            first_name=user.first_name,
            last_name=user.last_name,
            newsletter_subscribed=self.chance.random() < 0.4,
            currency=self.currency,
            spent=Money.zero(self.currency),
            addresses_count=1,
            book_revision=1,
            **stamp,
        )
        city, state, postal_code = self.chance.choice(goods.CITIES)
        place = PostalAddress(
            first_name=user.first_name,
            last_name=user.last_name,
            line1=f"{self.chance.randint(1, 900)} Market Street",
            city=city,
            state=state,
            postal_code=postal_code,
            country="US",
        )
        address = Address(id=sample_id("address", user.id, user.created_at), customer_id=customer.id, address=place, **stamp)
        self.unit.documents[Address].append(address)
        for kind in DefaultKind:
            default = AddressDefault(
                id=sample_id("default", f"{user.id}:{kind}", user.created_at),
                customer_id=customer.id,
                kind=kind,
                address_id=address.id,
                **stamp,
            )
            self.unit.documents[AddressDefault].append(default)
        return Buyer(user, customer, place)

    # What follows from the orders

    def _stock(self, product: Product) -> None:
        """One opening receipt, large enough for everything that left; what is left over is the stock of today."""
        available = 0
        for variant in product.variants:
            if not variant.track_inventory:
                available = 1
                continue
            movements = self.shop.movements[variant.id]
            balance, lowest = 0, 0
            for movement in movements:
                balance += movement.quantity
                lowest = min(lowest, balance)
            rest = self.chance.choice((0, 2, 4, 12, 25, 40, 60, 90)) + self.shop.reserved[variant.id]
            opening = max(-lowest, rest - balance)
            level = self._level(product, variant, opening, movements)
            available += level.available
        product.is_available = available > 0
        if not product.is_available:
            product.status = ProductStatus.OUT_OF_STOCK

    def _level(self, product: Product, variant: Variant, opening: int, moved: Sequence[StockMovement]) -> StockLevel:
        cost = self.shop.costs[variant.id]
        receipt = self.movement(
            product.id,
            variant,
            opening,
            kind=MovementKind.RECEIPT,
            key=f"opening:{variant.id}",
            reference="manual",
            moment=product.created_at,
            reason="opening stock",
        )
        movements = [receipt, *moved] if opening else list(moved)
        on_hand = 0
        for movement in movements:
            on_hand += movement.quantity
            self.unit.documents[StockMovement].append(movement.model_copy(update={"on_hand_after": on_hand}))
        reserved = self.shop.reserved[variant.id]
        level = StockLevel(
            id=sample_id("level", variant.id, product.created_at),
            product_id=product.id,
            variant_id=variant.id,
            location_id=self.shop.location_id,
            sku=variant.sku,
            on_hand=on_hand,
            reserved=reserved,
            available=on_hand - reserved,
            is_low=on_hand - reserved <= 5,
            reorder_point=5,
            reorder_quantity=40,
            stock_value=Money(amount=on_hand * cost, currency=self.currency),
            created_at=product.created_at,
            updated_at=movements[-1].created_at if movements else product.created_at,
        )
        self.unit.documents[StockLevel].append(level)
        return level

    def movement(
        self,
        product_id: Key,
        variant: Variant,
        quantity: int,
        *,
        kind: MovementKind,
        key: str,
        reference: str,
        moment: datetime,
        reason: str = "",
    ) -> StockMovement:
        """A movement at the variant's cost; what is on hand after it is filled in when all of them are known."""
        value = Money(amount=quantity * self.shop.costs[variant.id], currency=self.currency)
        full_key = f"{key}:{variant.id}:{self.shop.location_id}"
        return StockMovement(
            id=sample_id("movement", full_key, moment),
            key=full_key,
            kind=kind,
            product_id=product_id,
            variant_id=variant.id,
            location_id=self.shop.location_id,
            sku=variant.sku,
            quantity=quantity,
            value=value,
            cost=value,
            on_hand_after=0,
            reference=reference,
            reason=reason,
            occurred_at=moment,
            **self._stamp(moment),
        )

    def _views(self) -> None:
        """Of the last month."""
        today = day_of(self.anchor)
        for product, popularity in zip(self.shop.products, self.shop.popularity, strict=True):
            for offset in range(0, 30, 3):
                views = int(40 * popularity * self.chance.uniform(0.4, 1.4))
                if not views:
                    continue
                day = today - timedelta(days=offset)
                row = ProductViews(
                    id=sample_id("product views", f"{product.id}:{offset}", day),
                    product_id=product.id,
                    day=day,
                    views_count=views,
                    **self._stamp(day),
                )
                self.unit.documents[ProductViews].append(row)
                product.views_count += views

    def _visits(self) -> None:
        today = day_of(self.anchor)
        for position in range(VISITS):
            day = today - timedelta(days=position % 30)
            seen = self.chance.choices(self.shop.products, weights=self.shop.popularity, k=self.chance.randint(2, 6))
            visitor = f"sample-{self.unit.number}-{position}"
            row = ProductVisit(
                id=sample_id("visit", visitor, day),
                visitor=visitor,
                day=day,
                product_ids=list(dict.fromkeys(product.id for product in seen)),
                **self._stamp(day),
            )
            self.unit.documents[ProductVisit].append(row)
