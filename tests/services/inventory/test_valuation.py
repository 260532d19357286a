"""Moving average in whole minor units: sums by hand, and no rest for any sequence."""

from hypothesis import given
from hypothesis import strategies as st

from services.inventory.valuation import average_cost, value_entering, value_leaving


class TestValueLeaving:
    def test_share_is_rounded_half_up(self) -> None:
        assert value_leaving(3, 100, 1) == 33
        assert value_leaving(8, 100, 1) == 13  # 12.5

    def test_last_piece_takes_what_is_there(self) -> None:
        assert value_leaving(3, 100, 3) == 100
        assert value_leaving(3, 100, 5) == 100

    def test_nothing_is_worth_nothing(self) -> None:
        assert (value_leaving(0, 0, 2), value_leaving(-4, 0, 2)) == (0, 0)


class TestValueEntering:
    def test_whole_cost_stays(self) -> None:
        assert (value_entering(0, 3, 270), value_entering(5, 3, 270)) == (270, 270)

    def test_what_is_owed_already_has_no_value(self) -> None:
        assert value_entering(-2, 5, 450) == 270
        assert value_entering(-5, 5, 450) == 0
        assert value_entering(-9, 5, 450) == 0


def test_average_of_nothing_is_nothing() -> None:
    assert (average_cost(0, 0, 3), average_cost(-1, 0, 3), average_cost(4, 10, 3)) == (0, 0, 8)


@given(st.lists(st.tuples(st.integers(-50, 50).filter(bool), st.integers(0, 10_000)), max_size=40))
def test_value_is_zero_without_stock_and_never_below(moves: list[tuple[int, int]]) -> None:
    """Whatever comes and goes: the value is the sum of its parts, and none is left behind."""
    on_hand = value = 0
    for quantity, cost in moves:
        if quantity > 0:
            value += value_entering(on_hand, quantity, cost)
        else:
            value -= value_leaving(on_hand, value, -quantity)
        on_hand += quantity
        assert value >= 0
        assert on_hand > 0 or value == 0
