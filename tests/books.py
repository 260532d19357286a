"""Whether orders, stock, money, coupons and statistics tell one story: recounted from ledgers and documents in plain Python."""

from collections import Counter, defaultdict
from typing import Any

from models.base import AgoraDocument
from models.ecommerce.catalog import Product
from models.ecommerce.coupons import Coupon, CouponRedemption
from models.ecommerce.customers import Customer, LoyaltyEntry
from models.ecommerce.orders import Order, OrderStatus, OrderStatusHistory
from models.events import Event
from models.inventory.stock import Reservation, ReservationStatus, StockLevel, StockMovement
from models.payments import Payment, PaymentState, Refund, RefundState
from services.ecommerce.orders.transitions import EDGES
from tests.factories.checkout import DoubleGateway

PAID = ("completed", "partially_refunded", "refunded")


async def all_of(document: type[AgoraDocument]) -> list[Any]:
    return [document.from_row(row) for row in await document.find_rows({}, sort=[("_id", 1)])]


async def differences(gateway: DoubleGateway | None = None) -> list[str]:
    """What does not add up; nothing when all is well. With the gateway, its books are compared, too."""
    orders: list[Order] = await all_of(Order)
    return [
        *await _stock(orders),
        *await _money(orders, gateway),
        *await _statistics(orders),
        *await _coupons(orders),
        *await _history(orders),
    ]


async def _stock(orders: list[Order]) -> list[str]:
    levels: list[StockLevel] = await all_of(StockLevel)
    movements: list[StockMovement] = await all_of(StockMovement)
    reservations: list[Reservation] = await all_of(Reservation)
    on_hand: Counter[Any] = Counter()
    sold: dict[str, Counter[Any]] = defaultdict(Counter)
    held: Counter[Any] = Counter()
    for movement in movements:
        on_hand[movement.variant_id, movement.location_id] += movement.quantity
        sold[movement.reference][movement.variant_id] -= movement.quantity
    for reservation in reservations:
        if reservation.status is ReservationStatus.HELD:
            for part in reservation.lines:
                held[part.variant_id, part.location_id] += part.quantity
    wrong = []
    for level in levels:
        key = (level.variant_id, level.location_id)
        if level.on_hand != on_hand[key] or level.reserved != held[key] or level.available != level.on_hand - level.reserved:
            wrong.append(f"stock of {level.sku}: {level.on_hand}/{level.reserved}/{level.available}")
        if level.available < 0:
            wrong.append(f"oversold {level.sku}: {level.available}")
    status = {reservation.owner: reservation.status for reservation in reservations}
    for order in orders:
        owner = f"order:{order.id}"
        bought: Counter[Any] = Counter()
        for line in order.lines:
            if line.tracks_inventory and order.is_stock_taken:
                bought[line.variant_id] += line.fulfilled_quantity if order.status is OrderStatus.REFUNDED else line.quantity
        away = Counter({variant: pieces for variant, pieces in sold[owner].items() if pieces})
        has_returns = any(line.returned_quantity for line in order.lines)
        if not has_returns and away != +bought:
            wrong.append(f"{order.number} ({order.status}) moved {dict(away)} instead of {dict(bought)}")
        if order.status is OrderStatus.CANCELLED and status.get(owner) is ReservationStatus.HELD:
            wrong.append(f"{order.number} is cancelled and holds stock")
    return wrong


async def _money(orders: list[Order], gateway: DoubleGateway | None) -> list[str]:
    payments: list[Payment] = await all_of(Payment)
    refunds: list[Refund] = await all_of(Refund)
    wrong = []
    for payment in payments:
        own = [refund for refund in refunds if refund.payment_id == payment.id]
        refunded = sum(refund.amount.amount for refund in own if refund.state is RefundState.SUCCEEDED)
        running = sum(refund.amount.amount for refund in own if refund.state is RefundState.PENDING)
        captured = payment.captured if payment.state is PaymentState.CAPTURED else 0
        if payment.refunded != refunded or captured - refunded - running != payment.refundable or refunded > captured:
            wrong.append(f"payment {payment.key}: {captured} captured, {refunded} refunded, {payment.refundable} refundable")
    kept: Counter[str] = Counter()
    for payment in payments:
        if payment.state is PaymentState.CAPTURED:
            kept[payment.subject] += payment.captured - payment.refunded
    for order in orders:
        due = order.totals.total.amount - order.refunded.amount if order.payment_status in PAID and order.payment_id else 0
        if kept[f"order:{order.id}"] != due and not order.is_owing:
            wrong.append(f"{order.number} ({order.status}) keeps {kept[f'order:{order.id}']} instead of {due}")
        if order.status is OrderStatus.CANCELLED and due and not order.is_owing:
            wrong.append(f"{order.number} is cancelled and keeps {due}")
    if gateway is not None:
        open_payments = {payment.key for payment in payments if payment.state is PaymentState.PROCESSING}
        settled = sum(amount for key, amount in gateway.charged.items() if key not in open_payments)
        if settled - sum(gateway.refunded.values()) != sum(kept.values()):
            wrong.append(f"the gateway keeps {gateway.kept}, the orders {sum(kept.values())}")
    return wrong


async def _statistics(orders: list[Order]) -> list[str]:
    wrong = []
    entries: list[LoyaltyEntry] = await all_of(LoyaltyEntry)
    for customer in await all_of(Customer):
        own = [order for order in orders if order.customer_id == customer.id]
        count = sum(order.is_counted and order.status is not OrderStatus.REFUNDED for order in own)
        spent = sum(order.totals.total.amount - order.refunded.amount for order in own if order.paid_at is not None)
        points = sum(entry.points for entry in entries if entry.customer_id == customer.id)
        earned = sum(order.points_earned for order in own)
        told = (customer.orders_count, customer.spent.amount, customer.points_balance, customer.points_balance)
        if told != (count, spent, points, earned):
            wrong.append(f"customer {customer.id}: {told} instead of {(count, spent, points, earned)}")
    sales: Counter[Any] = Counter()
    for order in orders:
        if order.is_counted:
            for line in order.lines:
                kept = line.fulfilled_quantity if order.status is OrderStatus.REFUNDED else line.quantity
                sales[line.product_id] += kept - line.returned_quantity
    for product in await all_of(Product):
        if product.sales_count != sales[product.id]:
            wrong.append(f"{product.name} sold {product.sales_count} instead of {sales[product.id]}")
    return wrong


async def _coupons(orders: list[Order]) -> list[str]:
    wrong = []
    redemptions: list[CouponRedemption] = await all_of(CouponRedemption)
    for coupon in await all_of(Coupon):
        using = {order.id for order in orders for used in order.discounts if used.coupon_id == coupon.id}
        living = {order.id for order in orders if order.id in using and order.status is not OrderStatus.CANCELLED}
        noted = {redemption.order_id for redemption in redemptions if redemption.coupon_id == coupon.id}
        if not (coupon.usage_count == len(noted) == len(living) and noted == living):
            wrong.append(f"coupon {coupon.code}: {coupon.usage_count} used, {len(noted)} noted, {len(living)} orders")
        if coupon.usage_limit is not None and coupon.usage_count > coupon.usage_limit:
            wrong.append(f"coupon {coupon.code} was used {coupon.usage_count} times")
    return wrong


async def _history(orders: list[Order]) -> list[str]:
    """Every order's steps lead from its creation to its status along edges, and each has exactly one event."""
    wrong = []
    steps: dict[Any, list[OrderStatusHistory]] = defaultdict(list)
    for step in await all_of(OrderStatusHistory):
        steps[step.order_id].append(step)
    told: Counter[str] = Counter()
    for event in await all_of(Event):
        name = event.type.value
        if name.startswith("order.") and name not in ("order.updated", "order.fulfilled"):
            told[event.subject] += 1
    for order in orders:
        path = [(step.old_status, step.new_status) for step in sorted(steps[order.id], key=lambda one: one.id)]
        current = None
        for old, new in path:
            if old is not current or (old is not None and (old, new) not in EDGES):
                wrong.append(f"{order.number} went from {old} to {new}, standing at {current}")
            current = new
        if current is not order.status:
            wrong.append(f"{order.number} is {order.status}, its history says {current}")
        extra = told[f"order:{order.id}"] - len(path)
        # Money that went back after a cancellation is told without a step.
        if extra not in ((0, 1) if order.status is OrderStatus.CANCELLED else (0,)):
            wrong.append(f"{order.number} has {len(path)} steps and {told[f'order:{order.id}']} events")
    return wrong
