"""The sample shop at a fraction of its size, for tests that are not about its size."""

import contextlib
from collections.abc import Iterator
from types import ModuleType

import pytest

from scripts.samples import carts, orders, publication, shop

_Sizes = dict[ModuleType, dict[str, int]]

_SMALL: _Sizes = {
    shop: {"PRODUCTS": 14, "CUSTOMERS": 66, "VISITS": 10},
    orders: {"ORDERS": 40},
    carts: {"CARTS": 4},
}
_TINY: _Sizes = {
    **_SMALL,
    publication: {"PEOPLE": 30, "POSTS": 15, "COMMENTS": 100, "COMMENT_LIKES": 30},
    shop: {"PRODUCTS": 14, "CUSTOMERS": 36, "VISITS": 10},
}


@contextlib.contextmanager
def small_samples(sizes: _Sizes = _SMALL) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        for module, values in sizes.items():
            for name, value in values.items():
                patched.setattr(module, name, value)
        yield


def tiny_samples() -> contextlib.AbstractContextManager[None]:
    """The publication at a fraction of its size, too: for what depends on no size at all."""
    return small_samples(_TINY)


@pytest.fixture
def small_shop() -> Iterator[None]:
    with small_samples():
        yield
