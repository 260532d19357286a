"""What the stress runs say at their end: each goal of reliability with its figure, and whether it was met."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console


@dataclass(frozen=True, slots=True)
class Verdict:
    """One goal, what was found, and whether that is good enough."""

    goal: str
    figure: str
    is_met: bool

    def __str__(self) -> str:
        return f"{self.goal} {'met' if self.is_met else 'MISSED'}: {self.figure}"


def within(goal: str, what: str, seconds: Sequence[float], limit: float) -> Verdict:
    """The slowest of them against the limit; met when there is none."""
    slowest = max(seconds, default=0.0)
    return Verdict(
        goal, f"{what} after {slowest:.2f} s at the latest, of {len(seconds):,} (goal {limit:.3g} s)", slowest <= limit
    )


def none_of(goal: str, what: str, wrong: int, total: int) -> Verdict:
    return Verdict(goal, f"{wrong:,} of {total:,} {what}", wrong == 0)


def tell(verdicts: Sequence[Verdict], *, console: Console) -> list[str]:
    """Print a line for each goal that is met, and return those of the others, to be printed last."""
    for verdict in verdicts:
        if verdict.is_met:
            console.print(str(verdict), style="green", highlight=False, soft_wrap=True)
    return [str(verdict) for verdict in verdicts if not verdict.is_met]
