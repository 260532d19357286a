"""Moving average in whole minor units: what a piece of the stock is worth, and how nothing is left behind by rounding.

on_hand  value   movement            its value   why
     10   1000   sale of 3           -300        half_up(1000 * 3 / 10)
      7    700   receipt of 3 at 90  +270
     10    970   sale of 10          -970        the last piece takes what is there
     -2      0   receipt of 5 at 90  +270        two of the five are sold already; what is not on hand has no value
"""

from models.money import half_up


def value_leaving(on_hand: int, value: int, quantity: int) -> int:
    """The part of the value that leaves with `quantity` pieces; all of it with the last piece, nothing where nothing is."""
    if on_hand <= 0:
        return 0
    if quantity >= on_hand:
        return value
    return half_up(value * quantity, on_hand)


def value_entering(on_hand: int, quantity: int, cost: int) -> int:
    """The part of the pieces' cost that stays: what only fills a balance below zero does not."""
    missing = min(quantity, max(0, -on_hand))
    return half_up(cost * (quantity - missing), quantity)


def average_cost(on_hand: int, value: int, quantity: int) -> int:
    """What `quantity` pieces are worth at the present average; nothing is known of it where nothing is on hand."""
    return half_up(value * quantity, on_hand) if on_hand > 0 else 0
