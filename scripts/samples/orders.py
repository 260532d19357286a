"""The sample shop's orders of thirteen months, and everything they leave behind: payments, stock, points, returns, reviews."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from models.base import to_milliseconds
from models.ecommerce.coupons import Coupon, CouponRedemption
from models.ecommerce.customers import LoyaltyEntry
from models.ecommerce.orders import (
    Fulfilment,
    FulfilmentLine,
    Order,
    OrderLine,
    OrderStatus,
    OrderStatusHistory,
    PaymentMethod,
    PaymentStatus,
)
from models.ecommerce.pricing import Quote
from models.ecommerce.returns import Disposition, ReturnLine, ReturnReason, ReturnRequest, ReturnStatus
from models.inventory.stock import MovementKind, Reservation, ReservationStatus, ReservedLine
from models.money import Money
from models.payments import Payment, PaymentState, Refund, RefundState, Transaction, TransactionKind, TransactionStatus
from models.sequences import Sequence as RunningNumber
from scripts.samples import goods
from scripts.samples.carts import fill_carts
from scripts.samples.reviews import ReviewMaker
from scripts.samples.shop import Buyer, Key, Shop, ShopMaker
from scripts.samples.unit import Unit, sample_id
from services.ecommerce.discounts import Discount
from services.ecommerce.loyalty import points_for, points_left
from services.ecommerce.pieces import Piece
from services.ecommerce.returns.pieces import paid_for
from services.ecommerce.shipping import NO_SHIPPING, default_carriage
from services.ecommerce.taxes import default_taxes
from services.ecommerce.totals import total_up
from services.payments.offline import OFFLINE
from services.settings import Settings

ORDERS = 2_000

# From what an order of some age has become, and how often.
_SETTLED = (("delivered", 80), ("returned", 7), ("cancelled", 5), ("unpaid", 5), ("shipped", 3))
_RECENT = (("shipped", 40), ("processing", 30), ("confirmed", 25), ("unpaid", 5))
_RECENT_DAYS = 4
_NUMBERS_PER_DAY = 1_000  # of one unit


@dataclass
class Sale:
    """One order on its way through its life."""

    order: Order
    buyer: Buyer | None  # None is a guest
    payment: Payment | None = None

    @property
    def subject(self) -> str:
        return f"order:{self.order.id}"


class OrderMaker:
    """Draws the orders of one unit, oldest first, and follows each to where it stands at the anchor."""

    def __init__(self, unit: Unit, maker: ShopMaker, shop: Shop, settings: Settings) -> None:
        self.unit = unit
        self.maker = maker
        self.shop = shop
        self.settings = settings
        self.anchor = maker.anchor
        self.currency = settings.currency
        self.taxes = default_taxes(settings)
        self.chance = Random(f"agora-sample-orders-{unit.number}")
        self.variants = {variant.id: variant for product in shop.products for variant in product.variants}
        self.products = {product.id: product for product in shop.products}
        self.points: dict[Key, list[LoyaltyEntry]] = {}
        self.uses: Counter[tuple[Key, Key]] = Counter()
        self.given_out: Counter[str] = Counter()
        self.reviews = ReviewMaker(unit, shop, self.chance, self.anchor)

    def make(self) -> None:
        # More and more of them: the shop grows.
        moments = sorted(self._moment(position) for position in range(ORDERS))
        for position, moment in enumerate(moments):
            self._follow(self._place(position, moment))
        self.reviews.vote()
        fill_carts(self.unit, self.shop, self.anchor, self.chance, draw=self._pieces)
        if self.unit.number == 0:
            # Numbers of the anchor's day that are given out from now on come after those of every unit.
            today = f"{self.anchor:%Y%m%d}"
            for prefix in ("ORD", "RMA"):
                self.unit.documents[RunningNumber].append(
                    RunningNumber(
                        id=sample_id("sequence", prefix, self.anchor),
                        name=f"{prefix}-{today}",
                        value=100 * _NUMBERS_PER_DAY,
                        **self._stamp(self.anchor),
                    )
                )

    def _moment(self, position: int) -> datetime:
        share = self.chance.random() ** 0.6
        span = self.anchor - self.maker.start - timedelta(days=2)
        return to_milliseconds(self.maker.start + timedelta(days=1) + span * share)

    def _stamp(self, moment: datetime) -> dict[str, Any]:
        return {"created_at": moment, "updated_at": moment}

    def _money(self, amount: int) -> Money:
        return Money(amount=amount, currency=self.currency)

    # Placing

    def _place(self, position: int, moment: datetime) -> Sale:
        buyer = self._buyer(moment)
        number = self.unit.number * ORDERS + position
        order_id = sample_id("order", number, moment)
        pieces = self._pieces()
        coupon = self._coupon(buyer)
        quote = self._quote(pieces, coupon)
        is_shipped = any(not piece.is_digital for piece in pieces)
        order = Order(
            id=order_id,
            number=self._number("ORD", moment),
            placement_key=f"sample:{number}",
            customer_id=buyer.customer.id if buyer else None,
            user_id=buyer.user.id if buyer else None,
            email=buyer.user.email if buyer else f"guest{number}@example.net",
            currency=self.currency,
            lines=[self._line(quote, at, order_id, moment) for at in range(len(pieces))],
            items_count=sum(piece.quantity for piece in pieces),
            totals=quote.totals,
            discounts=quote.discounts,
            steps=quote.steps,
            payment_method=PaymentMethod.CARD if self.chance.random() < 0.8 else PaymentMethod.BANK_TRANSFER,
            shipping_method=quote.shipping_method,
            shipping_address=buyer.address if buyer and is_shipped else self.shop.buyers[0].address if is_shipped else None,
            placed_at=moment,
            refunded=self._money(0),
            **self._stamp(moment),
        )
        if not order.totals.total:
            order.payment_method = PaymentMethod.NONE
        return Sale(order, buyer)

    def _number(self, prefix: str, moment: datetime) -> str:
        """The next one of the day; every unit has a range of its own."""
        day = f"{prefix}-{moment:%Y%m%d}"
        self.given_out[day] += 1
        return f"{day}-{self.unit.number * _NUMBERS_PER_DAY + self.given_out[day]:06d}"

    def _buyer(self, moment: datetime) -> Buyer | None:
        if self.chance.random() < 0.08:
            return None
        # The first customers come back most often.
        for _ in range(20):
            buyer = self.shop.buyers[int(len(self.shop.buyers) * self.chance.random() ** 1.5)]
            if buyer.customer.created_at <= moment:
                return buyer
        return self.shop.buyers[0]

    def _pieces(self) -> list[Piece]:
        count = self.chance.choices((1, 2, 3, 4), weights=(46, 30, 16, 8))[0]
        chosen = dict.fromkeys(self.chance.choices(range(len(self.shop.products)), weights=self.shop.popularity, k=count))
        pieces = []
        for at in chosen:
            product = self.shop.products[at]
            variant = self.chance.choice(product.variants)
            category = self.shop.categories[product.category_id] if product.category_id else None
            pieces.append(
                Piece(
                    product_id=product.id,
                    variant_id=variant.id,
                    category_ids=(category.id, *category.ancestor_ids) if category else (),
                    unit_price=variant.price,
                    quantity=1 if product.is_digital else self.chance.choices((1, 2, 3), weights=(75, 18, 7))[0],
                    is_digital=product.is_digital,
                    tax_class=product.tax_class,
                    weight_grams=variant.weight_grams or 0,
                )
            )
        return pieces

    def _coupon(self, buyer: Buyer | None) -> Coupon | None:
        if buyer is None or self.chance.random() > 0.15:
            return None
        coupon = self.chance.choice(self.shop.coupons)
        limit = coupon.usage_limit_per_customer
        return None if limit is not None and self.uses[coupon.id, buyer.customer.id] >= limit else coupon

    def _quote(self, pieces: Sequence[Piece], coupon: Coupon | None) -> Quote:
        is_shipped = any(not piece.is_digital for piece in pieces)
        discounts = []
        if coupon is not None:
            discounts = [Discount(f"coupon:{coupon.code}", coupon.name, coupon.rule, coupon_id=coupon.id)]
        carriage = default_carriage(pieces, currency=self.currency, settings=self.settings) if is_shipped else NO_SHIPPING
        return total_up(pieces, currency=self.currency, discounts=discounts, carriage=carriage, taxes=self.taxes)

    def _line(self, quote: Quote, at: int, order_id: Key, moment: datetime) -> OrderLine:
        priced = quote.lines[at]
        product, variant = self.products[priced.product_id], self.variants[priced.variant_id]
        return OrderLine(
            id=sample_id("line", f"{order_id}:{at}", moment),
            product_id=product.id,
            variant_id=variant.id,
            category_id=product.category_id,
            name=product.name,
            sku=variant.sku,
            options=variant.options,
            quantity=priced.quantity,
            unit_price=priced.unit_price,
            subtotal=priced.subtotal,
            discount=priced.discount,
            tax=priced.tax,
            total=priced.total,
            is_digital=product.is_digital,
            tracks_inventory=variant.track_inventory,
        )

    # What became of it

    def _follow(self, sale: Sale) -> None:
        order = sale.order
        is_recent = self.anchor - order.placed_at < timedelta(days=_RECENT_DAYS)
        fates = _RECENT if is_recent else _SETTLED
        fate = self.chance.choices([name for name, _ in fates], weights=[weight for _, weight in fates])[0]
        self._step(sale, None, OrderStatus.PENDING, order.placed_at, "guest" if sale.buyer is None else _by(sale.buyer))
        if fate == "unpaid" and order.totals.total:
            self._decline(sale)
        else:
            self._pay(sale)
            paid_at = order.placed_at + timedelta(minutes=2)
            if fate == "cancelled":
                self._cancel(sale, paid_at + timedelta(minutes=2))
            elif fate != "confirmed":
                self._pack_and_send(sale, fate)
        self.unit.documents[Order].append(order)

    def _step(self, sale: Sale, old: OrderStatus | None, new: OrderStatus, moment: datetime, by: str, reason: str = "") -> None:
        order = sale.order
        order.status = new
        order.updated_at = moment
        row = OrderStatusHistory(
            id=sample_id("history", f"{order.id}:{new}", moment),
            order_id=order.id,
            old_status=old,
            new_status=new,
            changed_at=moment,
            changed_by=by,
            reason=reason,
            **self._stamp(moment),
        )
        self.unit.documents[OrderStatusHistory].append(row)

    def _decline(self, sale: Sale) -> None:
        """The card was refused, so the order fell: its stock was held for a moment and given back."""
        order, moment = sale.order, sale.order.placed_at + timedelta(seconds=2)
        self._write_payment(sale, PaymentState.FAILED, moment)
        order.payment_status = PaymentStatus.FAILED
        order.cancelled_at = moment
        self._reserve(sale, ReservationStatus.RELEASED, moment)
        self._step(
            sale, OrderStatus.PENDING, OrderStatus.CANCELLED, moment, f"gateway:{OFFLINE}", "payment failed: card_declined"
        )

    def _pay(self, sale: Sale) -> None:
        order, moment = sale.order, sale.order.placed_at + timedelta(minutes=2)
        if order.totals.total:
            self._write_payment(sale, PaymentState.CAPTURED, moment)
        order.payment_status = PaymentStatus.COMPLETED
        order.paid_at = moment
        order.is_stock_taken = order.is_counted = True
        self._reserve(sale, ReservationStatus.COMMITTED, moment)
        self._move(sale, -1, MovementKind.SALE, "sale", moment, {line.id: line.quantity for line in order.lines})
        self._count_sales(order, {line.id: line.quantity for line in order.lines})
        self._redeem(sale)
        if sale.buyer is not None:
            points = points_for(order.totals.total, settings=self.settings)
            order.points_earned = points
            self._earn(sale, f"{sale.subject}:paid", points, order.totals.total, 1, "order paid", moment)
        by = f"gateway:{sale.payment.gateway}" if sale.payment else "system"
        self._step(sale, OrderStatus.PENDING, OrderStatus.CONFIRMED, moment, by, "paid")

    def _cancel(self, sale: Sale, moment: datetime) -> None:
        """By the customer, before it was packed: everything goes back."""
        order = sale.order
        order.cancelled_at = moment
        self._step(sale, OrderStatus.CONFIRMED, OrderStatus.CANCELLED, moment, _by(sale.buyer), "changed my mind")
        all_of_it = {line.id: line.quantity for line in order.lines}
        self._move(sale, 1, MovementKind.CANCELLATION, "cancel", moment, all_of_it)
        self._count_sales(order, {line_id: -quantity for line_id, quantity in all_of_it.items()})
        self._unredeem(order)
        order.is_counted = False
        if sale.buyer is not None:
            self._earn(sale, f"{sale.subject}:cancelled", -order.points_earned, None, -1, "order cancelled", moment)
            order.points_earned = 0
        if sale.payment is not None:
            self._refund(sale, order.totals.total, "order cancelled", f"{sale.subject}:owed", moment)
            order.payment_status = PaymentStatus.REFUNDED

    def _pack_and_send(self, sale: Sale, fate: str) -> None:
        order = sale.order
        assert order.paid_at is not None
        packed_at = order.paid_at + timedelta(minutes=5)
        self._step(sale, OrderStatus.CONFIRMED, OrderStatus.PROCESSING, packed_at, "system")
        if fate == "processing":
            return
        sent_at = to_milliseconds(packed_at + timedelta(hours=self.chance.uniform(4, 30)))
        order.shipped_at = sent_at
        for line in order.lines:
            line.fulfilled_quantity = line.quantity
        parcel = Fulfilment(
            id=sample_id("parcel", order.id, sent_at),
            lines=[FulfilmentLine(line_id=line.id, quantity=line.quantity) for line in order.lines],
            carrier=self.chance.choice(goods.CARRIERS),
            tracking_number=f"TRK{self.chance.randint(10**9, 10**10 - 1)}",
            shipped_at=sent_at,
        )
        order.fulfilments = [parcel]
        self._step(sale, OrderStatus.PROCESSING, OrderStatus.SHIPPED, sent_at, "system")
        if fate == "shipped":
            return
        arrived_at = to_milliseconds(sent_at + timedelta(hours=self.chance.uniform(20, 40)))
        order.delivered_at = parcel.delivered_at = arrived_at
        self._step(sale, OrderStatus.SHIPPED, OrderStatus.DELIVERED, arrived_at, "system")
        if fate == "returned":
            self._send_back(sale, arrived_at)
        self.reviews.write(sale.order, sale.buyer, arrived_at)

    # Money

    def _write_payment(self, sale: Sale, state: PaymentState, moment: datetime) -> None:
        order, is_paid = sale.order, state is PaymentState.CAPTURED
        amount = order.totals.total
        payment_id = sample_id("payment", order.id, order.placed_at)
        payment = Payment(
            id=payment_id,
            subject=sale.subject,
            key=f"{sale.subject}:checkout",
            customer_key=f"customer:{order.customer_id}" if order.customer_id else f"email:{order.email}",
            amount=amount,
            method=order.payment_method,
            gateway=OFFLINE,  # the sandbox's books begin empty; here refunds of samples succeed, and its report agrees
            state=state,
            failure_code=None if is_paid else "card_declined",
            failure_message=None if is_paid else "The card was declined.",
            captured=amount.amount if is_paid else 0,
            refundable=amount.amount if is_paid else 0,
            asked_at=order.placed_at,
            sent_count=1,
            declined_at=None if is_paid else moment,
            settled_at=moment,
            created_at=order.placed_at,
            updated_at=moment,
        )
        sale.payment = payment
        order.payment_id = payment.id if is_paid else None
        self.unit.documents[Payment].append(payment)
        status = TransactionStatus.SUCCEEDED if is_paid else TransactionStatus.FAILED
        self._exchange(payment, TransactionKind.CHARGE, status, amount, moment)

    def _exchange(
        self,
        payment: Payment,
        kind: TransactionKind,
        status: TransactionStatus,
        amount: Money,
        moment: datetime,
        refund_id: Key | None = None,
    ) -> None:
        row = Transaction(
            id=sample_id("transaction", f"{payment.id}:{kind}:{refund_id}", moment),
            payment_id=payment.id,
            refund_id=refund_id,
            kind=kind,
            status=status,
            amount=amount,
            gateway=payment.gateway,
            gateway_reference=payment.gateway_reference,
            duration_ms=self.chance.randint(40, 400),
            **self._stamp(moment),
        )
        self.unit.documents[Transaction].append(row)

    def _refund(self, sale: Sale, amount: Money, reason: str, key: str, moment: datetime) -> Refund:
        payment, order = sale.payment, sale.order
        assert payment is not None
        refund = Refund(
            id=sample_id("refund", key, moment),
            payment_id=payment.id,
            subject=sale.subject,
            gateway=payment.gateway,
            key=key,
            amount=amount,
            reason=reason,
            state=RefundState.SUCCEEDED,
            asked_at=moment,
            sent_count=1,
            settled_at=moment,
            **self._stamp(moment),
        )
        payment.refunded += amount.amount
        payment.refundable -= amount.amount
        payment.updated_at = moment
        order.refunded += amount
        self.unit.documents[Refund].append(refund)
        self._exchange(payment, TransactionKind.REFUND, TransactionStatus.SUCCEEDED, amount, moment, refund.id)
        if sale.buyer is not None:
            entries = self.points[order.id]
            stands = sum(entry.orders for entry in entries)
            left = points_left(entries, paid=payment.captured, refunded=payment.refunded) if stands else 0
            taken = sum(entry.points for entry in entries) - left
            is_whole = payment.refunded >= payment.captured
            self._earn(sale, f"refund:{refund.id}", -taken, -amount, -stands if is_whole else 0, "refund", moment)
            order.points_earned = max(0, order.points_earned - taken)
        return refund

    def _earn(self, sale: Sale, key: str, points: int, amount: Money | None, orders: int, reason: str, moment: datetime) -> None:
        assert sale.buyer is not None
        customer = sale.buyer.customer
        entry = LoyaltyEntry(
            id=sample_id("points", key, moment),
            customer_id=customer.id,
            key=key,
            points=points,
            reason=reason,
            order_id=sale.order.id,
            amount=amount,
            orders=orders,
            **self._stamp(moment),
        )
        self.points.setdefault(sale.order.id, []).append(entry)
        self.unit.documents[LoyaltyEntry].append(entry)
        customer.points_balance += points
        customer.orders_count += orders
        customer.spent += amount or self._money(0)
        customer.updated_at = moment

    def _redeem(self, sale: Sale) -> None:
        for discount in sale.order.discounts:
            coupon = next(coupon for coupon in self.shop.coupons if coupon.id == discount.coupon_id)
            assert sale.buyer is not None
            self.uses[coupon.id, sale.buyer.customer.id] += 1
            coupon.usage_count += 1
            row = CouponRedemption(
                id=sample_id("redemption", sale.order.id, sale.order.placed_at),
                coupon_id=coupon.id,
                order_id=sale.order.id,
                customer_key=f"customer:{sale.buyer.customer.id}",
                slot=self.uses[coupon.id, sale.buyer.customer.id],
                discount=discount.amount,
                **self._stamp(sale.order.placed_at),
            )
            self.unit.documents[CouponRedemption].append(row)

    def _unredeem(self, order: Order) -> None:
        """The use is given back; its slot stays empty, and is taken again by nobody here."""
        for discount in order.discounts:
            rows = self.unit.documents[CouponRedemption]
            rows[:] = [row for row in rows if row.order_id != order.id]
            coupon = next(coupon for coupon in self.shop.coupons if coupon.id == discount.coupon_id)
            coupon.usage_count -= 1

    # Stock

    def _reserve(self, sale: Sale, status: ReservationStatus, moment: datetime) -> None:
        pieces = self._counted(sale.order, {line.id: line.quantity for line in sale.order.lines})
        if not pieces:
            return
        row = Reservation(
            id=sample_id("reservation", sale.order.id, sale.order.placed_at),
            owner=sale.subject,
            owner_kind="order",
            lines=[
                ReservedLine(
                    product_id=product_id,
                    variant_id=variant_id,
                    location_id=self.shop.location_id,
                    sku=self.variants[variant_id].sku,
                    quantity=quantity,
                )
                for (product_id, variant_id), quantity in pieces.items()
            ],
            status=status,
            settled_at=moment,
            created_at=sale.order.placed_at,
            updated_at=moment,
        )
        self.unit.documents[Reservation].append(row)

    def _counted(self, order: Order, pieces: dict[Key, int]) -> Counter[tuple[Key, Key]]:
        """Pieces of these lines that are kept in stock, by product and variant."""
        found: Counter[tuple[Key, Key]] = Counter()
        for line in order.lines:
            if line.tracks_inventory and pieces.get(line.id):
                found[line.product_id, line.variant_id] += pieces[line.id]
        return found

    def _move(self, sale: Sale, sign: int, kind: MovementKind, key: str, moment: datetime, pieces: dict[Key, int]) -> None:
        for (product_id, variant_id), quantity in self._counted(sale.order, pieces).items():
            movement = self.maker.movement(
                product_id,
                self.variants[variant_id],
                sign * quantity,
                kind=kind,
                key=f"{sale.subject}:{key}",
                reference=sale.subject,
                moment=moment,
            )
            self.shop.movements[variant_id].append(movement)

    def _count_sales(self, order: Order, pieces: dict[Key, int]) -> None:
        for line in order.lines:
            self.products[line.product_id].sales_count += pieces.get(line.id, 0)

    # Afterwards

    def _send_back(self, sale: Sale, arrived_at: datetime) -> None:
        """Some pieces of one line come back and are paid back."""
        order = sale.order
        line = self.chance.choice(order.lines)
        moment = to_milliseconds(arrived_at + timedelta(hours=self.chance.uniform(10, 20)))
        if line.is_digital or sale.payment is None or moment > self.anchor or not line.total:
            return
        pieces = self.chance.randint(1, line.quantity)
        paid = paid_for(line, pieces)
        to_shelf = self.chance.random() < 0.8
        number = self._number("RMA", moment)
        request_id = sample_id("return", order.id, moment)
        refund = self._refund(sale, paid, f"return {number}", f"return:{request_id}:1", moment)
        request = ReturnRequest(
            id=request_id,
            number=number,
            order_id=order.id,
            customer_id=order.customer_id,
            user_id=order.user_id,
            lines=[
                ReturnLine(
                    line_id=line.id,
                    sku=line.sku,
                    name=line.name,
                    variant_id=line.variant_id,
                    quantity=pieces,
                    reason=self.chance.choice(list(ReturnReason)),
                    received_quantity=pieces,
                    disposition=Disposition.RESTOCK if to_shelf else Disposition.WRITE_OFF,
                    refund=paid,
                )
            ],
            status=ReturnStatus.REFUNDED,
            refund=paid,
            refund_id=refund.id,
            requested_at=arrived_at,
            received_at=moment,
            settled_at=moment,
            created_at=arrived_at,
            updated_at=moment,
        )
        self.unit.documents[ReturnRequest].append(request)
        line.returned_quantity = line.returning_quantity = pieces
        if to_shelf:
            self._move(sale, 1, MovementKind.RETURN, f"return:{request_id}", moment, {line.id: pieces})
        self._count_sales(order, {line.id: -pieces})
        is_whole = sale.payment.refunded >= sale.payment.captured
        order.payment_status = PaymentStatus.REFUNDED if is_whole else PaymentStatus.PARTIALLY_REFUNDED
        status = OrderStatus.DELIVERED
        if all(one.returned_quantity == one.quantity for one in order.lines):
            self._step(sale, status, OrderStatus.RETURNED, moment, "system", f"return {number}")
            status = OrderStatus.RETURNED
        if is_whole:
            self._step(sale, status, OrderStatus.REFUNDED, moment, "system", f"return {number}")


def _by(buyer: Buyer | None) -> str:
    return f"user:{buyer.user.id}" if buyer else "guest"
