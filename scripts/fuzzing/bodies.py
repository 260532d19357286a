"""Bodies that hold together, for operations whose generated ones hardly ever do. The ids in them are filled in by the caller."""

from typing import Any

_USD = {"amount": "5.00", "currency": "USD"}
_PLACE = {
    "first_name": "Jane",
    "last_name": "Doe",
    "line1": "1 Market Street",
    "city": "Springfield",
    "postal_code": "62701",
    "country": "US",
}
_PIECES = {"variant_id": "", "quantity": 2}
_RULE = {"kind": "percentage", "rate": 1000}
_LINE = {"line_id": "", "quantity": 1}

BODIES: dict[str, dict[str, Any]] = {
    "add_to_cart": {"product_id": "", "variant_id": "", "quantity": 1},
    "add_cart_coupon": {"code": ""},
    "approve_return": {"staff_notes": "Fine."},
    "capture_payment": {},
    "change_many_statuses": {"order_ids": [], "status": "processing"},
    "change_order_status": {"status": "processing"},
    "checkout": {"payment_method": "card", "payment_token": "", "shipping_address": _PLACE, "email": "guest@example.com"},
    "count_stock": {"counts": [{"variant_id": "", "counted": 7}]},
    "create_fraud_rule": {
        "name": "Antarctica",
        "conditions": [{"field": "country", "operator": "is", "values": ["AQ"]}],
        "action": "block",
    },
    "create_fulfilment": {"carrier": "DHL", "tracking_number": "JD0146"},
    "create_order": {
        "items": [{"product_id": "", "variant_id": "", "quantity": 1}],
        "payment_method": "invoice",
        "shipping_address": _PLACE,
    },
    "create_promotion": {"name": "Sale", "rule": _RULE},
    "create_purchase_order": {"supplier_id": "", "location_id": "", "items": [{**_PIECES, "unit_cost": _USD}]},
    "create_review": {"rating": 4, "title": "Good", "content": "Very good.", "order_id": ""},
    "create_transfer": {"from_location_id": "", "to_location_id": "", "items": [_PIECES]},
    "hold_order": {"reason": "Odd."},
    "lose_transfer": {"reason": "Broken."},
    "pay_order": {"payment_method": "card", "payment_token": ""},
    "receive_purchase_order": {"key": "DN-1", "lines": [_LINE]},
    "receive_return": {"lines": [{**_LINE, "disposition": "restock"}]},
    "receive_transfer": {"key": "DN-1", "lines": [_LINE]},
    "refund_payment": {"amount": _USD, "reason": "Came back."},
    "refund_return": {},
    "reject_return": {"staff_notes": "Worn."},
    "request_return": {"lines": [{**_LINE, "reason": "does_not_fit"}]},
    "update_cart_item": {"quantity": 2},
    "update_product": {"short_description": "Another one."},
    "update_promotion": {"name": "Another name"},
    "update_purchase_order": {"notes": "By Friday."},
    "update_tracking": {"carrier": "UPS"},
}

# Which of several things an operation is about: those in this state.
STATES: dict[str, dict[str, str]] = {
    "cancel_return": {"return_id": "requested"},
    "approve_return": {"return_id": "requested"},
    "reject_return": {"return_id": "requested"},
    "receive_return": {"return_id": "approved"},
    "refund_return": {"return_id": "received"},
    "capture_payment": {"payment_id": "authorised"},
    "void_payment": {"payment_id": "authorised"},
    "refund_payment": {"payment_id": "captured"},
    "change_order_status": {"order_id": "confirmed"},
    "change_many_statuses": {"order_id": "confirmed"},
    "hold_order": {"order_id": "confirmed"},
    "create_fulfilment": {"order_id": "processing"},
    "update_tracking": {"order_id": "shipped"},
    "deliver_fulfilment": {"order_id": "shipped"},
    "pay_order": {"order_id": "pending"},
    "request_return": {"order_id": "delivered"},
    "update_purchase_order": {"purchase_order_id": "draft"},
    "place_purchase_order": {"purchase_order_id": "draft"},
    "cancel_purchase_order": {"purchase_order_id": "draft"},
    "receive_purchase_order": {"purchase_order_id": "ordered"},
    "ship_transfer": {"transfer_id": "draft"},
    "cancel_transfer": {"transfer_id": "draft"},
    "receive_transfer": {"transfer_id": "in_transit"},
    "lose_transfer": {"transfer_id": "in_transit"},
    "count_stock": {"stocktake_id": "open"},
    "approve_stocktake": {"stocktake_id": "open"},
    "cancel_stocktake": {"stocktake_id": "open"},
    "replay_webhook_delivery": {"delivery_id": "failed"},
}
