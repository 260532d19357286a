import pytest
from beanie import PydanticObjectId

from models.database import Database
from models.ecommerce.cart_reads import LineProblemKind
from services.ecommerce.cart_writing import MAX_LINES, MAX_QUANTITY
from services.ecommerce.carts import CartService, guest_owner, user_owner
from services.errors import PreconditionError
from services.settings import Settings
from tests.factories.carts import CART_TOKEN, create_cart, make_line
from tests.factories.catalog import create_product, make_variant, money
from tests.factories.inventory import stock
from tests.factories.users import create_user
from tests.services.ecommerce.test_carts import GUEST, holder_of, in_stock, item_of, quantities, stored


class TestMerge:
    async def test_com_s9_quantities_add_up_once(self, database: Database, settings: Settings) -> None:
        """COM-S9: a guest's cart joins on login; merged again it gives nothing."""
        user, both, guests = await create_user(), await in_stock(9), await in_stock(9)
        own = await create_cart((both, 2), user=user, coupon_codes=["A"])
        await create_cart((both, 3), (guests, 1), coupon_codes=["A", "B"])
        holder = holder_of(user, CART_TOKEN)

        shown = await CartService.get(holder, settings=settings)
        for _ in range(2):
            merged = await CartService.merge(holder, settings=settings)
            assert (quantities(merged), merged.coupon_codes) == ([5, 1], ["A", "B"])

        assert quantities(shown) == [5, 1]
        guest = await stored(guest_owner(CART_TOKEN))
        assert (guest.lines, guest.merged_into) == ([], own.id)
        assert (await CartService.get(GUEST, settings=settings)).lines == []

    async def test_com_s9_every_change_merges_too(self, database: Database, settings: Settings) -> None:
        user, mine, guests = await create_user(), await in_stock(9), await in_stock(9)
        await create_cart((guests, 2))

        answer = await CartService.add(holder_of(user, CART_TOKEN), item_of(mine), settings=settings)

        assert [(line.product_id, line.quantity) for line in answer.lines] == [(guests.id, 2), (mine.id, 1)]
        assert (await stored(guest_owner(CART_TOKEN))).lines == []

    async def test_limits_hold(self, database: Database, settings: Settings) -> None:
        user, product = await create_user(), await create_product(track_inventory=False)
        lines = [make_line(product, variant_id=PydanticObjectId()) for _ in range(MAX_LINES - 1)]
        await create_cart(user=user, lines=[make_line(product, MAX_QUANTITY - 1), *lines])
        await create_cart(lines=[make_line(product, 5), make_line(product, variant_id=PydanticObjectId())])

        await CartService.merge(holder_of(user, CART_TOKEN), settings=settings)

        assert quantities(await stored(user_owner(user.id))) == [MAX_QUANTITY, *([1] * (MAX_LINES - 1))]

    async def test_a_closed_cart_is_not_opened_again(self, database: Database, settings: Settings) -> None:
        user, product = await create_user(), await in_stock(9)
        await create_cart((product, 1))
        await CartService.merge(holder_of(user, CART_TOKEN), settings=settings)

        later = await CartService.add(GUEST, item_of(product), settings=settings)

        assert later.cart_token not in (None, CART_TOKEN)
        assert quantities(await stored(user_owner(user.id))) == [1]

    async def test_an_empty_cart_takes_the_guests_currency(self, database: Database, settings: Settings) -> None:
        user = await create_user()
        variant = make_variant(price=money("19.90"), other_prices=[money("18.00", "EUR")])
        product = await create_product(variants=[variant])
        await stock(variant, 9, product=product)
        line = make_line(product, 2, price_seen=money("18.00", "EUR"))
        await create_cart(lines=[line], currency="EUR")
        await create_cart(user=user)

        merged = await CartService.merge(holder_of(user, CART_TOKEN), settings=settings)

        assert (merged.currency, merged.totals.subtotal) == ("EUR", money("36.00", "EUR"))

    async def test_another_currency_is_priced_anew_and_told(self, database: Database, settings: Settings) -> None:
        user, own = await create_user(), await in_stock(9)
        variant = make_variant(price=money("19.90"), other_prices=[money("18.00", "EUR")])
        product = await create_product(variants=[variant])
        await stock(variant, 9, product=product)
        await create_cart(lines=[make_line(product, 2, price_seen=money("18.00", "EUR"))], currency="EUR")
        await create_cart((own, 1), user=user)

        merged = await CartService.merge(holder_of(user, CART_TOKEN), settings=settings)

        assert (merged.currency, merged.totals.subtotal) == ("USD", money("59.70"))
        assert [[problem.kind for problem in line.problems] for line in merged.lines] == [[], [LineProblemKind.PRICE_CHANGED]]


class TestJoinGuest:
    async def test_com_s9_tells_the_revision_a_checkout_goes_by(self, database: Database, settings: Settings) -> None:
        """COM-S9: the buyer saw both carts as one, under the revision of their own."""
        user, product = await create_user(), await in_stock(9)
        own = await create_cart((product, 1), user=user)
        await create_cart((product, 2))
        holder = holder_of(user, CART_TOKEN)
        seen = (await CartService.get(holder, settings=settings)).revision

        with pytest.raises(PreconditionError):
            await CartService.join_guest(holder, settings=settings, revision=seen + 1)
        assert await CartService.join_guest(holder, settings=settings, revision=seen) == seen + 1
        assert await CartService.join_guest(holder, settings=settings, revision=seen) == seen
        assert await CartService.join_guest(holder, settings=settings) is None

        assert quantities(await stored(own.owner)) == [3]
