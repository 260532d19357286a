"""What staff sends about coupons, promotions, taxes and shipping."""

from api.schemas.base import Input, with_example
from services.ecommerce.coupons import BatchDraft, CouponChanges, CouponDraft
from services.ecommerce.promotions import PromotionChanges, PromotionDraft
from services.ecommerce.shipping import ShippingZoneChanges, ShippingZoneDraft
from services.ecommerce.taxes import TaxZoneChanges, TaxZoneDraft

_TEN_PER_CENT = {"kind": "percentage", "rate": 1000}


class CouponCreate(CouponDraft, Input):
    """A new coupon."""

    model_config = with_example(code="SAVE10", name="Welcome", rule=_TEN_PER_CENT, usage_limit_per_customer=1)


class CouponBatchCreate(BatchDraft, Input):
    """Codes made in bulk, all on the same terms."""

    model_config = with_example(batch="summer-26", count=100, prefix="SUMMER-", name="Summer", rule=_TEN_PER_CENT, usage_limit=1)


class CouponUpdate(CouponChanges, Input):
    """Changes to a coupon: what is left out stays, null empties what can be empty. The code stays for good."""


class PromotionCreate(PromotionDraft, Input):
    """A new automatic promotion."""

    model_config = with_example(name="Summer sale", rule=_TEN_PER_CENT, starts_at="2030-06-01T00:00:00Z")


class PromotionUpdate(PromotionChanges, Input):
    """Changes to a promotion: what is left out stays, null empties what can be empty."""


class TaxZoneCreate(TaxZoneDraft, Input):
    """A new tax zone."""


class TaxZoneUpdate(TaxZoneChanges, Input):
    """Changes to a tax zone: what is left out stays. The code stays for good."""


class ShippingZoneCreate(ShippingZoneDraft, Input):
    """A new shipping zone."""


class ShippingZoneUpdate(ShippingZoneChanges, Input):
    """Changes to a shipping zone: what is left out stays. The code stays for good."""
