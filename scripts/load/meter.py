"""What the load of `make stress` asked for, and what it was answered: every request with its kind, its time and its outcome."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

COMMANDS = "agora_database_commands"
"""What the application counts under load besides its usual metrics."""


class Kind(StrEnum):
    """What visitors and staff ask for; each with how long it may take by N-01 and N-02, in `GOALS`."""

    POSTS = "page of posts"
    POST = "post"
    POST_SEARCH = "search of posts"
    PRODUCTS = "page of products"
    SEARCH = "search of products"
    PRODUCT = "product"
    VIEWS = "batch of page views"
    LIKE = "like"
    COMMENT = "comment"
    NEW_POST = "post written"
    MODERATION = "comments moderated"
    CART = "cart"
    CART_ADD = "put into the cart"
    CODE = "code tried"
    CHECKOUT = "checkout"
    CHECKOUT_IN_SILENCE = "checkout, gateway silent"
    ORDER = "order"
    ORDERS = "page of 100 orders"
    REPORT = "sales report"
    LOGIN = "login"
    REGISTRATION = "registration"


READS = (Kind.POSTS, Kind.POST, Kind.POST_SEARCH, Kind.PRODUCTS, Kind.SEARCH, Kind.PRODUCT)

_STANDARD = ("N-01", 0.1)
GOALS: dict[Kind, tuple[str, float]] = {
    **dict.fromkeys(Kind, _STANDARD),
    Kind.CHECKOUT: ("N-02", 0.2),
    Kind.ORDER: ("N-02", 0.1),
    Kind.ORDERS: ("N-02", 0.5),
}
# No standard operation: a password is made slow to check, and a gateway that does not answer is waited for.
for _slow in (Kind.LOGIN, Kind.REGISTRATION, Kind.CHECKOUT_IN_SILENCE):
    del GOALS[_slow]


class Outcome(StrEnum):
    DONE = "done"
    BY_RULE = "refused by a rule"  # sold out, declined, a code of no use: an answer as good as any
    TURNED_AWAY = "turned away"  # 429 and 503: come back later
    FAILED = "failed"  # everything else, and no answer at all


class Sample(NamedTuple):
    step: int  # -1 between steps
    kind: Kind
    at: float  # when it was asked, in seconds since the meter was made
    seconds: float
    outcome: Outcome


class Meter:
    """Takes note of every request. What is asked between two steps counts as an outcome and in no percentile."""

    def __init__(self) -> None:
        self.step = -1
        self.samples: list[Sample] = []
        self.refusals: Counter[tuple[Kind, str]] = Counter()  # status and code of what was not done
        self._began = time.perf_counter()

    def elapsed(self) -> float:
        return time.perf_counter() - self._began

    def note(self, kind: Kind, at: float, outcome: Outcome, reason: str = "", *, step: int) -> None:
        """`at` is when it was asked, `step` the one it was asked in."""
        self.samples.append(Sample(step, kind, at, self.elapsed() - at, outcome))
        if outcome is not Outcome.DONE:
            self.refusals[kind, reason] += 1

    def seconds(self, *, step: int | None = None, kinds: Iterable[Kind] = Kind) -> list[float]:
        """Of everything that was answered within the steps, or one of them, in ascending order."""
        chosen = frozenset(kinds)
        return sorted(
            sample.seconds
            for sample in self.samples
            if sample.kind in chosen
            and (sample.step == step if step is not None else sample.step >= 0)
            and sample.outcome in (Outcome.DONE, Outcome.BY_RULE)
        )

    def outcomes(self, *, step: int | None = None) -> Counter[Outcome]:
        return Counter(sample.outcome for sample in self.samples if step is None or sample.step == step)


def percentile(ascending: Sequence[float], share: float) -> float:
    """The smallest value that so much of them do not exceed; 0 of nothing."""
    if not ascending:
        return 0.0
    return ascending[max(0, -(-int(share * 1000) * len(ascending) // 1000) - 1)]
