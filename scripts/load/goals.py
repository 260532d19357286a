"""The goals a run of `make stress` is held to, each with its figure."""

from statistics import fmean

from scripts.load.meter import GOALS, Meter, Outcome, percentile
from scripts.load.report import Result
from scripts.load.verdicts import Verdict, none_of
from scripts.load.watch import HOT

SHARE = 0.95  # the percentile that goals of time are held to
HIT_RATE = 0.9
CROWD = 1_000
GROWTH = 0.2
SETTLED = 2  # stretches after which memory and files must not grow: minutes, as R17 has it


def judged(result: Result, *, patience: float = 1.0) -> list[Verdict]:
    """Every goal in its order. `patience` times what an answer may take. Cache hits are judged where many are there to share."""
    meter, last = result.meter, len(result.steps) - 1
    is_crowded = result.steps[last].people >= CROWD
    outcomes = meter.outcomes()
    total = outcomes.total()
    verdicts = [_in_time(goal, meter, last, result.steps[last].label, patience) for goal in ("N-01", "N-02")]
    if result.profile == "steps":
        verdicts.append(_answered("N-03" if is_crowded else "crowd", result))
    else:
        verdicts += [
            none_of("R17", "requests got no answer, or one of 5xx", sum(is_bad(result)), total),
            *_flat(result),
        ]
    if is_crowded or result.profile != "steps":
        rate = result.steps[last].cost.hit_rate(*HOT)
        told = f"{rate:.1%} of look-ups in caches of hot reads are hits (goal {HIT_RATE:.0%})"
        verdicts.append(Verdict("N-04", told, rate >= HIT_RATE))
    return [
        *verdicts,
        none_of("answers", "requests failed", outcomes[Outcome.FAILED], total),
        Verdict("books", f"{len(result.differences)} differences after a recount", not result.differences),
    ]


def _in_time(goal: str, meter: Meter, step: int, label: str, patience: float) -> Verdict:
    """The kind of request that comes closest to its limit, or is furthest past it."""
    found = []
    for kind, (name, limit) in GOALS.items():
        seconds = meter.seconds(step=step, kinds=[kind]) if name == goal else []
        if seconds:
            found.append((percentile(seconds, SHARE) / limit, kind, limit))
    if not found:
        return Verdict(goal, "nothing was asked", True)
    share, kind, limit = max(found)
    late = [other for part, other, _ in found if part > patience]
    told = f"{label}: p95 of {kind} {share * limit * 1000:.0f} ms (goal {limit * 1000:.0f})"
    return Verdict(goal, f"{told}; in time: {len(found) - len(late)} of {len(found)} kinds", not late)


def _answered(goal: str, result: Result) -> Verdict:
    """All of them answered: nobody failed, nobody was turned away."""
    last = len(result.steps) - 1
    outcomes = result.meter.outcomes(step=last)
    people = result.steps[last].people
    bad = outcomes[Outcome.FAILED] + outcomes[Outcome.TURNED_AWAY]
    p95 = percentile(result.meter.seconds(step=last, kinds=GOALS), SHARE)
    told = (
        f"{people:,} people at once: {bad:,} of {outcomes.total():,} requests failed or were turned away, p95 {p95 * 1000:.0f} ms"
    )
    return Verdict(goal, told, bad == 0)


def is_bad(result: Result) -> list[int]:
    """How often each answer of 5xx was given, and each time there was none."""
    return [count for (_, reason), count in result.meter.refusals.items() if not reason[:1].isdigit() or reason[:1] == "5"]


def _flat(result: Result) -> list[Verdict]:
    """Memory and open files of the application at the end against those when it had settled, a tenth of the time each."""
    settled, last = result.steps[min(SETTLED, len(result.steps) - 1)], result.steps[-1]
    kept = [weight for weight in result.weights if settled.began <= weight.at <= last.began + last.cost.at]
    tenth = max(1, len(kept) // 10)
    early, late = kept[:tenth], kept[-tenth:]
    memory = [fmean(weight.resident["app"] for weight in some) for some in (early, late)]
    files = [fmean(weight.files for weight in some) for some in (early, late)]
    return [
        Verdict("R17", _growth("application's memory", "MiB", *memory), memory[1] < (1 + GROWTH) * memory[0]),
        Verdict("R17", _growth("connections and files", "open", *files), files[1] < (1 + GROWTH) * files[0]),
    ]


def _growth(what: str, unit: str, early: float, late: float) -> str:
    return f"{what} from {early:.0f} to {late:.0f} {unit} after settling, {late / early - 1:+.1%} (goal under {GROWTH:+.0%})"
