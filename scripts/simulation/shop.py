"""The simulated house: its staff, what stands on the shelves and where it is bought, coupons, and the rules of the till."""

from collections.abc import Sequence
from datetime import timedelta
from random import Random

from beanie import PydanticObjectId

from models.ecommerce.catalog import ProductStatus
from models.ecommerce.coupons import DiscountKind
from models.fraud import FraudAction, FraudField, FraudOperator
from models.inventory.purchasing import PurchaseOrderRead
from models.money import Money
from models.users import Role, User
from scripts.samples import goods, texts
from scripts.simulation.world import Good, Journey, World
from services.blog.categories import CategoryDraft, CategoryService
from services.ecommerce.catalog.categories import ProductCategoryDraft, ProductCategoryService
from services.ecommerce.catalog.products import ProductService
from services.ecommerce.catalog.writing import ProductDraft, VariantDraft
from services.ecommerce.coupons import CouponDraft, CouponService
from services.ecommerce.offers import DiscountRuleDraft
from services.ecommerce.stock_items import StockItemService
from services.inventory.levels import LevelChanges, LevelService
from services.inventory.locations import LocationService
from services.inventory.purchasing import Delivery, OrderedItem, PurchaseOrderDraft, PurchaseOrderService
from services.inventory.receipts import ReceivedPieces
from services.inventory.suppliers import SupplierDraft, SupplierService
from services.pagination import PageRequest
from services.payments.rules import FraudConditionDraft, FraudRuleDraft, FraudRuleService
from services.users.accounts import UserService
from services.users.inputs import NewUser
from services.users.permissions import SYSTEM, Viewer

PRODUCTS = 36  # of each unit of scale
AUTHORS = 4
REVIEWED_FROM = "2500"  # whole units: what a person looks at before it is charged
REORDER_AT, REORDER = 8, 24
CATALOG = StockItemService()


async def open_shop(world: World) -> None:
    """Everything that has to be there before the doors open, made at the first moment of the first day."""
    await _hire(world)
    await _fill_shelves(world)
    await _first_stock(world)
    await _offer_coupons(world)
    await _keep_rules(world)
    for topic in texts.TOPICS:
        draft = CategoryDraft(name=topic.category, slug=topic.slug, description=topic.description, color=topic.color)
        await CategoryService.create_category(draft, viewer=world.staff["editor"])


async def restock(world: World) -> Journey:
    """Every morning: order what ran low, and take in what comes."""
    day = 0
    while True:
        yield timedelta(hours=7) if day == 0 else timedelta(days=1)
        day += 1
        wanted, cursor = [], None
        while True:
            found = await LevelService.list_reorder_suggestions(
                viewer=world.staff["manager"], cursors=world.cursors, cursor=cursor, limit=100
            )
            wanted += found.items
            cursor = found.next_cursor
            if cursor is None:
                break
        if wanted:
            costs = {good.variant_id: good.price * 55 // 100 for good in world.goods}
            items = [
                OrderedItem(variant_id=one.variant_id, quantity=one.quantity, unit_cost=_money(world, costs[one.variant_id]))
                for one in wanted
                if one.variant_id in costs
            ]
            dice = world.dice("supplier", day)
            ordered = await _order(world, items)
            world.begin(_deliveries(world, ordered, dice), after=timedelta(days=dice.uniform(2, 6)))


async def _deliveries(world: World, order: PurchaseOrderRead, dice: Random) -> Journey:
    """All at once, or what the supplier has and the rest some days later."""
    first = {line.id: line.quantity if dice.random() < 0.8 else line.quantity // 2 for line in order.lines}
    rest = {line.id: line.quantity - first[line.id] for line in order.lines}
    await _receive(world, order, first, "1")
    if any(rest.values()):
        yield timedelta(days=dice.uniform(1, 4))
        await _receive(world, order, rest, "2")


async def _receive(world: World, order: PurchaseOrderRead, pieces: dict[PydanticObjectId, int], key: str) -> None:
    lines = [ReceivedPieces(line_id=line.id, quantity=pieces[line.id]) for line in order.lines if pieces[line.id]]
    if lines:
        delivery = Delivery(key=f"{order.number}-{key}", lines=lines)
        await PurchaseOrderService.receive_purchase_order(order.id, delivery, viewer=world.staff["manager"])
        world.tally["deliveries of suppliers"] += 1


async def _order(world: World, items: Sequence[OrderedItem]) -> PurchaseOrderRead:
    manager = world.staff["manager"]
    suppliers = await SupplierService.list_suppliers(viewer=manager, page=PageRequest())
    location = await LocationService.ensure_default(currency=world.settings.currency)
    draft = PurchaseOrderDraft(supplier_id=suppliers.items[0].id, location_id=location.id, items=items[:200])
    made = await PurchaseOrderService.create_purchase_order(draft, viewer=manager, catalog=CATALOG)
    return await PurchaseOrderService.place_purchase_order(made.id, viewer=manager)


def _money(world: World, amount: int) -> Money:
    return Money(amount=amount, currency=world.settings.currency)


async def _hire(world: World) -> None:
    roles = {"manager": Role.MANAGER, "editor": Role.EDITOR, **{f"author{n}": Role.AUTHOR for n in range(AUTHORS)}}
    for name, role in roles.items():
        dice = world.dice("staff", name)
        username = f"{name}-of-{world.seed}"
        new = NewUser(
            username=username,
            email=f"{username}@example.com",
            first_name=dice.choice(texts.FIRST_NAMES),
            last_name=dice.choice(texts.LAST_NAMES),
            password=f"simulated {dice.getrandbits(64):x}",
            role=role,
        )
        account = await UserService.create_user(new, viewer=SYSTEM, settings=world.settings)
        world.staff[name] = Viewer(account.id, account.username, role)


async def _fill_shelves(world: World) -> None:
    manager, categories = world.staff["manager"], dict[tuple[str, ...], PydanticObjectId]()
    for number in range(round(PRODUCTS * world.scale)):
        dice = world.dice("product", number)
        shelf = goods.SHELVES[number % len(goods.SHELVES)]
        for depth in range(1, len(shelf.path) + 1):
            path = shelf.path[:depth]
            if path not in categories:
                parent = categories.get(path[:-1])
                wish = ProductCategoryDraft(name=path[-1], slug="-".join(path).lower(), parent_id=parent)
                categories[path] = (await ProductCategoryService.create_category(wish, viewer=manager)).id
        await _add_product(world, number, shelf, categories[shelf.path], dice)


async def _add_product(world: World, number: int, shelf: goods.Shelf, category_id: PydanticObjectId, dice: Random) -> None:
    noun, adjective = dice.choice(shelf.nouns), dice.choice(goods.ADJECTIVES)
    price = dice.randint(*shelf.prices) * 100 - 10
    sizes = shelf.sizes or ("",)
    variants = [
        VariantDraft(
            sku=f"S{world.seed}-{number:04d}{f'-{size}' if size else ''}",
            options={"Size": size} if size else {},
            price=_money(world, price),
            weight_grams=shelf.weight_grams,
            track_inventory=not shelf.is_digital,
        )
        for size in sizes
    ]
    draft = ProductDraft(
        name=f"{adjective.capitalize()} {noun} {number + 1}",
        short_description=dice.choice(goods.SELLING_POINTS),
        description="\n\n".join(dice.sample(goods.SELLING_POINTS, 3)),
        category_id=category_id,
        brand=dice.choice(shelf.brands),
        option_names=["Size"] if shelf.sizes else [],
        variants=variants,
        status=ProductStatus.ACTIVE,
        is_digital=shelf.is_digital,
    )
    product = await ProductService.create_product(draft, viewer=world.staff["manager"])
    popularity = 1 / (1 + dice.randrange(round(PRODUCTS * world.scale)))
    for variant in product.variants:
        world.goods.append(Good(product.id, variant.id, product.slug, noun, price, shelf.is_digital))
        world.popularity.append(popularity / len(sizes))


async def _first_stock(world: World) -> None:
    manager = world.staff["manager"]
    await SupplierService.create_supplier(
        SupplierDraft(code=f"WHOLESALE-{world.seed}", name="The Wholesaler", lead_days=4), viewer=manager
    )
    dice = world.dice("first stock")
    counted = [good for good in world.goods if not good.is_digital]
    for at in range(0, len(counted), 200):
        items = [
            OrderedItem(
                variant_id=good.variant_id,
                quantity=dice.choice((6, 12, 20, 30, 45)),
                unit_cost=_money(world, good.price * 55 // 100),
            )
            for good in counted[at : at + 200]
        ]
        order = await _order(world, items)
        await _receive(world, order, {line.id: line.quantity for line in order.lines}, "1")
    page = 1
    while True:
        levels = await LevelService.list_levels(viewer=manager, page=PageRequest(page, 100))
        for level in levels.items:
            changes = LevelChanges(low_stock_threshold=REORDER_AT, reorder_point=REORDER_AT, reorder_quantity=REORDER)
            await LevelService.update_level(level.id, changes, viewer=manager, revision=None)
        if page >= levels.total_pages:
            break
        page += 1


async def _offer_coupons(world: World) -> None:
    kind, currency = DiscountKind, world.settings.currency
    offers = [
        ("WELCOME", DiscountRuleDraft(kind=kind.PERCENTAGE, rate=1000, is_first_order_only=True), None, 1),
        ("FIFTEEN", DiscountRuleDraft(kind=kind.PERCENTAGE, rate=1500, minimum_subtotal=Money.of("150", currency)), None, 1),
        ("FREIGHT", DiscountRuleDraft(kind=kind.FREE_SHIPPING), None, None),
        ("TWENTY", DiscountRuleDraft(kind=kind.FIXED_AMOUNT, amount=Money.of("20", currency)), round(15 * world.scale), 1),
    ]
    for name, rule, limit, per_customer in offers:
        code = f"{name}-{world.seed}"
        draft = CouponDraft(
            code=code, name=name.capitalize(), rule=rule, usage_limit=limit, usage_limit_per_customer=per_customer
        )
        await CouponService.create_coupon(draft, viewer=world.staff["manager"])
        world.codes.append(code)
    world.codes.append("NOSUCHCODE")


async def _keep_rules(world: World) -> None:
    above = FraudConditionDraft(field=FraudField.AMOUNT, operator=FraudOperator.ABOVE, values=[REVIEWED_FROM])
    draft = FraudRuleDraft(
        name=f"simulated: amount above {REVIEWED_FROM}", conditions=[above], action=FraudAction.REVIEW, priority=50
    )
    await FraudRuleService.create_rule(draft, viewer=world.staff["manager"])


async def is_inhabited() -> bool:
    """Whether the bound database has anybody's data in it."""
    return await User.find_row({}, {"_id": 1}) is not None
