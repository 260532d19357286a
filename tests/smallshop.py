"""The sample shop at a fraction of its size, for tests that are not about its size."""

import contextlib
from collections.abc import Iterator
from types import ModuleType

import pytest

from scripts import samples_carts, samples_orders, samples_shop

_SIZES: dict[ModuleType, dict[str, int]] = {
    samples_shop: {"PRODUCTS": 14, "CUSTOMERS": 66, "VISITS": 10},
    samples_orders: {"ORDERS": 40},
    samples_carts: {"CARTS": 4},
}


@contextlib.contextmanager
def small_samples() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        for module, values in _SIZES.items():
            for name, value in values.items():
                patched.setattr(module, name, value)
        yield


@pytest.fixture
def small_shop() -> Iterator[None]:
    with small_samples():
        yield
