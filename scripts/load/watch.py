"""What the processes of `make stress` cost while they work: processor, memory, files, cache hits, and database commands."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from scripts.benchmark.load import Line, get
from scripts.load.house import House
from scripts.load.meter import COMMANDS, Meter

LOAD = "load generator"
SAMPLE_SECONDS = 1.0

_REQUESTS, _HITS, _MISSES = "agora_http_requests", "agora_cache_hits", "agora_cache_misses"
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

# Pages, lists and what is shown on them, which many people share. The others keep what is one person's, or a limit.
HOT = (
    *("blog_pages", "blog_totals", "blog_page_bounds", "blog_filters", "blog_category_list", "blog_popular", "blog_related"),
    *("blog_authors", "blog_categories", "blog_tags", "search_frequencies"),
    *("shop_pages", "shop_search_pages", "shop_summaries", "shop_reference", "shop_bestsellers", "shop_totals"),
    *("shop_page_bounds", "shop_recommendations"),
)


@dataclass(frozen=True, slots=True)
class Weight:
    """What the processes held at one moment: MiB of memory, and open files."""

    at: float
    resident: Mapping[str, float]
    files: int  # of the application: connections among them


@dataclass(frozen=True, slots=True)
class Look:
    """Counters that only grow, at one moment."""

    at: float
    processor: Mapping[str, float]  # seconds
    answers: float  # that the application gave
    commands: float  # that it sent to the database, those of no request too
    hits: Mapping[str, float]
    misses: Mapping[str, float]

    def since(self, before: "Look") -> "Look":
        """What was added since then; `at` is how long that took."""
        return Look(
            self.at - before.at,
            {name: self.processor[name] - before.processor.get(name, 0.0) for name in self.processor},
            self.answers - before.answers,
            self.commands - before.commands,
            {name: self.hits[name] - before.hits.get(name, 0.0) for name in self.hits},
            {name: self.misses[name] - before.misses.get(name, 0.0) for name in self.misses},
        )

    def hit_rate(self, *names: str) -> float:
        """Of the look-ups in these caches; 1 when there were none."""
        hits = sum(self.hits.get(name, 0.0) for name in names)
        asked = hits + sum(self.misses.get(name, 0.0) for name in names)
        return hits / asked if asked else 1.0


@dataclass
class Watch:
    """Looks at the processes from outside, every second while the block of `running` lasts."""

    house: House
    meter: Meter
    weights: list[Weight] = field(default_factory=list)

    @property
    def pids(self) -> dict[str, int]:
        return {**self.house.pids, LOAD: os.getpid()}

    async def keep_weighing(self) -> None:
        """Until cancelled."""
        while True:
            self.weights.append(self._weigh())
            await asyncio.sleep(SAMPLE_SECONDS)

    def _weigh(self) -> Weight:
        resident = {name: int(_proc(pid, "statm").split()[1]) * _PAGE / 2**20 for name, pid in self.pids.items()}
        return Weight(self.meter.elapsed(), resident, len(os.listdir(f"/proc/{self.house.pids['app']}/fd")))

    async def look(self) -> Look:
        """Costs the application one scrape of its metrics."""
        line = Line(self.house.port)
        told = (await line.ask(get("/metrics"))).body.decode()
        await line.close()
        found = {
            family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
            for family in text_string_to_metric_families(told)
            if family.name in (_REQUESTS, COMMANDS, _HITS, _MISSES)
        }
        return Look(
            self.meter.elapsed(),
            {name: _processor_seconds(pid) for name, pid in self.pids.items()},
            sum(found[_REQUESTS].values()),
            sum(found[COMMANDS].values()),
            *({name: value for (name,), value in found[which].items()} for which in (_HITS, _MISSES)),
        )


def _processor_seconds(pid: int) -> float:
    fields = _proc(pid, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()
