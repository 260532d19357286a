"""The simulated public: who comes, looks, searches, fills a cart, pays or walks away, and what they do with what they got."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from random import Random

from beanie import PydanticObjectId

from models.analytics.events import ClientKind, VisitKind
from models.ecommerce.orders import OrderRead, PaymentMethod
from models.ecommerce.returns import ReturnReason
from models.payments import PaymentState
from models.places import PostalAddress
from scripts.samples import goods, texts
from scripts.simulation import habits
from scripts.simulation.gateway import CARDS, GOOD_CARDS
from scripts.simulation.readers import read_something
from scripts.simulation.tabs import Tab
from scripts.simulation.world import Bought, Good, Journey, Once, Person, World
from services.ecommerce.addresses import AddressService, NewAddress
from services.ecommerce.carts import CartHolder, CartItem, CartService, CartStockError, NotForSaleError
from services.ecommerce.catalog.pages import ProductPageService
from services.ecommerce.catalog.search import ProductFilter, ProductSearchService
from services.ecommerce.checkout.completion import CheckedOut, CheckoutService, PaymentDeclinedError
from services.ecommerce.checkout.wishes import CheckoutDraft
from services.ecommerce.couponreasons import CouponNotUsableError
from services.ecommerce.customers import CustomerChanges, CustomerService
from services.ecommerce.orders.cancellation import CancellationService
from services.ecommerce.orders.reading import OrderAccess, OrderService
from services.ecommerce.returns.pieces import ReturnPart
from services.ecommerce.returns.requests import ReturnService
from services.ecommerce.reviews import ReviewService, ReviewText
from services.ecommerce.stock_notices import StockNoticeService
from services.errors import AppError
from services.inventory.reservations import OutOfStockError
from services.pagination import PageRequest
from services.payments.desk import PaymentDeskService
from services.users.inputs import NewAccount
from services.users.logins import LoginService
from services.users.registrations import RegistrationService
from services.users.sessions import ClientInfo, SessionService

VISITS = 36  # on an ordinary day, for each unit of scale
_HOURS = (1, 1, 1, 1, 1, 2, 4, 7, 9, 10, 10, 10, 11, 10, 9, 9, 10, 11, 13, 15, 16, 13, 8, 3)
_WEEK = (0.9, 0.9, 0.95, 1.0, 1.1, 1.2, 1.15)
_REASONS = tuple(ReturnReason)


async def visitors(world: World) -> Journey:
    """Every day so many visits, at the hours people have time."""
    for day in range(world.days):
        dice = world.dice("day", day)
        weekday = (world.start + timedelta(days=day)).weekday()
        expected = VISITS * world.scale * _WEEK[weekday]
        for number in range(max(0, round(dice.gauss(expected, expected**0.5)))):
            hour = dice.choices(range(24), weights=_HOURS)[0]
            after = timedelta(hours=hour, seconds=dice.uniform(0, 3600))
            world.begin(_visit(world, f"{day}:{number}"), after=after)
        yield timedelta(days=1)


async def _visit(world: World, key: str) -> Journey:
    dice = world.dice("visit", key)
    is_known = bool(world.members) and dice.random() < habits.ARE_KNOWN
    person = dice.choice(world.members) if is_known else _stranger(world, dice)
    tab = Tab(world, person, key)
    world.tally["visits"] += 1
    if is_known:
        await _sign_in(world, person)
    if dice.random() < habits.READ:
        async for rest in read_something(world, person, tab, dice):
            yield rest
    if dice.random() < habits.SEARCH:
        world.tally["searches"] += 1
        wanted = ProductFilter(query=dice.choice(world.goods).noun, currency=world.settings.currency)
        await ProductSearchService.search_page(wanted, PageRequest())
        tab.open("/search")
        tab.note(VisitKind.SEARCH, term=wanted.query)
        yield timedelta(seconds=dice.uniform(5, 60))
    seen = dice.choices(world.goods, weights=world.popularity, k=dice.choice(habits.LOOKED_AT))
    for good in seen:
        await ProductPageService.get_product_details(good.slug, visit=tab.look(world.product_views, VisitKind.PRODUCT_VIEW))
        tab.open(f"/products/{good.slug}")
        yield timedelta(seconds=dice.uniform(10, 180))
    await tab.tell()
    if dice.random() < habits.SHOP:
        if person.viewer is None and dice.random() < habits.JOIN:
            async for rest in _join(world, person, dice):
                yield rest
        async for rest in _shop(world, person, tab, seen, dice):
            yield rest


def _stranger(world: World, dice: Random) -> Person:
    number = next(world.people)
    first, last = dice.choice(texts.FIRST_NAMES), dice.choice(texts.LAST_NAMES)
    username = f"{first}-{last}-{world.seed}-{number}".lower()
    city, state, postal_code = dice.choice(goods.CITIES)
    place = PostalAddress(
        first_name=first,
        last_name=last,
        line1=f"{dice.randint(1, 900)} Market Street",
        city=city,
        state=state,
        postal_code=postal_code,
        country="US",
    )
    return Person(
        number=number,
        first_name=first,
        last_name=last,
        username=username,
        email=f"{username}@example.org",
        password=f"simulated {dice.getrandbits(64):x}",
        network=f"10.{number // 65_536 % 256}.{number // 256 % 256}.{number % 256}",
        agent=habits.AGENT,
        place=place,
        likes_news=dice.random() < 0.6,
    )


# Accounts


async def _join(world: World, person: Person, dice: Random) -> Journey:
    """Ask for an account and follow the mailed link; some never look into their mail."""
    account = NewAccount(
        username=person.username,
        email=person.email,
        first_name=person.first_name,
        last_name=person.last_name,
        password=person.password,
    )
    client = ClientInfo(person.network, person.agent)
    await RegistrationService.register(account, client=client, settings=world.settings)
    world.tally["registrations asked for"] += 1
    if dice.random() < 0.1:
        return
    yield timedelta(minutes=dice.uniform(16, 45))
    token = world.mailed_token(person.email)
    assert token is not None, "the mail consumer has run since"
    await RegistrationService.verify(token, client=client)
    await _sign_in(world, person)
    assert person.viewer is not None
    world.members.append(person)
    if person.likes_news:
        changes = CustomerChanges(newsletter_subscribed=True)
        await CustomerService.update_me(changes, viewer=person.viewer, settings=world.settings)


async def _sign_in(world: World, person: Person) -> None:
    client = ClientInfo(person.network, person.agent)
    login = await LoginService.authenticate(person.username, person.password, client=client, settings=world.settings)
    person.viewer = await SessionService.find_viewer(login.opened.token)


# Buying


def _holder(person: Person) -> CartHolder:
    return CartHolder(person.viewer, person.cart_token)


async def _shop(world: World, person: Person, tab: Tab, seen: Sequence[Good], dice: Random) -> Journey:
    """Fill the cart with some of what was seen, and go to the till; or leave, and perhaps come back for it."""
    is_filled = False
    for good in dict.fromkeys(dice.sample(list(seen), dice.randint(1, len(seen)))):
        is_filled |= await _put_in(world, person, tab, good, 1 if good.is_digital else dice.choice(habits.PIECES))
        yield timedelta(seconds=dice.uniform(5, 60))
    if not is_filled:
        return
    world.tally["carts filled"] += 1
    if dice.random() < habits.TRY_CODE:
        await _try_code(world, person, dice.choice(world.codes))
    if dice.random() < habits.LEAVE_CART:
        if dice.random() < (0.45 if person.likes_news and person.viewer else 0.1):
            yield timedelta(hours=dice.uniform(6, 60))
        else:
            return
    yield timedelta(seconds=dice.uniform(20, 240))
    tab.open("/checkout", ClientKind.CHECKOUT_STARTED)
    await tab.tell()
    async for rest in _pay(world, person, tab, dice):
        yield rest


async def _put_in(world: World, person: Person, tab: Tab, good: Good, quantity: int) -> bool:
    item = CartItem(good.product_id, good.variant_id, quantity)
    try:
        cart = await CartService.add(_holder(person), item, settings=world.settings)
    except (CartStockError, NotForSaleError):
        world.tally["sold out when wanted"] += 1
        world.missed[good.product_id] += 1
        if person.viewer is not None:
            await _ask_for_notice(world, person, good)
        return False
    tab.note(VisitKind.CART_ADD)
    person.cart_token = cart.cart_token or person.cart_token
    return True


async def _ask_for_notice(world: World, person: Person, good: Good) -> None:
    assert person.viewer is not None
    try:
        await StockNoticeService.request_notice(good.product_id, good.variant_id, viewer=person.viewer, settings=world.settings)
        world.tally["stock notices asked for"] += 1
    except AppError:  # fewer are there than were wanted, but some
        world.tally["stock notices refused"] += 1


async def _try_code(world: World, person: Person, code: str) -> None:
    try:
        await CartService.add_coupon(_holder(person), code, address=person.network, settings=world.settings)
    except CouponNotUsableError as error:
        world.tally[f"codes refused: {error.code}"] += 1
    else:
        world.tally["codes taken"] += 1


async def _pay(world: World, person: Person, tab: Tab, dice: Random) -> Journey:
    """At most three cards, and then away."""
    if person.viewer is not None and not person.has_address:
        new = NewAddress(address=person.place)
        await AddressService.create_address(new, viewer=person.viewer, settings=world.settings)
        person.has_address = True
    method = dice.choices(list(habits.METHODS), weights=list(habits.METHODS.values()))[0]
    for attempt in range(3):
        cards = CARDS if attempt == 0 else GOOD_CARDS
        card = dice.choices(list(cards), weights=list(cards.values()))[0]
        draft = CheckoutDraft(
            payment_method=method,
            payment_token=card if method is PaymentMethod.CARD else None,
            email=None if person.viewer else person.email,
            shipping_address=None if person.viewer else person.place,
        )
        tab.note(VisitKind.CHECKOUT)
        try:
            done = await CheckoutService.checkout(
                draft,
                holder=_holder(person),
                key=f"{world.seed}:{dice.getrandbits(96):x}",
                gateways=world.gateways,
                settings=world.settings,
                client_address=person.network,
            )
        except PaymentDeclinedError:
            world.tally["checkouts declined"] += 1
            if dice.random() < 0.4:
                return
            yield timedelta(seconds=dice.uniform(20, 120))
        except OutOfStockError:
            world.tally["sold out at the till"] += 1
            return
        except AppError as error:
            world.tally[f"checkouts refused: {error.code}"] += 1
            return
        else:
            world.tally["checkouts done"] += 1
            if done.order.paid_at is not None:
                tab.note(VisitKind.PAID)
            _follow(world, person, done, dice)
            return


def _follow(world: World, person: Person, done: CheckedOut, dice: Random) -> None:
    order = done.order
    world.buyers[order.id] = Bought(person, done.guest_token)
    if dice.random() < 0.03:
        world.begin(Once(partial(_change_mind, world, order.id)), after=timedelta(minutes=dice.uniform(0.5, 6)))
    if order.payment_method is PaymentMethod.INVOICE:
        world.begin(Once(partial(_pay_invoice, world, order.id)), after=timedelta(days=dice.uniform(3, 14)))


def _access(world: World, order_id: PydanticObjectId) -> OrderAccess:
    bought = world.buyers[order_id]
    viewer = bought.person.viewer if bought.guest_token is None else None
    return OrderAccess(viewer, bought.guest_token)


async def _change_mind(world: World, order_id: PydanticObjectId) -> None:
    try:
        await CancellationService.cancel_order(
            order_id,
            access=_access(world, order_id),
            gateways=world.gateways,
            listener=world.listener,
            settings=world.settings,
            reason="changed my mind",
        )
    except AppError as error:
        world.tally[f"cancellations refused: {error.code}"] += 1


async def _pay_invoice(world: World, order_id: PydanticObjectId) -> None:
    """The money arrives at the bank, and staff enters it."""
    manager = world.staff["manager"]
    order = await OrderService.get_staff_order(order_id, viewer=manager)
    found = await PaymentDeskService.list_payments(viewer=manager, cursors=world.cursors, subject=f"order:{order.id}")
    for payment in found.items:
        if payment.state is PaymentState.AUTHORISED:
            await PaymentDeskService.capture_payment(
                payment.id,
                viewer=manager,
                amount=None,
                key=f"paid-{order.number}",
                gateways=world.gateways,
                listener=world.listener,
                settings=world.settings,
            )


# Afterwards


async def after_delivery(world: World, order: OrderRead) -> Journey:
    """What the customer does with what arrived: sends it back, tells others, or nothing."""
    dice = world.dice("afterwards", order.number)
    choice = dice.random()
    if choice < 0.1:
        yield timedelta(days=dice.uniform(1, 9))
        await _send_back(world, order.id, dice)
    elif choice < 0.45:
        yield timedelta(days=dice.uniform(0.5, 8))
        await _tell_others(world, order, dice)


async def _send_back(world: World, order_id: PydanticObjectId, dice: Random) -> None:
    access = _access(world, order_id)
    order = await OrderService.get_order(order_id, access=access)
    lines = [line for line in order.lines if not line.is_digital]
    chosen = dice.sample(lines, dice.randint(1, len(lines))) if lines else []
    parts = [
        ReturnPart(line_id=line.id, quantity=dice.randint(1, line.quantity), reason=dice.choice(_REASONS)) for line in chosen
    ]
    if not parts:
        return
    try:
        await ReturnService.request(order_id, parts, access=access, settings=world.settings)
    except AppError as error:
        world.tally[f"returns refused: {error.code}"] += 1


async def _tell_others(world: World, order: OrderRead, dice: Random) -> None:
    person = world.buyers[order.id].person
    if person.viewer is None or world.buyers[order.id].guest_token is not None:
        return
    rating = dice.choices(list(goods.RATINGS), weights=list(goods.RATINGS.values()))[0]
    title, content = dice.choice(goods.REVIEWS[rating])
    line = dice.choice(order.lines)
    try:
        text = ReviewText(rating, title, content)
        await ReviewService.create_review(line.product_id, text, order_id=order.id, viewer=person.viewer)
    except AppError as error:
        world.tally[f"reviews refused: {error.code}"] += 1
