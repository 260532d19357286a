"""What staff sends about coupons, promotions, taxes and shipping."""

from api.schemas.base import Input
from services.ecommerce.coupons import BatchDraft, CouponChanges, CouponDraft
from services.ecommerce.promotions import PromotionChanges, PromotionDraft
from services.ecommerce.shipping import ShippingZoneChanges, ShippingZoneDraft
from services.ecommerce.taxes import TaxZoneChanges, TaxZoneDraft


class CouponCreate(CouponDraft, Input):
    """A new coupon."""


class CouponBatchCreate(BatchDraft, Input):
    """Codes made in bulk, all on the same terms."""


class CouponUpdate(CouponChanges, Input):
    """Changes to a coupon: what is left out stays, null empties what can be empty. The code stays for good."""


class PromotionCreate(PromotionDraft, Input):
    """A new automatic promotion."""


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
