"""Why a code is of no use: one error per reason, each with a code of its own.

CouponNotUsableError
|-- UnknownCouponError            UNKNOWN
|-- InactiveCouponError           INACTIVE
|-- CouponNotStartedError         NOT_STARTED
|-- ExpiredCouponError            EXPIRED
|-- CouponMinimumNotMetError      MINIMUM_NOT_MET
|-- CouponNotEligibleError        NOT_ELIGIBLE
|-- CouponUsedUpError             USED_UP
|-- CouponUsedByCustomerError     USED_BY_CUSTOMER
|-- CouponCurrencyError           WRONG_CURRENCY
|-- CouponNotCombinableError      NOT_COMBINABLE
`-- CouponFirstOrderOnlyError     FIRST_ORDER_ONLY
"""

from typing import ClassVar

from models.ecommerce.coupons import CouponProblem, CouponReason
from services.errors import RuleViolatedError


class CouponNotUsableError(RuleViolatedError):
    """The code is of no use here and now. Raised as one of the classes below, which say why."""

    code = "coupon_not_usable"
    reason: ClassVar[CouponReason]

    def __init__(self, coupon: str, detail: str) -> None:
        super().__init__(detail)
        self.coupon = coupon


class UnknownCouponError(CouponNotUsableError):
    """There is no such code."""

    code = "coupon_unknown"
    reason = CouponReason.UNKNOWN


class InactiveCouponError(CouponNotUsableError):
    """The code was taken out of use."""

    code = "coupon_inactive"
    reason = CouponReason.INACTIVE


class CouponNotStartedError(CouponNotUsableError):
    """The code is not valid yet."""

    code = "coupon_not_started"
    reason = CouponReason.NOT_STARTED


class ExpiredCouponError(CouponNotUsableError):
    """The code has expired."""

    code = "coupon_expired"
    reason = CouponReason.EXPIRED


class CouponMinimumNotMetError(CouponNotUsableError):
    """The purchase is too small for the code."""

    code = "coupon_minimum_not_met"
    reason = CouponReason.MINIMUM_NOT_MET


class CouponNotEligibleError(CouponNotUsableError):
    """Nothing in the purchase is part of the offer, or it would take nothing off."""

    code = "coupon_not_eligible"
    reason = CouponReason.NOT_ELIGIBLE


class CouponUsedUpError(CouponNotUsableError):
    """The code was used as often as it may be."""

    code = "coupon_used_up"
    reason = CouponReason.USED_UP


class CouponUsedByCustomerError(CouponNotUsableError):
    """The customer used the code as often as one may."""

    code = "coupon_used_by_customer"
    reason = CouponReason.USED_BY_CUSTOMER


class CouponCurrencyError(CouponNotUsableError):
    """The code is for purchases in another currency."""

    code = "coupon_wrong_currency"
    reason = CouponReason.WRONG_CURRENCY


class CouponNotCombinableError(CouponNotUsableError):
    """The code does not combine with what makes the purchase cheaper without it."""

    code = "coupon_not_combinable"
    reason = CouponReason.NOT_COMBINABLE


class CouponFirstOrderOnlyError(CouponNotUsableError):
    """The code is for a first order."""

    code = "coupon_first_order_only"
    reason = CouponReason.FIRST_ORDER_ONLY


COUPON_ERRORS: dict[CouponReason, type[CouponNotUsableError]] = {
    error.reason: error
    for error in (
        UnknownCouponError,
        InactiveCouponError,
        CouponNotStartedError,
        ExpiredCouponError,
        CouponMinimumNotMetError,
        CouponNotEligibleError,
        CouponUsedUpError,
        CouponUsedByCustomerError,
        CouponCurrencyError,
        CouponNotCombinableError,
        CouponFirstOrderOnlyError,
    )
}
"""The error of each reason; a route that takes codes refuses with all of them."""

_SENTENCES = {
    CouponReason.UNKNOWN: "There is no such code.",
    CouponReason.INACTIVE: "This code is not in use any more.",
    CouponReason.NOT_STARTED: "This code is not valid yet.",
    CouponReason.EXPIRED: "This code has expired.",
    CouponReason.NOT_ELIGIBLE: "This code takes nothing off this purchase.",
    CouponReason.USED_UP: "This code was used as often as it may be.",
    CouponReason.USED_BY_CUSTOMER: "You used this code as often as one may.",
    CouponReason.NOT_COMBINABLE: "This code does not combine with what makes this purchase cheaper without it.",
}


def problem_of(code: str, reason: CouponReason, detail: str = "") -> CouponProblem:
    """The problem with its sentence for the buyer, unless one is given."""
    return CouponProblem(code=code, reason=reason, detail=detail or _SENTENCES[reason])


def error_of(problem: CouponProblem) -> CouponNotUsableError:
    return COUPON_ERRORS[problem.reason](problem.code, problem.detail)
